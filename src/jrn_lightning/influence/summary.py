"""Measures, improvement over the input, and cross-modality influence ω, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.influence.bootstrap import Bootstrap, interval, over_seeds
from jrn_lightning.keys import JOINT, UNTOUCHED, muted

Array = NDArray[np.float64]


class MeasureLike(Protocol):
    """What is needed of a measure; see ``modalities.Measure``."""

    @property
    def name(self) -> str:
        """Key in results."""

    def __call__(self, statistics: Array) -> Array:
        """The measure of ``(..., D)``: ``(...)``."""

    def performance(self, value: Array) -> Array:
        """A: larger is better."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Rows of plain values, ready for JSON or a data frame.

    Args:
        metrics: setup, protocol, pooling, modality, measure, value, low, high.
        improvement: A(joint) - A(input): protocol, pooling, modality, measure, value, low, high.
        influence: ω: source, target, protocol, pooling, measure, value, low, high.
    """

    metrics: list[dict[str, Any]]
    improvement: list[dict[str, Any]]
    influence: list[dict[str, Any]]


def summarize(
    statistics: Mapping[str, Array],
    measures: Mapping[str, Sequence[MeasureLike]],
    setups: Sequence[str],
    protocols: Sequence[str],
    clusters: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    poolings: Sequence[str] = ("pixels", "images"),
) -> Summary:
    """All measures of a test pass, with paired bootstrap intervals clustered by scene.

    ω(Y → X') = A_X(f(X, Y)) - A_X(f(X)) (equations 2 and 3): the performance with all inputs less
    that with Y muted, for every ordered pair of modalities and every measure of X. A is the
    measure in percent, or minus that where lower is better, so that a positive ω means that Y
    helps X.

    Args:
        statistics: modality -> ``(N, S, P, D)``, or ``(seeds, N, S, P, D)`` for networks of
            several seeds on the same images: values are then means over the seeds, and the
            intervals have two levels (seed, then scene).
        measures: modality -> its measures.
        setups: S names; ω needs ``joint`` and the muted setups, improvement ``input``.
        protocols: P names.
        clusters: N scene names.
        resamples: R.
        seed: of the bootstrap.
        poolings: ``pixels`` and/or ``images``.
    """
    draw = Bootstrap.draw(clusters, resamples, seed)
    rows = Summary([], [], [])
    joint = list(setups).index(JOINT) if JOINT in setups else None
    for target, array in statistics.items():
        seeds = array if array.ndim == 5 else array[None]
        # Pooled sums are the same for every measure: one matrix product a seed.
        sums = [draw.sums(s) for s in seeds]
        for pooling in poolings:
            over_images = pooling == "images"
            for measure in measures[target]:
                point = np.mean([_value(s, measure, over_images) for s in seeds], axis=0)
                resampled = over_seeds(
                    np.stack(
                        [
                            draw.means(measure(s)) if over_images else measure(total)
                            for s, total in zip(seeds, sums, strict=True)
                        ]
                    ),
                    seed + 1,
                )
                key = {"pooling": pooling, "modality": target, "measure": measure.name}
                low, high = interval(resampled)
                for s, setup in enumerate(setups):
                    for p, protocol in enumerate(protocols):
                        estimate = _estimate(point, low, high, (s, p))
                        rows.metrics.append(
                            {"setup": setup, "protocol": protocol, **key, **estimate}
                        )
                if joint is None:
                    continue
                a, a_resampled = measure.performance(point), measure.performance(resampled)

                def difference(
                    other: int, a: Array = a, a_resampled: Array = a_resampled
                ) -> tuple[Array, Array, Array]:
                    """A(joint) - A(other), and its interval: ``(P,)`` each."""
                    low, high = interval(a_resampled[:, joint] - a_resampled[:, other])
                    return a[joint] - a[other], low, high

                if UNTOUCHED in setups:
                    parts = difference(list(setups).index(UNTOUCHED))
                    for p, protocol in enumerate(protocols):
                        rows.improvement.append(
                            {"protocol": protocol, **key, **_estimate(*parts, (p,))}
                        )
                del key["modality"]
                for source in statistics:
                    if source == target or muted(source) not in setups:
                        continue
                    parts = difference(list(setups).index(muted(source)))
                    for p, protocol in enumerate(protocols):
                        rows.influence.append(
                            {
                                "source": source,
                                "target": target,
                                "protocol": protocol,
                                **key,
                                **_estimate(*parts, (p,)),
                            }
                        )
    return rows


def _value(statistics: Array, measure: MeasureLike, over_images: bool) -> Array:
    """``(N, S, P, D)`` to ``(S, P)``."""
    if not over_images:
        return measure(statistics.sum(0))
    value = measure(statistics)
    known = np.isfinite(value)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, value, 0.0).sum(0) / known.sum(0))


def _estimate(value: Array, low: Array, high: Array, at: tuple[int, ...]) -> dict[str, float]:
    return asdict(Estimate(float(value[at]), float(low[at]), float(high[at])))
