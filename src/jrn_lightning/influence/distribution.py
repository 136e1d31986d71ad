"""Two-level bootstrap of networks of several seeds: value, interval, p-value, probability.

Scenes are resampled, the same ones for every seed. Seeds are too few to be resampled: three of
them would vary a third too little, and never beyond what was seen. Their share of the variance is
estimated instead, and their deviations are drawn from Student's t (docs/decisions/0008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from jrn_lightning.influence.bootstrap import Array, Bootstrap, interval, mean_known

#: the p-value, corrected where there are several tests, below which an effect is significant
LEVEL = 0.05
_TAIL = 0.01  # on either side, the share of the samples below which p follows Student's t


class Estimate(NamedTuple):
    """A value and its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))


@dataclass(frozen=True)
class Distribution:
    """A mean over seeds and how it varies; one entry a quantity.

    Args:
        value: ``(...)`` of all images.
        samples: ``(R, ...)``, one a resample of scenes and seeds; NaN where it has none.
        freedom: ``(...)``, degrees of freedom of the tail beyond the samples.
    """

    value: Array
    samples: Array
    freedom: Array

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Ends ``(...)`` and ``(...)`` of the percentile interval."""
        return interval(self.samples, level)

    def p_value(self) -> Array:
        """Two-sided p-value of the null hypothesis that the quantity is 0: ``(...)``.

        From 0.02 on it is twice the share of the samples beyond 0, and below 0.05 exactly where
        the 95 % interval excludes 0. A smaller share of R samples is a count of few, and none is
        below 2 / (R + 1), so that no test of a large family could be significant. There p is the
        tail of Student's t around the median, scaled to pass through the samples' 1 % quantile:
        continuous and monotone in the distance from 0. Samples that do not vary have no tail.
        """
        below, until = self._ranks
        median, _ = self.interval(0)
        low, high = self.interval(1 - 2 * _TAIL)
        edge = np.where(low > 0, low, high)
        with np.errstate(invalid="ignore", divide="ignore"):
            counted = np.clip(2 * np.minimum(until, 1 - below), 2 / (len(self.samples) + 1), 1)
            distance = median / (median - edge) * stdtrit(self.freedom, 1 - _TAIL)
            tail = 2 * stdtr(self.freedom, -distance)
        beyond = ((low > 0) | (high < 0)) & (median != edge)
        return np.asarray(np.where(beyond, tail, counted))

    def probability(self) -> Array:
        """Probability that the quantity is positive: ``(...)``; a sample of 0 counts as half."""
        below, until = self._ranks
        return np.asarray(1 - (below + until) / 2)

    def estimates(self) -> list[Estimate]:
        """Value and 95 % interval of every quantity, in the order of the flattened array."""
        columns = (np.ravel(x) for x in (self.value, *self.interval()))
        return [Estimate(*map(float, row)) for row in zip(*columns, strict=True)]

    def estimate(self) -> Estimate:
        """Value and 95 % interval of a single quantity."""
        return self.estimates()[0]

    @cached_property
    def _ranks(self) -> tuple[Array, Array]:
        """The least and the largest level whose quantile is 0: equal but for ties, ``(...)``.

        The inverse of ``np.quantile``.
        """
        ordered = np.sort(self.samples, axis=0)  # NaN last
        known = np.isfinite(ordered).sum(0)

        def level(i: NDArray[np.int64]) -> Array:
            """The level of 0, which lies between the samples ``i - 1`` and ``i``."""
            before, after = (
                np.take_along_axis(ordered, np.clip(i[None] + d, 0, len(ordered) - 1), 0)[0]
                for d in (-1, 0)
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                inside = (i - 1 - before / (after - before)) / (known - 1)
            outside = np.where(known == 0, np.nan, i == known)
            return np.asarray(np.where((i == 0) | (i == known), outside, inside))

        return level(np.asarray((ordered < 0).sum(0))), level(np.asarray((ordered <= 0).sum(0)))


@dataclass(frozen=True)
class Sampled:
    """A quantity of K networks that differ by their seed, on the same resamples of the images.

    Differences of two of them are paired by seed and by resample.

    Args:
        value: ``(K, ...)`` of all images.
        resampled: ``(K, R, ...)``.
        scenes: G, the number of clusters that are resampled.
    """

    value: Array
    resampled: Array
    scenes: int

    @classmethod
    def of(
        cls,
        statistics: Array,
        measure: Callable[[Array], Array],
        draw: Bootstrap,
        over_images: bool = False,
    ) -> Sampled:
        """A measure of every network, as of :meth:`all_of`."""
        return cls.all_of(statistics, [measure], draw, over_images)[0]

    @classmethod
    def all_of(
        cls,
        statistics: Array,
        measures: Sequence[Callable[[Array], Array]],
        draw: Bootstrap,
        over_images: bool = False,
    ) -> list[Sampled]:
        """Measures of every network, from the same sums.

        Args:
            statistics: ``(K, N, ..., D)``.
            measures: ``(..., D)`` -> ``(...)`` each.
            draw: the resamples of the N images.
            over_images: average the images' own values rather than pool their pixels.
        """

        def value(s: Array, measure: Callable[[Array], Array]) -> Array:
            return mean_known(measure(s)) if over_images else measure(s.sum(0))

        scenes = draw.counts.shape[1]
        resampled = [draw.measures(s, measures, over_images) for s in statistics]
        return [
            cls(np.stack([value(s, measure) for s in statistics]), np.stack(samples), scenes)
            for measure, samples in zip(measures, zip(*resampled, strict=True), strict=True)
        ]

    def __sub__(self, other: Sampled) -> Sampled:
        """The difference, network by network."""
        return self._with(self.value - other.value, self.resampled - other.resampled)

    def __getitem__(self, at: Any) -> Sampled:
        """Some of the quantities, of every network."""
        at = at if isinstance(at, tuple) else (at,)
        every = slice(None)
        return self._with(self.value[(every, *at)], self.resampled[(every, every, *at)])

    def map(self, function: Callable[[Array], Array]) -> Sampled:
        """``function`` of every value, elementwise."""
        return self._with(function(self.value), function(self.resampled))

    def networks(self, which: list[int]) -> Sampled:
        """Those of the K networks, in that order."""
        return self._with(self.value[which], self.resampled[which])

    def _with(self, value: Array, resampled: Array) -> Sampled:
        return replace(self, value=value, resampled=resampled)

    def over_seeds(self, seed: int) -> Distribution:
        """The mean over the networks, and how it varies with scenes and seeds.

        With one network nothing is known of seeds, and the samples are its own. With K, a sample
        is the mean of a resample of the scenes plus a deviation of the seeds, which is Student's t
        with K - 1 degrees of freedom times the standard error of their mean. Its square is
        max(0, S² - E K / (K - 1)) / K, by analysis of variance: S² is the variance between the
        networks' values; E the variance of a network over the resamples, less that of their mean,
        is what scenes alone make them differ by.

        The tail of the p-value has (G - 1) / 2 degrees of freedom, since percentiles of few
        scenes lie too close to the median; and at most 2 (K - 1) / (1 + w), where w is the seeds'
        share of the variance: K - 1 where seeds alone vary, but no more than twice that, since
        with few seeds S² is small by chance too often.

        Args:
            seed: of the draw of the seeds' deviations.
        """
        k, r = self.resampled.shape[:2]
        value, mean = self.value.mean(0), self.resampled.mean(0)
        freedom = np.full(value.shape, max(self.scenes - 1, 1) / 2)
        if k == 1:
            return Distribution(value, mean, freedom)
        own = np.mean([_variance(x - mean) for x in self.resampled], axis=0) * k / (k - 1)
        between = np.maximum(self.value.var(0, ddof=1) - own, 0) / k
        # Every quantile once, in random order: only the order adds noise.
        student = np.random.default_rng(seed).permutation(stdtrit(k - 1, (np.arange(r) + 0.5) / r))
        samples = mean + student.reshape(r, *[1] * value.ndim) * np.sqrt(between)
        total = between + _variance(mean)
        share = np.divide(between, total, out=np.zeros_like(value), where=total > 0)
        return Distribution(value, samples, np.minimum(freedom, 2 * (k - 1) / (1 + share)))


def _variance(x: Array) -> Array:
    """Variance over the first axis of ``x`` ``(R, ...)``, NaN left out: ``(...)``."""
    return mean_known((x - mean_known(x)) ** 2)


def holm(p: ArrayLike) -> Array:
    """p-values ``(n,)`` corrected for the family-wise error rate by Holm's procedure (1979).

    The smallest is multiplied by n, the next one by n - 1, and
    so on; none may be less than one before it, or more than 1. NaN is no test and stays NaN.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(values.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
