"""What a report shows: the data frames of one sweep, and what their columns mean.

The numbers come from a collected sweep, which this module knows by its shape alone: a table with
a row per job, one with a row per architecture, and the job records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pandas as pd

from jrn_lightning import keys

FINISHED = "finished"


class Job(Protocol):
    """One job of a sweep."""

    @property
    def folder(self) -> Path:
        """``<sweep>/<arch>/seed<k>``."""

    @property
    def status(self) -> str:
        """``finished``, or what became of it."""

    @property
    def data(self) -> Mapping[str, Any] | None:
        """Its record, None where there is none that can be read."""

    @property
    def problem(self) -> str | None:
        """Why there is no record."""


class Comparison(Protocol):
    """A collected sweep."""

    @property
    def name(self) -> str:
        """Name of the sweep."""

    @property
    def jobs(self) -> Sequence[Job]:
        """The planned jobs."""

    def table(self, protocol: str = ..., pooling: str = ...) -> pd.DataFrame:
        """The untouched input, then a row per job."""

    def by_architecture(self, protocol: str = ..., pooling: str = ...) -> pd.DataFrame:
        """The untouched input, then means over the finished seeds with intervals."""


class Value(NamedTuple):
    """A number with its interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether both ends of the interval are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))


def value_of(row: pd.Series, column: str) -> Value:
    """``column`` of a row, with ``column_low`` and ``column_high`` where they exist."""

    def number(name: str) -> float:
        found = row.get(name, float("nan"))
        return float("nan") if pd.isna(found) else float(found)

    return Value(number(column), number(f"{column}_low"), number(f"{column}_high"))


@dataclass(frozen=True)
class Column:
    """One measure of one modality, and how it is printed.

    Args:
        modality: name of the modality.
        measure: name of the measure.
        label: as in the paper's Table I.
        higher_is_better: direction.
        scale: factor from the measure to the performance A.
        in_table: whether it is a column of the paper's Table I.
    """

    modality: str
    measure: str
    label: str
    higher_is_better: bool
    scale: float = 100.0
    in_table: bool = True

    @property
    def key(self) -> str:
        """Name of the column in the data frames."""
        return f"{self.modality}/{self.measure}"

    @property
    def percent(self) -> bool:
        """Accuracies are printed in percent, errors as they are."""
        return self.higher_is_better and self.scale == 100.0

    @property
    def header(self) -> tuple[str, str]:
        """Label, then unit and better direction, as the head of a column."""
        unit, better = "[%] " if self.percent else "", "↑" if self.higher_is_better else "↓"
        return self.label, unit + better

    def printed(self, value: float) -> float:
        """``value`` in the unit of the header."""
        return value * 100.0 if self.percent else value

    def performance(self, value: float) -> float:
        """A, the performance function: larger is better (equations 2 and 3)."""
        return (self.scale if self.higher_is_better else -self.scale) * value

    @property
    def performance_label(self) -> str:
        """What A is, for an axis."""
        if self.higher_is_better:
            return f"{self.label} [%]" if self.percent else self.label
        return f"−{self.label}" if self.scale == 1.0 else f"−{self.scale:g} · {self.label}"


@dataclass(frozen=True)
class Summary:
    """All that a report shows of a sweep, under one protocol and pooling.

    Args:
        name: name of the sweep.
        protocol: which crop.
        pooling: ``pixels`` or ``images``.
        architectures: the untouched input first, then a row per architecture: means over the
            finished seeds with intervals; ``seeds`` says how many of the ``planned`` ones,
            ``state`` in words.
        jobs: a row per job, planned ones included.
        published: rows of the paper; empty where they do not apply.
        columns: per modality its measures, in the order of the record.
        primary: per modality the measure behind ω.
        problems: job, status and what happened, of every job that is not finished.
        warnings: job and text of every warning that a job recorded.
    """

    name: str
    protocol: str
    pooling: str
    architectures: pd.DataFrame
    jobs: pd.DataFrame
    published: pd.DataFrame
    columns: Mapping[str, tuple[Column, ...]]
    primary: Mapping[str, Column]
    problems: tuple[tuple[str, str, str], ...]
    warnings: tuple[tuple[str, str], ...]

    @property
    def directions(self) -> list[tuple[str, str]]:
        """Ordered pairs (source, target) of modalities whose influence was measured."""
        return [
            (source, target)
            for source in self.columns
            for target in self.columns
            if source != target and omega(source, target) in self.architectures
        ]

    @property
    def pooled(self) -> str:
        """The pooling in words."""
        return f"{'averaged' if self.pooling == 'images' else 'pooled'} over {self.pooling}"

    @property
    def one_seed(self) -> bool:
        """Whether no architecture has a second finished seed, so that nothing is known of seeds."""
        return bool(pd.to_numeric(self.architectures["seeds"]).max() <= 1)

    @property
    def finished(self) -> int:
        """How many jobs have finished."""
        return int((self.jobs["status"] == FINISHED).sum()) if len(self.jobs) else 0


def omega(source: str, target: str) -> str:
    """Name of the column that holds ω(source → target').

    >>> omega("depth", "semantic")
    'omega/depth->semantic'
    """
    return f"omega/{source}->{target}"


def improvement(column: Column) -> str:
    """Name of the column that holds A of the joint setup minus A of the untouched input."""
    return f"improvement/{column.key}"


@cache
def _published() -> pd.DataFrame:
    with resources.files(__package__).joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str)  # so that 0.070 is not printed as 0.07


def published() -> pd.DataFrame:
    """Rows of Tables I to III and the ω of Figure 7, accuracies as fractions.

    rel(sqr) stands under ``sq_rel``, whose definition its numbers follow.

    Returns:
        Cells as text, with the digits that the paper prints; :func:`value_of` reads them.
    """
    return _published().copy()


def columns_of(modality: str, entry: Mapping[str, Any]) -> tuple[Column, ...]:
    """The measures of ``modality`` as its ``entry`` in a job record describes them."""
    return tuple(
        Column(
            modality,
            m["name"],
            m["label"],
            m["higher_is_better"],
            m.get("scale", 100.0),
            m.get("in_table", True),
        )
        for m in entry["measures"]
    )


def summarize(
    comparison: Comparison,
    *,
    protocol: str = "full",
    pooling: str = "pixels",
    with_published: bool | None = None,
) -> Summary:
    """Arrange a collected sweep for a report.

    Args:
        comparison: the collected sweep.
        protocol: which crop.
        pooling: ``pixels`` or ``images``.
        with_published: whether to put the paper's rows beside; unless told, when the data of the
            jobs is NYU by name.

    Raises:
        JRNError: no job has such a protocol or pooling.
    """
    records = [job.data for job in comparison.jobs if job.status == FINISHED and job.data]
    if with_published is None:
        with_published = any("nyu" in str(record.get("data", "")).lower() for record in records)

    columns: dict[str, tuple[Column, ...]] = {}
    primary: dict[str, Column] = {}
    for modality, entry in (records[0]["modalities"] if records else {}).items():
        columns[modality] = columns_of(modality, entry)
        primary[modality] = next(c for c in columns[modality] if c.measure == entry["primary"])

    jobs = comparison.table(protocol=protocol, pooling=pooling)
    means = comparison.by_architecture(protocol=protocol, pooling=pooling)
    return Summary(
        name=comparison.name,
        protocol=protocol,
        pooling=pooling,
        architectures=_architectures(jobs, means),
        jobs=jobs[jobs["arch"] != keys.UNTOUCHED].reset_index(drop=True),
        published=published() if with_published else published().iloc[:0],
        columns=columns,
        primary=primary,
        problems=tuple(
            (job_name(job), job.status, _what_happened(job))
            for job in comparison.jobs
            if job.status != FINISHED
        ),
        warnings=tuple(
            (job_name(job), str(warning))
            for job in comparison.jobs
            for warning in (job.data or {}).get("warnings", ())
        ),
    )


def job_name(job: Job) -> str:
    """Folder of ``job`` within its sweep, as ``cat60/seed0``."""
    return f"{job.folder.parent.name}/{job.folder.name}"


def _what_happened(job: Job) -> str:
    return " ".join(str(job.problem or (job.data or {}).get("error") or "").split())


def _architectures(jobs: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """The input and every planned architecture, those without a finished job included."""
    real = jobs[jobs["arch"] != keys.UNTOUCHED]
    order = [keys.UNTOUCHED, *dict.fromkeys(real["arch"])]
    # As objects, since a column may hold numbers for some rows and words or nothing for others.
    rows = means.drop_duplicates("arch").set_index("arch").reindex(order).astype(object)
    rows = rows.drop(columns=["status", "problem"], errors="ignore")
    rows["state"] = ""
    rows["planned"] = pd.Series(dtype=object)
    for arch in order[1:]:
        own = real[real["arch"] == arch]
        for key in ("operation", "fusion_channels", "computation"):
            if key in own and (key not in rows or pd.isna(rows.loc[arch, key])):
                known = own[key].dropna()
                rows.loc[arch, key] = known.iloc[0] if len(known) else None
        rows.loc[arch, "seeds"] = int((own["status"] == FINISHED).sum())
        rows.loc[arch, "planned"] = len(own)
        rows.loc[arch, "state"] = _state(own["status"])
    return rows.reset_index()


def _state(status: pd.Series) -> str:
    """How many seeds are finished, and what became of the others."""
    counts = status.value_counts()
    done = int(counts.get(FINISHED, 0))
    if done == len(status):
        return str(done)
    others = [f"{n} {kind}" for kind, n in counts.items() if kind != FINISHED]
    return ", ".join([f"{done} of {len(status)}", *others])


def short(text: str) -> str:
    """Names of architectures in ``text`` as they are read, with places to break lines at.

    >>> short("cat,arch.fusion_channels=40,arch.stem_channels=20")
    'cat, fusion_channels=40, stem_channels=20'
    """
    return text.replace(",arch.", ", ")
