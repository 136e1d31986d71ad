"""Collecting the job records of a sweep into one comparison, at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.influence import Summary, summarize
from jrn_lightning.keys import JOINT, UNTOUCHED
from jrn_lightning.sweep.record import JobRecord, Status, planned


@dataclass
class Comparison:
    """Every job of a sweep, whatever became of it.

    Args:
        folder: of the sweep.
        jobs: planned ones first, in their order.
        problems: what was left out of the averages and why.
    """

    folder: Path
    jobs: list[JobRecord]
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.folder.resolve().name

    @property
    def finished(self) -> list[JobRecord]:
        """Jobs with results, of one cache: see ``problems`` for any left out."""
        return [job for job in self.jobs if job.status is Status.FINISHED]

    @property
    def complete(self) -> bool:
        """Whether no job is still to come."""
        over = (Status.FINISHED, Status.FAILED, Status.DAMAGED)
        return all(job.status in over for job in self.jobs)

    @property
    def modalities(self) -> dict[str, Any]:
        """Description of the modalities and their measures, from the first finished job."""
        return _data(self.finished[0])["modalities"] if self.finished else {}

    def table(self, protocol: str = "full", pooling: str = "pixels") -> pd.DataFrame:
        """One row a job, after the untouched input: see the README for the columns.

        ``<modality>/<measure>``, ``improvement/<modality>/<measure>`` and
        ``omega/<source>-><target>`` (of the target's primary measure), each with ``_low`` and
        ``_high``.

        Raises:
            RecordError: no job has that protocol or pooling; the known ones are listed.
        """
        self._require(protocol, pooling)
        rows = [self._input_row(protocol, pooling)] if self.finished else []
        for job in self.jobs:
            row = self._identity(job)
            if job.status is Status.FINISHED:
                row |= _columns(_data(job), _data(job)["modalities"], protocol, pooling)
            rows.append(row)
        return pd.DataFrame(rows)

    def by_architecture(self, protocol: str = "full", pooling: str = "pixels") -> pd.DataFrame:
        """One row an architecture: means over its seeds, intervals of two levels (seed, scene).

        An architecture without a finished job has a row with its status alone.
        """
        self._require(protocol, pooling)
        rows = [self._input_row(protocol, pooling)] if self.finished else []
        for arch, jobs in self._groups.items():
            finished = [job for job in jobs if job.status is Status.FINISHED]
            row = self._identity(finished[0] if finished else jobs[0])
            del row["seed"]
            row["seeds"] = len(finished)
            others = [job for job in jobs if job.status is not Status.FINISHED]
            row["status"] = ", ".join(
                [f"{len(finished)} finished"] * bool(finished)
                + [f"seed {_seed(job)} {job.status}" for job in others]
            )
            if finished:
                summary = self._summaries[arch]
                row |= _columns(vars(summary), self.modalities, protocol, pooling)
            rows.append(row)
        return pd.DataFrame(rows)

    # -- parts ---------------------------------------------------------------------------------

    @cached_property
    def _groups(self) -> dict[str, list[JobRecord]]:
        groups: dict[str, list[JobRecord]] = {}
        for job in self.jobs:
            groups.setdefault(job.folder.parent.name, []).append(job)
        return groups

    @cached_property
    def _summaries(self) -> dict[str, Summary]:
        """Two-level summaries of the architectures; one seed's is the job's own."""
        result = {}
        for arch, jobs in self._groups.items():
            finished = [job for job in jobs if job.status is Status.FINISHED]
            if len(finished) == 1:
                data = _data(finished[0])
                result[arch] = Summary(data["metrics"], data["improvement"], data["influence"])
            elif finished:
                tables = [self._tables[job.folder] for job in finished]
                first = tables[0]
                result[arch] = summarize(
                    {m: np.stack([t.values[m] for t in tables]) for m in first.values},
                    {m: modality.measures for m, modality in first.modalities.items()},
                    first.setups,
                    first.protocols,
                    first.scenes,
                    resamples=2_000,
                )
        return result

    @cached_property
    def _tables(self) -> dict[Path, StatisticsTable]:
        return {job.folder: job.statistics() for job in self.finished}

    def _require(self, protocol: str, pooling: str) -> None:
        for job in self.finished:
            data = _data(job)
            for key, value in (("protocols", protocol), ("poolings", pooling)):
                if value not in data[key]:
                    raise RecordError(
                        f"{job.folder} has no {key[:-1]} {value!r}. It has: {', '.join(data[key])}."
                    )

    def _identity(self, job: JobRecord) -> dict[str, Any]:
        arch = (job.data or {}).get("arch", {})
        return {
            "arch": job.folder.parent.name,
            "seed": _seed(job),
            "operation": arch.get("operation"),
            "fusion_channels": arch.get("fusion_channels"),
            "computation": arch.get("computation"),
            "parameters": arch.get("parameters"),
            "status": str(job.status),
            "problem": job.problem,
        }

    def _input_row(self, protocol: str, pooling: str) -> dict[str, Any]:
        data = _data(self.finished[0])
        row = _columns(data, data["modalities"], protocol, pooling, setup=UNTOUCHED)
        keep = {k: v for k, v in row.items() if not k.startswith(("omega/", "improvement/"))}
        return {"arch": UNTOUCHED, "status": "", **keep}


def collect(sweep: Path) -> Comparison:
    """Read every job of a sweep's folder.

    Finished jobs of different caches or test frames are never mixed: those that differ from the
    first are marked and left out.

    Raises:
        RecordError: no such folder, or no job in it.
    """
    if not sweep.is_dir():
        raise RecordError(f"{sweep}: no such folder. Give the folder of a sweep, as runs/nyu.")
    folders = [sweep / job for job in planned(sweep)]
    seen = set(folders)
    folders += [
        p.parent for p in sorted(sweep.glob("*/seed*/results.json")) if p.parent not in seen
    ]
    if not folders:
        raise RecordError(
            f"{sweep} holds no job (no <arch>/seed<k>/results.json). Give the folder of a sweep; "
            "`python run.py -m arch=cat60,sum60` makes one."
        )
    comparison = Comparison(sweep, [JobRecord.read(folder) for folder in folders])
    _leave_out_foreign(comparison)
    return comparison


def _leave_out_foreign(comparison: Comparison) -> None:
    reference: tuple[Any, ...] | None = None
    for job in comparison.finished:
        data = _data(job)
        try:
            table = job.statistics()
            rows = {k: data[k] for k in ("metrics", "improvement", "influence", "modalities")}
            assert all(rows.values())
        except (RecordError, KeyError, AssertionError) as error:
            job.status, job.problem = Status.DAMAGED, f"left out: {error}"
            comparison.problems.append(f"{job.folder}: {job.problem}")
            continue
        identity = (data["cache_hash"], table.ids, table.setups, table.protocols)
        if reference is None:
            reference = identity
        elif identity != reference:
            job.status = Status.DAMAGED
            job.problem = "left out: made from another cache, test split or evaluation"
            comparison.problems.append(f"{job.folder}: {job.problem}")


def _data(job: JobRecord) -> dict[str, Any]:
    assert job.data is not None
    return job.data


def _seed(job: JobRecord) -> int | None:
    text = job.folder.name.removeprefix("seed")
    return int(text) if text.isdigit() else None


def _columns(
    results: Mapping[str, Any],
    modalities: Mapping[str, Any],
    protocol: str,
    pooling: str,
    setup: str = JOINT,
) -> dict[str, float]:
    columns: dict[str, float] = {}

    def put(key: str, row: Mapping[str, Any]) -> None:
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            value = row[part]
            columns[key + suffix] = float("nan") if value is None else value

    def chosen(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [r for r in rows if r["protocol"] == protocol and r["pooling"] == pooling]

    for row in chosen(results["metrics"]):
        if row["setup"] == setup:
            put(f"{row['modality']}/{row['measure']}", row)
    for row in chosen(results["improvement"]):
        put(f"improvement/{row['modality']}/{row['measure']}", row)
    for row in chosen(results["influence"]):
        if row["measure"] == modalities[row["target"]]["primary"]:
            put(f"omega/{row['source']}->{row['target']}", row)
    return columns
