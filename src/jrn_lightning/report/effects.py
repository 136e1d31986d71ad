"""What a sweep has shown beyond its comparison, as functions from data frames to figures.

Every function takes one frame of :class:`~jrn_lightning.analysis.findings.Findings`, which may hold
several directions, and draws one of them. A dot is a mean over seeds and images, a bar through it
its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jrn_lightning.analysis.findings import BREAKAGE, GAIN, IMPROVEMENT, OMEGA
from jrn_lightning.analysis.summary import Column, Value
from jrn_lightning.report.style import (
    BROKEN,
    COMPUTATIONS,
    FAINT,
    GAINED,
    INK,
    PAPER,
    Look,
    canvas,
    look,
    looks,
    mark,
    reach,
    stretch,
    tidy,
    value_in,
    words,
)

_MUTE_LOOKS = ((INK, "o"), ("#E69F00", "s"), ("#CC79A7", "^"), (GAINED, "D"), (FAINT, "X"))
_WIDTH = 6.8  # of a figure, inches
# Of the cells of a matrix: not the colours of ink and paper, which follow the page's scheme.
_DARK, _LIGHT = "#111111", "#FEFEFE"


def decomposition(effects: pd.DataFrame, source: str, target: str, column: Column) -> Figure:
    """ω of ``source`` on ``target``, split into gain and breakage, a bar per architecture.

    On the left the two parts stand beside each other, parts below zero to the left of it, and a
    diamond marks their sum ω. On the right the gain alone, which is often too small to be seen
    beside ω, and hollow the improvement over the untouched input. Without controls there is only
    ω to show.

    Args:
        effects: the frame of that name.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
    """
    rows = effects[effects["target"] == target]
    ours = rows[(rows["source"] == source) | (rows["effect"] == IMPROVEMENT)]
    values = {(str(row["arch"]), str(row["effect"])): value_in(row) for _, row in ours.iterrows()}
    archs = list(looks(ours[ours["effect"] == OMEGA]))
    split = any((arch, GAIN) in values for arch in archs)
    height = 1.5 + 0.42 * len(archs)
    figure, grid = canvas(
        8.4 if split else _WIDTH,
        height,
        1,
        1 + split,
        sharey=True,
        width_ratios=[3, 2] if split else [1],
    )
    whole = grid[0, 0]
    for k, arch in enumerate(archs):
        total = values[arch, OMEGA]
        parts = {name: values.get((arch, name)) for name in (GAIN, BREAKAGE)}
        ends = [0.0, 0.0]  # of what is stacked below and above zero
        for name, colour, hatch in ((GAIN, GAINED, ""), (BREAKAGE, BROKEN, "////")):
            part = parts[name]
            if part is None or not part.known:
                continue
            side = int(part.value > 0)
            bar = whole.barh(
                k,
                part.value,
                0.56,
                ends[side],
                color=colour,
                hatch=hatch,
                edgecolor=FAINT if hatch else colour,
                lw=0.6,
            )
            ends[side] += part.value
            mark(bar, arch, f"{name} {words(part)}")
        drawn = whole.errorbar(
            total.value, k, xerr=reach(total), fmt="D", ms=5.5, color=INK, mec=PAPER, capsize=2.5
        )
        mark(drawn, arch, f"ω {words(total)}")
    handles: list[Any] = [
        Line2D([], [], ls="", marker="D", ms=5.5, color=INK, mec=PAPER, label="ω")
    ]
    if split:
        handles = [
            Patch(color=GAINED, label="gain: what it adds"),
            Patch(fc=BROKEN, ec=FAINT, hatch="////", label="breakage: what muting destroys"),
            *handles,
        ]
        _gains(grid[0, 1], archs, values)
        handles.append(
            Line2D(
                [], [], ls="", marker="o", mfc=PAPER, mec=INK, label="improvement over the input"
            )
        )
    whole.set_yticks(range(len(archs)), archs)
    whole.invert_yaxis()
    whole.set_xlabel(f"ω, {unit(column)}")
    for axes in grid[0]:
        tidy(axes, "x")
        axes.axvline(0, color=FAINT, lw=0.9, zorder=1)
    _colour_names(whole, ours)
    what = f"What {source} gives {target}: gain and breakage"
    _title(figure, what if split else f"Influence of {source} on {target}")
    _legend(figure, handles, 2)
    return figure


def _gains(axes: Axes, archs: Sequence[str], values: dict[tuple[str, str], Value]) -> None:
    """The gain alone, and the improvement, on an axis of their own."""
    for k, arch in enumerate(archs):
        for name, shift in ((GAIN, -0.13), (IMPROVEMENT, 0.16)):
            found = values.get((arch, name))
            if found is None or not found.known:
                continue
            hollow = name == IMPROVEMENT
            drawn = axes.errorbar(
                found.value,
                k + shift,
                xerr=reach(found),
                fmt="o",
                ms=5,
                mfc=PAPER if hollow else GAINED,
                mec=INK if hollow else GAINED,
                ecolor=INK if hollow else GAINED,
                elinewidth=1.0 if hollow else 2.0,
                capsize=2.5,
            )
            mark(drawn, arch, f"{name} {words(found)}")
    axes.set_xlabel("gain alone, same unit")


def mute_values(frame: pd.DataFrame, source: str, target: str, column: Column) -> Figure:
    """ω of ``source`` on ``target`` with every mute value, side by side per architecture.

    Args:
        frame: the frame ``mute_values``.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
    """
    rows = _direction(frame, source, target)
    archs = list(looks(rows))
    names = list(dict.fromkeys(rows["mute_value"]))
    figure, grid = canvas(_WIDTH, 1.5 + (0.22 + 0.13 * len(names)) * len(archs))
    axes = grid[0, 0]
    step = 0.75 / max(len(names), 1)
    for _, row in rows.iterrows():
        k, i = archs.index(row["arch"]), names.index(row["mute_value"])
        colour, marker = _MUTE_LOOKS[i % len(_MUTE_LOOKS)]
        value = value_in(row)
        drawn = axes.errorbar(
            value.value,
            k + step * (i - (len(names) - 1) / 2),
            xerr=reach(value),
            fmt=marker,
            ms=5.5,
            color=colour,
            elinewidth=1.0,
            capsize=2,
        )
        said = f"muted by {_plain(row['mute_value'])}: ω {words(value)}"
        mark(drawn, row["arch"], f"{said}, A {row['performance']:.2f}".replace("-", "−"))
    for k in range(1, len(archs)):
        axes.axhline(k - 0.5, color=FAINT, lw=0.5)
    axes.set_yticks(range(len(archs)), archs)
    axes.set_ylim(len(archs) - 0.5, -0.5)
    stretched = stretch(axes, "x", rows["value"])
    axes.set_xlabel(_omega_label(column, stretched))
    axes.axvline(0, color=FAINT, lw=0.9, zorder=1)
    tidy(axes, "x")
    _colour_names(axes, rows)
    _title(figure, f"ω of {source} on {target}, by what it is muted with")
    handles = [
        Line2D([], [], ls="", marker=marker, ms=5.5, color=colour, label=_plain(name))
        for name, (colour, marker) in zip(names, _cycle(_MUTE_LOOKS, len(names)), strict=True)
    ]
    _legend(figure, handles, 5)
    return figure


def strata(
    frame: pd.DataFrame, source: str, target: str, column: Column, *, of: Sequence[str] = ()
) -> Figure:
    """Where ``source`` helps ``target``: effects of the pixels of one kind, a line per kind.

    One panel per effect that the frame holds, gain first. Below each kind stands its share of the
    pixels.

    Args:
        frame: the frame of that name.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
        of: modalities whose truths tell the kinds; by default all, in the frame's order.
    """
    rows = _direction(frame, source, target)
    rows = rows[rows["of"].isin(of)] if of else rows
    shown = [e for e in (GAIN, OMEGA, IMPROVEMENT) if (rows["effect"] == e).any()]
    known = looks(rows)
    kinds = rows[["of", "stratum", "share"]].drop_duplicates(["of", "stratum"])
    places, heads, y = {}, [], 0.0
    for modality, group in kinds.groupby("of", sort=False):
        heads.append((y, str(modality)))
        for stratum, share in zip(group["stratum"], group["share"], strict=True):
            y += 1
            places[modality, stratum] = (y, f"{_plain(stratum)}  {100 * float(share):.0f} %")
        y += 1.3
    figure, grid = canvas(
        3.0 + 2.8 * len(shown), 1.5 + 0.42 * y, 1, len(shown), sharey=True, width_ratios=None
    )
    step = 0.7 / max(len(known), 1)
    for axes, effect in zip(grid[0], shown, strict=True):
        own = rows[rows["effect"] == effect]
        for _, row in own.iterrows():
            arch = str(row["arch"])
            where, name = places[row["of"], row["stratum"]]
            at = where + step * (list(known).index(arch) - (len(known) - 1) / 2)
            said = f"{name.split('  ')[0]}: {_sign(effect)} {words(value_in(row))}"
            _dot(axes, value_in(row), at, known[arch], arch, said)
        stretched = stretch(axes, "x", own["value"])
        axes.set_xlabel(f"{_sign(effect)}, {unit(column)}" + _stretched(stretched))
        axes.axvline(0, color=FAINT, lw=0.9, zorder=1)
        tidy(axes, "x")
    for where, modality in heads:
        grid[0, 0].annotate(
            f"by {modality}",
            (0, where),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize="small",
            fontweight="bold",
            color=INK,
        )
    grid[0, 0].set_yticks([p for p, _ in places.values()], [n for _, n in places.values()])
    grid[0, 0].set_ylim(y - 0.8, -0.6)
    _title(figure, f"Where {source} helps {target}")
    _legend(figure, _arch_handles(known), 5)
    return figure


def ladder(
    frame: pd.DataFrame,
    source: str,
    target: str,
    column: Column,
    *,
    untouched: float | None = None,
) -> Figure:
    """Dose and response: A of ``target`` as ``source`` goes from its truth to nothing.

    Where what lies below the prediction squeezes what lies above it, a second panel shows the
    rungs from the truth to the prediction alone: how much there is to win.

    Args:
        frame: the frame of that name.
        source: modality that is replaced.
        target: modality that is predicted, ``source`` itself included.
        column: the measure of ``target`` behind A.
        untouched: A of the untouched input, drawn as a dashed line.
    """
    rows = _direction(frame, source, target)
    known = looks(rows)
    rungs = rows[["rung", "share"]].drop_duplicates("rung").sort_values("share", ascending=False)
    names = [str(r) for r in rungs["rung"]]
    upper = [str(r) for r, s in zip(rungs["rung"], rungs["share"], strict=True) if s >= 0]
    everything = pd.to_numeric(rows["performance"])
    above = everything[rows["rung"].isin(upper)]
    zoom = len(upper) > 1 and np.ptp(above) < np.ptp(everything) / 4
    figure, grid = canvas(
        8.4 if zoom else _WIDTH, 4.0, 1, 1 + zoom, width_ratios=[3, 2][: 1 + zoom]
    )
    for axes, shown in zip(grid[0], [names, upper][: 1 + zoom], strict=True):
        for k, (arch, style) in enumerate(known.items()):
            own = rows[(rows["arch"] == arch) & rows["rung"].isin(shown)]
            own = own.set_index("rung").reindex([r for r in shown if r in set(own["rung"])])
            shift = 0.3 * ((k + 0.5) / len(known) - 0.5)  # so that intervals do not cover
            x = [shown.index(r) + shift for r in own.index]
            y = pd.to_numeric(own["performance"]).to_numpy()
            mark(axes.plot(x, y, color=style.colour, ls=style.dash, lw=1.2), arch)
            for at, (rung, row) in zip(x, own.iterrows(), strict=True):
                value = value_in(row, "performance")
                drawn = axes.errorbar(
                    at,
                    value.value,
                    yerr=reach(value),
                    fmt=style.marker,
                    ms=5,
                    color=style.colour,
                    elinewidth=0.9,
                    capsize=2,
                )
                said = f"{source} is {rung}: A {value.value:.2f}".replace("-", "−")
                mark(drawn, arch, f"{said}, {words(value_in(row))} above nothing")
        if untouched is not None and np.isfinite(untouched):
            axes.axhline(untouched, color=INK, lw=1.0, ls=(0, (5, 3)), zorder=1)
        axes.set_xticks(range(len(shown)), shown, rotation=30, ha="right")
        axes.margins(x=0.05)
        tidy(axes, "y")
    grid[0, 0].set_ylabel(f"A of {target}: {column.performance_label}")
    grid[0, 0].set_xlabel(f"what {source} is replaced with")
    _title(figure, f"Performance on {target}, from the truth of {source} to nothing")
    if zoom:
        grid[0, 1].set_xlabel("how much there is to win")
    handles = _arch_handles(known)
    if untouched is not None:
        handles.append(Line2D([], [], color=INK, lw=1.0, ls=(0, (5, 3)), label="untouched input"))
    _legend(figure, handles, 6)
    return figure


def envelope(
    points: pd.DataFrame,
    curve: pd.DataFrame,
    peaks: pd.DataFrame,
    source: str,
    target: str,
    column: Column,
) -> Figure:
    """Figure 8: A against ω of many networks, and the upper concave envelope through them.

    Args:
        points: the frame of that name, a row per trained network.
        curve: the frame ``envelope``; without rows of this direction only the points are drawn.
        peaks: the frame of that name; the best ω and its interval stand at the lower edge.
        source: modality whose influence is measured.
        target: modality that is predicted.
        column: the measure of ``target`` behind ω.
    """
    dots, line = _direction(points, source, target), _direction(curve, source, target)
    figure, grid = canvas(_WIDTH, 4.4)
    axes = grid[0, 0]
    handles: list[Any] = []
    kinds = [str(c) if c in COMPUTATIONS else "other" for c in dots["computation"]]
    for kind in sorted(set(kinds), key=COMPUTATIONS.index):
        colour, marker = look(kind)
        for (_, row), own in zip(dots.iterrows(), kinds, strict=True):
            if own != kind:
                continue
            drawn = axes.plot(
                row["omega"], row["performance"], marker, ms=5, mfc=colour, mec=PAPER, mew=0.5
            )
            said = f"seed {row['seed']}: ω {row['omega']:+.2f}, A {row['performance']:.2f}"
            mark(drawn, str(row["arch"]), said.replace("-", "−"))
        handles.append(
            Line2D([], [], ls="", marker=marker, ms=5, color=colour, label=f"{kind} computation")
        )
    if len(line):
        line = line.astype(dict.fromkeys(("omega", "value", "low", "high"), float))
        axes.fill_between(
            line["omega"], line["low"], line["high"], color=GAINED, alpha=0.18, lw=0, zorder=1
        )
        axes.plot(line["omega"], line["value"], color=GAINED, lw=1.8, zorder=3)
        handles.append(Line2D([], [], color=GAINED, lw=1.8, label="upper envelope, 95 % band"))
    for _, peak in _direction(peaks, source, target).iterrows():
        best = value_in({"value": peak["omega"], "low": peak["low"], "high": peak["high"]})
        if best.known:
            axes.axvline(best.value, color=INK, lw=1.0, ls=(0, (1, 2)), zorder=2)
            if best.has_interval:
                axes.axvspan(best.low, best.high, color=INK, alpha=0.08, lw=0, zorder=0)
            label = "best ω, 95 % interval"
            handles.append(Line2D([], [], color=INK, lw=1.0, ls=(0, (1, 2)), label=label))
    stretched = stretch(axes, "x", dots["omega"])
    axes.set_xlabel(_omega_label(column, stretched))
    axes.set_ylabel(f"A of {target}: {column.performance_label}")
    tidy(axes)
    _title(figure, f"Influence of {source} on {target}, many networks")
    _legend(figure, handles, 2)
    return figure


def matrix(differences: pd.DataFrame, effect: str, source: str, target: str) -> Figure:
    """How probable it is that the architecture of the row is above that of the column.

    Below the probability stands the difference, bold where Holm's corrected p is below 0.05.

    Args:
        differences: the frame of that name.
        effect: one of those of :mod:`~jrn_lightning.analysis.findings`.
        source: "" for an effect that has none.
        target: modality that is predicted.
    """
    rows = _direction(differences, source, target)
    rows = rows[rows["effect"] == effect]
    archs = list(dict.fromkeys([*rows["first"], *rows["second"]]))
    side = 1.1 + 0.62 * len(archs)
    figure, grid = canvas(side + 0.5, side)
    axes = grid[0, 0]
    colours = matplotlib.colormaps["PuOr"]
    for _, row in rows.iterrows():
        value, p = value_in(row), float(row["probability"])
        i, j = archs.index(row["first"]), archs.index(row["second"])
        for y, x, chance, sign in ((i, j, p, 1), (j, i, 1 - p, -1)):
            shade = colours(chance)
            patch = axes.barh(y, 0.94, 0.94, x - 0.47, color=shade, lw=0)
            low, high = sorted((sign * value.low, sign * value.high))
            text = axes.text(
                x,
                y,
                f"{chance:.2f}\n{sign * value.value:+.2f}".replace("-", "−"),
                ha="center",
                va="center",
                fontsize="x-small",
                fontweight="bold" if float(row["p_holm"]) < 0.05 else "normal",
                color=_LIGHT if np.dot(shade[:3], (0.3, 0.6, 0.1)) < 0.5 else _DARK,
            )
            said = f"{archs[y]} − {archs[x]}: {words(Value(sign * value.value, low, high))}"
            said += f", p after Holm {float(row['p_holm']):.3g}"
            mark([*patch, text], f"{archs[y]} {archs[x]}", said)
    axes.set_xticks(range(len(archs)), archs, rotation=30, ha="left")
    axes.set_yticks(range(len(archs)), archs)
    axes.xaxis.tick_top()
    axes.set_xlabel(
        "probability that the row is above the column,\n"
        "and row − column; bold: p < 0.05 after Holm",
        fontsize="x-small",
        color=INK,
    )
    axes.xaxis.set_label_position("bottom")
    axes.set_xlim(-0.5, len(archs) - 0.5)
    axes.set_ylim(len(archs) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, labelsize="small", length=0)
    _title(figure, f"{_sign(effect)} of {source} on {target}" if source else f"{effect}, {target}")
    return figure


# -- parts -------------------------------------------------------------------------------------


def unit(column: Column) -> str:
    """The unit of differences of A, for an axis."""
    return f"points of {column.label}" if column.percent else f"A = {column.performance_label}"


def _omega_label(column: Column, stretched: bool) -> str:
    return f"ω, {unit(column)}" + _stretched(stretched)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize="medium", fontweight="bold", color=INK)


def _stretched(stretched: bool) -> str:
    return " (logarithmic away from 0)" if stretched else ""


def _direction(frame: pd.DataFrame, source: str, target: str) -> pd.DataFrame:
    return frame[(frame["source"] == source) & (frame["target"] == target)]


def _plain(name: str) -> str:
    """Names of the records as words."""
    return str(name).removeprefix("class_").replace("_", " ")


def _sign(effect: str) -> str:
    return "ω" if effect == OMEGA else effect


def _cycle(values: Sequence[Any], count: int) -> list[Any]:
    return [values[i % len(values)] for i in range(count)]


def _dot(axes: Axes, value: Value, y: float, style: Look, arch: str, said: str) -> None:
    drawn = axes.errorbar(
        value.value,
        y,
        xerr=reach(value),
        fmt=style.marker,
        ms=4.5,
        color=style.colour,
        elinewidth=0.9,
        capsize=0,
    )
    mark(drawn, arch, said)


def _colour_names(axes: Axes, rows: pd.DataFrame) -> None:
    """Names of architectures in the colour of their computation."""
    known = looks(rows)
    axes.tick_params(axis="y", labelsize="small")
    for label in axes.get_yticklabels():
        label.set_color(known[label.get_text()].colour)
        label.set_fontweight("bold")
        # Not marked: a name stays when what it names is hidden.


def _arch_handles(known: dict[str, Look]) -> list[Any]:
    return [
        Line2D([], [], color=s.colour, ls=s.dash, lw=1.2, marker=s.marker, ms=5, label=arch)
        for arch, s in known.items()
    ]


def _legend(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        labelcolor=INK,
    )


__all__ = [
    "decomposition",
    "envelope",
    "ladder",
    "matrix",
    "mute_values",
    "strata",
    "unit",
]
