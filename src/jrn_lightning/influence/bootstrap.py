"""Paired bootstrap over images, clustered by scene: weights × statistics, no network.

The same resample is used for both sides of every difference, so that what the images have in
common cancels. Frames of one scene are alike; resampling whole scenes keeps the intervals honest
(Efron and Tibshirani 1993, ch. 8; Field and Welsh 2007).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """R resamples of G clusters of N images.

    Args:
        counts: ``(R, G)`` how often each cluster was drawn.
        cluster: ``(N,)`` the cluster of each image, in [0, G).
    """

    counts: Array
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
        counts = np.random.default_rng(seed).multinomial(g, np.full(g, 1 / g), size=resamples)
        return cls(counts.astype(np.float64), cluster.astype(np.int64))

    def sums(self, statistics: Array) -> Array:
        """Statistics ``(N, ..., D)`` summed over each resample: ``(R, ..., D)``."""
        flat = statistics.reshape(len(statistics), -1)
        order = np.argsort(self.cluster, kind="stable")
        starts = np.searchsorted(self.cluster[order], np.arange(self.counts.shape[1]))
        by_cluster = np.add.reduceat(flat[order], starts, axis=0)
        return (self.counts @ by_cluster).reshape(-1, *statistics.shape[1:])

    def means(self, values: Array) -> Array:
        """Values ``(N, ...)`` averaged over each resample ``(R, ...)``; NaN values are left out."""
        known = np.isfinite(values)
        total = self.sums(np.where(known, values, 0.0))
        count = self.sums(known.astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / count)


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
