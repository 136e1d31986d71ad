"""Two sweeps over the same test frames, architecture by architecture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from jrn_lightning.analysis.collect import collect
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.influence.paired import paired_difference
from jrn_lightning.keys import JOINT, UNTOUCHED


def compare(first: Path, second: Path, protocol: str = "full") -> pd.DataFrame:
    """How much better the first sweep's networks are, paired by architecture, seed and frame.

    Args:
        first: folder of a sweep.
        second: folder of another one, over the same test frames; its cache may differ.
        protocol: one that both evaluated.

    Returns:
        arch, seeds, modality, measure, first, second (the measure's means over the seeds), value,
        low, high: the difference of the performances A with its 95 % interval. Rows of the arch
        ``input`` compare the untouched inputs.

    Raises:
        RecordError: other test frames or modalities, or no job of one architecture and seed in
            both.
    """
    a, b = _tables(first), _tables(second)
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise RecordError(
            f"{first} and {second} have no finished job of one architecture and seed in common: "
            f"{_named(a)} in {first}, {_named(b)} in {second}."
        )
    reference = a[shared[0]]
    for table in (a[key] for key in shared), (b[key] for key in shared):
        for other in table:
            if (other.ids, list(other.modalities)) != (reference.ids, list(reference.modalities)):
                raise RecordError(f"{first} and {second} were not tested on the same frames.")
            if protocol not in other.protocols:
                raise RecordError(
                    f"protocol {protocol!r} was not evaluated in both. Choose from: "
                    f"{', '.join(other.protocols)}."
                )
    rows = []
    groups = {UNTOUCHED: shared[:1]}
    for arch in dict.fromkeys(arch for arch, _ in shared):
        groups[arch] = [key for key in shared if key[0] == arch]
    for arch, members in groups.items():
        setup = UNTOUCHED if arch == UNTOUCHED else JOINT
        for m, modality in reference.modalities.items():
            x, y = (
                np.stack([_rows(tables[key], m, setup, protocol) for key in members])
                for tables in (a, b)
            )
            for measure in modality.measures:
                values = [float(np.mean([measure(s.sum(0)) for s in side])) for side in (x, y)]
                rows.append(
                    {
                        "arch": arch,
                        "seeds": len(members),
                        "modality": m,
                        "measure": measure.name,
                        "label": measure.label,
                        "in_table": measure.in_table,
                        "first": values[0],
                        "second": values[1],
                        **asdict(paired_difference(x, y, measure, reference.scenes)),
                    }
                )
    return pd.DataFrame(rows)


def _tables(sweep: Path) -> dict[tuple[str, str], StatisticsTable]:
    comparison = collect(sweep)
    return {
        (job.arch, job.folder.name): comparison.tables[job.folder] for job in comparison.finished
    }


def _named(tables: dict[tuple[str, str], StatisticsTable]) -> str:
    return ", ".join("/".join(key) for key in tables) or "nothing"


def _rows(
    table: StatisticsTable, modality: str, setup: str, protocol: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """``(N, D)``."""
    return table.values[modality][:, table.setups.index(setup), table.protocols.index(protocol)]
