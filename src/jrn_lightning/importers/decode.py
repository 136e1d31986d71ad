"""Maps as data sets store them: read from a file, and decoded into the units of a modality."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.files import read_text
from jrn_lightning.importers.labels import LabelSpace
from jrn_lightning.importers.layout import Camera, MapLayout
from jrn_lightning.importers.patterns import Fields, Pattern
from jrn_lightning.modalities import Depth, Modality, Semantic
from jrn_lightning.modalities.semantic import VOID

_LOWEST: Final = -256  # ids of labels are looked up from here on
_HIGHEST: Final = 65535
_UNKNOWN: Final = -1
_JUMP: Final = 0.1  # of the depth; derived normals stop at it


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels of the map; the baseline in metres."""

    fx: float = math.nan
    fy: float = math.nan
    cx: float = math.nan
    cy: float = math.nan
    baseline: float = math.nan

    def rays(self, size: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The ratios x / z ``(1, W)`` and y / z ``(H, 1)`` at every pixel."""
        h, w = size
        cx = (w - 1) / 2 if math.isnan(self.cx) else self.cx
        cy = (h - 1) / 2 if math.isnan(self.cy) else self.cy
        return (np.arange(w)[None] - cx) / self.fx, (np.arange(h)[:, None] - cy) / self.fy


def intrinsics(root: Path, camera: Camera, fields: Fields, where: str) -> Intrinsics:
    """The camera of a frame: numbers, or entries of a file.

    A file is JSON, with dots between the keys (``intrinsic.fx``), or lines of a name and numbers
    (``P_rect_02.0`` is the first of them).
    """
    content: Any = None
    path: Path | None = None
    if camera.file is not None:
        path = Pattern(camera.file, f"{where}.camera").path(root, fields)
        if path is None:
            raise CacheError(
                f"{where}.camera: {root / camera.file} of frame {dict(fields)} is "
                "missing. Complete the folder."
            )
        content = _camera_file(path)

    def value(given: float | str | None) -> float:
        if given is None or not isinstance(given, str):
            return math.nan if given is None else float(given)
        found = content
        try:
            for part in given.split("."):
                found = found[int(part) if isinstance(found, list) else part]
            return float(found)
        except (KeyError, IndexError, TypeError, ValueError):
            raise CacheError(f"{path}: no number at {given!r}. Correct {where}.camera.") from None

    fx = value(camera.focal)
    fy = fx if camera.focal_y is None else value(camera.focal_y)
    cx, cy = (value(c) for c in camera.center or (None, None))
    return Intrinsics(fx, fy, cx, cy, value(camera.baseline))


def _camera_file(path: Path) -> Any:
    try:
        text = read_text(path)
        if path.suffix.lower() == ".json":
            return json.loads(text)
        lines = (line.replace(":", " ", 1).split() for line in text.splitlines() if line.strip())
        return {name: values for name, *values in lines}
    except (OSError, ValueError) as error:
        raise CacheError(f"{path} cannot be read ({error}). Copy it again.") from error


Decoder = Callable[[NDArray[Any], str, Fields], NDArray[Any]]


def decoder(root: Path, layout: MapLayout, modality: Modality, space: LabelSpace | None) -> Decoder:
    """What turns a stored map of a frame into ``modality``'s ground truth.

    The truth is ``(h, w)``, or ``(C, h, w)`` where it has channels, at its own size. Arguments
    are the stored array, its file for messages, and the fields of the frame.
    """
    if isinstance(modality, Semantic):
        assert space is not None
        return _labels(root, layout, space)
    values = _values(layout, modality)
    if not isinstance(modality, Depth):
        return lambda raw, file, fields: values(raw, file)

    def depth(raw: NDArray[Any], file: str, fields: Fields) -> NDArray[Any]:
        stored = values(raw, file)
        if layout.form != "planar":
            camera = layout.camera or Camera()
            stored = _planar(stored, layout.form, intrinsics(root, camera, fields, layout.where))
        bad = ~np.isfinite(stored) | (stored <= 0)
        if layout.beyond == "void":
            bad |= (stored > modality.maximum) | (stored < modality.minimum)
        return np.where(bad, modality.invalid, stored).astype(modality.target_dtype)

    return depth


def _planar(values: NDArray[Any], form: str, camera: Intrinsics) -> NDArray[Any]:
    """Depth along the optical axis; what is not positive is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if form == "distance":  # along the ray, as ray casters give it
            x, y = camera.rays((values.shape[0], values.shape[1]))
            return np.asarray(values / np.sqrt(1 + x * x + y * y))
        factor = camera.fx * camera.baseline if form == "disparity" else 1.0
        return np.where(values > 0, factor / values, 0.0)


def without_channel(array: NDArray[Any]) -> NDArray[Any]:
    """``(h, w)`` of an array with one channel, first or last; any other as it is."""
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        return array[0] if array.shape[0] == 1 else array[..., 0]
    return array


def _values(layout: MapLayout, modality: Modality) -> Callable[[NDArray[Any], str], NDArray[Any]]:
    """Numbers in their units, channels first, the modality's invalid value where missing."""

    def decode(raw: NDArray[Any], file: str) -> NDArray[Any]:
        if raw.dtype.kind not in "fiub":
            raise CacheError(f"{file} holds {raw.dtype}. Give numbers.")
        raw = without_channel(raw)
        if layout.rotate:
            bits = raw.astype(np.uint16)
            raw = (bits >> layout.rotate) | (bits << (16 - layout.rotate))
        bad = ~np.isfinite(raw) | np.isin(raw, layout.invalid)
        values = np.where(bad, 0, raw).astype(np.float64) * layout.scale + layout.offset
        if raw.ndim == 3:
            first = layout.axes == "CHW" or (layout.axes is None and raw.shape[0] < raw.shape[2])
            values, bad = (a if first else np.moveaxis(a, 2, 0) for a in (values, bad))
            for axis in layout.flip:
                values["xyz".index(axis)] *= -1
            bad = np.broadcast_to(bad.any(0), values.shape)
            if layout.kind == "normals":
                return unit(values, bad)
        elif raw.ndim != 2:
            raise CacheError(f"{file} has the shape {raw.shape}. Give (h, w), or channels with it.")
        return np.where(bad, modality.invalid, values).astype(modality.target_dtype)

    return decode


def unit(vectors: NDArray[Any], bad: NDArray[Any] | bool = False) -> NDArray[np.float32]:
    """Vectors ``(3, h, w)`` of length 1, the zero vector where missing or shorter than a half."""
    length = np.linalg.norm(vectors, axis=0)
    known = (length > 0.5) & ~np.asarray(bad)
    return np.where(known, vectors / np.where(length > 0.5, length, 1), 0).astype(np.float32)


def normals_of(depth: NDArray[Any], camera: Intrinsics) -> NDArray[np.float32]:
    """Surface normals ``(3, h, w)`` of planar depth ``(h, w)``, towards the camera.

    Axes are the camera's: x to the right, y down, z forwards. Central differences of the points;
    where a neighbour is missing, or its depth differs by more than a tenth, as at the edge of
    an object, and at the border of the map, there is no normal: the zero vector.
    """
    x, y = camera.rays((depth.shape[0], depth.shape[1]))
    points = np.stack([x * depth, y * depth, depth.astype(np.float64)])
    normals = np.zeros_like(points)
    inner = np.s_[1:-1, 1:-1]
    right, left, below, above = (
        points[:, 1:-1, 2:],
        points[:, 1:-1, :-2],
        points[:, 2:, 1:-1],
        points[:, :-2, 1:-1],
    )
    middle = depth[inner]
    cross = np.cross(below - above, right - left, axis=0)
    length = np.linalg.norm(cross, axis=0)
    good = (middle > 0) & (length > 0)
    for z in (right[2], left[2], below[2], above[2]):
        good &= (z > 0) & (np.abs(z - middle) <= _JUMP * middle)
    normals[:, 1:-1, 1:-1] = np.where(good, cross / np.where(length > 0, length, 1), 0)
    return normals.astype(np.float32)


def _labels(root: Path, layout: MapLayout, space: LabelSpace) -> Decoder:
    """Labels of stored ids or colours."""
    label_of = space.labels_of(layout.ids)
    colors = [v for v in layout.void if isinstance(v, Sequence)]
    void_ids = [v for v in layout.void if isinstance(v, int)]
    by_id = np.full(_HIGHEST - _LOWEST + 1, _UNKNOWN, np.int16)
    if layout.translate is None:
        for id, label in label_of.items():
            by_id[id - _LOWEST] = label
    else:
        for id, other in _translation(root, layout.translate, layout.where).items():
            by_id[id - _LOWEST] = label_of.get(other, _UNKNOWN)
    by_id[np.array(void_ids, np.int64) - _LOWEST] = VOID
    by_color = np.full(1 << 24 if space.colors else 0, _UNKNOWN, np.int16)
    for id, color in zip(space.own_ids, space.colors, strict=False):
        by_color[_code(color)] = label_of[id]
    for color in colors:
        by_color[_code(color)] = VOID

    def decode(raw: NDArray[Any], file: str, fields: Fields) -> NDArray[Any]:
        raw = without_channel(raw)
        if raw.ndim == 3 and raw.shape[2] == 3 and space.colors:
            codes = raw.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
            labels = by_color[codes]
        elif raw.ndim == 2:
            codes = np.rint(raw).astype(np.int64)
            if raw.dtype.kind == "f" and not np.array_equal(codes, raw):
                raise CacheError(
                    f"{file} holds the id {raw[codes != raw].flat[0]:g}. Ids are whole."
                )
            codes = codes + int(layout.offset)
            labels = by_id[np.clip(codes, _LOWEST, _HIGHEST) - _LOWEST]
        else:
            raise CacheError(
                f"{file} has the shape {raw.shape}, not that of ids (h, w). Pictures of colours "
                "need a label space with colors:."
            )
        if (unknown := labels == _UNKNOWN).any():
            found, counts = np.unique(raw[unknown], axis=0, return_counts=True)
            colored = raw.ndim == 3
            values = (found if colored else np.rint(found + layout.offset).astype(int)).tolist()
            void = [*values, *layout.void] if colored else sorted([*values, *void_ids])
            own = layout.ids is None and Path(layout.labels or "").suffix
            raise CacheError(
                f"{file} holds the {'color' if colored else 'id'} {values[0]} in {counts[0]} "
                f"pixels, which {layout.ids or space.name} lacks. "
                f"{f'Add it to {layout.labels}' if own else 'Give another ids: or labels:'}, or "
                f"give {layout.where}.void: {_some(void)} where it is of no class."
            )
        return np.asarray(labels, np.uint8)

    return decode


def _some(values: Sequence[object]) -> str:
    """A list in YAML, of the first ones where there are many."""
    return str(list(values)) if len(values) < 30 else f"{str(list(values[:20]))[:-1]}, ...]"


def _code(color: Sequence[int]) -> int:
    r, g, b = color
    return (r << 16) | (g << 8) | b


def _translation(root: Path, table: Mapping[str, str], where: str) -> dict[int, int]:
    """Stored id -> id, from two columns of a table with a head, by tabs or commas."""
    path = root / table["file"]
    try:
        lines = read_text(path).splitlines()
        rows = csv.DictReader(lines, delimiter="\t" if "\t" in lines[0] else ",")
        pairs = [(row[table["from"]], row[table["to"]]) for row in rows]
        return {int(a): int(b) for a, b in pairs if b.strip()}
    except (OSError, UnicodeDecodeError, IndexError, KeyError, ValueError) as error:
        raise CacheError(
            f"{path} cannot be read ({error!r}). It needs the columns {table['from']} and "
            f"{table['to']}, as {where}.translate says."
        ) from error
