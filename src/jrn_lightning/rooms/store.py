"""Rendered rooms on disk: a folder with one compressed file a room, and a manifest.

A file holds, for the V views of its room, ``image`` (V, H, W, 3) uint8, ``depth`` (V, H, W)
uint16 millimetres with 0 where missing, and ``label`` (V, H, W) uint8 with 255 where void; and
where they were asked for ``normals`` and ``reflectance`` (V, 3, H, W) float16, which are exact.
Normals are in the camera's axes: x to the right, y down, z forward.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import Frame, frame_id, stamp_of
from jrn_lightning.modalities import Continuous, Depth, Modality, Normals, Semantic
from jrn_lightning.progress import Advance, side_by_side
from jrn_lightning.rooms.spec import GENERATOR_VERSION, MODALITIES, RoomsSpec
from jrn_lightning.rooms.view import SPACE, draw_room

DEPTH, SEMANTIC, NORMALS, REFLECTANCE = MODALITIES
MANIFEST: Final = "rooms.json"

_MILLIMETRES: Final = 1000
_ARRAYS: Final = {DEPTH: "depth", SEMANTIC: "label", NORMALS: "normals", REFLECTANCE: "reflectance"}

Arrays = dict[str, NDArray[Any]]


def render(
    spec: RoomsSpec,
    folder: Path,
    *,
    workers: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Render what is not there yet.

    Every room is a function of seed and number alone: the files are the same for any number of
    processes. An interrupted call leaves whole files only; the next one goes on.

    Args:
        spec: what to render.
        folder: where to; made if need be.
        workers: processes; one for each processor where None, none beside this one where 1.
        advance: called once for every frame, those that were there included.

    Raises:
        CacheError: the folder holds another data set, or cannot be written.
    """
    try:
        _claim(spec, folder)
        jobs = []
        for number, name in enumerate(spec.rooms):
            if _is_whole(spec, folder / f"{name}.npz"):
                for _ in range(spec.views):
                    advance()
            else:
                jobs.append((spec, folder, number))
        side_by_side(_render_room, jobs, workers, lambda _: advance())
    except OSError as error:
        raise CacheError(
            f"{folder}: rooms cannot be written ({error}). Make room or name another folder; "
            "what is there is used again."
        ) from error


class Rooms:
    """A rendered data set, see :class:`jrn_lightning.importers.frames.DataSet`.

    Frames are numbered from 1: the views of the first training room first.

    Args:
        spec: what was rendered.
        folder: where :func:`render` put it.

    Raises:
        CacheError: the folder holds another data set or none, or lacks a room.
    """

    def __init__(self, spec: RoomsSpec, folder: Path) -> None:
        self.path = folder
        self.spec = spec
        self.size = spec.size
        known: dict[str, Modality] = {
            DEPTH: Depth(DEPTH),
            SEMANTIC: Semantic(SEMANTIC, SPACE.classes, SPACE.name),
            NORMALS: Normals(NORMALS),
            REFLECTANCE: Continuous(REFLECTANCE, channels=3),
        }
        self.modalities: Mapping[str, Modality] = {m: known[m] for m in spec.modalities}
        ids = [frame_id(number) for number in range(1, spec.frames + 1)]
        first_test = spec.train_rooms * spec.views
        self.splits = {keys.TRAIN: ids[:first_test], keys.TEST: ids[first_test:]}
        self.truths: dict[str, tuple[str, ...]] = {}
        self.notes = {
            "ground_truth": "generated rooms, depth with a sensor's holes and noise",
            "rooms": json.dumps(spec.values()),
            "rooms_hash": spec.hash,
        }
        self._rooms = spec.rooms
        _check_manifest(spec, folder)
        for file in (folder / f"{name}.npz" for name in self._rooms):
            if not file.is_file():
                raise CacheError(
                    f"{file} does not exist. Render the rooms again: only what is missing takes "
                    "time."
                )
        self._open: tuple[str, Arrays] = ("", {})

    @property
    def stamp(self) -> str:
        """See :class:`~jrn_lightning.importers.frames.DataSet`."""
        return stamp_of((self.path / f"{name}.npz" for name in self._rooms), self.spec.hash)

    def scene(self, frame: str) -> str:
        """The room that a frame shows, e.g. ``train_room_007``."""
        return self._rooms[(int(frame) - 1) // self.spec.views]

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame; the files of neighbouring ones are read once."""
        if not 1 <= int(frame) <= self.spec.frames:
            raise CacheError(
                f"{self.path}: there is no frame {frame}. Frames are 1 to {self.spec.frames}."
            )
        name = self.scene(frame)
        if self._open[0] != name:
            self._open = (name, _load(self.spec, self.path / f"{name}.npz"))
        arrays = self._open[1]
        view = (int(frame) - 1) % self.spec.views
        truth: dict[str, NDArray[Any]] | None = None
        if targets:
            truth = {m: _truth(m, arrays[_ARRAYS[m]][view]) for m in self.modalities}
        return Frame(arrays["image"][view].copy() if image else None, truth)


def _claim(spec: RoomsSpec, folder: Path) -> None:
    """Make the folder this data set's own."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        _check_manifest(spec, folder)
        return
    strangers = [path.name for path in sorted(folder.iterdir()) if not path.name.endswith(".part")]
    if strangers:
        raise CacheError(
            f"{folder} holds other files ({strangers[0]}). Name an empty folder for the rooms."
        )
    content = {"hash": spec.hash, "generator": GENERATOR_VERSION, "spec": spec.values()}
    with _written(folder / MANIFEST) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _check_manifest(spec: RoomsSpec, folder: Path) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        raise CacheError(f"{folder} holds no rendered rooms ({MANIFEST} is missing). Render them.")
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(
            f"{path} cannot be read ({error!r}). Delete the folder and render the rooms again."
        ) from error
    if found != spec.hash:
        raise CacheError(
            f"{folder} holds other rooms: {content.get('spec')} by generator "
            f"{content.get('generator')}, asked for {spec.values()} by {GENERATOR_VERSION}. "
            "Name another folder, or delete this one."
        )


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A new file that gets its name when it is whole."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _render_room(job: tuple[RoomsSpec, Path, int], advance: Advance) -> None:
    spec, folder, number = job
    views = draw_room(spec.seed, number, spec.views, spec.size, lambda: advance(1))
    arrays: dict[str, Any] = {
        name: _stored(name, np.stack([getattr(view, name) for view in views]))
        for name in _layout(spec)
    }
    with _written(folder / f"{spec.rooms[number]}.npz") as file:
        np.savez_compressed(file, **arrays)


def _layout(spec: RoomsSpec) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of the arrays of a room."""
    height, width = spec.size
    known: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
        "image": ((spec.views, height, width, 3), np.dtype(np.uint8)),
        "depth": ((spec.views, height, width), np.dtype(np.uint16)),
        "label": ((spec.views, height, width), np.dtype(np.uint8)),
        "normals": ((spec.views, 3, height, width), np.dtype(np.float16)),
        "reflectance": ((spec.views, 3, height, width), np.dtype(np.float16)),
    }
    return {name: known[name] for name in ("image", *(_ARRAYS[m] for m in spec.modalities))}


def _stored(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """What a view gives, as a file holds it."""
    if name == "depth":
        return np.asarray(np.rint(array * _MILLIMETRES), np.uint16)
    return array.astype(np.float16) if array.dtype == np.float32 else array


def _truth(modality: str, stored: NDArray[Any]) -> NDArray[Any]:
    """The ground truth of one view, from what its file holds."""
    if modality == SEMANTIC:
        return stored.copy()
    values = stored.astype(np.float32)
    if modality == DEPTH:
        return np.asarray(values / np.float32(_MILLIMETRES))
    if modality == NORMALS:
        return np.asarray(values / np.linalg.norm(values, axis=0))
    return values


def _load(spec: RoomsSpec, path: Path) -> Arrays:
    """The arrays of a room, whole and of the right layout."""
    expected = _layout(spec)
    try:
        # Opened here: np.load leaves a file open that turns out to be damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in expected}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CacheError(
            f"{path} cannot be read ({error}). Delete it and render the rooms again: only what "
            "is missing takes time."
        ) from error
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found != expected:
        raise CacheError(
            f"{path} holds {found}, expected {expected}. Delete it and render the rooms again."
        )
    return arrays


def _is_whole(spec: RoomsSpec, path: Path) -> bool:
    try:
        _load(spec, path)
    except CacheError:
        return False
    return True
