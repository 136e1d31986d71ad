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
    /<split>/target/<modality>       (N, H, W) or (N, C, H, W) in the modality's dtype; not in
                                     ``predict``
                                     attrs: truths (JSON), optional: its name, then the names of
                                     its alternatives
    /<split>/alternative/<modality>/<name>
                                     likewise: other ground truth of the same pixels, for
                                     each name after the first
    /<split>/image                   (N, H, W, 3) uint8, optional

Every chunk holds one sample and its Fletcher-32 checksum, the file format is one whose metadata
are checksummed too, and no string is of variable length (that heap has no checksum): a damaged
file is noticed wherever the damage is read. Values are validated when written, and by
:func:`check`; compression is left out, because it costs five times the reading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
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
    Provenance,
    SplitContent,
    are_names,
    check_ids,
    content_hash,
    digest,
    text,
)
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError, JRNError
from jrn_lightning.modalities import Modality

_REBUILD: Final = "Build the cache again, or copy it again from where it came."


@dataclass(eq=False, repr=False, kw_only=True)
class CacheSplit(SplitContent):
    """One split of a :class:`PredictionCache`: names in memory, maps read on demand.

    Whatever the split does not hold (a modality, ground truth, images) and whatever is damaged is
    a CacheError.
    """

    cache: PredictionCache

    def spec(self, modality: str) -> PredictionSpec:
        """Shape, dtype, grid and provenance of a modality's predictions."""
        if modality not in self.specs:
            raise CacheError(
                f"{self.cache.path} holds no predictions of {modality!r}. "
                f"It holds: {', '.join(self.specs)}."
            )
        return self.specs[modality]

    def grid(self, modality: str) -> Grid:
        """How a modality's predictions lie on the frame."""
        return self.spec(modality).grid

    def provenance(self, modality: str) -> Provenance:
        """Where a modality's predictions come from."""
        return self.spec(modality).provenance

    def target_size(self) -> tuple[int, int]:
        """(H, W) of the ground truth and the image."""
        return self.cache.frame

    def prediction(self, modality: str, i: int) -> NDArray[Any]:
        """Prediction of frame ``i``: ``(C, h, w)`` in the stored dtype."""
        self.spec(modality)
        return self.read(f"{keys.PREDICTION}/{modality}", i)

    def target(self, modality: str, i: int) -> NDArray[Any]:
        """Ground truth of frame ``i`` in the modality's shape and dtype."""
        self.spec(modality)
        if not self.has_targets:
            self._lacks("ground truth. Choose a split with ground truth.")
        return self.read(f"{keys.TARGET}/{modality}", i)

    def alternative(self, modality: str, name: str, i: int) -> NDArray[Any]:
        """Another ground truth of frame ``i``, as :meth:`target`."""
        if (modality, name) not in self.alternatives:
            known = ", ".join(self.truths.get(modality, ())[1:]) or "none"
            self._lacks(f"{modality} ground truth {name!r} beside its own. It holds: {known}.")
        return self.read(f"{keys.ALTERNATIVE}/{modality}/{name}", i)

    def image(self, i: int) -> NDArray[np.uint8]:
        """Colour image of frame ``i``: ``(H, W, 3)`` uint8."""
        if not self.has_images:
            self._lacks("images. Build the cache with --images.")
        return self.read(keys.IMAGE, i)

    def read(self, dataset: str, i: int) -> NDArray[Any]:
        """Row ``i`` of a dataset of this split."""
        row = range(len(self))[i]  # IndexError beyond the end, negative from it, as for a list
        return self.cache._read(f"{self.name}/{dataset}", row)

    def _lacks(self, what: str) -> NoReturn:
        raise CacheError(f"{self.cache.path}: split {self.name!r} holds no {what}")


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
                self._file = _open(self.path)
                self._parse(self._file)
        except BaseException:
            self.close()
            raise

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are present."""
        return tuple(self._splits)

    def split(self, name: str) -> CacheSplit:
        """The split ``name``; a CacheError lists those present where there is none."""
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

    def _dataset(self, name: str) -> h5py.Dataset:
        if self._pid != os.getpid():
            # The handles of the process that forked share its file position and library state.
            self.close()
            self._pid = os.getpid()
        if self._file is None:
            self._file = _open(self.path)
            if text(self._file, "content_hash") != self.content_hash:
                self.close()
                raise CacheError(
                    f"{self.path} was replaced by another cache while in use. Start again."
                )
        if name not in self._datasets:
            self._datasets[name] = self._file[name]
        return self._datasets[name]

    def _read(self, name: str, row: int) -> NDArray[Any]:
        try:
            array: NDArray[Any] = self._dataset(name)[row]
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            raise CacheError(
                f"{self.path}: dataset {name!r}, row {row} cannot be read ({error}). {_REBUILD}"
            ) from error
        return array

    def _parse(self, file: h5py.File) -> None:
        """Read everything but the maps, validating."""
        frame = file.attrs["frame"]
        if np.shape(frame) != (2,) or frame.dtype.kind not in "iu" or min(frame) < 1:
            self._refuse("attribute 'frame'", f"is {frame}", "Expected two positive integers.")
        self.frame = (int(frame[0]), int(frame[1]))
        self.content_hash = text(file, "content_hash")
        self.notes = {str(k): str(v) for k, v in json.loads(text(file, "notes")).items()}
        self.modalities = {
            name: Modality.create(text(group, "kind"), name, json.loads(text(group, "attributes")))
            for name, group in file[MODALITY].items()
        }
        if not self.modalities:
            self._refuse("group 'modality'", "is empty")
        self._splits = {
            name: self._parse_split(file[name], name) for name in keys.SPLITS if name in file
        }
        if not self._splits:
            self._refuse("the file", "holds no split", f"Expected any of {', '.join(keys.SPLITS)}.")
        check_ids(self._splits.values(), self.path)

    def _parse_split(self, group: h5py.Group, name: str) -> CacheSplit:
        ids, scenes = (self._strings(group, key) for key in (keys.ID, keys.SCENE))
        if len(ids) != len(scenes):
            self._refuse(f"dataset '{name}/scene'", f"names {len(scenes)} of {len(ids)} frames")
        has_targets = keys.TARGET in group
        if has_targets and name == keys.PREDICT:
            self._refuse(
                f"group '{name}/target'", "is there", "Frames with ground truth are no 'predict'."
            )
        truths = {m: self._parse_truths(group, m) for m in self.modalities if has_targets}
        split = CacheSplit(
            cache=self,
            name=name,
            ids=ids,
            scenes=scenes,
            specs={m: self._parse_prediction(group, m) for m in self.modalities},
            has_targets=has_targets,
            has_images=keys.IMAGE in group,
            truths={m: names for m, names in truths.items() if names},
        )
        for key, field in split.fields(self.modalities, self.frame).items():
            self._expect(self._maps(group, key), (len(ids), *field.shape), (field.dtype,))
        return split

    def _parse_truths(self, group: h5py.Group, modality: str) -> tuple[str, ...]:
        """Names of a modality's ground truth and its alternatives; none where nobody named them."""
        dataset = self._maps(group, f"{keys.TARGET}/{modality}")
        if "truths" not in dataset.attrs:
            return ()
        names = json.loads(text(dataset, "truths"))
        if not are_names(names):
            self._refuse(f"attribute 'truths' of {dataset.name!r}", f"is {names}")
        return tuple(names)

    def _parse_prediction(self, group: h5py.Group, modality: str) -> PredictionSpec:
        dataset = self._maps(group, f"{keys.PREDICTION}/{modality}")
        frames, channels = len(group[keys.ID]), self.modalities[modality].channels
        size = dataset.shape[2:] if dataset.ndim == 4 else (0, 0)
        self._expect(dataset, (frames, channels, *size), DTYPES)
        grid = dataset.attrs["grid"]
        if np.shape(grid) != (4,) or grid.dtype.kind != "f":
            self._refuse(f"attribute 'grid' of {dataset.name!r}", f"is {grid}")
        provenance = Provenance(**{f.name: text(dataset, f.name) for f in fields(Provenance)})
        return PredictionSpec((channels, *size), dataset.dtype, Grid(*map(float, grid)), provenance)

    def _strings(self, group: h5py.Group, key: str) -> list[str]:
        dataset = self._maps(group, key)
        if dataset.ndim != 1 or dataset.dtype.kind != "S" or len(dataset) == 0:
            self._refuse(
                f"dataset {dataset.name.lstrip('/')!r}",
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


def check(cache: PredictionCache, advance: Callable[[], object] = lambda: None) -> list[str]:
    """Read and validate every sample.

    Args:
        cache: what to check.
        advance: called after each frame.

    Returns:
        What is wrong, one line each; empty if nothing is.
    """
    problems: list[str] = []
    digests: dict[str, dict[int, bytes]] = {}
    splits = {name: cache.split(name) for name in cache.splits}
    for name, split in splits.items():
        digests[name] = {}
        layout = split.fields(cache.modalities, cache.frame)
        for i, frame in enumerate(split.ids):
            where = f"{name}, frame {frame!r}"
            arrays: list[NDArray[Any]] = []
            try:
                for key, field in layout.items():
                    arrays.append(split.read(key, i))
                    if wrong := field.problem(arrays[-1]):
                        problems.append(f"{where}: {field.what} {wrong}")
                digests[name][i] = digest(arrays)
            except CacheError as error:
                problems.append(f"{where}: {error}")
            advance()
    complete = all(len(digests[name]) == len(split) for name, split in splits.items())
    content = (cache.frame, cache.modalities, splits, digests)
    if complete and content_hash(*content) != cache.content_hash:
        problems.append("the content does not have the hash that the file states: it was altered")
    return problems


def _open(path: Path) -> h5py.File:
    """Open ``path`` and make sure that it is a cache of this version."""
    if path.is_dir():
        raise CacheError(f"{path} is a folder. Give the file of a cache, as nyu.h5.")
    if not path.is_file():
        raise CacheError(f"{path} does not exist. Build it with 'jrn cache', or correct the path.")
    try:
        # A finished cache never changes, and some file systems know no locks. The library's chunk
        # cache holds two or three samples of a dataset. Where HDF5 reads rows, memory is taken
        # from the system and given back at every read without it, which triples the time.
        file = h5py.File(path, "r", locking=False, rdcc_nbytes=4 << 20)
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise CacheError(
                f"{path} is no HDF5 file. Give a cache made by 'jrn cache'."
            ) from error
        raise CacheError(f"{path} is truncated or damaged ({error}). {_REBUILD}") from error
    try:
        with _damage(path, "its head"):
            if "format" not in file.attrs or text(file, "format") != FORMAT:
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
