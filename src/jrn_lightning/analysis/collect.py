"""Collecting the job records of a sweep, at any time."""

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
from jrn_lightning.influence import Results, compute_results
from jrn_lightning.keys import JOINT, PIXELS, UNTOUCHED, WHOLE
from jrn_lightning.records.record import MUTED_KEY, RESULTS, JobRecord, Status, planned

_ROWS = ("metrics", "improvement", "influence", "modalities")


@dataclass
class Records:
    """Every job of a sweep, whatever became of it.

    Args:
        folder: of the sweep.
        jobs: planned ones first, in their order.
        controls: the jobs whose networks never saw some modality. They have no rows in the tables,
            but separate gain from breakage.
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
        return _finished(self.jobs)

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
        for other in _finished(self.controls):
            if (other.arch, other.seed, set(other.muted)) == (job.arch, job.seed, set(muted)):
                return other
        return None

    @property
    def modalities(self) -> dict[str, Any]:
        """Description of the modalities and their measures, from the first finished job."""
        return _data(self.finished[0])["modalities"] if self.finished else {}

    def table(self, protocol: str = WHOLE, pooling: str = PIXELS) -> pd.DataFrame:
        """One row a job, after the untouched input: see the README for the columns.

        ``<modality>/<measure>``, ``improvement/<modality>/<measure>`` and
        ``omega/<source>-><target>`` (of the target's primary measure), each with ``_low`` and
        ``_high``.

        Raises:
            RecordError: no job has that protocol or pooling; the known ones are listed.
        """
        rows = [{"arch": UNTOUCHED, "status": "", **self._untouched(protocol, pooling)}]
        for job in self.jobs:
            row = {"arch": job.arch, "seed": job.seed, **_described([job])}
            row |= {"status": str(job.status), "problem": job.problem}
            if job.status is Status.FINISHED:
                row |= _columns(_data(job), self.modalities, protocol, pooling)
            rows.append(row)
        return pd.DataFrame(rows)

    def by_architecture(self, protocol: str = WHOLE, pooling: str = PIXELS) -> pd.DataFrame:
        """One row an architecture, after the untouched input, in the columns of :meth:`table`.

        Means over the finished ``seeds`` of the ``planned`` ones, with intervals of two levels
        (seed, scene); ``state`` says in words what became of the others.
        """
        rows = [{"arch": UNTOUCHED, "state": "", **self._untouched(protocol, pooling)}]
        for arch, jobs in self.groups.items():
            finished = _finished(jobs)
            row = {"arch": arch, **_described(jobs), "seeds": len(finished), "planned": len(jobs)}
            row["state"] = _state(jobs)
            if finished:
                results = self._over_seeds(finished, protocol, pooling)
                row |= _columns(vars(results), self.modalities, protocol, pooling)
            rows.append(row)
        # As objects: a column may hold numbers for some rows and nothing for others.
        return pd.DataFrame(rows, dtype=object)

    def _over_seeds(self, finished: Sequence[JobRecord], protocol: str, pooling: str) -> Results:
        """Two levels over the networks of an architecture.

        One network, too, is resampled as in all other parts of a report, or the same interval
        would have two last digits.
        """
        tables = [self.tables[job.folder] for job in finished]
        first = tables[0]
        p = [first.protocols.index(protocol)]
        return compute_results(
            {m: np.stack([t.values[m][:, :, p] for t in tables]) for m in first.values},
            {m: modality.measures for m, modality in first.modalities.items()},
            first.setups,
            [protocol],
            first.scenes,
            resamples=2_000,
            poolings=[pooling],
        )

    def _untouched(self, protocol: str, pooling: str) -> dict[str, Any]:
        """The columns of the untouched input, as the first finished job measured it."""
        for job in self.finished:
            data = _data(job)
            for key, value in (("protocols", protocol), ("poolings", pooling)):
                if value not in data[key]:
                    raise RecordError(
                        f"{job.folder} has no {key[:-1]} {value!r}. It has: {', '.join(data[key])}."
                    )
        if not self.finished:
            return {}
        measures = {**_data(self.finished[0]), "improvement": (), "influence": ()}
        return _columns(measures, self.modalities, protocol, pooling, UNTOUCHED)


def collect(folder: Path) -> Records:
    """Read every job of a sweep's folder.

    Finished jobs of different caches or test frames are never mixed: those that differ from most
    are marked and left out. So is a control that was not trained like its joint network.

    Raises:
        RecordError: no such folder, or no job in it.
    """
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder. Give the folder of a sweep, as runs/nyu.")
    folders = [folder / job for job in planned(folder)]
    folders += [path.parent for path in sorted(folder.glob(f"*/seed*/{RESULTS}"))]
    if not folders:
        raise RecordError(
            f"{folder} holds no job (no <arch>/seed<k>/{RESULTS}). Give the folder of a sweep; "
            "`python run.py -m arch=cat60,sum60` makes one."
        )
    jobs = [JobRecord.read(path) for path in dict.fromkeys(folders)]
    records = Records(
        folder,
        [job for job in jobs if not job.muted],
        [job for job in jobs if job.muted],
    )
    _read(records)
    _leave_out_foreign(records)
    return records


def _leave_out(records: Records, job: JobRecord, why: str) -> None:
    job.status, job.problem = Status.DAMAGED, f"left out: {why}"
    records.problems.append(f"{job.folder}: {job.problem}")


def _read(records: Records) -> None:
    """The statistics of what has finished, and is not damaged."""
    for job in _finished([*records.jobs, *records.controls]):
        rows = ("metrics", "modalities") if job.muted else _ROWS
        try:
            empty = [key for key in rows if not _data(job).get(key)]
            if empty:
                raise RecordError(f"{job.folder / RESULTS} holds no {', '.join(empty)}")
            records.tables[job.folder] = job.statistics()
        except RecordError as error:
            _leave_out(records, job, str(error))


def _leave_out_foreign(records: Records) -> None:
    """Keep the jobs of the commonest cache and evaluation; in a tie, those that come first."""
    identities = {job.folder: _cache_and_evaluation(records, job) for job in records.finished}
    if not identities:
        return
    reference = Counter(identities.values()).most_common(1)[0][0]
    known: dict[tuple[str, int | None], JobRecord] = {}
    for job in records.finished:
        if identities[job.folder] != reference:
            _leave_out(records, job, "made from another cache, test split or evaluation")
        elif (twin := known.setdefault((job.arch, job.seed), job)) is not job:
            _leave_out(records, job, f"the same network as {twin.folder}")
    for job in _finished(records.controls):
        cache_hash, ids, setups, protocols = _cache_and_evaluation(records, job)
        joint = known.get((job.arch, job.seed))
        changes = _differences(job, joint) if joint else []
        if (cache_hash, ids, protocols) != (reference[0], reference[1], reference[3]):
            _leave_out(records, job, "made from another cache, test split or evaluation")
        elif not {UNTOUCHED, JOINT} <= set(setups):
            _leave_out(records, job, f"tested without {UNTOUCHED} or {JOINT}")
        elif joint and changes:
            why = f"trained unlike {joint.folder}, in {', '.join(changes)}"
            _leave_out(records, job, why)


def _cache_and_evaluation(
    records: Records, job: JobRecord
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The cache's hash, the test frames, the setups and the protocols."""
    table = records.tables[job.folder]
    return (str(_data(job).get("cache_hash")), table.ids, table.setups, table.protocols)


def _differences(control: JobRecord, joint: JobRecord) -> list[str]:
    """The keys of a control's configuration that it ought to share with the joint network."""
    a, b = (_data(job).get("config", {}) for job in (control, joint))
    own = ("evaluation.", "trainer.", MUTED_KEY)
    return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k) and not k.startswith(own))


def _data(job: JobRecord) -> dict[str, Any]:
    assert job.data is not None
    return job.data


def _finished(jobs: Sequence[JobRecord]) -> list[JobRecord]:
    return [job for job in jobs if job.status is Status.FINISHED]


def _described(jobs: Sequence[JobRecord]) -> dict[str, Any]:
    """The architecture of ``jobs``, from the first that has a record."""
    found: Mapping[str, Any] = next((job.data["arch"] for job in jobs if job.data), {})
    names = ("operation", "fusion_channels", "computation", "parameters")
    return {name: found.get(name) for name in names}


def _state(jobs: Sequence[JobRecord]) -> str:
    """How many seeds are finished, and what became of the others."""
    counts = Counter(str(job.status) for job in jobs)
    done = counts.pop(Status.FINISHED, 0)
    others = [f"{n} {status}" for status, n in counts.most_common()]
    return ", ".join([f"{done} of {len(jobs)}", *others]) if others else str(done)


def _seed_order(job: JobRecord) -> tuple[bool, int, str]:
    return (job.seed is None, job.seed or 0, job.folder.name)


def _columns(
    results: Mapping[str, Any],
    modalities: Mapping[str, Any],
    protocol: str,
    pooling: str,
    setup: str = JOINT,
) -> dict[str, float]:
    """The rows of a test pass under one protocol and pooling, as columns of a table."""
    primary = {m: entry["primary"] for m, entry in modalities.items()}
    columns: dict[str, float] = {}
    for kind, name in (
        ("metrics", "{modality}/{measure}"),
        ("improvement", "improvement/{modality}/{measure}"),
        ("influence", "omega/{source}->{target}"),
    ):
        for row in results[kind]:
            if (row["protocol"], row["pooling"]) != (protocol, pooling):
                continue
            if row.get("setup", setup) != setup:
                continue
            if "target" in row and row["measure"] != primary[row["target"]]:
                continue
            for suffix, end in (("", "value"), ("_low", "low"), ("_high", "high")):
                value = row[end]
                columns[name.format_map(row) + suffix] = float("nan") if value is None else value
    return columns
