"""Two networks, or two sets of seeds, on the same images: the difference and its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.influence.bootstrap import Bootstrap, interval, over_seeds
from jrn_lightning.influence.summary import Estimate, MeasureLike

Array = NDArray[np.float64]


def paired_difference(
    first: Array,
    second: Array,
    measure: MeasureLike,
    clusters: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """A(first) - A(second), pooled over pixels, by the same resample of images and seeds on both.

    Args:
        first: ``(seeds, N, D)``.
        second: likewise, of the same seeds and images.
        measure: its performance is A: positive where the first is better.
        clusters: N scene names.
        resamples: R.
        seed: of the bootstrap.

    Raises:
        ValueError: arrays of different shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"arrays of {first.shape} and {second.shape} are not paired")
    draw = Bootstrap.draw(clusters, resamples, seed)

    def performance(statistics: Array) -> Array:
        return measure.performance(measure(statistics))

    point = np.mean(
        [performance(a.sum(0)) - performance(b.sum(0)) for a, b in _pairs(first, second)]
    )
    differences = np.stack(
        [performance(draw.sums(a)) - performance(draw.sums(b)) for a, b in _pairs(first, second)]
    )
    low, high = interval(over_seeds(differences, seed + 1))
    return Estimate(float(point), float(low), float(high))


def _pairs(first: Array, second: Array) -> zip[tuple[Array, Array]]:
    return zip(first, second, strict=True)
