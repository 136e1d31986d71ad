"""Any data set that lies in files, by its layout; see :mod:`~jrn_lightning.importers.layout`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning import keys
from jrn_lightning.cache.dataset import nearest_rows
from jrn_lightning.errors import CacheError, ConfigError
from jrn_lightning.files import read_text
from jrn_lightning.importers import decode
from jrn_lightning.importers.arrays import read_array
from jrn_lightning.importers.build import Input
from jrn_lightning.importers.frames import Frame, in_order, stamp_of
from jrn_lightning.importers.labels import LabelSpace, space
from jrn_lightning.importers.layout import ImageLayout, Layout, MapLayout
from jrn_lightning.importers.patterns import Pattern
from jrn_lightning.importers.schema import keys_of
from jrn_lightning.importers.sources import from_files
from jrn_lightning.modalities import Depth, Modality, Semantic

_SURVEYED: Final = 8  # frames whose values are looked at before anything is written
_NEAR: Final = 1.0  # metres; a data set that shows nothing beyond is rather normalised
_REST: Final = "rest"


class Folder:
    """A data set in files, see :class:`jrn_lightning.importers.frames.DataSet`.

    Args:
        root: the folder.
        layout: what lies where in it.
        partial: any frame may lack any of its ground truths: it then has none of that modality.
        labels: another label space for the labels, by name or file.

    Raises:
        CacheError: files that are not there or there twice, a frame without its truth, splits
            that name no frame, by name; what a layout says that does not fit.
    """

    def __init__(
        self, root: Path, layout: Layout, *, partial: bool = False, labels: str | None = None
    ) -> None:
        if not root.is_dir():
            raise CacheError(f"{root} is no folder. Give the one that {layout.path} is about.")
        self.path, self.layout = root, layout
        #: what a user should know of what was found
        self.remarks: list[str] = []
        self.truths: dict[str, tuple[str, ...]] = {}
        self.modalities: dict[str, Modality] = {}
        self._spaces: dict[str, LabelSpace] = {}
        self._decoders: dict[str, decode.Decoder] = {}
        for made in layout.maps.values():
            self._add(replace(made, labels=labels) if labels and made.labels else made)
        self._image = Pattern(layout.image.file, "image")
        found = self._find()
        self.splits = self._deal(found)
        kept = {f for ids in self.splits.values() for f in ids}
        self._fields = {id: found[id] for id in kept}
        self._scenes = self._find_scenes()
        self._files = self._find_truths(partial)
        self.size = self._find_size()
        self.notes = {
            "data": layout.name or layout.path,
            "layout": layout.path,
            **({"data_source": layout.source} if layout.source else {}),
            **({"about": " ".join(layout.notes.split())} if layout.notes else {}),
        }
        for name, labels_of in self._spaces.items():
            prefix = "" if len(self._spaces) == 1 else f"{name}_"
            self.notes |= {
                f"{prefix}label_space": labels_of.name,
                f"{prefix}label_space_hash": labels_of.hash,
            }

    @property
    def stamp(self) -> str:
        """See :class:`~jrn_lightning.importers.frames.DataSet`."""
        maps = self.layout.maps.values()
        frames = [frame for ids in self.splits.values() for frame in ids]
        files = [path for frame in frames for path in self.files(frame).values()]
        cameras = {made.camera.file for made in maps if made.camera and made.camera.file}
        for pattern in (Pattern(text, "camera") for text in sorted(cameras)):
            files += [pattern.path(self.path, self._fields[frame]) for frame in frames]
        files += [self.path / made.translate["file"] for made in maps if made.translate]
        return stamp_of(files, self.layout, self.notes)

    def scene(self, frame: str) -> str:
        """What the layout's ``scene`` is for a frame."""
        return self._scenes[frame]

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame, every map at the frame's size."""
        picture = self._picture(frame) if image else None
        return Frame(picture, self._truth(frame) if targets else None)

    def files(self, frame: str) -> dict[str, Path | None]:
        """The files of a frame: its image, then its ground truths by modality."""
        image = self._image.path(self.path, self._fields[frame])
        return {keys.IMAGE: image, **{m: files.get(frame) for m, files in self._files.items()}}

    def lacking(self, modality: str) -> list[str]:
        """The frames without a ground truth that others have."""
        ids = (f for split, of in self.splits.items() if split != keys.PREDICT for f in of)
        return [frame for frame in ids if frame not in self._files[modality]]

    def predictions(self) -> dict[str, Input]:
        """The predictions that the layout names."""
        found = {}
        for name, made in self.layout.predictions.items():
            pattern = Pattern(made.file, f"predictions.{name}")
            paths = {f: pattern.path(self.path, fields) for f, fields in self._fields.items()}
            files = {f: path for f, path in paths.items() if path is not None}
            if not files:
                next(pattern.find(self.path))  # says what is there instead
                raise CacheError(f"predictions.{name}: {made.file!r} fits no frame's fields.")
            source = from_files(
                self.path,
                self.modalities[name],
                files,
                scale=made.scale,
                key=made.key,
                option=f"predictions.{name}.{{}}: {{}}".format,
            )
            found[name] = Input(
                source, made.source or f"{name} of {self.layout.name}", made.sampling, made.grid
            )
        return found

    def id_among(self, names: Collection[str]) -> str | None:
        """An ``id:`` that calls every frame by one of the names; None if no join of fields does."""
        fields = [f"{{{f}}}" for f in next(iter(self._fields.values())) if f != "split"]
        for text in (*(joint.join(fields) for joint in ("_", "-", "/", ".", "")), *fields):
            ids = {Pattern(text, "id").filled(of) for of in self._fields.values()}
            if len(ids) == len(self._fields) and ids <= set(names):
                return text
        return None

    # -- the frames ------------------------------------------------------------------------------

    def _add(self, made: MapLayout) -> None:
        """A modality and what decodes its files."""
        attributes = dict(made.attributes)
        labels: LabelSpace | None = None
        if made.labels is not None:
            labels = self._spaces[made.name] = space(self._beside(made.labels), of=made.ids)
            attributes = {"classes": labels.classes, "label_space": labels.name, **attributes}
        try:
            modality = Modality.create(made.kind, made.name, attributes)
        except (ConfigError, TypeError) as error:
            raise CacheError(f"{self.layout.path}: {made.where}: {error}") from None
        self.modalities[made.name] = modality
        self._decoders[made.name] = decode.decoder(self.path, made, modality, labels)

    def _beside(self, name: str) -> str:
        """A file that a layout names may lie beside the layout."""
        beside = Path(self.layout.path).parent / name
        return str(beside) if beside.suffix and beside.is_file() else name

    def _find(self) -> dict[str, dict[str, str]]:
        """Id -> fields of every frame, in the order of the files."""
        layout = self.layout
        pattern = Pattern(layout.frames, "frames") if layout.frames else self._image
        parts = [f"{{{f}}}" for f in pattern.fields if f != "split"]
        template = Pattern(layout.id or "/".join(parts), "id")
        if not template.fields:
            raise CacheError(
                f"{layout.path}: {pattern.text!r} has no field to tell frames apart by."
            )
        found: dict[str, dict[str, str]] = {}
        paths: dict[str, Path] = {}
        for fields, path in pattern.find(self.path):
            id = template.filled(fields)
            if id in found:
                raise CacheError(
                    f"two files for one frame {id!r}: {paths[id]} and {path}. Keep one, or "
                    f"give id: with more of the fields ({', '.join(fields)})."
                )
            found[id], paths[id] = fields, path
        return found

    def _deal(self, found: Mapping[str, dict[str, str]]) -> dict[str, list[str]]:
        """Split -> ids, in the order of a reader."""
        splits: dict[str, list[str]] = {}
        taken: dict[str, str] = {}
        wanted = sorted(self.layout.splits.items(), key=lambda item: item[1] == _REST)
        for split, given in wanted:
            where = f"{self.layout.path}: splits.{split}"
            chosen = self._members(where, given, found, taken)
            for id in chosen:
                if id in taken:
                    raise CacheError(f"{where}: frame {id!r} is in {taken[id]} as well.")
                taken[id] = split
            splits[split] = in_order(chosen)
        return {s: splits[s] for s in keys.SPLITS if s in splits}

    def _members(
        self, where: str, given: Any, found: Mapping[str, dict[str, str]], taken: Mapping[str, str]
    ) -> list[str]:
        """The frames of one split."""
        if given == _REST:
            chosen = [id for id in found if id not in taken]
            known = "no frame is left"
        elif isinstance(given, Mapping) and "share" in given:
            keys_of(given, ("share", "seed"), where)
            scenes = sorted({self._scene_of(f, id) for id, f in found.items() if id not in taken})
            rng = np.random.default_rng(int(given.get("seed", 0)))
            count = max(1, round(float(given["share"]) * len(scenes)))
            mine = {scenes[i] for i in rng.permutation(len(scenes))[:count]}
            chosen = [
                i for i, f in found.items() if i not in taken and self._scene_of(f, i) in mine
            ]
            known = "there is no scene"
        else:
            if not isinstance(given, Mapping):
                given = {"match": "{split}", "values": given}
            keys_of(given, ("match", "values", "file", "column", "where"), where)
            match = given.get("match")
            template = None if match is None else Pattern(str(match), where)
            values = self._values(where, given)
            of = {id: template.filled(f) if template else id for id, f in found.items()}
            chosen = [id for id in found if of[id] in values]
            some = in_order(set(of.values()))
            shown = ", ".join(some[:5]) + (", …" if len(some) > 5 else "")
            known = f"{match or 'the id'} is {shown}, none of {', '.join(sorted(values)[:3])}"
            if match is None:
                fields = "_".join(f"{{{name}}}" for name in next(iter(found.values())))
                known += f". With id: the layout says what a frame is called, as id: '{fields}'"
        if not chosen:
            raise CacheError(f"{where} has no frame: {known}.")
        return chosen

    def _values(self, where: str, given: Mapping[str, Any]) -> set[str]:
        """What a split lists, in the layout or in a file."""
        if "file" not in given:
            values = given.get("values", [])
            return set(map(str, values if isinstance(values, list) else [values]))
        path = self.path / given["file"]
        try:
            lines = read_text(path).splitlines()
            if "column" not in given:
                return {line.strip() for line in lines if line.strip()}
            conditions = given.get("where", {}).items()
            return {
                row[given["column"]]
                for row in csv.DictReader(lines)
                if all(row[c] == str(v) for c, v in conditions)
            }
        except (OSError, UnicodeDecodeError) as error:
            raise CacheError(f"{where}: {path} cannot be read ({error}). Complete it.") from error
        except KeyError as error:
            raise CacheError(f"{where}: {path} has no column {error}.") from error

    def _scene_of(self, fields: Mapping[str, str], id: str) -> str:
        if self.layout.scene is None:
            return id
        return Pattern(self.layout.scene, "scene").filled(fields)

    def _find_scenes(self) -> dict[str, str]:
        if self.layout.scene is None:
            self.remarks.append(
                "no scene: is given, so each frame is a scene of its own, and intervals are too "
                "narrow where frames show one place"
            )
        scenes = {id: self._scene_of(fields, id) for id, fields in self._fields.items()}
        of = {s: {scenes[f] for f in ids} for s, ids in self.splits.items()}
        if shared := of.get(keys.TRAIN, set()) & of.get(keys.TEST, set()):
            self.remarks.append(
                f"{len(shared)} scenes are in training and test frames, {min(shared)} for one: the "
                "test is not of new places"
            )
        return scenes

    def _find_truths(self, partial: bool) -> dict[str, dict[str, Path]]:
        """Modality -> frame -> file, for the frames that need and have one."""
        wanted = [f for split, ids in self.splits.items() if split != keys.PREDICT for f in ids]
        found: dict[str, dict[str, Path]] = {}
        for name, made in self.layout.maps.items():
            if made.file is None:
                continue
            pattern = Pattern(made.file, made.where)
            paths = {f: pattern.path(self.path, self._fields[f]) for f in wanted}
            found[name] = {f: path for f, path in paths.items() if path is not None}
            if wanted and not found[name]:
                try:
                    next(pattern.find(self.path))  # says what is there instead
                except CacheError as error:
                    if len(self.layout.maps) == 1:
                        raise
                    others = " ".join(f"--modality {m}" for m in self.layout.maps if m != name)
                    raise CacheError(f"{error} Without {name}: {others}.") from None
                raise CacheError(
                    f"{made.where}: files match {made.file!r}, but none belongs to a frame, as "
                    f"{self.path / pattern.filled(self._fields[wanted[0]])} to {wanted[0]!r}."
                )
            missing = [f for f in wanted if f not in found[name]]
            if missing and not (partial or made.partial):
                lacks = self.path / pattern.filled(self._fields[missing[0]])
                raise CacheError(
                    f"{made.where}: {len(missing)} of {len(wanted)} frames lack their truth, the "
                    f"first of them {missing[0]!r}: {lacks} is missing. Complete the folder, or "
                    f"give {made.where}.partial: true."
                )
        for name, made in self.layout.maps.items():
            if made.derive is not None:
                found[name] = found[made.derive]
        return found

    def _find_size(self) -> tuple[int, int]:
        first = next(id for ids in self.splits.values() for id in ids)
        height, width = self._stored_image(first).shape[:2]
        if self.layout.size is not None:
            height, width = map(int, self.layout.size)
        return height, width

    # -- one frame -------------------------------------------------------------------------------

    def _stored_image(self, frame: str) -> NDArray[np.uint8]:
        """``(h, w, 3)`` at its own size."""
        given: ImageLayout = self.layout.image
        path = self._image.path(self.path, self._fields[frame])
        if path is None:
            filled = self.path / self._image.filled(self._fields[frame])
            raise CacheError(f"image: {filled} of frame {frame!r} is missing. Complete the folder.")
        array = decode.without_channel(read_array(path, given.key))
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, 2)
        if array.ndim == 3 and array.shape[0] == 3 != array.shape[2]:
            array = np.moveaxis(array, 0, 2)
        if array.ndim != 3 or array.shape[2] != 3:
            raise CacheError(f"{path} has the shape {array.shape}. Give colour images (h, w, 3).")
        if array.dtype != np.uint8 or given.scale != 1:
            array = array * given.scale
            if not (np.isfinite(array).all() and array.min() >= 0 and 1 < array.max() < 256):
                raise CacheError(
                    f"{path} holds values from {array.min():g} to {array.max():g}. Give an "
                    "image.scale that makes them 0 to 255."
                )
            array = np.rint(np.minimum(array, 255)).astype(np.uint8)
        return np.ascontiguousarray(array)

    def _picture(self, frame: str) -> NDArray[np.uint8]:
        image = self._stored_image(frame)
        if image.shape[:2] != self.size:
            self._remark_size(frame, image.shape)
            small = Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR)
            image = np.asarray(small)
        return image

    def _remark_size(self, frame: str, shape: tuple[int, ...]) -> None:
        known = any("brought to" in remark for remark in self.remarks)
        if self.layout.size is None and not known:
            self.remarks.append(
                f"images of other sizes, as {frame!r} of {shape[0]} × {shape[1]}, are brought to "
                f"{self.size[0]} × {self.size[1]}, the first one's; size: chooses another"
            )

    def _truth(self, frame: str) -> dict[str, NDArray[Any]]:
        own = {name: self._own_truth(name, frame) for name in self.modalities}
        return {name: self._resampled(name, map) for name, map in own.items()}

    def _own_truth(self, name: str, frame: str) -> NDArray[Any] | None:
        """The truth on its own grid, None where it is missing."""
        made, path = self.layout.maps[name], self._files[name].get(frame)
        if path is None:
            return None
        if made.derive is None:
            raw = read_array(path, made.key)
            return self._decoders[name](raw, f"{path} of frame {frame!r}", self._fields[frame])
        source = self.layout.maps[made.derive]
        depth = self._own_truth(made.derive, frame)
        assert depth is not None
        assert source.camera is not None
        camera = decode.intrinsics(self.path, source.camera, self._fields[frame], source.where)
        return decode.normals_of(depth, camera)

    def _resampled(self, name: str, map: NDArray[Any] | None) -> NDArray[Any]:
        """At the frame's size, by the nearest of its own pixels."""
        kind = self.modalities[name]
        if map is None:
            return np.full(kind.target_shape(self.size), kind.invalid, kind.target_dtype)
        y, x = (nearest_rows(n, own) for n, own in zip(self.size, map.shape[-2:], strict=True))
        return np.ascontiguousarray(map[..., y[:, None], x])


@dataclass(frozen=True)
class Survey:
    """What some frames of one modality hold.

    Attributes:
        frames: how many were looked at that have it.
        shape: of a map on its own grid.
        low: smallest value that is not missing.
        high: largest one.
        missing: share of the pixels without truth.
        classes: label -> share of the pixels, of semantics.
        void: stored id or color that is of no class -> share of the pixels, the largest first.
    """

    frames: int
    shape: tuple[int, ...]
    low: float
    high: float
    missing: float
    classes: Mapping[int, float]
    void: Mapping[str, float]


def survey(data: Folder, count: int = _SURVEYED) -> dict[str, Survey]:
    """Look at some frames, spread over the splits.

    Raises:
        CacheError: values that cannot be what the layout says, with the file of one.
    """
    ids = [f for split, ids in data.splits.items() if split != keys.PREDICT for f in ids]
    found = {}
    for name, kind in data.modalities.items():
        chosen = [f for f in ids if data._files[name].get(f)]
        chosen = [
            chosen[i] for i in np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int)
        ]
        low, high, missing, pixels, shape = np.inf, -np.inf, 0, 0, ()
        labels: Counter[int] = Counter()
        void: Counter[str] = Counter()
        for frame in chosen:
            map = data._own_truth(name, frame)
            assert map is not None
            path, shape = data._files[name][frame], map.shape
            if wrong := kind.check_target(map):
                raise CacheError(f"{path} of frame {frame!r} {wrong}{_unit(kind, map)}.")
            bad = ~kind.target_valid(torch.from_numpy(map)).numpy()
            missing, pixels = missing + int(bad.sum()), pixels + bad.size
            if not bad.all():
                values = map[..., ~bad]
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            if isinstance(kind, Semantic):
                labels.update(dict(_counts(map.ravel())))
                made = data.layout.maps[name]
                stored = decode.without_channel(read_array(path, made.key))[map == kind.invalid]
                stored = stored if stored.ndim == 2 else np.rint(stored + made.offset).astype(int)
                void.update({str(value): n for value, n in _counts(stored)})
        if not chosen:
            continue
        if missing == pixels:
            raise CacheError(
                f"{data._files[name][chosen[0]]}, and {len(chosen) - 1} others, have no pixel with "
                f"truth. See scale, invalid and beyond of maps.{name}."
            )
        if isinstance(kind, Depth) and high <= _NEAR and kind.maximum > 2 * _NEAR:
            raise CacheError(
                f"{data._files[name][chosen[0]]}: depths from {low:g} to {high:g} m in "
                f"{len(chosen)} frames: are they normalised? Give maps.{name}.scale in metres, or "
                f"attributes: {{maximum: {_NEAR:g}}} if they are metres."
            )
        shares = {label: n / pixels for label, n in sorted(labels.items())}
        left_out = {value: n / pixels for value, n in void.most_common()}
        found[name] = Survey(len(chosen), shape, low, high, missing / pixels, shares, left_out)
    return found


def _counts(values: NDArray[Any]) -> Iterator[tuple[Any, int]]:
    """Each value, or row of several, and how often it is there."""
    return zip(*(a.tolist() for a in np.unique(values, axis=0, return_counts=True)), strict=True)


def _unit(kind: Modality, map: NDArray[Any]) -> str:
    """What depths beyond the range may be."""
    if isinstance(kind, Depth) and np.median(map[map > 0]) > 10 * kind.maximum:
        return "; are they millimetres? Then give scale: 0.001"
    return ""
