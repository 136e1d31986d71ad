"""What a report shows: the data frames of one sweep, and what their columns mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pandas as pd

from jrn_lightning.analysis.collect import Records
from jrn_lightning.influence import Estimate as Estimate
from jrn_lightning.keys import IMAGES, PIXELS, UNTOUCHED, WHOLE
from jrn_lightning.records.record import Status


def value_of(row: pd.Series, column: str) -> Estimate:
    """``column`` of a row, with ``column_low`` and ``column_high`` where they exist."""

    def number(name: str) -> float:
        found = row.get(name, float("nan"))
        return float("nan") if pd.isna(found) else float(found)

    return Estimate(number(column), number(f"{column}_low"), number(f"{column}_high"))


_KEPT = ("label", "higher_is_better", "scale", "in_table")  # of a measure in a job record


@dataclass(frozen=True)
class MeasureColumn:
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

    def text(self, value: float, digits: int = 3) -> str:
        """``value`` as printed: two digits of a percentage, ``digits`` of an error."""
        return f"{self.printed(value):.{2 if self.percent else digits}f}"

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
            finished seeds with intervals (:meth:`Records.by_architecture`).
        jobs: a row per job, planned ones included.
        published: rows of the paper; empty where they do not apply.
        columns: per modality its measures, in the order of the record.
        primary: per modality the measure behind ω.
        problems: job, status and what happened, of every job that is not finished.
        warnings: job and text of every warning that a job recorded.
        scenes: how many the test frames show; None without a finished job.
    """

    name: str
    protocol: str
    pooling: str
    architectures: pd.DataFrame
    jobs: pd.DataFrame
    published: pd.DataFrame
    columns: Mapping[str, tuple[MeasureColumn, ...]]
    primary: Mapping[str, MeasureColumn]
    problems: tuple[tuple[str, str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    scenes: int | None = None

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
        return f"{'averaged' if self.pooling == IMAGES else 'pooled'} over {self.pooling}"

    @property
    def one_seed(self) -> bool:
        """Whether no architecture has two finished seeds: their variance is unknown."""
        return bool(pd.to_numeric(self.architectures["seeds"]).max() <= 1)

    @property
    def finished(self) -> int:
        """How many jobs have finished."""
        return int((self.jobs["status"] == Status.FINISHED).sum()) if len(self.jobs) else 0


def omega(source: str, target: str) -> str:
    """Name of the column that holds ω(source → target').

    >>> omega("depth", "semantic")
    'omega/depth->semantic'
    """
    return f"omega/{source}->{target}"


def improvement(column: MeasureColumn) -> str:
    """Name of the column that holds A of the joint setup minus A of the untouched input."""
    return f"improvement/{column.key}"


def published() -> pd.DataFrame:
    """Rows of Tables I to III and the ω of Figure 7, accuracies as fractions.

    rel(sqr) stands under ``sq_rel``, whose definition its numbers follow.

    Returns:
        Cells as text, with the digits that the paper prints; :func:`value_of` reads them.
    """
    with resources.files(__package__).joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str)  # so that 0.070 is not printed as 0.07


def columns_of(modality: str, entry: Mapping[str, Any]) -> tuple[MeasureColumn, ...]:
    """The measures of ``modality`` as its ``entry`` in a job record describes them."""
    return tuple(
        MeasureColumn(modality, m["name"], **{k: m[k] for k in _KEPT if k in m})
        for m in entry["measures"]
    )


def summarize(
    records: Records,
    *,
    protocol: str = WHOLE,
    pooling: str = PIXELS,
    with_published: bool | None = None,
) -> Summary:
    """Arrange a collected sweep for a report.

    Args:
        records: of the sweep.
        protocol: which crop.
        pooling: ``pixels`` or ``images``.
        with_published: whether to add the paper's rows; by default where the data of the jobs is
            NYU by name.

    Raises:
        JRNError: no job has such a protocol or pooling.
    """
    if with_published is None:
        data = (str((job.data or {}).get("data", "")) for job in records.finished)
        with_published = any("nyu" in name.lower() for name in data)
    columns = {m: columns_of(m, entry) for m, entry in records.modalities.items()}
    primary = {
        m: next(c for c in columns[m] if c.measure == entry["primary"])
        for m, entry in records.modalities.items()
    }
    jobs = records.table(protocol=protocol, pooling=pooling)
    return Summary(
        name=records.name,
        protocol=protocol,
        pooling=pooling,
        architectures=records.by_architecture(protocol=protocol, pooling=pooling),
        jobs=jobs[jobs["arch"] != UNTOUCHED].reset_index(drop=True),
        published=published().iloc[: None if with_published else 0],
        columns=columns,
        primary=primary,
        problems=tuple(
            (job.name, str(job.status), " ".join(job.problem.split()))
            for job in records.jobs
            if job.status is not Status.FINISHED
        ),
        warnings=tuple(
            (job.name, str(warning))
            for job in records.jobs
            for warning in (job.data or {}).get("warnings", ())
        ),
        scenes=next((len(set(t.scenes)) for t in records.tables.values()), None),
    )


def short(text: str) -> str:
    """Names of architectures in ``text`` as they are read.

    >>> short("cat60 and cat,arch.fusion_channels=40,arch.stem_channels=20.")
    'cat60 and cat (fusion_channels=40, stem_channels=20).'
    """
    changes = r"((?:,arch\.[\w.]+=(?:\[[^\]]*\]|[\w.+-]*\w))+)"
    return re.sub(changes, lambda m: f" ({m[0][1:].replace('arch.', '').replace(',', ', ')})", text)
