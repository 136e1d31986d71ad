"""Writing a prediction cache; the layout is described in :mod:`jrn_lightning.cache.reader`."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.filesize import decimal

from jrn_lightning import keys
from jrn_lightning.cache.format import (
    DTYPES,
    FORMAT,
    MODALITY,
    VERSION,
    Field,
    PredictionSpec,
    SplitContent,
    are_names,
    check_ids,
    content_hash,
    digest,
    set_text,
)
from jrn_lightning.errors import CacheError
from jrn_lightning.modalities import Modality

# What the system says when there is no room: disk, quota, largest file.
_FULL: Final = {n: os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
_STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)
_FLUSH: Final = 0.2  # seconds of work that a kill may cost


class CacheWriter:
    """Writes a prediction cache, as a context manager.

    The file grows under ``<path>.<text>.part`` and gets its name when every announced sample has
    been written. On any error nothing is left behind. On SIGINT, SIGTERM or SIGHUP nothing is
    either, unless ``follows`` is given: then it stays as when the process is killed, and the next
    writer that is given the same takes its samples over (see :meth:`holds`); any other removes it.
    To this end it is written as HDF5's single writer, multiple readers (SWMR): a reader of a file
    whose writer was killed finds whole samples only.

    Args:
        path: the file to make.
        modalities: by name, in the order of every later dictionary.
        frame: (H, W) of ground truth and images.
        force: replace an existing file.
        notes: remarks to show in ``jrn cache info``, e.g. the label space.
        follows: hash of all that the splits, ground truths and images follow from; None where
            a stopped build is to start again.

    Raises:
        CacheError: the file exists; the disk is full; a sample that breaks the format (on
            :meth:`write`); a sample that was announced and never written (on leaving).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        modalities: Mapping[str, Modality],
        frame: tuple[int, int],
        force: bool = False,
        notes: Mapping[str, str] | None = None,
        follows: str | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        self.modalities = dict(modalities)
        self.frame = (int(frame[0]), int(frame[1]))
        self.force = force
        self.notes = dict(notes or {})
        self._part = self._unfinished(secrets.token_hex(4))
        #: the name under which it is gone on with, once it holds all but samples
        self._known = None if follows is None else self._unfinished(follows[:16])
        self._lock: int | None = None
        self._before: h5py.File | None = None  # what an earlier writer has left,
        self._old: Path | None = None  # and its name, while it has one
        self._old_lock: int | None = None
        self._flushed = 0.0
        self._file: h5py.File | None = None
        self._splits: dict[str, SplitContent] = {}
        self._digests: dict[str, dict[int, bytes]] = {}
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        refuse_existing(self.path, self.force)
        self._catch_signals()
        try:
            with self._writing():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._remove_abandoned()
                self._file = _opened(self._part, "w")
                self._lock = _lock(self._part)
                group = self._file.create_group(MODALITY, track_order=True)
                for name, modality in self.modalities.items():
                    attributes = json.dumps(modality.attributes)
                    entry = group.create_group(name)
                    set_text(entry, "kind", modality.kind)
                    set_text(entry, "attributes", attributes)
                    hashed = hashlib.sha256((modality.kind + attributes).encode())
                    set_text(entry, "hash", hashed.hexdigest())
        except BaseException:
            self._leave()
            raise
        return self

    def add_split(
        self,
        name: str,
        *,
        ids: Sequence[str],
        scenes: Sequence[str],
        predictions: Mapping[str, PredictionSpec],
        targets: bool,
        images: bool,
        truths: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Announce a split, every sample of which is then to be written.

        Args:
            name: one of ``keys.SPLITS``; ``predict`` has no ground truth.
            ids: of the frames, unique within the file.
            scenes: of the frames, the clusters of every interval and of every further split.
            predictions: by modality.
            targets: whether the frames have ground truth.
            images: whether colour images are stored.
            truths: names of the ground truths by modality, where they have any: of the one in
                ``targets``, then of the ``alternatives`` that are stored beside it.

        Raises:
            CacheError: what contradicts the modalities or another split; too little disk space.
        """
        if name not in keys.SPLITS:
            self._refuse(name, f"is unknown. Choose from: {', '.join(keys.SPLITS)}.")
        if name in self._splits:
            self._refuse(name, "was added twice. Give all its frames at once.")
        if not ids or len(ids) != len(scenes):
            self._refuse(
                name, f"has {len(ids)} ids and {len(scenes)} scenes. Give one of each a frame."
            )
        for text in (*ids, *scenes):
            if (shown := text.encode(errors="backslashreplace").decode()) != text:
                self._refuse(name, f"has a frame or scene {shown}, not UTF-8. Rename the file.")
        if targets and name == keys.PREDICT:
            self._refuse(name, "takes no ground truth. Put such frames in another split.")
        split = SplitContent(
            name=name,
            ids=list(ids),
            scenes=list(scenes),
            specs=self._checked_specs(name, predictions),
            has_targets=targets,
            has_images=images,
            truths=self._checked_truths(name, truths or {}, targets),
        )
        check_ids([*self._splits.values(), split], self.path)
        self._create(split)
        self._splits[name] = split
        self._digests[name] = {}

    def write(
        self,
        split: str,
        i: int,
        *,
        predictions: Mapping[str, NDArray[Any]],
        targets: Mapping[str, NDArray[Any]] | None = None,
        image: NDArray[np.uint8] | None = None,
        alternatives: Mapping[tuple[str, str], NDArray[Any]] | None = None,
    ) -> None:
        """Validate and store frame ``i`` of an announced split, in any order.

        Predictions ``(C, h, w)`` and targets come by modality, alternatives by modality and name,
        the image as ``(H, W, 3)``; None stands for what the split has not.

        Raises:
            CacheError: a shape, type or value that the format does not allow, by frame; the disk
                is full.
        """
        if split not in self._splits:
            self._refuse(split, "was not added before writing to it.")
        part = self._splits[split]
        frame = f"split {split!r}, frame {part.ids[i]!r} (row {i})"
        if (targets is not None) != part.has_targets or (image is not None) != part.has_images:
            raise CacheError(
                f"{frame}: give ground truth and image exactly as announced "
                f"(targets={part.has_targets}, images={part.has_images})."
            )
        given: dict[str, NDArray[Any] | None] = {keys.IMAGE: image}
        given |= {f"{keys.PREDICTION}/{m}": array for m, array in predictions.items()}
        given |= {f"{keys.TARGET}/{m}": array for m, array in (targets or {}).items()}
        for (m, name), array in (alternatives or {}).items():
            given[f"{keys.ALTERNATIVE}/{m}/{name}"] = array
        arrays = {
            key: _checked(f"{frame}: {field.what}", given.get(key), field)
            for key, field in part.fields(self.modalities, self.frame).items()
        }
        with self._writing() as file:
            self._begin(file)
        self._store(split, i, arrays)

    def _store(self, split: str, i: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        with self._writing() as file:
            for key, array in arrays.items():
                file[split][key][i] = array
            if file.swmr_mode and time.monotonic() - self._flushed > _FLUSH:
                file.flush()
                self._flushed = time.monotonic()
        self._digests[split][i] = digest(arrays.values())

    def holds(self, split: str, i: int, predictions: Mapping[str, NDArray[Any]]) -> bool:
        """Whether frame ``i`` was written before a stop, with these predictions.

        It is then taken over, and not to be written again.
        """
        if self._before is None:
            return False
        part = self._splits[split]
        arrays: dict[str, NDArray[Any]] = {}
        try:
            for key in part.fields(self.modalities, self.frame):
                dataset = self._before[split][key]
                place = (i, *(0,) * (dataset.ndim - 1))
                if dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
                    return False
                arrays[key] = dataset[i]
        except (KeyError, OSError, RuntimeError):  # cut off: the checksum is wrong
            return False
        # Zeros, whose checksum is zero, may be a block that was lost in a power cut.
        if not all(array.any() for array in arrays.values()):
            return False
        stored = (arrays[f"{keys.PREDICTION}/{m}"] for m in self.modalities)
        given = (np.asarray(predictions[m], part.specs[m].dtype) for m in self.modalities)
        if not all(map(np.array_equal, stored, given)):
            return False
        self._store(split, i, arrays)
        return True

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._leave(stopped=isinstance(error, KeyboardInterrupt | SystemExit))

    def _unfinished(self, text: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{text}.part")

    def _begin(self, file: h5py.File) -> None:
        """Before the first sample that is new: from here on a stopped build is gone on with."""
        if self._known is None or self._lock is None or file.swmr_mode:
            return
        file.swmr_mode = True
        os.fsync(self._lock)
        with suppress(OSError):  # another process builds the same, or there are no links
            if self._old is not None:
                os.replace(self._part, self._known)
                self._old = None
            else:
                os.link(self._part, self._known)
                self._part.unlink()
            self._part = self._known

    def _refuse(self, split: str, why: str) -> NoReturn:
        raise CacheError(f"{self.path}: split {split!r} {why}")

    def _checked_specs(
        self, split: str, predictions: Mapping[str, PredictionSpec]
    ) -> dict[str, PredictionSpec]:
        """The specifications in the order of the modalities."""
        if set(predictions) != set(self.modalities):
            self._refuse(
                split,
                f"has predictions of {sorted(predictions)}. "
                f"Give one for each of: {', '.join(self.modalities)}.",
            )
        for name, modality in self.modalities.items():
            spec, channels = predictions[name], modality.channels
            axes = list(spec.shape)
            if len(axes) != 3 or axes[0] != channels or min(axes) < 1:
                raise CacheError(
                    f"{self.path}: split {split!r}: {name} predictions of shape {spec.shape}. "
                    f"Expected (C, h, w) with C = {channels}."
                )
            if spec.dtype not in DTYPES:
                raise CacheError(
                    f"{self.path}: split {split!r}: {name} predictions of type {spec.dtype}. "
                    "Store float16 or float32."
                )
        return {name: predictions[name] for name in self.modalities}

    def _checked_truths(
        self, split: str, truths: Mapping[str, Sequence[str]], targets: bool
    ) -> dict[str, tuple[str, ...]]:
        """The names of ground truths in the order of the modalities."""
        if set(truths) - set(self.modalities) or (truths and not targets):
            self._refuse(
                split,
                f"names ground truths of {', '.join(truths)}. Name those of "
                f"{', '.join(self.modalities)}, and only with targets=True.",
            )
        named = {m: tuple(truths[m]) for m in self.modalities if m in truths}
        for m, names in named.items():
            if not are_names(names):
                raise CacheError(
                    f"{self.path}: split {split!r}: {m} ground truths {names}. Give names without "
                    "'/', no two of them the same."
                )
        return named

    def _create(self, split: SplitContent) -> None:
        """The group of a split, with its names and room for its maps."""
        n, fields = len(split), split.fields(self.modalities, self.frame)
        with self._writing() as file:
            sizes = [math.prod(field.shape) * field.dtype.itemsize for field in fields.values()]
            needed, free = n * sum(sizes), shutil.disk_usage(self.path.parent).free
            if needed > free:
                raise CacheError(
                    f"disk full: {self.path} needs another {decimal(needed)}, {decimal(free)} are "
                    "free. Make room, choose another disk, or store no images."
                )
            group = file.create_group(split.name)
            for key, names in ((keys.ID, split.ids), (keys.SCENE, split.scenes)):
                stored = np.array([text.encode() for text in names], dtype=np.bytes_)
                group.create_dataset(key, data=stored, chunks=(n,), fletcher32=True)
            for key, field in fields.items():
                group.create_dataset(
                    key,
                    (n, *field.shape),
                    field.dtype,
                    chunks=(1, *field.shape),
                    fletcher32=True,
                    fill_time="never",
                )
            for modality, spec in split.specs.items():
                dataset = group[keys.PREDICTION][modality]
                dataset.attrs["grid"] = np.array(astuple(spec.grid), np.float64)
                for key, text in asdict(spec.provenance).items():
                    set_text(dataset, key, text)
            for modality, own in split.truths.items():
                set_text(group[keys.TARGET][modality], "truths", json.dumps(own))

    def _finish(self) -> None:
        if not self._splits:
            raise CacheError(f"{self.path}: no split was written. Give at least one frame.")
        for name, split in self._splits.items():
            missing = [id for i, id in enumerate(split.ids) if i not in self._digests[name]]
            if missing:
                raise CacheError(
                    f"{self.path}: {len(missing)} of {len(split)} frames of split {name!r} "
                    f"were never written, the first of them {missing[0]!r}."
                )
        with self._writing() as file:
            if file.swmr_mode:  # takes no attributes
                file.close()
                assert self._lock is not None
                os.fsync(self._lock)  # which takes long, and a kill meanwhile costs nothing
                whole = self._unfinished(secrets.token_hex(4))
                self._part = self._part.rename(whole)
                file = self._file = _opened(whole, "r+")
            file.attrs["version"] = VERSION
            file.attrs["frame"] = np.array(self.frame, np.int64)
            set_text(file, "format", FORMAT)
            set_text(file, "package", _package_version())
            set_text(file, "notes", json.dumps(self.notes))
            content = (self.frame, self.modalities, self._splits, self._digests)
            set_text(file, "content_hash", content_hash(*content))
            file.close()
            with self._part.open("rb") as part:
                os.fsync(part.fileno())  # the name must not outlive the data in a power cut
            refuse_existing(self.path, self.force)
            os.replace(self._part, self.path)

    def _remove_abandoned(self) -> None:
        """Open the one to go on with, and remove other files that no living process locks."""
        for part in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.part"):
            if (held := _lock(part)) is None:
                continue
            if part == self._known:
                with suppress(OSError):
                    self._before = h5py.File(part, "r", swmr=True, locking=False)
                    self._old, self._old_lock = part, held
                    continue
            part.unlink(missing_ok=True)
            os.close(held)

    def _leave(self, stopped: bool = False) -> None:
        """Leave nothing behind but a finished file, or when ``stopped`` one to go on with."""
        for file in (self._file, self._before):
            with suppress(Exception):  # closing flushes, which fails again on a full disk
                if file is not None:
                    file.close()
        with suppress(OSError):
            if not (stopped and self._part == self._known):
                self._part.unlink(missing_ok=True)
            if self._old is not None and not stopped:
                self._old.unlink(missing_ok=True)
        for held in (self._lock, self._old_lock):
            if held is not None:
                os.close(held)
        self._lock = self._old_lock = None
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    @contextmanager
    def _writing(self) -> Iterator[h5py.File]:
        """The file, with what the system refuses as a :class:`CacheError`."""
        try:
            yield self._file
        except (OSError, RuntimeError) as error:
            # HDF5 wraps the system's error in a text of many lines.
            code = getattr(error, "errno", 0)
            full = [t for n, t in _FULL.items() if n == code or t in str(error)]
            found = f"disk full ({full[0]})" if full else f"cannot be written ({error})"
            raise CacheError(
                f"{self.path}: {found}. "
                "Nothing was kept. Make room or choose another place, and run the command again."
            ) from error

    def _catch_signals(self) -> None:
        """Turn the signals that would end the process at once into an exception."""
        main = threading.current_thread() is threading.main_thread()
        for number in _STOPPING if main else ():
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, _exit)


def _opened(part: Path, mode: str) -> h5py.File:
    # The lock is our own: HDF5 gives its up where it writes for readers.
    return h5py.File(part, mode, libver=("v110", "v110"), locking=False, rdcc_nbytes=0)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock of a file until it is closed; None if another process does.

    None, too, where the system has no such locks: nothing is known of an unfinished file there.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:  # not removed meanwhile
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to write over a folder, or over a file without ``force``, as a CacheError."""
    if path.is_dir():
        raise CacheError(f"{path} is a folder. Give the name of a file.")
    if path.exists() and not force:
        raise CacheError(f"{path} exists. Give --force to replace it, or another name.")


def _checked(what: str, array: NDArray[Any] | None, field: Field) -> NDArray[Any]:
    """``array`` in its stored type."""
    if array is None:
        raise CacheError(f"{what} is missing.")
    array = np.asarray(array)
    if array.shape != field.shape:
        raise CacheError(f"{what} has shape {array.shape}, expected {field.shape}.")
    if array.dtype.kind not in "fiu":
        raise CacheError(f"{what} is of type {array.dtype}, expected {field.dtype}.")
    if wrong := field.problem(array):
        raise CacheError(f"{what} {wrong}.")
    stored = np.ascontiguousarray(array, field.dtype)
    if field.dtype.kind in "iu" and not np.array_equal(stored, array):
        raise CacheError(f"{what} of type {array.dtype} does not fit into {field.dtype} unchanged.")
    return stored


def _package_version() -> str:
    try:
        return metadata.version("jrn-lightning")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
