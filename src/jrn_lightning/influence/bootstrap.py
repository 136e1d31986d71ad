"""Paired bootstrap over images, clustered by scene: weights × statistics, no network.

The same resample is used for both sides of every difference, so that what the images have in
common cancels. Frames of one scene are alike; resampling whole scenes keeps the intervals honest
(Efron and Tibshirani 1993, ch. 8; Field and Welsh 2007).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]

_BLOCK = 1 << 22  # numbers in the sums of the resamples that are taken at a time


@dataclass(frozen=True)
class Bootstrap:
    """R resamples of G clusters of N images.

    Args:
        counts: ``(R, G)`` how often each cluster was drawn, of the narrowest type.
        cluster: ``(N,)`` the cluster of each image, in [0, G).
    """

    counts: NDArray[np.unsignedinteger]
    cluster: NDArray[np.int64]

    @classmethod
    def draw(cls, clusters: Sequence[str], resamples: int, seed: int) -> Bootstrap:
        """Draw G clusters of G with replacement, ``resamples`` times.

        Args:
            clusters: name of each image's cluster; give each image its own for a plain bootstrap.
            resamples: R.
            seed: same seed, same resamples.
        """
        names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
        g = len(names)
        rng, counts = np.random.default_rng(seed), np.empty((resamples, g), np.min_scalar_type(g))
        for rows in _blocks(resamples, g):
            counts[rows] = rng.multinomial(g, np.full(g, 1 / g), size=len(counts[rows]))
        return cls(counts, cluster.astype(np.int64))

    def means(self, values: Array) -> Array:
        """Values ``(N, ...)`` averaged over each resample ``(R, ...)``; NaN values are left out."""
        known = np.isfinite(values)

        def mean(sums: Array) -> Array:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(sums[:, 0] / sums[:, 1])

        both = np.stack([np.where(known, values, 0.0), known], axis=1)
        return self._of_sums(both, [mean])[0]

    def measures(
        self,
        statistics: Array,
        functions: Sequence[Callable[[Array], Array]],
        over_images: bool = False,
    ) -> list[Array]:
        """Measures of every resample, each ``(R, ...)``.

        Args:
            statistics: ``(N, ..., D)``.
            functions: ``(..., D)`` -> ``(...)`` each.
            over_images: average the images' own values rather than pool their pixels.
        """
        if over_images:
            means = self.means(np.stack([f(statistics) for f in functions], axis=1))
            return list(np.moveaxis(means, 1, 0))
        return self._of_sums(statistics, functions)

    def _of_sums(
        self, statistics: Array, functions: Sequence[Callable[[Array], Array]]
    ) -> list[Array]:
        """Functions of the statistics ``(N, ...)`` summed over each resample: each ``(R, ...)``.

        The sums are never all there at once: of many classes they would be gigabytes.
        """
        n, (resamples, clusters) = len(statistics), self.counts.shape
        which = csr_array((np.ones(n), (self.cluster, np.arange(n))), shape=(clusters, n))
        by_cluster: Array = np.asarray(which @ statistics.reshape(n, -1))
        found: list[Array] = []
        for rows in _blocks(resamples, max(clusters, by_cluster.shape[1])):
            sums = self.counts[rows].astype(np.float64) @ by_cluster
            values = [f(sums.reshape(-1, *statistics.shape[1:])) for f in functions]
            found = found or [np.empty((resamples, *v.shape[1:])) for v in values]
            for whole, value in zip(found, values, strict=True):
                whole[rows] = value
        return found


def _blocks(rows: int, width: int) -> list[slice]:
    """Slices of ``rows`` with a bounded number of entries, where each has ``width`` of them."""
    step = max(1, _BLOCK // max(1, width))
    return [slice(start, start + step) for start in range(0, rows, step)]


def interval(resampled: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile interval ``(...)``, ``(...)`` of resampled values ``(R, ...)``.

    Resamples without a value (NaN) are left out; NaN where none has one.
    """
    tail = (1 - level) / 2
    if np.isfinite(resampled).all():
        low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
        return low, high
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # where all are NaN
        low, high = np.nanquantile(resampled, [tail, 1 - tail], axis=0)
    return low, high


def mean_known(values: Array) -> Array:
    """Mean over the first axis of ``(N, ...)``, NaN left out: ``(...)``, NaN where all are."""
    known = np.isfinite(values)
    if known.all():
        return np.asarray(values.mean(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(0) / known.sum(0))


def halves(clusters: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """Which images belong to the first of two halves of about the same size: ``(N,)``.

    ω and A share A(f(X, Y)), so that across networks they correlate by construction; taken from
    different halves of the images they do not. Whole scenes go to one half, since images of a
    scene are alike.

    Args:
        clusters: N scene names; the halves depend on the names, not on their order.
        seed: of the order in which scenes are dealt, each to the half that has fewer images.
    """
    names, cluster, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    first = np.zeros(len(names), bool)
    lead = 0
    for scene in np.random.default_rng(seed).permutation(len(names)):
        first[scene] = lead <= 0
        lead += int(sizes[scene]) if first[scene] else -int(sizes[scene])
    return np.asarray(first[cluster])
