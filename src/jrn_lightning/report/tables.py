"""The comparison of a sweep as tables: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from jrn_lightning import keys
from jrn_lightning.analysis.summary import (
    MeasureColumn,
    Summary,
    improvement,
    omega,
    short,
    value_of,
)
from jrn_lightning.influence import Estimate
from jrn_lightning.report.answer import Answer
from jrn_lightning.report.table import BEST, GROUP, INPUT, NOTHING, PUBLISHED, Cell, Row, Table

HEAD = "architecture"
#: columns of a table; more measures than that become its rows
WIDEST = 20


def terminal(summary: Summary) -> RenderableType:
    """The comparison for a terminal.

    The columns of the paper's Table I, with half the width of the interval below each value, then
    improvement and influence with their intervals.
    """
    parts: list[RenderableType] = list(comparison(summary, lambda c: c.in_table, brief=True))
    parts += [Text(line, style="dim") for line in notes(summary)]
    for job, status, what in summary.problems:
        parts.append(Text(f"{status}: {job}" + (f": {what}" if what else ""), style="red"))
    parts += [Text(f"warning: {job}: {text}", style="yellow") for job, text in summary.warnings]
    return Group(*parts)


def markdown(
    summary: Summary, figures: Mapping[str, str] | None = None, said: Answer | None = None
) -> str:
    """The comparison as Markdown, every measure included.

    Args:
        summary: what to show.
        figures: captions and paths of pictures to show below the tables.
        said: the answer, to stand first.
    """
    parts = [f"# Comparison of {summary.name}\n"]
    if said is not None:
        parts.append(f"## The answer\n\n{said.markdown}\n")
    parts += [table.markdown() for table in comparison(summary, lambda c: True)]
    parts += [f"![{caption}]({path})\n" for caption, path in (figures or {}).items()]
    parts += ["\n".join(f"- {note}" for note in notes(summary)) + "\n"]
    if summary.problems:
        heads = ("job", "status", "what happened")
        rows = [Row(problem) for problem in summary.problems]
        parts.append(Table("Jobs that are not finished", heads, rows, words=3).markdown())
    if summary.warnings:
        parts.append("## Warnings\n")
        parts.append("\n".join(f"- {job}: {text}" for job, text in summary.warnings) + "\n")
    return "\n".join(parts)


def frame(summary: Summary) -> pd.DataFrame:
    """Everything in one data frame, unrounded, in the units of the records (fractions, metres).

    Column ``kind`` says what a row is: ``input``, ``mean`` (over the finished seeds), ``job`` or
    ``published``. Jobs that are not finished are rows with a ``status`` and no numbers.
    """
    means = summary.architectures.rename(columns={"state": "status"})
    kind = means["arch"].map(lambda arch: "input" if arch == keys.UNTOUCHED else "mean")
    parts = [
        means.assign(kind=kind),
        summary.jobs.assign(kind="job"),
        summary.published.assign(kind="published"),
    ]
    table: pd.DataFrame = pd.concat(
        [part.astype(object) for part in parts if len(part)], ignore_index=True
    )
    for column in ("seed", "seeds", "planned", "fusion_channels", "parameters"):
        if column in table:
            table[column] = pd.to_numeric(table[column]).astype("Int64")
    measured = table.columns[table.columns.str.contains("/")]
    table[measured] = table[measured].apply(pd.to_numeric)  # published ones are as printed
    first = ["kind", "arch", "seed", "seeds", "planned", "status", "source"]
    first += ["operation", "fusion_channels", "computation"]
    first = [column for column in first if column in table]
    order = first + [column for column in table if column not in first]
    return table.loc[
        :, order
    ].copy()  # in one block: pandas warns whoever adds to a scattered frame


def csv(summary: Summary) -> str:
    """:func:`frame` as CSV."""
    return str(frame(summary).to_csv(index=False))


def notes(summary: Summary) -> list[str]:
    """What has to be said below the tables."""
    if not summary.columns:
        return []
    units = "; ".join(f"{c.modality}: {c.performance_label}" for c in summary.primary.values())
    notes = [
        f"Protocol {summary.protocol}, {summary.pooled}. The first row is the "
        "untouched input, evaluated like an output.",
        "One seed each, with 95 % bootstrap intervals over scenes alone: other seeds may differ."
        if summary.one_seed
        else "Means over the finished seeds, with 95 % bootstrap intervals over scenes and seeds.",
        f"Improvement and ω are differences of the performance A ({units}): positive is good.",
    ]
    if "computation" in summary.jobs and summary.jobs["computation"].notna().any():
        notes.append(
            "Loose: concatenation of at least 10 channels, so that each modality keeps its own; "
            "coupled: any other (Section III-B of the paper)."
        )
    if len(summary.published):
        notes.append(
            "Published rows are from the paper: 654 test frames and other inputs, so compare their "
            "pattern, not their values."
        )
    return notes


# -- what the tables hold ----------------------------------------------------------------------


def comparison(
    summary: Summary, show: Callable[[MeasureColumn], bool], *, brief: bool = False
) -> list[Table]:
    """A table of measures for each modality, then one of improvement and influence.

    Args:
        summary: what to show.
        show: which measures.
        brief: for 80 columns: of an interval half its width, of a row less about its origin.
    """
    if not summary.columns:
        return [Table("No job has finished yet", [HEAD], _rows(summary, lambda _: [])[1:])]
    tables = []
    for modality, columns in summary.columns.items():
        shown = [c for c in columns if show(c)]
        main = [c for c in shown if c.in_table or len(shown) <= WIDEST]
        tables.append(measures(summary, modality, main, brief))
        if len(main) < len(shown):
            tables.append(measures(summary, modality, [c for c in shown if c not in main], brief))
    return [*tables, influence(summary, brief)]


def measures(
    summary: Summary, modality: str, columns: Sequence[MeasureColumn], brief: bool = False
) -> Table:
    """Some measures of one modality; the best value of each is marked.

    A row each where they are more than :data:`WIDEST`, else a column each.
    """
    best = {column.key: _best(summary.architectures, column) for column in columns}

    def cell(row: pd.Series, column: MeasureColumn) -> str | Cell:
        if isinstance(printed := row.get(column.key), str):  # by the paper, with its digits
            return str(Decimal(printed).scaleb(2)) if column.percent else printed
        value = Estimate(*(column.printed(number) for number in value_of(row, column.key)))
        if not value.known:
            return NOTHING
        digits = 2 if column.percent else 4
        text = f"{value.value:.{digits}f}"
        style = BEST if text == f"{column.printed(best[column.key]):.{digits}f}" else ""
        if value.has_interval and brief:
            text += f"\n±{(value.high - value.low) / 2:.{digits}f}"
        elif value.has_interval:
            text += f"\n[{value.low:.{digits}f}, {value.high:.{digits}f}]"
        return Cell(text, style)

    heads = ["\n".join(c.header) for c in columns]
    rows = _rows(summary, lambda row: [cell(row, column) for column in columns], brief)
    if len(columns) <= WIDEST:
        return Table(modality, [HEAD, *heads], rows)
    cells = zip(*(row.cells for row in rows if row.kind != GROUP), strict=True)
    first = [c.text if isinstance(c, Cell) else c for c in next(cells)]
    turned = [Row([head, *own]) for head, own in zip(heads, cells, strict=True)]
    return Table(modality, ["measure", *first], turned)


def influence(summary: Summary, brief: bool = False) -> Table:
    """Improvement over the input, and ω: both in units of A, so that positive is good."""
    heads, found = [HEAD], []
    for column in summary.primary.values():
        heads.append(f"{column.modality}\nimprovement")
        found.append(improvement(column))
    for source, target in summary.directions:
        heads.append(f"ω {source}\n→ {target}")
        found.append(omega(source, target))

    def cell(value: Estimate) -> str:
        if not value.known:
            return NOTHING
        interval = f"\n[{value.low:.2f}, {value.high:.2f}]" if value.has_interval else ""
        return f"{value.value:+.2f}{interval}"

    rows = _rows(summary, lambda row: [cell(value_of(row, key)) for key in found], brief)
    return Table("improvement over the input, and influence", heads, rows[1:])


def name(arch: str) -> str:
    """The name of an architecture, or of the untouched input, as a table shows it."""
    return "untouched input" if arch == keys.UNTOUCHED else short(arch)


def _rows(
    summary: Summary, cells: Callable[[pd.Series], Sequence[str | Cell]], brief: bool = False
) -> list[Row]:
    """The untouched input, the architectures, then the published rows that have a number."""
    rows = []
    for _, row in summary.architectures.iterrows():
        if row["arch"] == keys.UNTOUCHED:
            rows.append(Row([name(row["arch"]), *cells(row)], INPUT))
            continue
        done, comma, rest = str(row["state"]).partition(",")
        seeds = f"{done} seed{'s' * (done.split()[-1] != '1')}{comma}{rest}"
        if brief:
            seeds = f"{done} seeds" if " of " in done else ""
        known = row["computation"] if isinstance(row.get("computation"), str) else ""
        about = ", ".join(filter(None, (known, seeds)))
        rows.append(Row([f"{name(row['arch'])}\n{about}", *cells(row)], archs=row["arch"]))
    published = [
        Row([name(row["arch"]) + f"\n{row['source']}" * (not brief), *cells(row)], PUBLISHED)
        for _, row in summary.published.iterrows()
        if set(cells(row)) != {NOTHING}
    ]
    return [*rows, *([Row(["published"], GROUP)] if published else []), *published]


def _best(table: pd.DataFrame, column: MeasureColumn) -> float:
    """The best value, the untouched input included; NaN where nothing is known."""
    if column.key not in table:
        return float("nan")
    values = pd.to_numeric(table[column.key])
    return float(values.max() if column.higher_is_better else values.min())
