"""Collecting the job records of a sweep into one comparison, at any time."""

from __future__ import annotations

from collections import Counter
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
from jrn_lightning.records.record import RESULTS, JobRecord, Status, planned

_ROWS = ("metrics", "improvement", "influence", "modalities")
_MUTED = "recipe.muted"


@dataclass
class Comparison:
    """Every job of a sweep, whatever became of it.

    Args:
        folder: of the sweep.
        jobs: planned ones first, in their order.
        controls: the jobs whose networks never saw some modality; no rows of the comparison, but
            what tells gain from breakage.
        problems: what was left out of the averages and why.
        tables: the statistics of every finished job and control, by its folder.
    """

    folder: Path
    jobs: list[JobRecord]
    controls: list[JobRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    tables: dict[Path, StatisticsTable] = field(default_factory=dict, repr=False)

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
        return all(job.status in over for job in [*self.jobs, *self.controls])

    @cached_property
    def groups(self) -> dict[str, list[JobRecord]]:
        """Architecture -> its jobs, in the order of their seeds."""
        groups: dict[str, list[JobRecord]] = {}
        for job in self.jobs:
            groups.setdefault(job.arch, []).append(job)
        # The order of the seeds decides the last digit of a mean over them.
        return {arch: sorted(jobs, key=_seed_order) for arch, jobs in groups.items()}

    def control(self, job: JobRecord, muted: Sequence[str]) -> JobRecord | None:
        """The finished job of the same architecture and seed that never saw ``muted``."""
        for other in self.controls:
            same = (other.arch, other.seed, set(other.muted)) == (job.arch, job.seed, set(muted))
            if same and other.status is Status.FINISHED:
                return other
        return None

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
        for jobs in self.groups.values():
            finished = [job for job in jobs if job.status is Status.FINISHED]
            row = self._identity(finished[0] if finished else jobs[0])
            del row["seed"]
            row["seeds"] = len(finished)
            others = [job for job in jobs if job.status is not Status.FINISHED]
            row["status"] = ", ".join(
                [f"{len(finished)} finished"] * bool(finished)
                + [f"seed {job.seed} {job.status}" for job in others]
            )
            if finished:
                summary = self._summary(finished, protocol, pooling)
                row |= _columns(vars(summary), self.modalities, protocol, pooling)
            rows.append(row)
        return pd.DataFrame(rows)

    # -- parts ---------------------------------------------------------------------------------

    def _summary(self, finished: Sequence[JobRecord], protocol: str, pooling: str) -> Summary:
        """Two levels over the networks of an architecture.

        Of one network too by the resamples that all other parts of a report use, or the same
        interval would have two last digits.
        """
        tables = [self.tables[job.folder] for job in finished]
        first = tables[0]
        p = [first.protocols.index(protocol)]
        return summarize(
            {m: np.stack([t.values[m][:, :, p] for t in tables]) for m in first.values},
            {m: modality.measures for m, modality in first.modalities.items()},
            first.setups,
            [protocol],
            first.scenes,
            resamples=2_000,
            poolings=[pooling],
        )

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
            "arch": job.arch,
            "seed": job.seed,
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

    Finished jobs of different caches or test frames are never mixed: those that differ from most
    are marked and left out. So is a control that was not trained like its joint network.

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
    records = [JobRecord.read(folder) for folder in folders]
    comparison = Comparison(
        sweep,
        [job for job in records if not job.muted],
        [job for job in records if job.muted],
    )
    _read(comparison)
    _leave_out_foreign(comparison)
    return comparison


def _leave_out(comparison: Comparison, job: JobRecord, why: str) -> None:
    job.status, job.problem = Status.DAMAGED, f"left out: {why}"
    comparison.problems.append(f"{job.folder}: {job.problem}")


def _read(comparison: Comparison) -> None:
    """The statistics of what has finished, and is not damaged."""
    for job in [*comparison.jobs, *comparison.controls]:
        if job.status is not Status.FINISHED:
            continue
        rows = ("metrics", "modalities") if job.muted else _ROWS
        try:
            empty = [key for key in rows if not _data(job).get(key)]
            if empty:
                raise RecordError(f"{job.folder / RESULTS} holds no {', '.join(empty)}")
            comparison.tables[job.folder] = job.statistics()
        except RecordError as error:
            _leave_out(comparison, job, str(error))


def _leave_out_foreign(comparison: Comparison) -> None:
    """Most jobs say what a job of this sweep is; of as many, the first ones do."""
    identities = {job.folder: _identity(comparison, job) for job in comparison.finished}
    if not identities:
        return
    reference = Counter(identities.values()).most_common(1)[0][0]
    known: dict[tuple[str, int | None], JobRecord] = {}
    for job in comparison.finished:
        if identities[job.folder] != reference:
            _leave_out(comparison, job, "made from another cache, test split or evaluation")
        elif (twin := known.setdefault((job.arch, job.seed), job)) is not job:
            _leave_out(comparison, job, f"the same network as {twin.folder}")
    for job in comparison.controls:
        if job.status is not Status.FINISHED:
            continue
        cache_hash, ids, setups, protocols = _identity(comparison, job)
        joint = known.get((job.arch, job.seed))
        changes = _differences(job, joint) if joint else []
        if (cache_hash, ids, protocols) != (reference[0], reference[1], reference[3]):
            _leave_out(comparison, job, "made from another cache, test split or evaluation")
        elif not {UNTOUCHED, JOINT} <= set(setups):
            _leave_out(comparison, job, f"tested without {UNTOUCHED} or {JOINT}")
        elif joint and changes:
            why = f"trained unlike {joint.folder}, in {', '.join(changes)}"
            _leave_out(comparison, job, why)


_Identity = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _identity(comparison: Comparison, job: JobRecord) -> _Identity:
    table = comparison.tables[job.folder]
    return (str(_data(job).get("cache_hash")), table.ids, table.setups, table.protocols)


def _differences(control: JobRecord, joint: JobRecord) -> list[str]:
    """The keys of a control's configuration that it ought to share with the joint network."""
    a, b = (_data(job).get("config", {}) for job in (control, joint))
    own = ("evaluation.", "trainer.", _MUTED)
    return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k) and not k.startswith(own))


def _data(job: JobRecord) -> dict[str, Any]:
    assert job.data is not None
    return job.data


def _seed_order(job: JobRecord) -> tuple[bool, int, str]:
    return (job.seed is None, job.seed or 0, job.folder.name)


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
