"""Two sweeps over the same test frames, architecture by architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from jrn_lightning.analysis.collect import collect
from jrn_lightning.errors import RecordError
from jrn_lightning.influence import Bootstrap, Sampled
from jrn_lightning.keys import JOINT, UNTOUCHED, WHOLE


def compare(
    first: Path,
    second: Path,
    protocol: str = WHOLE,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much better the first sweep's networks are, paired by architecture, seed and frame.

    Args:
        first: folder of a sweep.
        second: folder of another one, over the same test frames; its cache may differ.
        protocol: one that both evaluated.
        resamples: R, of images and seeds, the same on both sides.
        seed: of the bootstrap.

    Returns:
        arch, seeds, modality, measure, first, second (the measure's means over the seeds), value,
        low, high: the difference of the performances A with its 95 % interval. Rows of the arch
        ``input`` compare the untouched inputs.

    Raises:
        RecordError: other test frames or modalities, or no job of one architecture and seed in
            both.
    """
    sweeps = collect(first), collect(second)
    a, b = ({(j.arch, j.seed): s.tables[j.folder] for j in s.finished} for s in sweeps)
    shared = sorted(a.keys() & b.keys(), key=str)
    if not shared:
        names = [", ".join(job.name for job in sweep.finished) or "nothing" for sweep in sweeps]
        raise RecordError(
            f"{first} and {second} have no finished job of one architecture and seed in common: "
            f"{names[0]} in {first}, {names[1]} in {second}."
        )
    reference = a[shared[0]]
    for table in (side[key] for side in (a, b) for key in shared):
        if (table.ids, list(table.modalities)) != (reference.ids, list(reference.modalities)):
            raise RecordError(f"{first} and {second} were not tested on the same frames.")
        if protocol not in table.protocols:
            raise RecordError(
                f"protocol {protocol!r} was not evaluated in both. Choose from: "
                f"{', '.join(table.protocols)}."
            )
    draw = Bootstrap.draw(reference.scenes, resamples, seed)
    groups = {UNTOUCHED: shared[:1]}
    for key in shared:
        groups.setdefault(key[0], []).append(key)
    rows = []
    for arch, members in groups.items():
        setup = UNTOUCHED if arch == UNTOUCHED else JOINT
        for m, modality in reference.modalities.items():
            statistics = [
                np.stack([side[key].of(m, setup, protocol) for key in members]) for side in (a, b)
            ]
            for measure in modality.measures:
                x, y = (Sampled.of(side, measure, draw) for side in statistics)
                difference = x.map(measure.performance) - y.map(measure.performance)
                rows.append(
                    {
                        "arch": arch,
                        "seeds": len(members),
                        "modality": m,
                        "measure": measure.name,
                        "label": measure.label,
                        "in_table": measure.in_table,
                        "first": float(x.value.mean()),
                        "second": float(y.value.mean()),
                        **difference.over_seeds(seed + 1).estimate()._asdict(),
                    }
                )
    return pd.DataFrame(rows)
