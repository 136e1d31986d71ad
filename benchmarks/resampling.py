"""Bootstrap intervals of all measures."""

from __future__ import annotations

from statistics import median

import numpy as np
import torch

from benchmarks.data import modalities, statistics
from benchmarks.options import Options
from benchmarks.timing import Row, interleave, pretty
from jrn_lightning.influence import Bootstrap, compute_results, interval
from jrn_lightning.keys import JOINT, UNTOUCHED, muted


def rows(options: Options) -> list[Row]:
    """One network's measures, and everything that a job reports."""
    images, resamples = 654, 10_000 if not options.quick else 100
    kinds = modalities()
    setups = [UNTOUCHED, JOINT, *map(muted, kinds)]
    protocols = ["full", "eigen", "eigen_fergus"]
    values = statistics(images, len(setups), len(protocols))
    measures = {m: kind.measures for m, kind in kinds.items()}
    scenes = [f"{i // 3}" for i in range(images)]
    one = {m: np.ascontiguousarray(x[:, 1, 0]) for m, x in values.items()}
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), resamples)
    weights = weights.astype(np.float64)
    columns = np.concatenate([x.reshape(images, -1) for x in one.values()], axis=1)

    def all_measures(clusters: list[str]) -> None:
        draw = Bootstrap.draw(clusters, resamples, seed=0)
        for m, x in one.items():
            for samples in draw.measures(x, measures[m]):
                interval(samples)

    times = interleave(
        {
            "images": lambda: all_measures([str(i) for i in range(images)]),
            "scenes": lambda: all_measures(scenes),
            "product": lambda: weights @ columns,
            "job": lambda: compute_results(
                values, measures, setups, protocols, scenes, resamples=resamples
            ),
        },
        rounds=min(options.rounds, 3),
        device=torch.device("cpu"),
        warm_up=0,
    )
    count = sum(map(len, measures.values()))
    label = f"{resamples:,} resamples of {images} images, all {count} measures with intervals"
    product = f"the bare matrix product {pretty(median(times['product']))}"
    everything = (
        f"{len(setups)} setups, {len(protocols)} protocols, both poolings, ω and improvement"
    )
    return [
        Row(label, median(times["images"]), 2, unit="s", detail=product),
        Row(f"{label}, clustered by scene", median(times["scenes"]), 2, unit="s"),
        Row(f"the same for a whole job: {everything}", median(times["job"]), unit="s"),
    ]
