"""A contact sheet of a cache: what its frames, predictions and errors look like, on one page."""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning.errors import CacheError
from jrn_lightning.evaluation.protocols import regions
from jrn_lightning.modalities.base import Modality
from jrn_lightning.report.maps import KEY, colours, with_unit

if TYPE_CHECKING:
    from jrn_lightning.cache import CacheSplit

#: of a sheet, chosen so that eight frames of two modalities make a file below 1 MB
DPI = 108
# Inches.
_MAP = 1.5  # width of a map
_NARROWEST = 7.2  # of a sheet: the colours of two modalities need as much
_SIDE = 0.15
_HEAD = 0.86  # title, and names of the columns
_LINE = 0.2  # above each row of maps
_GAP, _BETWEEN = 0.03, 0.12  # between maps, and between modalities
_INK, _FAINT = "#222222", "#666666"


@dataclass(frozen=True)
class SheetFrame:
    """One row of a sheet.

    Args:
        id: its name.
        scene: that it belongs to.
        image: ``(H, W, 3)`` uint8, or None.
        prediction: modality -> ``(C, H, W)``.
        target: modality -> ``(H, W)``; empty for frames without ground truth.
        measure: modality -> the primary measure of this frame alone, such as ``rel(sqr) 0.113``.
    """

    id: str
    scene: str
    image: NDArray[np.uint8] | None
    prediction: Mapping[str, NDArray[Any]]
    target: Mapping[str, NDArray[Any]]
    measure: Mapping[str, str]


def choose(scenes: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """Positions of ``count`` frames, spread over the scenes.

    A second frame of a scene is taken only when every scene has one, and so on; which scenes and
    frames, the seed decides.

    Returns:
        Ascending positions, all of them if there are no more than ``count``.

    >>> scenes = ["a", "a", "a", "b", "c"]
    >>> len({scenes[i] for i in choose(scenes, 3, seed=5)})
    3
    """
    rng = np.random.default_rng(seed)
    waiting: dict[str, list[int]] = {}
    for i in rng.permutation(len(scenes)).tolist():
        waiting.setdefault(scenes[i], []).append(i)
    # By how many of its scene come before it; sorting keeps the shuffled order of scenes.
    turns = sorted((turn, k, i) for k, s in enumerate(waiting.values()) for turn, i in enumerate(s))
    return sorted(i for _, _, i in turns[:count])


def find(split: CacheSplit, ids: Sequence[str]) -> list[int]:
    """Positions of the frames called ``ids``, in that order.

    Raises:
        CacheError: no such frame; similar names, or the first ones, are listed.
    """
    place = {name: i for i, name in enumerate(split.ids)}
    for name in ids:
        if name not in place:
            near = difflib.get_close_matches(name, split.ids, n=6, cutoff=0.5) or split.ids[:6]
            some = ", ".join(near)
            raise CacheError(
                f"{split.cache.path}: split {split.name!r} has no frame {name!r}. Choose from its "
                f"{len(split)} frames, such as {some}."
            )
    return [place[name] for name in ids]


def read(split: CacheSplit, rows: Sequence[int]) -> list[SheetFrame]:
    """The frames at ``rows``: predictions at the frame's size, truth and image where there are any.

    Raises:
        CacheError: a sample that cannot be read.
    """
    from jrn_lightning.cache.grid import resample

    kinds, size = split.cache.modalities, split.cache.frame
    whole = regions(["full"], size)
    frames = []
    for i in rows:
        prediction, target, measure = {}, {}, {}
        for name, modality in kinds.items():
            native = torch.from_numpy(split.prediction(name, i))
            found = resample(native, split.grid(name), size, size)
            prediction[name] = found.numpy()
            if split.has_targets:
                target[name] = split.target(name, i)
                truth = torch.from_numpy(target[name]).to(modality.batch_dtype)
                sums = modality.statistics(found[None, None], truth[None], whole)[0, 0, 0]
                primary = modality.measure(modality.primary)
                measure[name] = f"{primary.label} {float(primary(sums.numpy())):.3f}"
        image = split.image(i) if split.has_images else None
        frames.append(SheetFrame(split.ids[i], split.scenes[i], image, prediction, target, measure))
    return frames


def sheet(
    frames: Sequence[SheetFrame],
    modalities: Mapping[str, Modality],
    *,
    title: str,
    subtitle: str = "",
) -> Figure:
    """One row a frame: the image, then truth, prediction and error of every modality.

    What no frame has is left out. Below stand the colours of every modality.

    Args:
        frames: at least one, all of one size.
        modalities: by name, in the order of the columns.
        title: above everything.
        subtitle: below it, in grey.
    """
    groups = _groups(frames, modalities)
    count = sum(len(columns) for _, columns in groups)
    gaps = _GAP * (count - len(groups)) + _BETWEEN * (len(groups) - 1)
    map_width = max(_MAP, (_NARROWEST - 2 * _SIDE - gaps) / count)
    shape = next(iter(frames[0].prediction.values())).shape[-2:]
    map_height = map_width * shape[0] / shape[1]
    width = 2 * _SIDE + map_width * count + gaps
    below = KEY * len(modalities) + 0.1
    height = _HEAD + (_LINE + map_height) * len(frames) + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def text(words: str, x: float, y: float, size: float, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, words, fontsize=size, va="baseline", **style)

    text(title, _SIDE, 0.26, 12, fontweight="bold", color=_INK)
    text(subtitle, _SIDE, 0.45, 8, color=_FAINT)
    pixels = (round(map_width * DPI), round(map_height * DPI))
    x = _SIDE
    for name, columns in groups:
        measured = x + (map_width + _GAP) * (len(columns) - 1)
        if name:
            text(with_unit(modalities[name]), x, 0.68, 9, fontweight="bold", color=_INK)
        for k, (head, draw) in enumerate(columns):
            left = x + k * (map_width + _GAP)
            text(head, left, _HEAD - 0.04, 8, color=_INK)
            for row, frame in enumerate(frames):
                top = _HEAD + _LINE + row * (_LINE + map_height)
                picture = reduced(draw(frame), pixels)
                # Pixel by pixel: drawn in axes, they would be resampled once more.
                figure.figimage(
                    picture, round(left * DPI), round((height - top) * DPI) - pixels[1], zorder=1
                )
        for row, frame in enumerate(frames):
            y = _HEAD + row * (_LINE + map_height) + _LINE - 0.05
            if name and frame.measure.get(name):
                text(frame.measure[name], measured, y, 7.5, color=_INK)
        x = measured + map_width + _BETWEEN
    for row, frame in enumerate(frames):
        y = _HEAD + row * (_LINE + map_height) + _LINE - 0.05
        text(frame.id, _SIDE, y, 7.5, fontweight="bold", color=_INK)
        # Where the maps are narrow, the beginning of a scene's name says enough.
        room = int((map_width - 0.1) / 0.062) - len(frame.id) - 2
        scene = frame.scene if len(frame.scene) <= room else f"{frame.scene[: max(0, room - 1)]}…"
        indent = 0.08 + 0.075 * len(frame.id)
        text(scene, _SIDE + indent, y, 7.5, color=_FAINT)
    for m, modality in enumerate(modalities.values()):
        errors = any(modality.name in frame.target for frame in frames)
        colours(figure, modality, below - 0.06 - KEY * m, with_errors=errors, left=_SIDE)
    return figure


_Column = tuple[str, Callable[[SheetFrame], NDArray[np.uint8]]]


def _groups(
    frames: Sequence[SheetFrame], modalities: Mapping[str, Modality]
) -> list[tuple[str, list[_Column]]]:
    """Modality, or nothing for the image, and the columns that belong to it."""
    height, width = next(iter(frames[0].prediction.values())).shape[-2:]
    nothing = np.full((height, width, 3), 255, np.uint8)
    groups: list[tuple[str, list[_Column]]] = []
    if any(frame.image is not None for frame in frames):
        groups.append(("", [("image", lambda f: nothing if f.image is None else f.image)]))

    def truth(name: str, kind: Modality) -> Callable[[SheetFrame], NDArray[np.uint8]]:
        return lambda f: kind.draw_target(f.target[name]) if name in f.target else nothing

    def error(name: str, kind: Modality) -> Callable[[SheetFrame], NDArray[np.uint8]]:
        def draw(f: SheetFrame) -> NDArray[np.uint8]:
            known = name in f.target
            return kind.draw_error(f.prediction[name], f.target[name]) if known else nothing

        return draw

    def prediction(name: str, kind: Modality) -> Callable[[SheetFrame], NDArray[np.uint8]]:
        return lambda f: kind.draw(f.prediction[name])

    for name, kind in modalities.items():
        columns = [("prediction", prediction(name, kind))]
        if any(name in frame.target for frame in frames):
            columns = [("truth", truth(name, kind)), *columns, ("error", error(name, kind))]
        groups.append((name, columns))
    return groups


def reduced(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)`` at ``size`` (width, height), averaged where it shrinks."""
    large = picture.shape[1] > size[0]
    # Pillow widens the filter as it shrinks, so that this averages, without the jumps of a box.
    how = Image.Resampling.BILINEAR if large else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, how))


def save(figure: Figure, path: Path) -> None:
    """Write a sheet as a PNG.

    Raises:
        CacheError: ``path`` cannot be written to.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    encoded = io.BytesIO()
    picture.save(encoded, format="png", optimize=True, dpi=(DPI, DPI))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.getbuffer())
    except OSError as error:
        raise CacheError(
            f"{path}: the sheet cannot be written ({error}). Choose another file with --out."
        ) from error
