"""The comparison of a sweep as a table: for the terminal, as Markdown, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jrn_lightning import keys
from jrn_lightning.analysis.summary import Column, Summary, Value, improvement, omega, value_of

NOTHING = "-"


@dataclass(frozen=True)
class _Cell:
    """One number of a table."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class _Row:
    """One line of a table.

    Args:
        label: its name.
        seeds: how many, as ``2/3`` where some are not finished.
        state: the same in words.
        note: what else to say below the name.
        cells: its numbers.
        published: where in the paper, if it is from there.
    """

    label: str
    seeds: str = ""
    state: str = ""
    note: str = ""
    cells: tuple[_Cell, ...] = ()
    published: str = ""


@dataclass(frozen=True)
class Section:
    """One table: a head of (label, unit or direction) for each column, and the rows."""

    title: str
    heads: list[tuple[str, str]]
    rows: list[_Row]


def terminal(summary: Summary) -> RenderableType:
    """The comparison for a terminal of 80 columns or more.

    The columns of the paper's Table I, with half the width of the interval below each value, then
    improvement and influence with their intervals.
    """
    parts: list[RenderableType] = []
    for section in _sections(summary, lambda c: c.in_table, _half_width):
        table = Table(box=None, padding=(0, 1, 0, 0))
        table.add_column("", overflow="fold")
        for head in section.heads:
            table.add_column(escape("\n".join(head)), justify="right", no_wrap=True)
        published = False
        for row in section.rows:
            if row.published and not published:
                table.add_row(Text("published", style="italic dim"))
            published = bool(row.published)
            label = Text(f"{row.label} ({row.seeds})" if "/" in row.seeds else row.label)
            if row.note:
                label.append(f"\n{row.note}", style="dim")
            cells = [_terminal_cell(cell) for cell in row.cells]
            table.add_row(label, *cells, style="dim" if published else "")
        parts += [Text(section.title, style="bold underline"), table, Text()]
    parts += [Text(line, style="dim") for line in notes(summary)]
    for job, status, what in summary.problems:
        parts.append(Text(f"{status}: {job}" + (f": {what}" if what else ""), style="red"))
    parts += [Text(f"warning: {job}: {text}", style="yellow") for job, text in summary.warnings]
    return Group(*parts)


def markdown(summary: Summary, figures: Mapping[str, str] | None = None) -> str:
    """The comparison as Markdown, every measure included.

    Args:
        summary: what to show.
        figures: captions and paths of pictures to show below the tables.
    """
    lines = [f"# Comparison of {summary.name}", ""]
    for section in _sections(summary, lambda c: True, _low_to_high):
        head = ["", "seeds", *(" ".join(pair) for pair in section.heads)]
        lines += [f"## {section.title}", ""]
        lines += [markdown_row(head), markdown_row([":--", ":--", *["--:"] * len(section.heads)])]
        for row in section.rows:
            label = f"{row.label} (*published*, {row.published})" if row.published else row.label
            label += f"<br><sub>{row.note}</sub>" if row.note else ""
            lines.append(markdown_row([label, row.state, *map(_markdown_cell, row.cells)]))
        lines.append("")
    for caption, path in (figures or {}).items():
        lines += [f"![{caption}]({path})", ""]
    lines += [f"- {note}" for note in notes(summary)] + [""]
    if summary.problems:
        lines += ["## Jobs that are not finished", ""]
        lines += [markdown_row(["job", "status", "what happened"]), markdown_row([":--"] * 3)]
        lines += [markdown_row(problem) for problem in summary.problems] + [""]
    if summary.warnings:
        lines += ["## Warnings", ""]
        lines += [f"- {job}: {text}" for job, text in summary.warnings] + [""]
    return "\n".join(lines)


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
    first = ["kind", "arch", "seed", "seeds", "planned", "status", "source"]
    first += ["operation", "fusion_channels", "computation"]
    first = [column for column in first if column in table]
    return table.loc[:, first + [column for column in table if column not in first]]


def csv(summary: Summary) -> str:
    """:func:`frame` as CSV."""
    return str(frame(summary).to_csv(index=False))


def measures(summary: Summary, modality: str, *, in_table: bool) -> Section:
    """The columns of the paper's Table I of one modality, or all its other measures."""
    shown = [c for c in summary.columns[modality] if c.in_table == in_table]
    return _performance(summary, modality, shown, _low_to_high)


def influence(summary: Summary) -> Section:
    """Improvement over the untouched input and ω, of every architecture."""
    return _influence(summary)


# -- what the tables hold ----------------------------------------------------------------------

_Interval = Callable[[Value, int], str]


def _sections(
    summary: Summary, show: Callable[[Column], bool], interval: _Interval
) -> Iterator[Section]:
    """A table of measures for each modality, then one of improvement and influence."""
    if not summary.columns:
        yield Section("No job has finished yet", [], [_ours(r) for r in _rows(summary)[1:]])
        return
    for modality, columns in summary.columns.items():
        shown = [column for column in columns if show(column)]
        yield _performance(summary, modality, shown, interval)
    yield _influence(summary)


def _performance(
    summary: Summary, modality: str, columns: Sequence[Column], interval: _Interval
) -> Section:
    best = {column.key: _best(summary.architectures, column) for column in columns}

    def cell(row: pd.Series, column: Column) -> _Cell:
        found = Value(*(column.printed(number) for number in value_of(row, column.key)))
        if not found.known:
            return _Cell(NOTHING)
        digits = 2 if column.percent else 4
        text = f"{found.value:.{digits}f}"
        within = interval(found, digits) if found.has_interval else ""
        return _Cell(text, within, text == f"{column.printed(best[column.key]):.{digits}f}")

    def published_cell(row: pd.Series, column: Column) -> _Cell:
        text = row.get(column.key)
        if not isinstance(text, str):
            return _Cell(NOTHING)
        return _Cell(str(Decimal(text).scaleb(2)) if column.percent else text)

    rows = [_ours(row, tuple(cell(row, column) for column in columns)) for row in _rows(summary)]
    for _, row in summary.published.iterrows():
        cells = tuple(published_cell(row, column) for column in columns)
        if any(cell.text != NOTHING for cell in cells):
            rows.append(_Row(row["arch"], cells=cells, published=row["source"]))
    return Section(modality, [column.header for column in columns], rows)


def _influence(summary: Summary) -> Section:
    """Improvement over the input, and ω: both in units of A, so that positive is good."""
    heads, names = [], []
    for column in summary.primary.values():
        heads.append((column.modality, "improvement"))
        names.append(improvement(column))
    for source, target in summary.directions:
        heads.append((f"ω {source}", f"→ {target}"))
        names.append(omega(source, target))

    def cells(row: pd.Series) -> tuple[_Cell, ...]:
        return tuple(_difference(value_of(row, name)) for name in names)

    rows = []
    for row in _rows(summary)[1:]:
        note = row["computation"] if isinstance(row.get("computation"), str) else ""
        rows.append(_ours(row, cells(row), note))
    for _, row in summary.published.iterrows():
        if any(cell.text != NOTHING for cell in cells(row)):
            rows.append(_Row(row["arch"], cells=cells(row), published=row["source"]))
    return Section("improvement over the input, and influence", heads, rows)


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
    if len(summary.published):
        notes.append(
            "Published rows are from the paper: 654 test frames and other inputs, so compare their "
            "pattern, not their values."
        )
    return notes


def _rows(summary: Summary) -> list[pd.Series]:
    return [row for _, row in summary.architectures.iterrows()]


def _ours(row: pd.Series, cells: tuple[_Cell, ...] = (), note: str = "") -> _Row:
    seeds = ""
    if row["arch"] != keys.UNTOUCHED:
        done, planned = row["seeds"], row["planned"]
        seeds = str(done) if done == planned else f"{done}/{planned}"
    return _Row(row["arch"], seeds, row["state"], note, cells)


def _best(table: pd.DataFrame, column: Column) -> float:
    """The best value, the untouched input included; NaN where nothing is known."""
    if column.key not in table:
        return float("nan")
    values = pd.to_numeric(table[column.key])
    return float(values.max() if column.higher_is_better else values.min())


# -- how they are written ----------------------------------------------------------------------


def _half_width(value: Value, digits: int) -> str:
    return f"±{(value.high - value.low) / 2:.{digits}f}"


def _low_to_high(value: Value, digits: int) -> str:
    return f"[{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _difference(value: Value) -> _Cell:
    if not value.known:
        return _Cell(NOTHING)
    return _Cell(f"{value.value:+.2f}", _low_to_high(value, 2) if value.has_interval else "")


def _terminal_cell(cell: _Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.interval:
        text.append(f"\n{cell.interval}", style="not bold dim")
    return text


def _markdown_cell(cell: _Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    return f"{text}<br><sub>{cell.interval}</sub>" if cell.interval else text


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a Markdown table; what would end a cell is replaced or escaped."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
