"""Rendered rooms on disk: a folder with one compressed file a room, and a manifest.

A file holds, for the V views of its room, ``image`` (V, H, W, 3) uint8, ``depth`` (V, H, W)
uint16 millimetres with 0 where missing, and ``label`` (V, H, W) uint8 with 255 where void.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import Frame, frame_id
from jrn_lightning.modalities import Depth, Modality, Semantic
from jrn_lightning.progress import Advance, side_by_side
from jrn_lightning.rooms.spec import GENERATOR_VERSION, RoomsSpec
from jrn_lightning.rooms.view import SPACE, draw_room

DEPTH: Final = "depth"
SEMANTIC: Final = "semantic"
MANIFEST: Final = "rooms.json"

_MILLIMETRES: Final = 1000

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
        self.modalities: Mapping[str, Modality] = {
            DEPTH: Depth(DEPTH),
            SEMANTIC: Semantic(SEMANTIC, SPACE.classes, SPACE.name),
        }
        ids = [frame_id(number) for number in range(1, spec.frames + 1)]
        first_test = spec.train_rooms * spec.views
        self.splits = {keys.TRAIN: ids[:first_test], keys.TEST: ids[first_test:]}
        self.truths: dict[str, tuple[str, ...]] = {}
        self.notes = {
            "ground_truth": "generated rooms, depth with a sensor's holes and noise",
            "rooms": json.dumps(asdict(spec)),
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
            metres = arrays["depth"][view].astype(np.float32) / np.float32(_MILLIMETRES)
            truth = {DEPTH: metres, SEMANTIC: arrays["label"][view].copy()}
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
    content = {"hash": spec.hash, "generator": GENERATOR_VERSION, "spec": asdict(spec)}
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
            f"{content.get('generator')}, asked for {asdict(spec)} by {GENERATOR_VERSION}. "
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
    depth = np.stack([view.depth for view in views])
    with _written(folder / f"{spec.rooms[number]}.npz") as file:
        np.savez_compressed(
            file,
            image=np.stack([view.image for view in views]),
            depth=np.rint(depth * _MILLIMETRES).astype(np.uint16),
            label=np.stack([view.label for view in views]),
        )


def _load(spec: RoomsSpec, path: Path) -> Arrays:
    """The arrays of a room, whole and of the right layout."""
    layout = (spec.views, *spec.size)
    expected = {
        "image": ((*layout, 3), np.dtype(np.uint8)),
        "depth": (layout, np.dtype(np.uint16)),
        "label": (layout, np.dtype(np.uint8)),
    }
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
