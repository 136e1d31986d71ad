"""How every figure of a report looks: colours, markers, axes.

Figures are drawn without pyplot: nothing is shown, and nothing is left behind. What belongs to an
architecture is marked with its name and a few words, which :mod:`~jrn_lightning.report.vector`
turns into something to point at.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.analysis.summary import MeasureColumn, short
from jrn_lightning.influence import Estimate

INK = "#333333"
FAINT = "#9A9A9A"
GRID = "#E6E6E6"
PAPER = "#FFFFFF"
GAINED = "#0072B2"  # what a modality really adds,
BROKEN = "#BDBDBD"  # and what muting it destroys
DASHED, DOTTED = (0, (5, 3)), (0, (1, 2))
#: how many architectures can be told apart in one figure
MANY = 8

# Red and green as in the paper, of the Okabe-Ito set that colour-blind readers tell apart, and
# markers each, since there are more architectures than colours.
_LOOKS = {"loose": ("#D55E00", "o^<>hv8d"), "coupled": ("#009E73", "sDvP*X^p")}
_OTHER = ("#4D4D4D", "DpdXH")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)))
_STRETCH = 100.0
_MARK = "mark:"


@dataclass(frozen=True)
class Look:
    """What tells one architecture from the others: colour by computation, marker and dash."""

    colour: str
    marker: str
    dash: Any = "-"
    computation: str = ""


def look(computation: object, k: int = 0) -> Look:
    """That of the architecture ``k`` of one ``computation``, which may be unknown."""
    colour, markers = _LOOKS.get(str(computation), _OTHER)
    name = str(computation) if str(computation) in _LOOKS else "other"
    return Look(colour, markers[k % len(markers)], _DASHES[k % len(_DASHES)], name)


def looks(table: pd.DataFrame) -> dict[str, Look]:
    """The look of every architecture of ``table``, by its columns arch and computation."""
    rows = table.reindex(columns=["arch", "computation"]).drop_duplicates("arch")
    found: dict[str, Look] = {}
    taken: Counter[str] = Counter()
    for arch, computation in rows[rows["arch"] != keys.UNTOUCHED].to_numpy():
        kind = look(computation).computation
        found[str(arch)] = look(computation, taken[kind])
        taken[kind] += 1
    return found


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, NDArray[Any]]:
    """A figure of ``width`` by ``height`` inches and its axes ``(rows, columns)``."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def tidy(axes: Axes, grid: str = "both") -> None:
    """A light grid behind everything, no box."""
    axes.grid(visible=True, axis=grid, color=GRID, lw=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize="small")


def reach(value: Estimate) -> list[list[float]] | None:
    """Distances down and up, as matplotlib wants them; None where there is no interval."""
    if not value.has_interval:
        return None
    # A percentile interval need not hold its own point estimate.
    return [[max(value.value - value.low, 0.0)], [max(value.high - value.value, 0.0)]]


def scale_of(values: Iterable[float]) -> float | None:
    """Below which size a stretched axis should be linear; None where a plain one will do.

    A plain axis bunches values up when the largest is a hundred times the lower quartile of
    their sizes.

    >>> scale_of([50.0, 60.0, 110.0]) is None
    True
    >>> scale_of([0.3, 0.4, 90.0, 110.0])
    0.1
    """
    sizes = np.abs([v for v in values if np.isfinite(v) and v != 0])
    if len(sizes) < 3:
        return None
    quartile = float(np.quantile(sizes, 0.25, method="lower"))
    if sizes.max() < _STRETCH * quartile:
        return None
    return float(10 ** np.floor(np.log10(quartile)))


def stretch(axes: Axes, which: str, values: Iterable[float]) -> str:
    """Make axis ``x`` or ``y`` symmetrically logarithmic if ``values`` demand it.

    Returns:
        What its label then has to say, else nothing.
    """
    linear = scale_of(values)
    if linear is None:
        return ""
    getattr(axes, f"set_{which}scale")("symlog", linthresh=linear)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    return " (logarithmic away from 0)"


def point(
    axes: Axes,
    x: Estimate | float,
    y: Estimate | float,
    look: Look,
    arch: str,
    said: str = "",
    *,
    size: float = 5.5,
    hollow: bool = False,
    cap: float = 2.5,
) -> None:
    """A marker with the intervals of its values, and what to say about it."""
    across, upright = (v if isinstance(v, Estimate) else Estimate(v, v, v) for v in (x, y))
    drawn = axes.errorbar(
        across.value,
        upright.value,
        xerr=reach(across) if across is x else None,
        yerr=reach(upright) if upright is y else None,
        fmt=look.marker,
        ms=size,
        color=look.colour,
        mfc=PAPER if hollow else look.colour,
        mew=1.2 if hollow else 0.6,
        elinewidth=1.0,
        capsize=cap,
        zorder=4,
    )
    mark(drawn, arch, said)


def handles_of(
    known: Mapping[str, Look], *, lines: bool = True, hollow: bool = False, size: float = 5.5
) -> list[Artist]:
    """Entries of a legend."""
    return [
        Line2D(
            [],
            [],
            color=style.colour,
            ls=style.dash if lines else "",
            lw=1.2,
            marker=style.marker,
            ms=size,
            mfc=PAPER if hollow else style.colour,
            label=short(name),
        )
        for name, style in known.items()
    ]


def legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A legend below everything, of at most so many columns as the figure has room for."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(columns, int(15 * figure.get_figwidth() / (longest + 7))))  # 15: letters
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize="small",
        labelcolor=INK,
    )


def title(figure: Figure, text: str) -> None:
    """The title of a figure."""
    figure.suptitle(text, fontsize="medium", fontweight="bold", color=INK)


def unit(column: MeasureColumn) -> str:
    """The unit of differences of A, for an axis."""
    return f"points of {column.label}" if column.percent else f"in {column.performance_label}"


def words(value: Estimate, digits: int = 2) -> str:
    """``value [low, high]`` with signs.

    >>> words(Estimate(1.5, -0.25, 3.0), 1)
    '+1.5 [−0.2, +3.0]'
    """
    if not value.known:
        return "unknown"
    text = f"{value.value:+.{digits}f}"
    if value.has_interval:
        text += f" [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"
    return text.replace("-", "−")


def mark(drawn: Artist | Container | Iterable[Artist], arch: str, text: str = "") -> None:
    """Note that ``drawn`` belongs to ``arch``, and what to say about it."""
    parts = [drawn] if isinstance(drawn, Artist) else drawn
    for part in itertools.chain.from_iterable(
        [p] if isinstance(p, Artist) else (p or ()) for p in parts
    ):
        part.set_gid(f"{_MARK}{arch}|{text}")


def marked(gid: str) -> tuple[str, str] | None:
    """Architecture and words of a mark; None for anything else.

    >>> marked("mark:cat60|ω +1.0"), marked("axes_1")
    (('cat60', 'ω +1.0'), None)
    """
    if not gid.startswith(_MARK):
        return None
    arch, _, text = gid.removeprefix(_MARK).partition("|")
    return arch, text


def value_in(row: Mapping[str, Any] | pd.Series, prefix: str = "") -> Estimate:
    """``value``, ``low`` and ``high`` of a row of findings; with ``prefix`` its own three."""
    names = (prefix, f"{prefix}_low", f"{prefix}_high") if prefix else ("value", "low", "high")
    return Estimate(*(float("nan") if pd.isna(row[name]) else float(row[name]) for name in names))
