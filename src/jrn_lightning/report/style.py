"""How every figure of a report looks: colours, markers, axes.

Figures are drawn without pyplot: nothing is shown, and nothing is left behind. What belongs to an
architecture is marked with its name and a few words, which :mod:`~jrn_lightning.report.vector`
turns into something to point at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import Container
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jrn_lightning.analysis.summary import Value

# Red and green as in the paper, of the Okabe-Ito set that colour-blind readers tell apart, and
# markers each, since there are more architectures than colours.
_LOOKS = {"loose": ("#D55E00", "o^<>h"), "coupled": ("#009E73", "sDvP*")}
_OTHER = ("#4D4D4D", "DpdXH")
#: kinds of computation, in the order of a legend
COMPUTATIONS = (*_LOOKS, "other")
INK = "#333333"
FAINT = "#9A9A9A"
GRID = "#E6E6E6"
PAPER = "#FFFFFF"
GAINED = "#0072B2"  # what a modality really adds,
BROKEN = "#BDBDBD"  # and what muting it destroys
SIZE = 7.0  # of a marker, points
#: how many architectures can be told apart in one figure
MANY = 8

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)))
_STRETCH = 100.0
_MARK = "mark:"


def look(computation: object) -> tuple[str, str]:
    """Colour and marker of the architectures of one ``computation``, which may be unknown."""
    colour, markers = _LOOKS.get(str(computation), _OTHER)
    return colour, markers[0]


@dataclass(frozen=True)
class Look:
    """What tells one architecture from the others of its computation."""

    colour: str
    marker: str
    dash: Any


def looks(table: pd.DataFrame) -> dict[str, Look]:
    """The look of every architecture of ``table``, by its columns arch and computation."""
    found: dict[str, Look] = {}
    taken: dict[str, int] = {}
    for arch, computation in table[["arch", "computation"]].drop_duplicates("arch").to_numpy():
        colour, markers = _LOOKS.get(str(computation), _OTHER)
        k = taken.get(colour, 0)
        taken[colour] = k + 1
        found[str(arch)] = Look(colour, markers[k % len(markers)], _DASHES[k % len(_DASHES)])
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


def reach(value: Value) -> list[list[float]] | None:
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


def stretch(axes: Axes, which: str, values: Iterable[float]) -> bool:
    """Make axis ``x`` or ``y`` symmetrically logarithmic if ``values`` demand it."""
    linear = scale_of(values)
    if linear is None:
        return False
    getattr(axes, f"set_{which}scale")("symlog", linthresh=linear)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    return True


def words(value: Value, digits: int = 2) -> str:
    """``value [low, high]`` with signs.

    >>> words(Value(1.5, -0.25, 3.0), 1)
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


def value_in(row: Mapping[str, Any] | pd.Series, prefix: str = "") -> Value:
    """``value``, ``low`` and ``high`` of a row of findings; with ``prefix`` its own three."""
    names = (prefix, f"{prefix}_low", f"{prefix}_high") if prefix else ("value", "low", "high")
    return Value(*(float("nan") if pd.isna(row[name]) else float(row[name]) for name in names))
