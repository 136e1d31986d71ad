"""What a sweep has shown beyond its comparison, as functions from data frames to figures.

Every function takes one frame of :class:`~jrn_lightning.analysis.findings.Findings`, which may hold
several directions, and draws one of them: of ``source``, whose influence is measured, on
``target``, which is predicted; ``column`` is the measure of ``target`` behind A and ω. A dot is a
mean over seeds and images, a bar through it its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jrn_lightning.analysis.findings import BREAKAGE, GAIN, IMPROVEMENT, OMEGA
from jrn_lightning.analysis.summary import MeasureColumn, short
from jrn_lightning.influence import Estimate
from jrn_lightning.report.style import (
    BROKEN,
    DASHED,
    DOTTED,
    FAINT,
    GAINED,
    INK,
    Look,
    canvas,
    handles_of,
    legend,
    look,
    looks,
    mark,
    point,
    stretch,
    tidy,
    title,
    unit,
    value_in,
    words,
)

_MUTE_LOOKS = ((INK, "o"), ("#E69F00", "s"), ("#CC79A7", "^"), (GAINED, "D"), (FAINT, "X"))
_KINDS = 20  # of pixels by one modality, the largest
_WIDTH = 6.8  # of a figure, inches
# Of the cells of a matrix: not the colours of ink and paper, which follow the page's scheme.
_DARK, _LIGHT = "#111111", "#FEFEFE"


def helps(effects: pd.DataFrame, primary: Mapping[str, MeasureColumn]) -> Figure:
    """Who helps whom: the gain of every modality on every other, or ω where there is no gain.

    A panel for each modality that is predicted, in the unit of its own measure; in it a group for
    each of the others, a point per architecture.
    """
    effect = GAIN if (effects["effect"] == GAIN).any() else OMEGA
    rows = effects[effects["effect"] == effect]
    known = looks(rows)
    targets = [name for name in primary if (rows["target"] == name).any()]
    most = max(rows[rows["target"] == name]["source"].nunique() for name in targets)
    height = 1.7 + most * (0.3 + 0.16 * len(known))
    figure, grid = canvas(2.9 * len(targets), height, 1, len(targets))
    step = 0.75 / max(len(known), 1)
    for axes, target in zip(grid[0], targets, strict=True):
        own = rows[rows["target"] == target]
        sources = [name for name in primary if (own["source"] == name).any()]
        for _, row in own.iterrows():
            arch, source, value = str(row["arch"]), str(row["source"]), value_in(row)
            at = sources.index(source) + step * (list(known).index(arch) - (len(known) - 1) / 2)
            said = f"{_sign(effect)} of {source} on {target}: {words(value)}"
            point(axes, value, at, known[arch], arch, said, size=5, cap=0)
        for k in range(1, len(sources)):
            axes.axhline(k - 0.5, color=FAINT, lw=0.5)
        axes.set_yticks(range(len(sources)), [f"{name} →" for name in sources])
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.set_title(f"→ {target}", fontsize="medium")
        axes.set_xlabel(unit(primary[target]) + stretch(axes, "x", own["value"]))
        _zero(axes)
    title(figure, f"Who helps whom: {_sign(effect)}")
    legend(figure, handles_of(known, lines=False), 5)
    return figure


def decomposition(effects: pd.DataFrame, source: str, target: str, column: MeasureColumn) -> Figure:
    """ω of ``source`` on ``target``, split into gain and breakage, a bar per architecture.

    On the left the two parts stand beside each other, parts below zero to the left of it, and a
    diamond marks their sum ω. On the right the gain alone, which is often too small to be seen
    beside ω, and hollow the improvement over the untouched input. Without controls there is only
    ω to show.
    """
    rows = effects[effects["target"] == target]
    ours = rows[(rows["source"] == source) | (rows["effect"] == IMPROVEMENT)]
    values = {(str(row["arch"]), str(row["effect"])): value_in(row) for _, row in ours.iterrows()}
    archs = list(looks(ours[ours["effect"] == OMEGA]))
    split = any((arch, GAIN) in values for arch in archs)
    ratios = [3, 2][: 1 + split]
    size = (8.4 if split else _WIDTH, 1.5 + 0.42 * len(archs))
    figure, grid = canvas(*size, 1, len(ratios), sharey=True, width_ratios=ratios)
    whole = grid[0, 0]
    diamond = Look(INK, "D")
    for k, arch in enumerate(archs):
        _parts(whole, k, arch, values)
        total = values[arch, OMEGA]
        point(whole, total, k, diamond, arch, f"ω {words(total)}")
    handles = handles_of({"ω": diamond}, lines=False)
    if split:
        _gains(grid[0, 1], archs, values)
        handles = [
            Patch(color=GAINED, label="gain: what it adds"),
            Patch(fc=BROKEN, ec=FAINT, hatch="////", label="breakage: what muting destroys"),
            *handles,
            *handles_of({"improvement over the input": Look(INK, "o")}, lines=False, hollow=True),
        ]
    whole.set_xlabel(f"ω, {unit(column)}")
    for axes in grid[0]:
        _zero(axes)
    _name_rows(whole, ours, archs)
    what = f"What {source} gives {target}: gain and breakage"
    title(figure, what if split else f"Influence of {source} on {target}")
    legend(figure, handles, 2)
    return figure


def _parts(axes: Axes, k: int, arch: str, values: dict[tuple[str, str], Estimate]) -> None:
    """Gain and breakage end to end, in row ``k``."""
    ends = [0.0, 0.0]  # of what is stacked below and above zero
    for name, colour, hatch in ((GAIN, GAINED, ""), (BREAKAGE, BROKEN, "////")):
        part = values.get((arch, name))
        if part is None or not part.known:
            continue
        side = int(part.value > 0)
        bar = axes.barh(k, part.value, 0.56, ends[side], color=colour, hatch=hatch, lw=0.6)
        bar[0].set_edgecolor(FAINT if hatch else colour)
        mark(bar, arch, f"{name} {words(part)}")
        ends[side] += part.value


def _gains(axes: Axes, archs: Sequence[str], values: dict[tuple[str, str], Estimate]) -> None:
    """The gain alone, and the improvement, on an axis of their own."""
    for k, arch in enumerate(archs):
        for name, shift, colour in ((GAIN, -0.13, GAINED), (IMPROVEMENT, 0.16, INK)):
            found = values.get((arch, name))
            if found is not None and found.known:
                said, hollow = f"{name} {words(found)}", name == IMPROVEMENT
                point(axes, found, k + shift, Look(colour, "o"), arch, said, hollow=hollow)
    axes.set_xlabel("gain alone, same unit")


def mute_values(frame: pd.DataFrame, source: str, target: str, column: MeasureColumn) -> Figure:
    """ω of ``source`` on ``target`` with every mute value, side by side per architecture."""
    rows = _direction(frame, source, target)
    archs = list(looks(rows))
    names = list(dict.fromkeys(rows["mute_value"]))
    known = {_plain(n): Look(*style) for n, style in zip(names, cycle(_MUTE_LOOKS), strict=False)}
    figure, grid = canvas(_WIDTH, 1.5 + (0.22 + 0.13 * len(names)) * len(archs))
    axes = grid[0, 0]
    step = 0.75 / max(len(names), 1)
    for _, row in rows.iterrows():
        k, i = archs.index(row["arch"]), names.index(row["mute_value"])
        name, value = _plain(row["mute_value"]), value_in(row)
        said = f"muted by {name}: ω {words(value)}, A {row['performance']:.2f}".replace("-", "−")
        at = k + step * (i - (len(names) - 1) / 2)
        point(axes, value, at, known[name], row["arch"], said)
    for k in range(1, len(archs)):
        axes.axhline(k - 0.5, color=FAINT, lw=0.5)
    axes.set_xlabel(f"ω, {unit(column)}" + stretch(axes, "x", rows["value"]))
    _zero(axes)
    _name_rows(axes, rows, archs)
    title(figure, f"ω of {source} on {target}, by what it is muted with")
    legend(figure, handles_of(known, lines=False), 5)
    return figure


def strata(frame: pd.DataFrame, source: str, target: str, column: MeasureColumn) -> Figure:
    """Where ``source`` helps ``target``: effects of the pixels of one kind, a line per kind.

    One panel per effect that the frame holds, gain first. Beside each kind stands its share of the
    pixels. Of many kinds by one modality the most frequent are drawn.
    """
    rows = _direction(frame, source, target)
    shown = [e for e in (GAIN, OMEGA, IMPROVEMENT) if (rows["effect"] == e).any()]
    known = looks(rows)
    places, heads, y = {}, [], 0.0
    kinds = rows[["of", "stratum", "share"]].drop_duplicates(["of", "stratum"])
    for modality, group in kinds.groupby("of", sort=False):
        most = np.argsort(-pd.to_numeric(group["share"]).to_numpy(), kind="stable")[:_KINDS]
        few = f", the {_KINDS} largest of {len(group)}" if len(group) > _KINDS else ""
        heads.append((y, f"{modality}{few}"))
        group = group.iloc[np.sort(most)]
        for stratum, share in zip(group["stratum"], group["share"], strict=True):
            y += 1
            places[modality, stratum] = (y, f"{_plain(stratum)}  {100 * float(share):.0f} %")
        y += 1.3
    figure, grid = canvas(3.0 + 2.8 * len(shown), 1.5 + 0.42 * y, 1, len(shown), sharey=True)
    step = 0.7 / max(len(known), 1)
    for axes, effect in zip(grid[0], shown, strict=True):
        own = rows[rows["effect"] == effect]
        for _, row in own.iterrows():
            if (row["of"], row["stratum"]) not in places:
                continue
            arch, (where, name) = str(row["arch"]), places[row["of"], row["stratum"]]
            at = where + step * (list(known).index(arch) - (len(known) - 1) / 2)
            said = f"{name.split('  ')[0]}: {_sign(effect)} {words(value_in(row))}"
            point(axes, value_in(row), at, known[arch], arch, said, size=4.5, cap=0)
        axes.set_xlabel(f"{_sign(effect)}, {unit(column)}" + stretch(axes, "x", own["value"]))
        _zero(axes)
    first = grid[0, 0]
    ticks = [*((p, f"by {modality}") for p, modality in heads), *places.values()]
    first.set_yticks([p for p, _ in ticks], [name for _, name in ticks])
    for label in first.get_yticklabels()[: len(heads)]:
        label.set_fontweight("bold")
    first.set_ylim(y - 0.8, -0.6)
    title(figure, f"Where {source} helps {target}")
    legend(figure, handles_of(known), 5)
    return figure


def ladder(
    frame: pd.DataFrame,
    source: str,
    target: str,
    column: MeasureColumn,
    *,
    untouched: float | None = None,
) -> Figure:
    """Dose and response: A of ``target`` as ``source`` goes from its truth to nothing.

    ``source`` may be ``target`` itself. Where what lies below the prediction squeezes what lies
    above it, a second panel shows the rungs from the truth to the prediction alone: how much there
    is to win. ``untouched`` is A of the untouched input, a dashed line.
    """
    rows = _direction(frame, source, target)
    known = looks(rows)
    rungs = rows[["rung", "share"]].drop_duplicates("rung").sort_values("share", ascending=False)
    upper = [str(r) for r in rungs.loc[rungs["share"] >= 0, "rung"]]
    everything = pd.to_numeric(rows["performance"])
    above = everything[rows["rung"].isin(upper)]
    zoom = len(upper) > 1 and np.ptp(above) < np.ptp(everything) / 4
    panels = [list(map(str, rungs["rung"])), upper][: 1 + zoom]
    ratios = [3, 2][: 1 + zoom]
    figure, grid = canvas(8.4 if zoom else _WIDTH, 4.0, 1, len(ratios), width_ratios=ratios)
    for axes, shown in zip(grid[0], panels, strict=True):
        for k, (arch, style) in enumerate(known.items()):
            own = rows[(rows["arch"] == arch) & rows["rung"].isin(shown)]
            own = own.set_index("rung").reindex([r for r in shown if r in set(own["rung"])])
            shift = 0.3 * ((k + 0.5) / len(known) - 0.5)  # so that intervals do not cover
            x = [shown.index(r) + shift for r in own.index]
            y = pd.to_numeric(own["performance"]).to_numpy()
            mark(axes.plot(x, y, color=style.colour, ls=style.dash, lw=1.2), arch)
            for at, (rung, row) in zip(x, own.iterrows(), strict=True):
                value = value_in(row, "performance")
                said = f"{source} is {rung}: A {value.value:.2f}".replace("-", "−")
                said = f"{said}, {words(value_in(row))} above nothing"
                point(axes, at, value, style, arch, said, size=5)
        if untouched is not None and np.isfinite(untouched):
            axes.axhline(untouched, color=INK, lw=1.0, ls=DASHED, zorder=1)
        axes.set_xticks(range(len(shown)), shown, rotation=30, ha="right")
        axes.margins(x=0.05)
        tidy(axes, "y")
    grid[0, 0].set_ylabel(f"A of {target}, {column.performance_label} (higher is better)")
    grid[0, 0].set_xlabel(f"what {source} is replaced with")
    title(figure, f"Performance on {target}, from the truth of {source} to nothing")
    if zoom:
        grid[0, 1].set_xlabel("how much there is to win")
    handles = handles_of(known)
    if untouched is not None:
        handles.append(Line2D([], [], color=INK, lw=1.0, ls=DASHED, label="untouched input"))
    legend(figure, handles, 6)
    return figure


def envelope(
    points: pd.DataFrame,
    curve: pd.DataFrame,
    peaks: pd.DataFrame,
    source: str,
    target: str,
    column: MeasureColumn,
) -> Figure:
    """Figure 8: A against ω of many networks, and the upper concave envelope through them.

    ``curve`` is the frame ``envelope``; without rows of this direction only the points are drawn.
    Of ``peaks`` the best ω and its interval are marked.
    """
    dots, line = _direction(points, source, target), _direction(curve, source, target)
    figure, grid = canvas(_WIDTH, 4.4)
    axes = grid[0, 0]
    known: dict[str, Look] = {}
    for _, row in dots.iterrows():
        kind = look(row["computation"])
        known[f"{kind.computation} computation"] = kind
        said = f"seed {row['seed']}: ω {row['omega']:+.2f}, A {row['performance']:.2f}"
        at = (row["omega"], row["performance"])
        point(axes, *at, kind, str(row["arch"]), said.replace("-", "−"), size=5)
    handles = handles_of(known, lines=False)
    if len(line):
        line = line.astype(dict.fromkeys(("omega", "value", "low", "high"), float))
        band = axes.fill_between(line["omega"], line["low"], line["high"])
        band.set(color=GAINED, alpha=0.18, lw=0, zorder=1)
        handles += axes.plot(
            line["omega"], line["value"], color=GAINED, lw=1.8, label="upper envelope, 95 % band"
        )
    for _, peak in _direction(peaks, source, target).iterrows():
        best = value_in({"value": peak["omega"], "low": peak["low"], "high": peak["high"]})
        if best.known:
            axes.axvline(best.value, color=INK, lw=1.0, ls=DOTTED, zorder=2)
            if best.has_interval:
                axes.axvspan(best.low, best.high, color=INK, alpha=0.08, lw=0, zorder=0)
            label = "best ω, 95 % interval"
            handles.append(Line2D([], [], color=INK, lw=1.0, ls=DOTTED, label=label))
    axes.set_xlabel(f"ω, {unit(column)}" + stretch(axes, "x", dots["omega"]))
    axes.set_ylabel(f"A of {target}, {column.performance_label} (higher is better)")
    tidy(axes)
    title(figure, f"Influence of {source} on {target}, many networks")
    legend(figure, handles, 2)
    return figure


def matrix(differences: pd.DataFrame, effect: str, source: str, target: str) -> Figure:
    """How probable it is that the architecture of the row is above that of the column.

    Below the probability stands the difference, bold where Holm's corrected p is below 0.05.
    ``source`` is "" for an ``effect`` that has none.
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
            said = f"{archs[y]} − {archs[x]}: {words(Estimate(sign * value.value, low, high))}"
            said += f", p after Holm {float(row['p_holm']):.3g}"
            mark([*patch, text], f"{archs[y]} {archs[x]}", said)
    names = list(map(short, archs))
    axes.set_xticks(range(len(archs)), names, rotation=30, ha="left")
    axes.set_yticks(range(len(archs)), names)
    axes.xaxis.tick_top()
    about = (
        "probability that the row is above the column,\nand row − column; bold: p < 0.05 after Holm"
    )
    axes.set_xlabel(about, fontsize="x-small", color=INK)
    axes.xaxis.set_label_position("bottom")
    axes.set_xlim(-0.5, len(archs) - 0.5)
    axes.set_ylim(len(archs) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, labelsize="small", length=0)
    title(figure, f"{_sign(effect)} of {source} on {target}" if source else f"{effect}, {target}")
    return figure


# -- parts -------------------------------------------------------------------------------------


def _direction(frame: pd.DataFrame, source: str, target: str) -> pd.DataFrame:
    return frame[(frame["source"] == source) & (frame["target"] == target)]


def _plain(name: str) -> str:
    """Names of the records as words."""
    return str(name).removeprefix("class_").replace("_", " ")


def _sign(effect: str) -> str:
    return "ω" if effect == OMEGA else effect


def _zero(axes: Axes) -> None:
    axes.axvline(0, color=FAINT, lw=0.9, zorder=1)
    tidy(axes, "x")


def _name_rows(axes: Axes, rows: pd.DataFrame, archs: Sequence[str]) -> None:
    """Names of architectures, from above, in the colour of their computation."""
    known = looks(rows)
    axes.set_yticks(range(len(archs)), list(map(short, archs)))
    axes.set_ylim(len(archs) - 0.5, -0.5)
    for arch, label in zip(archs, axes.get_yticklabels(), strict=True):
        # Not marked: a name stays when what it names is hidden.
        label.set(color=known[arch].colour, fontweight="bold", fontsize="small")
