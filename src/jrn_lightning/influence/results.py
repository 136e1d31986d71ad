"""Measures, improvement over the input, and cross-modality influence ω, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jrn_lightning.influence.bootstrap import Array, Bootstrap
from jrn_lightning.influence.distribution import Sampled
from jrn_lightning.keys import IMAGES, JOINT, POOLINGS, UNTOUCHED, muted

if TYPE_CHECKING:
    from jrn_lightning.modalities import Measure  # which imports PyTorch


@dataclass(frozen=True)
class Results:
    """Rows of plain values, ready for JSON or a data frame.

    Args:
        metrics: setup, protocol, pooling, modality, measure, value, low, high.
        improvement: A(joint) - A(input): protocol, pooling, modality, measure, value, low, high.
        influence: ω: source, target, protocol, pooling, measure, value, low, high.
    """

    metrics: list[dict[str, Any]]
    improvement: list[dict[str, Any]]
    influence: list[dict[str, Any]]


def compute_results(
    statistics: Mapping[str, Array],
    measures: Mapping[str, Sequence[Measure]],
    setups: Sequence[str],
    protocols: Sequence[str],
    clusters: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    poolings: Sequence[str] = POOLINGS,
) -> Results:
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
    rows = Results([], [], [])
    index = {name: s for s, name in enumerate(setups)}
    for target, array in statistics.items():
        seeds = array if array.ndim == 5 else array[None]
        for pooling in poolings:
            # All at once: their sums are the same, one matrix product a seed.
            found = Sampled.all_of(seeds, measures[target], draw, pooling == IMAGES)
            for measure, values in zip(measures[target], found, strict=True):
                a = values.map(measure.performance)
                quantities = [
                    (rows.metrics, {"setup": setup, "modality": target}, values[s])
                    for setup, s in index.items()
                ]
                if {JOINT, UNTOUCHED} <= index.keys():
                    improvement = a[index[JOINT]] - a[index[UNTOUCHED]]
                    quantities.append((rows.improvement, {"modality": target}, improvement))
                for source in statistics:
                    if source != target and {JOINT, muted(source)} <= index.keys():
                        omega = a[index[JOINT]] - a[index[muted(source)]]
                        direction = {"source": source, "target": target}
                        quantities.append((rows.influence, direction, omega))
                key = {"pooling": pooling, "measure": measure.name}
                for where, names, quantity in quantities:
                    estimates = quantity.over_seeds(seed + 1).estimates()
                    for protocol, estimate in zip(protocols, estimates, strict=True):
                        where.append({**names, "protocol": protocol, **key, **estimate._asdict()})
    return rows
