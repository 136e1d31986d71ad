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
from jrn_lightning.report import labels
from jrn_lightning.report.summary import Column, Summary, Value, improvement, omega, value_of

# Red and green as in the paper, of the Okabe-Ito set that colour-blind readers tell apart, and
# a marker each.
_LOOKS = {"loose": ("#D55E00", "o"), "coupled": ("#009E73", "s")}
_OTHER = ("#4D4D4D", "D")
_INK = "#333333"
_FAINT = "#9A9A9A"
_SIZE = 7.0  # of a marker, points


def look(computation: object) -> tuple[str, str]:
    """Colour and marker of the architectures of one ``computation``, which may be unknown."""
    return _LOOKS.get(str(computation), _OTHER)


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
            :class:`~jrn_lightning.report.summary.Summary`.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
        jobs: a row per job, drawn as small dots.
        published: rows of the paper, drawn hollow: in the same axes if they lie near, else in a
            panel of their own, so that they do not squash ours.

    Returns:
        The figure, in inches and points that suit a page or a screen.
    """
    ours = _Panel(_points(table, source, target, column), _input_line(table, column))
    if jobs is not None:
        ours.dots = _points(jobs, source, target, column)
    theirs = None
    if published is not None:
        theirs = _Panel(_points(published, source, target, column), None, hollow=True)
        theirs.line = _input_line(published, column)
        theirs = theirs if theirs.points else None
    apart = theirs is not None and not _near(ours, theirs)

    figure = Figure(figsize=(9.0 if apart else 6.4, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + apart, squeeze=False, width_ratios=[3, 2] if apart else [1])[0]
    panels = [ours] if theirs is None else [ours, theirs]
    places = list(zip(axes if apart else [axes[0]] * len(panels), panels, strict=True))
    for where, panel in places:
        _draw(where, panel)
    for where in axes:
        _limits(where, [panel for own, panel in places if own is where])

    if apart:
        axes[0].set_title("measured", fontsize="medium", color=_INK)
        axes[1].set_title("published, from other inputs", fontsize="medium", color=_INK)
        axes[1].set_xlabel(r"$\omega$")
    axes[0].set_ylabel(f"$A$ of {target}: {_math(column.performance_label)}")
    unit = f"points of {column.label}" if column.percent else "in units of $A$"
    axes[0].set_xlabel(rf"$\omega$ of {source} on {target}, {unit}")
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
                computation if computation in _LOOKS else "other",
                across,
                upright,
            )
        )
    return points


def _input_line(table: pd.DataFrame, column: Column) -> float | None:
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
        axes.plot(*point.centre, marker, ms=3.2, mec="none", mfc=colour, alpha=0.45, zorder=5)
    for point in panel.points:
        colour, marker = point.look
        axes.errorbar(
            *point.centre,
            xerr=_reach(point.omega),
            yerr=_reach(point.performance),
            fmt=marker,
            ms=_SIZE,
            mfc="white" if panel.hollow else colour,
            mec=colour if panel.hollow else "white",
            mew=1.4 if panel.hollow else 0.8,
            ecolor=colour,
            elinewidth=1.1,
            capsize=2.5,
            zorder=4,
        )
    if panel.line is not None:
        colour = _FAINT if panel.hollow else _INK
        axes.axhline(panel.line, color=colour, lw=1.0, ls=(0, (5, 3)), zorder=1)


def _limits(axes: Axes, panels: Sequence[_Panel]) -> None:
    """Room around the points for their labels, and no influence marked where it is near."""
    low, high = _span(panels, "omega")
    width = (high - low) or max(abs(high), 1.0)
    if low - width / 2 <= 0 <= high + width / 2:
        axes.axvline(0, color=_FAINT, lw=0.8, zorder=0)
        low, high = min(low, 0.0), max(high, 0.0)
    axes.set_xlim(low - 0.16 * width, high + 0.16 * width)
    bottom, top = _span(panels, "performance")
    height = (top - bottom) or max(abs(top), 1.0)
    axes.set_ylim(bottom - 0.12 * height, top + 0.12 * height)
    axes.grid(color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize="small")


def _reach(value: Value) -> list[list[float]] | None:
    """Distances down and up, as matplotlib wants them; None where there is no interval."""
    if not value.has_interval:
        return None
    # A percentile interval need not hold its own point estimate.
    return [[max(value.value - value.low, 0.0)], [max(value.high - value.value, 0.0)]]


def _legend(panels: Sequence[_Panel], apart: bool) -> list[Line2D]:
    points = [point for panel in panels for point in panel.points]

    def entry(label: str, marker: str, size: float, face: str, edge: str) -> Line2D:
        return Line2D([], [], ls="", label=label, marker=marker, ms=size, mfc=face, mec=edge)

    handles = []
    found = {point.computation for point in points}
    for computation in sorted(found, key=[*_LOOKS, "other"].index):
        colour, marker = look(computation)
        handles.append(entry(f"{computation} computation", marker, _SIZE, colour, "white"))
    if not apart and any(panel.hollow for panel in panels):
        handles.append(entry("published", "o", _SIZE, "white", _INK))
    if any(panel.dots for panel in panels):
        handles.append(entry("single seed", "o", 3.2, _FAINT, "none"))
    if any(point.omega.has_interval for point in points):
        handles.append(entry("95 % interval", "+", 10, _INK, _INK))
    return handles


def _math(text: str) -> str:
    return text.replace("−", "$-$")


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
        box, tied = labels.beside(
            centres[k], size(text), others=np.delete(centres, k, 0), taken=taken, frame=frame
        )
        taken = np.concatenate([taken, box[None]])
        text.set_position(tuple(box[:2] - centres[k]))
        if tied:
            corner = np.clip(centres[k], box[:2], box[2:]) / scale
            ends = np.array([point.centre, axes.transData.inverted().transform(corner)])
            axes.plot(*ends.T, color=colour, lw=0.7, zorder=2)

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
            color="#6E6E6E" if panel.hollow else _INK,
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
        add((x, y), (x, y), _SIZE / 2 + 1.5)
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
