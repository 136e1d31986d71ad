"""Figure 7: performance against influence, as functions from data frames to figures.

Figures are drawn without pyplot: nothing is shown, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from jrn_lightning import keys
from jrn_lightning.analysis.summary import Column, Summary, Value, improvement, omega, value_of
from jrn_lightning.report import labels
from jrn_lightning.report.style import (
    COMPUTATIONS,
    FAINT,
    INK,
    PAPER,
    SIZE,
    canvas,
    look,
    mark,
    reach,
    stretch,
    tidy,
    words,
)


@dataclass(frozen=True)
class _Point:
    """One architecture in the plane of ω and A."""

    label: str
    computation: str
    omega: Value
    performance: Value

    @property
    def centre(self) -> tuple[float, float]:
        return self.omega.value, self.performance.value

    @property
    def look(self) -> tuple[str, str]:
        """Colour and marker."""
        return look(self.computation)


@dataclass
class _Panel:
    """What goes together: points, the A of their untouched input, and the single seeds."""

    points: list[_Point]
    line: float | None
    dots: list[_Point] = field(default_factory=list)
    hollow: bool = False


def influence_vs_performance(
    table: pd.DataFrame,
    source: str,
    target: str,
    column: Column,
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
        published: rows of the paper, drawn hollow: in the same axes if they lie near, else in a
            panel of their own, so that they do not squash ours.

    Returns:
        The figure, in inches and points that suit a page or a screen.
    """
    ours = _Panel(_points(table, source, target, column), input_performance(table, column))
    if jobs is not None:
        ours.dots = _points(jobs, source, target, column)
    theirs = None
    if published is not None:
        theirs = _Panel(_points(published, source, target, column), None, hollow=True)
        theirs.line = input_performance(published, column)
        theirs = theirs if theirs.points else None
    apart = theirs is not None and not _near(ours, theirs)

    figure, grid = canvas(
        9.0 if apart else 6.4, 4.8, 1, 1 + apart, width_ratios=[3, 2] if apart else [1]
    )
    axes = list(grid[0])
    panels = [ours] if theirs is None else [ours, theirs]
    places = list(zip(axes if apart else [axes[0]] * len(panels), panels, strict=True))
    for where, panel in places:
        _draw(where, panel)
    for where in axes:
        _limits(where, [panel for own, panel in places if own is where])

    if apart:
        axes[0].set_title("measured", fontsize="medium", color=INK)
        axes[1].set_title("published, from other inputs", fontsize="medium", color=INK)
        axes[1].set_xlabel("ω")
    axes[0].set_ylabel(f"A of {target}: {column.performance_label}")
    unit = f"points of {column.label}" if column.percent else "in units of A"
    axes[0].set_xlabel(f"ω of {source} on {target}, {unit}")
    figure.suptitle(f"Influence of {source} on {target}", fontweight="bold")
    figure.legend(
        handles=_legend(panels, apart),
        loc="outside lower center",
        ncols=4 if apart else 2,
        frameon=False,
        fontsize="small",
    )
    # Text is placed when all else has found its place.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for where in axes:
        _place(where, [panel for own, panel in places if own is where])
    return figure


def influence_figures(summary: Summary) -> dict[tuple[str, str], Figure]:
    """:func:`influence_vs_performance` for each direction that was measured."""
    return {
        (source, target): influence_vs_performance(
            summary.architectures,
            source,
            target,
            summary.primary[target],
            jobs=summary.jobs,
            published=summary.published,
        )
        for source, target in summary.directions
    }


# -- what is drawn -----------------------------------------------------------------------------


def _points(table: pd.DataFrame, source: str, target: str, column: Column) -> list[_Point]:
    points = []
    for _, row in table.iterrows():
        across = value_of(row, omega(source, target))
        value = value_of(row, column.key)
        if row["arch"] == keys.UNTOUCHED or not (across.known and value.known):
            continue
        performance = column.performance(value.value)
        better = value_of(row, improvement(column))
        upright = Value(
            performance,
            performance - (better.value - better.low),
            performance + (better.high - better.value),
        )
        computation = row.get("computation")
        points.append(
            _Point(
                str(row["arch"]),
                computation if computation in COMPUTATIONS else "other",
                across,
                upright,
            )
        )
    return points


def input_performance(table: pd.DataFrame, column: Column) -> float | None:
    """A of the untouched input, where it is known."""
    rows = table[table["arch"] == keys.UNTOUCHED]
    value = value_of(rows.iloc[0], column.key) if len(rows) else None
    return column.performance(value.value) if value and value.known else None


def _span(panels: Iterable[_Panel], what: str) -> tuple[float, float]:
    """Lowest and highest ``omega`` or ``performance`` that the panels show, intervals included."""
    values = [v for panel in panels for p in panel.points + panel.dots for v in getattr(p, what)]
    if what == "performance":
        values += [panel.line for panel in panels if panel.line is not None]
    finite = [v for v in values if np.isfinite(v)]
    return (min(finite), max(finite)) if finite else (0.0, 0.0)


def _near(ours: _Panel, theirs: _Panel) -> bool:
    """Whether one pair of axes can hold both with little loss of room for ours."""

    def width(panels: list[_Panel], what: str) -> float:
        low, high = _span(panels, what)
        return high - low

    return all(
        width([ours, theirs], what) <= 1.25 * width([ours], what)
        for what in ("omega", "performance")
    )


def _draw(axes: Axes, panel: _Panel) -> None:
    """Draw everything but text."""
    for point in panel.dots:
        colour, marker = point.look
        dot = axes.plot(*point.centre, marker, ms=3.2, mec="none", mfc=colour, alpha=0.45, zorder=5)
        mark(dot, point.label)
    for point in panel.points:
        colour, marker = point.look
        drawn = axes.errorbar(
            *point.centre,
            xerr=reach(point.omega),
            yerr=reach(point.performance),
            fmt=marker,
            ms=SIZE,
            mfc=PAPER if panel.hollow else colour,
            mec=colour if panel.hollow else PAPER,
            mew=1.4 if panel.hollow else 0.8,
            ecolor=colour,
            elinewidth=1.1,
            capsize=2.5,
            zorder=4,
        )
        if not panel.hollow:
            said = f"ω {words(point.omega)}, A {point.performance.value:.2f}".replace("-", "−")
            mark(drawn, point.label, said)
    if panel.line is not None:
        colour = FAINT if panel.hollow else INK
        axes.axhline(panel.line, color=colour, lw=1.0, ls=(0, (5, 3)), zorder=1)


def _limits(axes: Axes, panels: Sequence[_Panel]) -> None:
    """Room around the points for their labels, and no influence marked where it is near."""
    low, high = _span(panels, "omega")
    width = (high - low) or max(abs(high), 1.0)
    if low - width / 2 <= 0 <= high + width / 2:
        axes.axvline(0, color=FAINT, lw=0.8, zorder=0)
        low, high = min(low, 0.0), max(high, 0.0)
    if stretch(axes, "x", [v.omega.value for panel in panels for v in panel.points]):
        along = axes.xaxis.get_transform()
        ends = along.transform(np.array([low, high]))
        room = 0.16 * (ends[1] - ends[0])
        axes.set_xlim(*along.inverted().transform(ends + np.array([-room, room])))
    else:
        axes.set_xlim(low - 0.16 * width, high + 0.16 * width)
    bottom, top = _span(panels, "performance")
    height = (top - bottom) or max(abs(top), 1.0)
    axes.set_ylim(bottom - 0.12 * height, top + 0.12 * height)
    tidy(axes)


def _legend(panels: Sequence[_Panel], apart: bool) -> list[Line2D]:
    points = [point for panel in panels for point in panel.points]

    def entry(label: str, marker: str, size: float, face: str, edge: str) -> Line2D:
        return Line2D([], [], ls="", label=label, marker=marker, ms=size, mfc=face, mec=edge)

    handles = []
    found = {point.computation for point in points}
    for computation in sorted(found, key=COMPUTATIONS.index):
        colour, marker = look(computation)
        handles.append(entry(f"{computation} computation", marker, SIZE, colour, PAPER))
    if not apart and any(panel.hollow for panel in panels):
        handles.append(entry("published", "o", SIZE, PAPER, INK))
    if any(panel.dots for panel in panels):
        handles.append(entry("single seed", "o", 3.2, FAINT, "none"))
    if any(point.omega.has_interval for point in points):
        handles.append(entry("95 % interval", "+", 10, INK, INK))
    return handles


# -- text --------------------------------------------------------------------------------------


def _place(axes: Axes, panels: Sequence[_Panel]) -> None:
    """Name the points and the lines of ``panels``, where that covers nothing else."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    scale = 72 / figure.dpi  # points a pixel
    whole = axes.get_window_extent(renderer)
    frame = np.array(whole.padded(-4 / scale).extents) * scale
    taken = np.concatenate([_boxes(axes, panel, scale) for panel in panels])

    def size(text: Annotation) -> tuple[float, float]:
        extent = text.get_window_extent(renderer)
        return extent.width * scale, extent.height * scale

    points = [point for panel in panels for point in panel.points]
    centres = axes.transData.transform([point.centre for point in points]) * scale
    for k, point in enumerate(points):
        colour, _ = point.look
        text = axes.annotate(
            point.label,
            point.centre,
            xytext=(0, 0),
            textcoords="offset points",
            color=colour,
            fontsize="small",
            fontweight="bold",
            annotation_clip=False,
        )
        mark(text, point.label)
        box, tied = labels.beside(
            centres[k], size(text), others=np.delete(centres, k, 0), taken=taken, frame=frame
        )
        taken = np.concatenate([taken, box[None]])
        text.set_position(tuple(box[:2] - centres[k]))
        if tied:
            corner = np.clip(centres[k], box[:2], box[2:]) / scale
            ends = np.array([point.centre, axes.transData.inverted().transform(corner)])
            mark(axes.plot(*ends.T, color=colour, lw=0.7, zorder=2), point.label)

    for panel in panels:
        if panel.line is None:
            continue
        shared = panel.hollow and len(panels) > 1
        text = axes.annotate(
            "published input" if shared else "untouched input",
            (0, panel.line),
            xycoords=("axes fraction", "data"),
            xytext=(0, 0),
            textcoords="offset points",
            color="#6E6E6E" if panel.hollow else INK,
            fontsize="small",
            style="italic",
            annotation_clip=False,
        )
        level = float(axes.transData.transform((0, panel.line))[1]) * scale
        box = labels.along(level, size(text), taken=taken, frame=frame)
        taken = np.concatenate([taken, box[None]])
        text.set_position((box[0] - whole.x0 * scale, box[1] - level))


def _boxes(axes: Axes, panel: _Panel, scale: float) -> labels.Boxes:
    """What names must not cover, in points: ``(n, 4)``."""
    boxes = []

    def add(low: tuple[float, float], high: tuple[float, float], margin: float) -> None:
        corners = axes.transData.transform([low, high]) * scale
        boxes.append(np.concatenate([corners[0] - margin, corners[1] + margin]))

    for point in panel.points:
        x, y = point.centre
        add((x, y), (x, y), SIZE / 2 + 1.5)
        if point.omega.has_interval:
            add((point.omega.low, y), (point.omega.high, y), 3.0)
        if point.performance.has_interval:
            add((x, point.performance.low), (x, point.performance.high), 3.0)
    for dot in panel.dots:
        add(dot.centre, dot.centre, 2.0)
    left, right = axes.get_xlim()
    if panel.line is not None:
        add((left, panel.line), (right, panel.line), 1.0)
    if left < 0 < right:
        bottom, top = axes.get_ylim()
        add((0, bottom), (0, top), 0.5)
    return np.array(boxes).reshape(-1, 4)
