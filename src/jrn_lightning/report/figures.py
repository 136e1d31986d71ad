"""Figure 7: performance against influence, as functions from data frames to figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jrn_lightning import keys
from jrn_lightning.analysis.summary import MeasureColumn, Summary, improvement, omega, value_of
from jrn_lightning.influence import Estimate
from jrn_lightning.report.style import (
    DASHED,
    FAINT,
    INK,
    Look,
    canvas,
    handles_of,
    legend,
    looks,
    mark,
    point,
    stretch,
    tidy,
    title,
    unit,
    words,
)


class _Point(NamedTuple):
    """One architecture, or one seed of it, in the plane of ω and A."""

    arch: str
    omega: Estimate
    performance: Estimate


def influence_vs_performance(
    table: pd.DataFrame,
    source: str,
    target: str,
    column: MeasureColumn,
    *,
    jobs: pd.DataFrame | None = None,
    published: pd.DataFrame | None = None,
) -> Figure:
    """Performance on ``target`` against the influence of ``source`` on it (Figure 7).

    A cross spans two intervals: across, of ω; upright, of the improvement over the untouched
    input, which is drawn as a dashed line. Both are paired differences. The interval of A itself
    is several times wider, is common to all architectures, and would say less.

    Args:
        table: a row per architecture, the untouched input as ``arch == "input"``; columns as in
            :class:`~jrn_lightning.analysis.summary.Summary`.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
        jobs: a row per job, drawn as small dots.
        published: rows of the paper, drawn hollow in a panel of their own: they are of other
            inputs, and would squash ours.
    """
    panels = [(table, list(_points(table, source, target, column)))]
    if published is not None and (theirs := list(_points(published, source, target, column))):
        panels.append((published, theirs))
    known = looks(pd.concat([rows for rows, _ in panels], ignore_index=True))
    apart = len(panels) > 1
    figure, grid = canvas(
        9.0 if apart else 6.4, 5.0, 1, len(panels), width_ratios=[3, 2][: len(panels)]
    )
    for axes, (rows, points) in zip(grid[0], panels, strict=True):
        seeds = _points(jobs, source, target, column) if jobs is not None and rows is table else ()
        for p in seeds:
            look, centre = known[p.arch], (p.omega.value, p.performance.value)
            dot = axes.plot(*centre, look.marker, ms=3.2, mec="none", mfc=look.colour, alpha=0.45)
            mark(dot, p.arch)
        for p in points:
            said = f"ω {words(p.omega)}, A {p.performance.value:.2f}".replace("-", "−")
            look, hollow = known[p.arch], rows is published
            point(axes, p.omega, p.performance, look, p.arch, said, size=7.0, hollow=hollow)
        line = input_performance(rows, column)
        if line is not None:
            axes.axhline(line, color=INK, lw=1.0, ls=DASHED, zorder=1)
        low, high = axes.get_xlim()
        if 1.5 * low - 0.5 * high <= 0 <= 1.5 * high - 0.5 * low:
            axes.axvline(0, color=FAINT, lw=0.8, zorder=0)
        stretch(axes, "x", [p.omega.value for p in points])
        axes.margins(0.1)
        tidy(axes)
    if apart:
        for axes, text in zip(grid[0], ("measured", "published, from other inputs"), strict=True):
            axes.set_title(text, fontsize="medium", color=INK)
    grid[0, 0].set_ylabel(f"A of {target}, {column.performance_label} (higher is better)")
    grid[0, 0].set_xlabel(f"ω of {source} on {target}, {unit(column)}")
    title(figure, f"Influence of {source} on {target}")
    named = {
        f"{p.arch} ({known[p.arch].computation} computation)": known[p.arch]
        for _, points in panels
        for p in points
    }
    handles = handles_of(named, lines=False)
    handles.append(Line2D([], [], color=INK, lw=1.0, ls=DASHED, label="untouched input"))
    if jobs is not None:
        handles += handles_of({"single seed": Look(FAINT, "o")}, lines=False, size=3.2)
    if any(p.omega.has_interval for _, points in panels for p in points):
        handles += handles_of({"95 % interval": Look(INK, "+")}, lines=False, size=10)
    legend(figure, handles, 4 if apart else 2)
    return figure


def influence_figure(summary: Summary, source: str, target: str) -> Figure:
    """:func:`influence_vs_performance` of a sweep."""
    column, jobs, published = summary.primary[target], summary.jobs, summary.published
    return influence_vs_performance(
        summary.architectures, source, target, column, jobs=jobs, published=published
    )


def influence_figures(summary: Summary) -> dict[tuple[str, str], Figure]:
    """:func:`influence_figure` for each direction that was measured."""
    return {way: influence_figure(summary, *way) for way in summary.directions}


def input_performance(table: pd.DataFrame, column: MeasureColumn) -> float | None:
    """A of the untouched input, where it is known."""
    rows = table[table["arch"] == keys.UNTOUCHED]
    value = value_of(rows.iloc[0], column.key) if len(rows) else None
    return column.performance(value.value) if value and value.known else None


def _points(
    table: pd.DataFrame, source: str, target: str, column: MeasureColumn
) -> Iterator[_Point]:
    for _, row in table.iterrows():
        across, value = value_of(row, omega(source, target)), value_of(row, column.key)
        if row["arch"] == keys.UNTOUCHED or not (across.known and value.known):
            continue
        performance = column.performance(value.value)
        better = value_of(row, improvement(column))
        low, high = better.low - better.value, better.high - better.value
        upright = Estimate(performance, performance + low, performance + high)
        yield _Point(str(row["arch"]), across, upright)
