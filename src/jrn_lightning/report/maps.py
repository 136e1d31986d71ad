"""Maps as pictures: the tiles of a frame, and a figure of many frames as in Figure 5.

What is drawn of a frame, in which order and under which name, is decided by :func:`tiles` alone;
:func:`panel` lays tiles out in a figure, the page (:mod:`~jrn_lightning.report.page`) in HTML.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning import keys
from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation.protocols import regions
from jrn_lightning.modalities.base import Modality
from jrn_lightning.modalities.drawing import Key
from jrn_lightning.report.style import FAINT, INK

KINDS = ("image", "truth", "map", "error")
_LARGEST = 360  # pixels across a tile; beyond that a panel only gets slow and large
_FLAT = 64  # a picture of fewer colours than this is of classes
# Inches.
_MAP = 1.6  # width of a tile
_MARGIN, _NAME = 0.12, 0.22  # at the edges, and for the name of a modality beside its row
_GAP, _BETWEEN = 0.04, 0.12  # between tiles, and between modalities side by side
_LINE, _KEY = 0.2, 0.42  # a line of text, and the colours of one modality
_SWATCH, _LETTER = 0.38, 0.065  # of a class: its colour and the gaps, a letter of its name
_NARROWEST = 7.2  # of a panel: two bars of colours need as much


@dataclass(frozen=True)
class Frame:
    """One frame to be shown.

    Args:
        id: its name.
        target: per modality the ground truth; empty for frames without.
        outputs: per setup or architecture, the untouched input included, and modality the map
            ``(C, H, W)`` in the modality's own units, as :meth:`Modality.refined` gives it, at the
            size of the truth.
        image: ``(H, W, 3)`` uint8, or None.
        note: why it is shown, such as ``best of 327``, or its scene.
    """

    id: str
    target: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, Mapping[str, NDArray[Any]]]
    image: NDArray[np.uint8] | None = None
    note: str = ""


@dataclass(frozen=True)
class Tile:
    """One picture of a frame.

    Args:
        kind: one of :data:`KINDS`.
        picture: ``(H, W, 3)`` uint8.
        modality: of the map; empty for the image.
        setup: setup or architecture whose map it is; empty for image and truth.
        measure: primary measure of a map alone, as ``rel(sqr) 0.113``, where there is a truth.
    """

    kind: str
    picture: NDArray[np.uint8]
    modality: str = ""
    setup: str = ""
    measure: str = ""

    @property
    def label(self) -> str:
        """What it shows, for a head or below it."""
        muted = keys.muted_modality(self.setup)
        name = "untouched input" if self.setup == keys.UNTOUCHED else self.setup
        name = name if muted is None else f"{muted} muted"
        return {"image": "image", "truth": "ground truth", "map": name}.get(
            self.kind, f"error of {name}"
        )


def tiles(frame: Frame, modality: Modality, errors: Collection[str] | None = None) -> list[Tile]:
    """The tiles of one modality: truth, the map of every setup, error maps.

    Args:
        frame: what to show.
        modality: which of its maps.
        errors: setups whose error maps to show, where there is ground truth; None for all.
    """
    name, truth = modality.name, frame.target.get(modality.name)
    found = {setup: maps[name] for setup, maps in frame.outputs.items() if name in maps}
    if truth is None:
        return [Tile("map", modality.draw(x), name, setup) for setup, x in found.items()]
    return [
        Tile("truth", modality.draw_target(truth), name),
        *(
            Tile("map", modality.draw(x), name, setup, measured(modality, x, truth))
            for setup, x in found.items()
        ),
        *(
            Tile("error", modality.draw_error(x, truth), name, setup)
            for setup, x in found.items()
            if errors is None or setup in errors
        ),
    ]


def measured(modality: Modality, output: NDArray[Any], truth: NDArray[Any]) -> str:
    """The primary measure of one map ``(C, H, W)`` alone, in words."""
    target = torch.from_numpy(truth)[None].to(modality.batch_dtype)
    maps = torch.from_numpy(np.asarray(output, np.float32))[None, None]
    whole = regions(["full"], (truth.shape[-2], truth.shape[-1]))
    primary = modality.measure(modality.primary)
    value = float(primary(modality.statistics(maps, target, whole)[0, 0, 0].numpy()))
    if primary.higher_is_better and primary.scale == 100.0:
        return f"{primary.label} {100 * value:.1f} %"
    return f"{primary.label} {value:.3f}"


def with_unit(modality: Modality) -> str:
    """The name of a modality, with the unit of what is drawn of it."""
    # Of probabilities only the class is drawn.
    unit = f" [{modality.unit}]" if modality.unit and modality.channels == 1 else ""
    return f"{modality.name}{unit}"


def reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)``, no wider than a tile has to be.

    It is averaged, but for pictures of classes: a mixture of two colours would be a third class.
    """
    height, width = picture.shape[:2]
    if width <= _LARGEST:
        return picture
    image = Image.fromarray(picture)
    how = Image.Resampling.NEAREST if image.getcolors(_FLAT) else Image.Resampling.BILINEAR
    return np.asarray(image.resize((_LARGEST, round(height * _LARGEST / width)), how))


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture ``(H, W, 3)``, reduced, as WebP in a data URI; exact where it has few colours."""
    image = Image.fromarray(reduced(picture))
    flat = image.getcolors(_FLAT) is not None
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=flat, quality=60 if flat else 82, method=4)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()


# -- what the colours mean ---------------------------------------------------------------------


def _columns(shown: Key, width: float) -> int:
    """How many of the names of classes stand side by side in ``width`` inches."""
    inches = [_SWATCH + _LETTER * len(name) for _, name in shown.classes]
    room = width - 2 * _MARGIN
    return len(inches) if sum(inches) <= room else max(1, int(room / max(inches)))


def _key_height(shown: Key, width: float) -> float:
    """Inches that :func:`_draw_key` takes."""
    lines = -(-len(shown.classes) // _columns(shown, width)) if shown.classes else 0
    return _KEY * bool(shown.ramps) + (_KEY + (lines - 1) * _LINE if lines else 0)


def _draw_key(figure: Figure, shown: Key, top: float) -> None:
    """Ramps, and names of classes below them; the upper edge is ``top`` inches above the lower."""
    width, height = figure.get_size_inches()
    for k, ramp in enumerate(shown.ramps):
        left = _MARGIN + 3.4 * k
        axes = figure.add_axes((left / width, (top - 0.26) / height, 3 / width, 0.1 / height))
        axes.imshow(ramp.colours, aspect="auto", extent=(*ramp.ends, 0, 1))
        axes.set_yticks([])
        axes.tick_params(labelsize=7, length=2, pad=1)
        axes.set_title(ramp.label, fontsize=8, loc="left", pad=2)
    if shown.classes:
        top -= _KEY * bool(shown.ramps)
        middle = top - _key_height(Key(shown.name, shown.classes), width) / 2
        legend = Legend(
            figure,
            [Patch(facecolor=colour) for colour, _ in shown.classes],
            [name for _, name in shown.classes],
            loc="center left",
            bbox_to_anchor=(_MARGIN / width, middle / height),
            bbox_transform=figure.transFigure,
            ncols=_columns(shown, width),
            frameon=False,
            fontsize=8,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.2,
            handleheight=1.0,
            columnspacing=1.2,
            title=shown.name,
            title_fontsize=8,
            alignment="left",
        )
        figure.add_artist(legend)


# -- many frames in a figure -------------------------------------------------------------------


def panel(
    frames: Sequence[Frame],
    modalities: Mapping[str, Modality],
    *,
    errors: Collection[str] = (keys.UNTOUCHED, keys.JOINT),
    wide: bool = False,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """The tiles of ``frames``, a row for each modality of each frame.

    A column that no frame fills is left out. On each map stands its own measure; below stand the
    colours of every modality.

    Args:
        frames: what to show, at least one.
        modalities: by name, in the order of the rows.
        errors: setups whose error maps to show, where there is ground truth.
        wide: put the modalities of a frame side by side, so that it has one row.
        title: above everything.
        subtitle: below it, in grey.

    Raises:
        ConfigError: no frame was given.
    """
    if not frames:
        raise ConfigError("a panel of example maps needs at least one frame; got none.")
    rows = [_rows(frame, modalities, errors, wide) for frame in frames]
    heads = {_column(tile, wide): tile.label for own in rows for row in own for tile in row}
    places = _places(heads, modalities, wide)
    tall, across = rows[0][0][0].picture.shape[:2]
    size = (_MAP, _MAP * tall / across)
    step = size[1] + _GAP
    width = max(_NARROWEST, max(places.values()) + _MAP + _MARGIN)
    top = 0.15 + 0.4 * bool(title) + _LINE * (1 + wide)
    wrong = {tile.modality for own in rows for row in own for tile in row if tile.kind == "error"}
    legends = [modality.key(errors=name in wrong) for name, modality in modalities.items()]
    below = sum(_key_height(shown, width) for shown in legends) + 0.08
    height = top + sum(_LINE + step * len(own) for own in rows) + below
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)

    def write(words: str, x: float, y: float, size: float = 8, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, words, fontsize=size, **{"color": INK, **style})

    write(title, _MARGIN, 0.26, 12, weight="bold")
    write(subtitle, _MARGIN, 0.45, color=FAINT)
    for column, x in places.items():
        write(heads[column], x, top - 0.05)
    for modality in modalities.values() if wide else ():
        x = min((x for (name, *_), x in places.items() if name == modality.name), default=_MARGIN)
        write(with_unit(modality), x, top - 0.05 - _LINE, 9, weight="bold")
    y = top
    for frame, own in zip(frames, rows, strict=True):
        write(frame.id, _MARGIN, y + 0.15, weight="bold")
        write(frame.note, _MARGIN + 0.1 + 0.085 * len(frame.id), y + 0.15, color=FAINT)
        y += _LINE
        for modality, row in zip(modalities.values(), own, strict=False):
            for tile in row:
                _draw_tile(figure, tile, (places[_column(tile, wide)], y), size)
            if not wide:
                beside = (_MARGIN + 0.07, y + size[1] / 2)
                write(with_unit(modality), *beside, rotation=90, ha="center", va="center")
            y += step
    lower = below - 0.06
    for shown in legends:
        _draw_key(figure, shown, lower)
        lower -= _key_height(shown, width)
    return figure


def _draw_tile(
    figure: Figure, tile: Tile, corner: tuple[float, float], size: tuple[float, float]
) -> None:
    """Draw ``tile`` with its upper left ``corner`` (right of, below the figure's), in inches."""
    width, height = figure.get_size_inches()
    left, bottom = corner[0] / width, 1 - (corner[1] + size[1]) / height
    axes = figure.add_axes((left, bottom, size[0] / width, size[1] / height), anchor="NW")
    axes.set_axis_off()
    axes.imshow(reduced(tile.picture))
    if tile.measure:
        back = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1.0}
        text = axes.text(0.025, 0.04, tile.measure, transform=axes.transAxes, bbox=back)
        text.set(fontsize=6.5, color=INK)


_Column = tuple[str, str, str]  # modality where they are side by side, kind, setup


def _column(tile: Tile, wide: bool) -> _Column:
    return tile.modality if wide else "", tile.kind, tile.setup


def _rows(
    frame: Frame, modalities: Mapping[str, Modality], errors: Collection[str], wide: bool
) -> list[list[Tile]]:
    rows = [tiles(frame, modality, errors) for modality in modalities.values()]
    rows = [[tile for row in rows for tile in row]] if wide else rows
    if frame.image is not None:
        rows[0].insert(0, Tile("image", frame.image))
    return rows


def _places(
    columns: Iterable[_Column], modalities: Iterable[str], wide: bool
) -> dict[_Column, float]:
    """Where each column begins, in inches from the left, in their order."""
    groups = ["", *modalities]
    ordered = sorted(columns, key=lambda c: (groups.index(c[0]), KINDS.index(c[1])))
    places: dict[_Column, float] = {}
    x = _MARGIN + (0 if wide else _NAME)
    for before, column in zip([ordered[0], *ordered], ordered, strict=False):
        x += _BETWEEN * (column[0] != before[0])
        places[column] = x
        x += _MAP + _GAP
    return places
