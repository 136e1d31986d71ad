"""The prediction cache: one HDF5 file, written once, read lazily by any number of processes.

Layout, version 1 (N frames of H × W pixels, predictions of C channels on h × w samples)::

    /                                attrs: format, version, package, frame (H, W), content_hash,
                                     notes (JSON)
    /modality/<name>                 attrs: kind, attributes (JSON), hash; in the order written
    /<split>/id                      (N,) fixed-length bytes, unique within the file
    /<split>/scene                   (N,) fixed-length bytes
    /<split>/prediction/<modality>   (N, C, h, w) float16 or float32
                                     attrs: grid (offset_y, step_y, offset_x, step_x), alignment,
                                     source, source_hash, sampling
    /<split>/target/<modality>       (N, H, W) the modality's dtype; not in ``predict``
    /<split>/image                   (N, H, W, 3) uint8, optional

Every chunk holds one sample and its Fletcher-32 checksum, the file format is one whose metadata
are checksummed too, and no string is of variable length (that heap has no checksum): a damaged
file is noticed wherever the damage is read. Values are validated when written, and by
:func:`check`; compression is left out, because it costs five times the reading.
"""

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
from dataclasses import asdict, astuple, dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.data.grid import Grid
from jrn_lightning.errors import CacheError, JRNError
from jrn_lightning.modalities import Modality

FORMAT: Final = "jrn-cache"
VERSION: Final = 1
#: What a prediction network knew of the frames it predicts.
SAMPLING: Final = ("in-sample", "out-of-fold", "unseen", "unknown")

_MODALITY: Final = "modality"
_DTYPES: Final = (np.dtype(np.float16), np.dtype(np.float32))
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)
_REBUILD: Final = "Build the cache again, or copy it again from where it came."


@dataclass(frozen=True)
class Provenance:
    """Where the predictions of one modality come from.

    Args:
        source: name of the network.
        source_hash: SHA-256 of its weights, or of the file that held its predictions.
        sampling: one of :data:`SAMPLING`: whether the network was trained on these very frames.
        alignment: ``area``, ``corners`` or ``explicit``, how the grid was stated.
    """

    source: str
    source_hash: str = ""
    sampling: str = "unknown"
    alignment: str = "area"

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLING:
            raise CacheError(
                f"sampling {self.sampling!r} of {self.source!r} is unknown. "
                f"Choose from: {', '.join(SAMPLING)}."
            )


@dataclass(frozen=True)
class PredictionSpec:
    """All but the values of one modality's predictions in one split.

    Args:
        shape: (C, h, w) of one sample.
        dtype: float16 or float32.
        grid: how the samples lie on the frame.
        provenance: where they come from.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    grid: Grid
    provenance: Provenance


class CacheSplit:
    """One split of a :class:`PredictionCache`: names in memory, maps read on demand."""

    def __init__(
        self,
        cache: PredictionCache,
        name: str,
        ids: list[str],
        scenes: list[str],
        specs: dict[str, PredictionSpec],
        has_targets: bool,
        has_images: bool,
    ) -> None:
        self._cache = cache
        self._specs = specs
        self.name = name
        self.ids = ids
        self.scenes = scenes
        self.has_targets = has_targets
        self.has_images = has_images

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def cache(self) -> PredictionCache:
        """The cache that this is a split of."""
        return self._cache

    def spec(self, modality: str) -> PredictionSpec:
        """Shape, dtype, grid and provenance of a modality's predictions.

        Raises:
            CacheError: no such modality; those of the cache are listed.
        """
        if modality not in self._specs:
            raise CacheError(
                f"{self._cache.path} holds no predictions of {modality!r}. "
                f"It holds: {', '.join(self._specs)}."
            )
        return self._specs[modality]

    def grid(self, modality: str) -> Grid:
        """How a modality's predictions lie on the frame."""
        return self.spec(modality).grid

    def provenance(self, modality: str) -> Provenance:
        """Where a modality's predictions come from."""
        return self.spec(modality).provenance

    def prediction_shape(self, modality: str) -> tuple[int, int, int]:
        """(C, h, w) of one prediction."""
        return self.spec(modality).shape

    def target_size(self) -> tuple[int, int]:
        """(H, W) of the ground truth and the image."""
        return self._cache.frame

    def prediction(self, modality: str, i: int) -> NDArray[Any]:
        """Prediction of frame ``i``: ``(C, h, w)`` in the stored dtype.

        Raises:
            CacheError: no such modality, or a checksum that does not fit.
        """
        self.spec(modality)
        return self._read(f"{keys.PREDICTION}/{modality}", i)

    def predictions(self, modality: str, rows: Sequence[int] | slice) -> NDArray[Any]:
        """Predictions of many frames: ``(n, C, h, w)`` in the stored dtype."""
        self.spec(modality)
        return self._read_many(f"{keys.PREDICTION}/{modality}", rows)

    def target(self, modality: str, i: int) -> NDArray[Any]:
        """Ground truth of frame ``i``: ``(H, W)`` in the modality's dtype.

        Raises:
            CacheError: a split without ground truth, no such modality, or damage.
        """
        self._require_targets(modality)
        return self._read(f"{keys.TARGET}/{modality}", i)

    def targets(self, modality: str, rows: Sequence[int] | slice) -> NDArray[Any]:
        """Ground truth of many frames: ``(n, H, W)``."""
        self._require_targets(modality)
        return self._read_many(f"{keys.TARGET}/{modality}", rows)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Colour image of frame ``i``: ``(H, W, 3)`` uint8.

        Raises:
            CacheError: a split without images, or damage.
        """
        if not self.has_images:
            raise CacheError(
                f"{self._cache.path}: split {self.name!r} holds no images. "
                "Build the cache with --images."
            )
        return self._read(keys.IMAGE, i)

    def _require_targets(self, modality: str) -> None:
        self.spec(modality)
        if not self.has_targets:
            raise CacheError(
                f"{self._cache.path}: split {self.name!r} holds no ground truth. "
                "Choose a split with ground truth."
            )

    def _read(self, dataset: str, i: int) -> NDArray[Any]:
        row = range(len(self))[i]  # IndexError beyond the end, negative from it, as for a list
        return self._cache._read(f"{self.name}/{dataset}", row)

    def _read_many(self, dataset: str, rows: Sequence[int] | slice) -> NDArray[Any]:
        if isinstance(rows, slice):
            rows = range(*rows.indices(len(self)))
        samples = [self._read(dataset, int(i)) for i in rows]
        if samples:
            return np.stack(samples)
        return self._cache._read(f"{self.name}/{dataset}", slice(0, 0))


class PredictionCache:
    """A prediction cache, opened for reading.

    Opening reads and validates the structure; maps are read one sample at a time. The object can
    be pickled and used after a fork: each process opens the file for itself.

    Args:
        path: the file.

    Raises:
        CacheError: a file that is missing, foreign, truncated, of another version, or breaks the
            format; the message names the file, the dataset, what was found and what to do.
    """

    path: Path
    #: (H, W) of ground truth and images
    frame: tuple[int, int]
    #: SHA-256 over everything that a result can depend on
    content_hash: str
    #: in the order in which they were written
    modalities: dict[str, Modality]
    #: remarks of whoever built the cache
    notes: dict[str, str]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._pid = os.getpid()
        try:
            with _damage(self.path, "the structure"):
                self._parse(self._open())
        except BaseException:
            self.close()
            raise

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are present."""
        return tuple(self._splits)

    def split(self, name: str) -> CacheSplit:
        """The split ``name``.

        Raises:
            CacheError: no such split; those present are listed.
        """
        if name not in self._splits:
            raise CacheError(
                f"{self.path} has no split {name!r}. It has: {', '.join(self._splits)}."
            )
        return self._splits[name]

    def close(self) -> None:
        """Close the file; reading again opens it again."""
        self._datasets.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_datasets": {}}

    # -- reading -------------------------------------------------------------------------------

    def _open(self) -> h5py.File:
        """The open file of this process."""
        if self._pid != os.getpid():
            # The handles of the process that forked share its file position and library state.
            self.close()
            self._pid = os.getpid()
        if self._file is None:
            self._file = _open(self.path)
        return self._file

    def _dataset(self, name: str) -> h5py.Dataset:
        if self._pid != os.getpid() or name not in self._datasets:
            reopened = self._file is None or self._pid != os.getpid()
            file = self._open()
            if reopened and _text(file, "content_hash") != self.content_hash:
                self.close()
                raise CacheError(
                    f"{self.path} was replaced by another cache while in use. Start again."
                )
            self._datasets[name] = file[name]
        return self._datasets[name]

    def _read(self, name: str, rows: int | slice) -> NDArray[Any]:
        try:
            array: NDArray[Any] = self._dataset(name)[rows]
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise CacheError(
                f"{self.path}: dataset {name!r}, row {rows} cannot be read ({error}). {_REBUILD}"
            ) from error
        return array

    # -- structure -----------------------------------------------------------------------------

    def _parse(self, file: h5py.File) -> None:
        """Read everything but the maps, validating."""
        frame = file.attrs["frame"]
        if np.shape(frame) != (2,) or frame.dtype.kind not in "iu" or min(frame) < 1:
            self._refuse("attribute 'frame'", f"is {frame}", "Expected two positive integers.")
        self.frame = (int(frame[0]), int(frame[1]))
        self.content_hash = _text(file, "content_hash")
        self.notes = {str(k): str(v) for k, v in json.loads(_text(file, "notes")).items()}
        self.modalities = {
            name: Modality.create(
                _text(group, "kind"), name, json.loads(_text(group, "attributes"))
            )
            for name, group in file[_MODALITY].items()
        }
        if not self.modalities:
            self._refuse("group 'modality'", "is empty")
        self._splits = {
            name: self._parse_split(file[name], name) for name in keys.SPLITS if name in file
        }
        if not self._splits:
            self._refuse("the file", "holds no split", f"Expected any of {', '.join(keys.SPLITS)}.")
        _check_ids({name: split.ids for name, split in self._splits.items()}, self.path)

    def _parse_split(self, group: h5py.Group, name: str) -> CacheSplit:
        ids, scenes = (self._strings(group, name, key) for key in (keys.ID, keys.SCENE))
        if len(ids) != len(scenes):
            self._refuse(f"dataset '{name}/scene'", f"names {len(scenes)} of {len(ids)} frames")
        specs = {
            modality: self._parse_prediction(
                self._maps(group, f"{keys.PREDICTION}/{modality}"), len(ids)
            )
            for modality in self.modalities
        }
        has_targets = keys.TARGET in group
        if has_targets and name == keys.PREDICT:
            self._refuse(
                f"group '{name}/target'", "is there", "Frames with ground truth are no 'predict'."
            )
        if has_targets:
            for modality, kind in self.modalities.items():
                dataset = self._maps(group, f"{keys.TARGET}/{modality}")
                self._expect(dataset, (len(ids), *self.frame), (kind.target_dtype,))
        has_images = keys.IMAGE in group
        if has_images:
            dataset = self._maps(group, keys.IMAGE)
            self._expect(dataset, (len(ids), *self.frame, 3), (np.dtype(np.uint8),))
        return CacheSplit(self, name, ids, scenes, specs, has_targets, has_images)

    def _parse_prediction(self, dataset: h5py.Dataset, frames: int) -> PredictionSpec:
        modality = dataset.name.rsplit("/", 1)[1]
        channels = self.modalities[modality].channels
        shape = dataset.shape if dataset.ndim == 4 else (0, 0, 0, 0)
        self._expect(dataset, (frames, channels, *shape[2:]), _DTYPES)
        grid = dataset.attrs["grid"]
        if np.shape(grid) != (4,) or grid.dtype.kind != "f":
            self._refuse(f"attribute 'grid' of {dataset.name!r}", f"is {grid}")
        provenance = Provenance(
            **{
                key: _text(dataset, key)
                for key in ("source", "source_hash", "sampling", "alignment")
            }
        )
        return PredictionSpec(
            (channels, shape[2], shape[3]), dataset.dtype, Grid(*map(float, grid)), provenance
        )

    def _strings(self, group: h5py.Group, split: str, key: str) -> list[str]:
        dataset = self._maps(group, key)
        if dataset.ndim != 1 or dataset.dtype.kind != "S" or len(dataset) == 0:
            self._refuse(
                f"dataset '{split}/{key}'",
                f"has shape {dataset.shape} and type {dataset.dtype}",
                "Expected one fixed-length string a frame.",
            )
        return [name.decode() for name in dataset[:].tolist()]

    def _maps(self, group: h5py.Group, name: str) -> h5py.Dataset:
        where = f"{group.name.lstrip('/')}/{name}"
        found = group.get(name)
        if not isinstance(found, h5py.Dataset):
            self._refuse(f"dataset {where!r}", "is missing")
        if found.ndim > 1 and (not found.fletcher32 or found.chunks != (1, *found.shape[1:])):
            self._refuse(
                f"dataset {where!r}",
                f"has chunks {found.chunks}, checksums: {found.fletcher32}",
                "Expected one checksummed chunk a sample.",
            )
        return found

    def _expect(
        self,
        dataset: h5py.Dataset,
        shape: tuple[int, ...],
        dtypes: Sequence[np.dtype[Any]],
    ) -> None:
        if dataset.shape != shape or 0 in shape or dataset.dtype not in dtypes:
            self._refuse(
                f"dataset {dataset.name.lstrip('/')!r}",
                f"has shape {dataset.shape} and type {dataset.dtype}",
                f"Expected {shape} {' or '.join(map(str, dtypes))}.",
            )

    def _refuse(self, where: str, found: str, remedy: str = _REBUILD) -> NoReturn:
        raise CacheError(f"{self.path}: {where} {found}. {remedy}")


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
        self._splits: dict[str, _Written] = {}
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
                group = self._file.create_group(_MODALITY, track_order=True)
                for name, modality in self.modalities.items():
                    attributes = json.dumps(modality.attributes)
                    entry = group.create_group(name)
                    _set_text(entry, "kind", modality.kind)
                    _set_text(entry, "attributes", attributes)
                    _set_text(entry, "hash", _sha256(modality.kind + attributes))
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
    ) -> None:
        """Announce a split, every sample of which is then to be written.

        Args:
            name: one of ``keys.SPLITS``; ``predict`` has no ground truth.
            ids: of the frames, unique within the file.
            scenes: of the frames, the clusters of every interval and of every further split.
            predictions: by modality.
            targets: whether the frames have ground truth.
            images: whether colour images are stored.

        Raises:
            CacheError: another split with this name or one of these ids, a prediction for a
                modality that was not announced or of the wrong shape, too little disk space.
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
            if len(spec.shape) != 3 or spec.shape[0] != channels or min(spec.shape) < 1:
                raise CacheError(
                    f"{where}: {modality} predictions of shape {spec.shape}. "
                    f"Expected (C, h, w) with C = {channels}."
                )
            if spec.dtype not in _DTYPES:
                raise CacheError(
                    f"{where}: {modality} predictions of type {spec.dtype}. "
                    "Store float16 or float32."
                )
        written = _Written(list(ids), list(scenes), specs, targets, images)
        _check_ids({k: v.ids for k, v in self._splits.items()} | {name: written.ids}, self.path)

        n = len(written.ids)
        arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            f"{keys.PREDICTION}/{m}": (spec.shape, spec.dtype) for m, spec in specs.items()
        }
        if targets:
            arrays |= {
                f"{keys.TARGET}/{m}": (self.frame, modality.target_dtype)
                for m, modality in self.modalities.items()
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
                    _set_text(dataset, key, text)
        self._splits[name] = written

    def write(
        self,
        split: str,
        i: int,
        *,
        predictions: Mapping[str, NDArray[Any]],
        targets: Mapping[str, NDArray[Any]] | None = None,
        image: NDArray[np.uint8] | None = None,
    ) -> None:
        """Validate and store frame ``i`` of an announced split, in any order.

        Args:
            split: its name.
            i: row of the frame.
            predictions: by modality, ``(C, h, w)``.
            targets: by modality, ``(H, W)``; None where the split has none.
            image: ``(H, W, 3)``; None where the split has none.

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
        if image is not None:
            arrays[keys.IMAGE] = _checked(
                f"{frame}: image", image, (*self.frame, 3), np.dtype(np.uint8), lambda _: None
            )
        with self._writing() as file:
            for key, array in arrays.items():
                file[split][key][i] = array
        written.digests[i] = _digest(arrays.values())

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
            _set_text(file, "format", FORMAT)
            _set_text(file, "package", _package_version())
            _set_text(file, "notes", json.dumps(self.notes))
            _set_text(
                file, "content_hash", _content_hash(self.frame, self.modalities, self._splits)
            )
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
            number = getattr(error, "errno", None)
            full = number in _FULL or any(os.strerror(code) in str(error) for code in _FULL)
            found = "disk full" if full else "cannot be written"
            raise CacheError(
                f"{self.path}: {found} ({error}). "
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


@dataclass
class _Written:
    """A split on its way to the file."""

    ids: list[str]
    scenes: list[str]
    specs: dict[str, PredictionSpec]
    targets: bool
    images: bool

    def __post_init__(self) -> None:
        self.digests: dict[int, bytes] = {}


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to write over a folder, or over a file without ``force``.

    Raises:
        CacheError: with the way out.
    """
    if path.is_dir():
        raise CacheError(f"{path} is a folder. Give the name of a file.")
    if path.exists() and not force:
        raise CacheError(f"{path} exists. Give --force to replace it, or another name.")


def check(cache: PredictionCache, advance: Callable[[], object] = lambda: None) -> list[str]:
    """Read and validate every sample.

    Args:
        cache: what to check.
        advance: called after each frame.

    Returns:
        What is wrong, one line each; empty if nothing is.
    """
    problems: list[str] = []
    splits: dict[str, _Written] = {}
    for name in cache.splits:
        split = cache.split(name)
        specs = {m: split.spec(m) for m in cache.modalities}
        written = _Written(split.ids, split.scenes, specs, split.has_targets, split.has_images)
        splits[name] = written
        for i, frame in enumerate(split.ids):
            arrays: list[NDArray[Any]] = []
            try:
                for m, modality in cache.modalities.items():
                    arrays.append(split.prediction(m, i))
                    if wrong := modality.check_prediction(arrays[-1]):
                        problems.append(f"{name}, frame {frame!r}: {m} prediction {wrong}")
                for m, modality in cache.modalities.items() if split.has_targets else ():
                    arrays.append(split.target(m, i))
                    if wrong := modality.check_target(arrays[-1]):
                        problems.append(f"{name}, frame {frame!r}: {m} ground truth {wrong}")
                if split.has_images:
                    arrays.append(split.image(i))
                written.digests[i] = _digest(arrays)
            except CacheError as error:
                problems.append(f"{name}, frame {frame!r}: {error}")
            advance()
    complete = all(len(split.digests) == len(split.ids) for split in splits.values())
    if complete and _content_hash(cache.frame, cache.modalities, splits) != cache.content_hash:
        problems.append("the content does not have the hash that the file states: it was altered")
    return problems


def _open(path: Path) -> h5py.File:
    """Open ``path`` and make sure that it is a cache of this version."""
    if not path.is_file():
        raise CacheError(f"{path} does not exist. Build it with 'jrn cache', or correct the path.")
    try:
        # A finished cache never changes, and some file systems know no locks. A sample is one
        # chunk and read whole: a chunk cache would only hold memory.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise CacheError(
                f"{path} is no HDF5 file. Give a cache made by 'jrn cache'."
            ) from error
        raise CacheError(f"{path} is truncated or damaged ({error}). {_REBUILD}") from error
    try:
        with _damage(path, "its head"):
            if "format" not in file.attrs or _text(file, "format") != FORMAT:
                raise CacheError(
                    f"{path} is an HDF5 file but no prediction cache (no format={FORMAT!r}). "
                    "Give a cache made by 'jrn cache'."
                )
            version = file.attrs["version"]
            if version != VERSION:
                older = version < VERSION
                raise CacheError(
                    f"{path} is a cache of version {version}, this program reads {VERSION}. "
                    + ("Build it again with 'jrn cache'." if older else "Update jrn-lightning.")
                )
    except BaseException:
        file.close()
        raise
    return file


@contextmanager
def _damage(path: Path, what: str) -> Iterator[None]:
    """Any failure of reading as a :class:`CacheError`."""
    try:
        yield
    except JRNError:
        raise
    except Exception as error:  # HDF5 and h5py tell of damage in exceptions of many types
        raise CacheError(
            f"{path}: {what} cannot be read ({type(error).__name__}: {error}). {_REBUILD}"
        ) from error


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


def _check_ids(splits: Mapping[str, Sequence[str]], path: Path) -> None:
    """Every frame once, in one split."""
    home: dict[str, str] = {}
    for split, ids in splits.items():
        for name in ids:
            if not name:
                raise CacheError(f"{path}: split {split!r} has a frame with an empty id.")
            if name in home:
                raise CacheError(
                    f"{path}: frame {name!r} is in split {home[name]!r} and again in {split!r}. "
                    "A frame belongs to one split, once."
                )
            home[name] = split


def _digest(arrays: Any) -> bytes:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.digest()


def _content_hash(
    frame: tuple[int, int],
    modalities: Mapping[str, Modality],
    splits: Mapping[str, _Written],
) -> str:
    """SHA-256 over structure and samples, whatever the order of writing."""
    present = [name for name in keys.SPLITS if name in splits]
    structure = {
        "frame": frame,
        "modalities": [[name, m.kind, m.attributes] for name, m in modalities.items()],
        "splits": {
            name: {
                "ids": splits[name].ids,
                "scenes": splits[name].scenes,
                "targets": splits[name].targets,
                "images": splits[name].images,
                "predictions": {
                    m: [spec.shape, str(spec.dtype), astuple(spec.grid), asdict(spec.provenance)]
                    for m, spec in splits[name].specs.items()
                },
            }
            for name in present
        },
    }
    sha = hashlib.sha256(json.dumps(structure).encode())
    for name in present:
        for i in range(len(splits[name].ids)):
            sha.update(splits[name].digests[i])
    return sha.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _set_text(item: Any, key: str, text: str) -> None:
    """A fixed-length string attribute: those of variable length have no checksum."""
    item.attrs[key] = np.bytes_(text.encode())


def _text(item: Any, key: str) -> str:
    value = item.attrs[key]
    if not isinstance(value, bytes):
        raise TypeError(f"attribute {key!r} of {item.name!r} is {value!r}, not a string")
    return value.decode()


def _package_version() -> str:
    try:
        return metadata.version("jrn-lightning")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
