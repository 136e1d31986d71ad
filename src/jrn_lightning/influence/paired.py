"""Two networks, or two sets of seeds, on the same images: the difference and its interval."""

from __future__ import annotations

from collections.abc import Sequence

from jrn_lightning.influence.bootstrap import Array, Bootstrap
from jrn_lightning.influence.distribution import Estimate, Sampled
from jrn_lightning.influence.summary import MeasureLike


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

    a, b = (Sampled.of(x, measure, draw).map(measure.performance) for x in (first, second))
    return (a - b).over_seeds(seed + 1).estimate()
