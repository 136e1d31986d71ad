"""Writing a prediction cache; the layout is described in :mod:`jrn_lightning.cache.reader`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache.format import (
    DTYPES,
    FORMAT,
    MODALITY,
    VERSION,
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
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)


class CacheWriter:
    """Writes a prediction cache, as a context manager.

    The file grows under ``<path>.<random>.part`` and gets its name when every announced sample
    has been written. On any error, and on SIGINT, SIGTERM or SIGHUP, nothing is left behind.

    Args:
        path: the file to make.
        modalities: by name, in the order of every later dictionary.
        frame: (H, W) of ground truth and images.
        force: replace an existing file.
        notes: remarks to show in ``jrn cache info``, e.g. the label space.

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
    ) -> None:
        self.path = Path(path).absolute()
        self.modalities = dict(modalities)
        self.frame = (int(frame[0]), int(frame[1]))
        self.force = force
        self.notes = dict(notes or {})
        self._part = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.part")
        self._file: h5py.File | None = None
        self._splits: dict[str, SplitContent] = {}
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        refuse_existing(self.path, self.force)
        self._catch_signals()
        try:
            with self._writing():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = h5py.File(
                    self._part, "w", libver=("v110", "v110"), locking="best-effort", rdcc_nbytes=0
                )
                group = self._file.create_group(MODALITY, track_order=True)
                for name, modality in self.modalities.items():
                    attributes = json.dumps(modality.attributes)
                    entry = group.create_group(name)
                    set_text(entry, "kind", modality.kind)
                    set_text(entry, "attributes", attributes)
                    set_text(entry, "hash", _sha256(modality.kind + attributes))
        except BaseException:
            self._abort()
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
            CacheError: another split with this name or one of these ids, a prediction for a
                modality that was not announced or of the wrong shape, names of ground truth that
                is not there, too little disk space.
        """
        where = f"{self.path}: split {name!r}"
        if name not in keys.SPLITS:
            raise CacheError(f"{where} is unknown. Choose from: {', '.join(keys.SPLITS)}.")
        if name in self._splits:
            raise CacheError(f"{where} was added twice. Give all its frames at once.")
        if not ids or len(ids) != len(scenes):
            raise CacheError(
                f"{where} has {len(ids)} ids and {len(scenes)} scenes. Give one of each a frame."
            )
        if targets and name == keys.PREDICT:
            raise CacheError(f"{where} takes no ground truth. Put such frames in another split.")
        if set(predictions) != set(self.modalities):
            raise CacheError(
                f"{where} has predictions of {sorted(predictions)}. "
                f"Give one for each of: {', '.join(self.modalities)}."
            )
        specs = {m: predictions[m] for m in self.modalities}
        for modality, spec in specs.items():
            channels = self.modalities[modality].channels
            axes = list(spec.shape)
            if len(axes) != 3 or axes[0] != channels or min(axes) < 1:
                raise CacheError(
                    f"{where}: {modality} predictions of shape {spec.shape}. "
                    f"Expected (C, h, w) with C = {channels}."
                )
            if spec.dtype not in DTYPES:
                raise CacheError(
                    f"{where}: {modality} predictions of type {spec.dtype}. "
                    "Store float16 or float32."
                )
        truths = truths or {}
        if set(truths) - set(self.modalities) or (truths and not targets):
            raise CacheError(
                f"{where} names ground truths of {', '.join(truths)}. Name those of "
                f"{', '.join(self.modalities)}, and only with targets=True."
            )
        named = {m: tuple(truths[m]) for m in self.modalities if m in truths}
        for modality, own in named.items():
            if not are_names(own):
                raise CacheError(
                    f"{where}: {modality} ground truths {own}. Give names without '/', no two of "
                    "them the same."
                )
        written = SplitContent(list(ids), list(scenes), specs, targets, images, named)
        check_ids({k: v.ids for k, v in self._splits.items()} | {name: written.ids}, self.path)

        n = len(written.ids)
        arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            f"{keys.PREDICTION}/{m}": (spec.shape, spec.dtype) for m, spec in specs.items()
        }
        if targets:
            arrays |= {
                f"{keys.TARGET}/{m}": (self.frame, modality.target_dtype)
                for m, modality in self.modalities.items()
            }
        arrays |= {
            f"{keys.ALTERNATIVE}/{m}/{other}": (self.frame, self.modalities[m].target_dtype)
            for m, other in written.alternatives
        }
        if images:
            arrays[keys.IMAGE] = ((*self.frame, 3), np.dtype(np.uint8))
        with self._writing() as file:
            self._require_space(
                n * sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in arrays.values())
            )
            group = file.create_group(name)
            for key, names in ((keys.ID, written.ids), (keys.SCENE, written.scenes)):
                stored = np.array([text.encode() for text in names], dtype=np.bytes_)
                group.create_dataset(key, data=stored, chunks=(n,), fletcher32=True)
            for key, (shape, dtype) in arrays.items():
                group.create_dataset(
                    key,
                    (n, *shape),
                    dtype,
                    chunks=(1, *shape),
                    fletcher32=True,
                    fill_time="never",
                )
            for modality, spec in specs.items():
                dataset = group[keys.PREDICTION][modality]
                dataset.attrs["grid"] = np.array(astuple(spec.grid), np.float64)
                for key, text in asdict(spec.provenance).items():
                    set_text(dataset, key, text)
            for modality, own in named.items():
                set_text(group[keys.TARGET][modality], "truths", json.dumps(own))
        self._splits[name] = written

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

        Args:
            split: its name.
            i: row of the frame.
            predictions: by modality, ``(C, h, w)``.
            targets: by modality, ``(H, W)``; None where the split has none.
            image: ``(H, W, 3)``; None where the split has none.
            alternatives: other ground truth by modality and name, ``(H, W)``: all that ``truths``
                of the split names.

        Raises:
            CacheError: a shape, type or value that the format does not allow, by frame; the disk
                is full.
        """
        if split not in self._splits:
            raise CacheError(f"{self.path}: split {split!r} was not added before writing to it.")
        written = self._splits[split]
        frame = f"split {split!r}, frame {written.ids[i]!r} (row {i})"
        if (targets is not None) != written.targets or (image is not None) != written.images:
            raise CacheError(
                f"{frame}: give ground truth and image exactly as announced "
                f"(targets={written.targets}, images={written.images})."
            )
        arrays: dict[str, NDArray[Any]] = {}
        for name, modality in self.modalities.items():
            spec = written.specs[name]
            arrays[f"{keys.PREDICTION}/{name}"] = _checked(
                f"{frame}: {name} prediction",
                predictions.get(name),
                spec.shape,
                spec.dtype,
                modality.check_prediction,
            )
        for name, modality in self.modalities.items() if targets is not None else ():
            arrays[f"{keys.TARGET}/{name}"] = _checked(
                f"{frame}: {name} ground truth",
                (targets or {}).get(name),
                self.frame,
                modality.target_dtype,
                modality.check_target,
            )
        for name, other in written.alternatives:
            arrays[f"{keys.ALTERNATIVE}/{name}/{other}"] = _checked(
                f"{frame}: {name} ground truth {other!r}",
                (alternatives or {}).get((name, other)),
                self.frame,
                self.modalities[name].target_dtype,
                self.modalities[name].check_target,
            )
        if image is not None:
            arrays[keys.IMAGE] = _checked(
                f"{frame}: image", image, (*self.frame, 3), np.dtype(np.uint8), lambda _: None
            )
        with self._writing() as file:
            for key, array in arrays.items():
                file[split][key][i] = array
        written.digests[i] = digest(arrays.values())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._abort()
            return
        try:
            self._finish()
        except BaseException:
            self._abort()
            raise
        self._release_signals()

    # -- beginning and end ---------------------------------------------------------------------

    def _finish(self) -> None:
        if not self._splits:
            raise CacheError(f"{self.path}: no split was written. Give at least one frame.")
        for name, split in self._splits.items():
            missing = [split.ids[i] for i in range(len(split.ids)) if i not in split.digests]
            if missing:
                raise CacheError(
                    f"{self.path}: {len(missing)} of {len(split.ids)} frames of split {name!r} "
                    f"were never written, the first of them {missing[0]!r}."
                )
        with self._writing() as file:
            file.attrs["version"] = VERSION
            file.attrs["frame"] = np.array(self.frame, np.int64)
            set_text(file, "format", FORMAT)
            set_text(file, "package", _package_version())
            set_text(file, "notes", json.dumps(self.notes))
            set_text(file, "content_hash", content_hash(self.frame, self.modalities, self._splits))
            file.close()
            self._file = None
            with self._part.open("rb") as part:
                os.fsync(part.fileno())  # the name must not outlive the data in a power cut
            refuse_existing(self.path, self.force)
            os.replace(self._part, self.path)

    def _abort(self) -> None:
        """Leave nothing behind."""
        with suppress(Exception):  # closing flushes, which fails again on a full disk
            if self._file is not None:
                self._file.close()
        self._file = None
        with suppress(OSError):
            self._part.unlink(missing_ok=True)
        self._release_signals()

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            raise CacheError(
                f"disk full: {self.path} needs another {needed / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free. Make room, or leave the images out (--no-images)."
            )

    @contextmanager
    def _writing(self) -> Iterator[h5py.File]:
        """The file, with what the system refuses as a :class:`CacheError`."""
        try:
            yield self._file
        except (OSError, RuntimeError) as error:
            # HDF5 wraps the system's error in a text of many lines.
            codes = [
                n for n in _FULL if n == getattr(error, "errno", 0) or os.strerror(n) in str(error)
            ]
            found = (
                f"disk full ({os.strerror(codes[0])})" if codes else f"cannot be written ({error})"
            )
            raise CacheError(
                f"{self.path}: {found}. "
                "Nothing was kept. Make room or choose another place, and run the command again."
            ) from error

    def _catch_signals(self) -> None:
        """Turn the signals that would end the process at once into an exception."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, _exit)

    def _release_signals(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to write over a folder, or over a file without ``force``.

    Raises:
        CacheError: with the way out.
    """
    if path.is_dir():
        raise CacheError(f"{path} is a folder. Give the name of a file.")
    if path.exists() and not force:
        raise CacheError(f"{path} exists. Give --force to replace it, or another name.")


def _checked(
    what: str,
    array: NDArray[Any] | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    check_values: Callable[[NDArray[Any]], str | None],
) -> NDArray[Any]:
    """``array`` in its stored type."""
    if array is None:
        raise CacheError(f"{what} is missing.")
    array = np.asarray(array)
    if array.shape != shape:
        raise CacheError(f"{what} has shape {array.shape}, expected {shape}.")
    if array.dtype.kind not in "fiu":
        raise CacheError(f"{what} is of type {array.dtype}, expected {dtype}.")
    if wrong := check_values(array):
        raise CacheError(f"{what} {wrong}.")
    stored = np.ascontiguousarray(array, dtype)
    if dtype.kind in "iu" and not np.array_equal(stored, array):
        raise CacheError(f"{what} of type {array.dtype} does not fit into {dtype} unchanged.")
    return stored


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _package_version() -> str:
    try:
        return metadata.version("jrn-lightning")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
