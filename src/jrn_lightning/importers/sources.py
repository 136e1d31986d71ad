"""Files of predictions, in whatever form the single-task network left them.

A source knows the 1-based numbers of its frames and reads one at a time. Accepted are

- ``.npz``: one array of maps and, optionally, ``index`` (frame numbers) and ``classes`` (names),
- ``.npy``: one array of maps, frames first; memory-mapped,
- ``.mat``: as MATLAB writes it, version 5 or 7.3, frames last (or first),
- a folder with one ``.npy`` ``(C, h, w)`` or ``(h, w)``, or one 16-bit ``.png``, a frame; the
  digits at the end of a name are the frame's number.

A map with channels is ``(C, h, w)`` or ``(h, w, C)``; one-channel maps may lack that axis.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning.errors import CacheError
from jrn_lightning.modalities import Modality

_FORMS: Final = "a .npz, .npy or .mat file, or a folder of .npy or 16-bit .png files"
#: Arrays of these names are taken for the maps when a file holds several.
_MAPS: Final = ("depth", "depths", "probability", "probabilities", "prediction", "predictions")
_INDEX: Final = "index"
_CLASSES: Final = "classes"


class PredictionSource(ABC):
    """Predictions of one modality, by frame number.

    Args:
        path: the file or folder.
        channels: C of the modality.
        scale: factor to the modality's units, e.g. 0.001 for millimetres.

    Attributes:
        numbers: the frames that it covers, in its own order.
        ordered_by_name: whether each map says which frame it is of; if not, the maps are taken to
            be those of frames 1, 2, 3 …
        shape: (C, h, w) of every map.
        dtype: to store, float16 or float32.
        classes: names of the channels, where the file gives them.
    """

    numbers: list[int]
    ordered_by_name: bool
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    classes: tuple[str, ...] | None = None

    def __init__(self, path: Path, channels: int, scale: float) -> None:
        self.path = path
        self.channels = channels
        self.scale = scale

    @abstractmethod
    def _raw(self, number: int) -> NDArray[Any]:
        """The map of a covered frame, in the file's units and order of axes."""

    @abstractmethod
    def hash(self) -> str:
        """SHA-256 of the file, or of a folder's names and files."""

    def read(self, number: int) -> NDArray[Any]:
        """Prediction of frame ``number``: ``(C, h, w)`` in the modality's units.

        Raises:
            CacheError: a map of another shape than the first one.
        """
        maps = self._channels_first(self._raw(number))
        if maps.shape != self.shape:
            raise CacheError(
                f"{self.path}: the prediction of frame {number} has shape {maps.shape}, others "
                f"have {self.shape}. Predict all frames at one size."
            )
        return maps if self.scale == 1 else np.asarray(maps * self.scale, np.float32)

    def _describe(self) -> None:
        """Set shape and dtype from the first frame."""
        first = self._raw(self.numbers[0])
        if first.dtype.kind not in "fiu":
            raise CacheError(f"{self.path}: maps of type {first.dtype}. Give numbers.")
        if first.dtype.kind != "f" and self.scale == 1:
            raise CacheError(
                f"{self.path}: maps of the integer type {first.dtype} have no stated unit. "
                "Give the scale, e.g. --depth-scale 0.001 for millimetres."
            )
        shape = self._channels_first(first).shape
        self.shape = (shape[0], shape[1], shape[2])
        half = first.dtype == np.float16 and self.scale == 1
        self.dtype = np.dtype(np.float16 if half else np.float32)

    def _channels_first(self, maps: NDArray[Any]) -> NDArray[Any]:
        if maps.ndim == 2 and self.channels == 1:
            maps = maps[None]
        if maps.ndim == 3 and maps.shape[0] == self.channels:
            return maps
        if maps.ndim == 3 and maps.shape[2] == self.channels:
            return np.moveaxis(maps, 2, 0)
        raise CacheError(
            f"{self.path}: a prediction of shape {maps.shape}, where {self.channels} channel(s) "
            f"were expected. Give ({self.channels}, h, w) or (h, w, {self.channels}) a frame."
        )


class _ArraySource(PredictionSource):
    """One array, frames first."""

    def __init__(
        self,
        path: Path,
        channels: int,
        scale: float,
        maps: Any,
        index: NDArray[Any] | None,
        classes: NDArray[Any] | None,
        matlab_axes: bool = False,
    ) -> None:
        super().__init__(path, channels, scale)
        self._maps = maps
        self._swap = matlab_axes
        self.ordered_by_name = index is not None
        if index is None:
            self.numbers = list(range(1, len(maps) + 1))
        else:
            self.numbers = _numbers(path, index, len(maps))
        self._row = {number: row for row, number in enumerate(self.numbers)}
        if not self.numbers:
            raise CacheError(f"{path} holds no predictions.")
        self.classes = None if classes is None else tuple(map(str, classes))
        self._describe()

    def _raw(self, number: int) -> NDArray[Any]:
        maps = np.asarray(self._maps[self._row[number]])
        return maps.swapaxes(-1, -2) if self._swap else maps

    def hash(self) -> str:
        return _file_hash(self.path)


class _FolderSource(PredictionSource):
    """One file a frame."""

    ordered_by_name = True

    def __init__(self, path: Path, channels: int, scale: float) -> None:
        super().__init__(path, channels, scale)
        self._files: dict[int, Path] = {}
        for file in sorted(path.iterdir()):
            if file.suffix.lower() not in (".npy", ".png"):
                continue
            digits = re.search(r"(\d+)$", file.stem)
            if digits is None:
                raise CacheError(
                    f"{file}: the name does not end in a frame number. Name the files 0001.npy, …"
                )
            number = int(digits[1])
            if number in self._files:
                raise CacheError(
                    f"{path}: frame {number} is there twice, as {file.name} and "
                    f"{self._files[number].name}. Keep one."
                )
            self._files[number] = file
        if not self._files:
            raise CacheError(f"{path} holds no .npy or .png file. Give {_FORMS}.")
        self.numbers = list(self._files)
        self._describe()

    def _raw(self, number: int) -> NDArray[Any]:
        file = self._files[number]
        try:
            if file.suffix.lower() == ".npy":
                array: NDArray[Any] = np.load(file, allow_pickle=False)
                return array
            with Image.open(file) as picture:
                if not picture.mode.startswith("I"):
                    raise CacheError(
                        f"{file} is a picture of mode {picture.mode}, not a 16-bit map. "
                        "Write depth as 16-bit PNG, e.g. in millimetres."
                    )
                return np.asarray(picture).astype(np.int32)
        except (OSError, ValueError) as error:
            raise CacheError(f"{file} cannot be read ({error}). Write it again.") from error

    def hash(self) -> str:
        sha = hashlib.sha256()
        for file in self._files.values():
            sha.update(file.name.encode() + bytes.fromhex(_file_hash(file)))
        return sha.hexdigest()


def open_source(
    path: Path, modality: Modality, *, frames: int, scale: float = 1.0, key: str | None = None
) -> PredictionSource:
    """Open the predictions in ``path``.

    Args:
        path: file or folder.
        modality: what is predicted.
        frames: how many frames the data set has; tells the frame axis of a MATLAB array.
        scale: factor to the modality's units; required for integers.
        key: the array's name in a file that holds several.

    Raises:
        CacheError: a path, an array or a shape that cannot be used, with what would do.
    """
    channels = modality.channels
    if not path.exists():
        raise CacheError(f"{path} does not exist. Give {_FORMS}.")
    if path.is_dir():
        return _FolderSource(path, channels, scale)
    try:
        if path.suffix == ".npy":
            maps = np.load(path, mmap_mode="r", allow_pickle=False)
            return _ArraySource(path, channels, scale, maps, None, None)
        if path.suffix == ".npz":
            # NumPy leaves a file of its own open when it is no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            maps = arrays[_choose(path, {name: a.ndim for name, a in arrays.items()}, key)]
            index, classes = arrays.get(_INDEX), arrays.get(_CLASSES)
            return _ArraySource(path, channels, scale, maps, index, classes)
        if path.suffix == ".mat" and h5py.is_hdf5(path):
            return _from_mat73(path, channels, scale, frames, key)
        if path.suffix == ".mat":
            return _from_mat5(path, channels, scale, frames, key)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CacheError(f"{path} cannot be read ({error}). Give {_FORMS}.") from error
    raise CacheError(f"{path} has the unknown form {path.suffix!r}. Give {_FORMS}.")


def _from_mat73(
    path: Path, channels: int, scale: float, frames: int, key: str | None
) -> PredictionSource:
    """MATLAB v7.3 is HDF5 with reversed axes: (h, w, C, N) lies here as (N, C, w, h)."""
    file = h5py.File(path, "r", locking=False)  # kept open: maps are read one at a time
    arrays = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
    maps = arrays[_choose(path, {name: a.ndim for name, a in arrays.items()}, key)]
    index = arrays[_INDEX][()] if _INDEX in arrays else None
    count = frames if index is None else index.size
    if len(maps) != count and maps.shape[-1] == count:
        # Frames first in MATLAB, so last here: (h, w[, C]) of each is reversed as well.
        reversed_maps = maps[()].T
        return _ArraySource(path, channels, scale, reversed_maps, index, None)
    return _ArraySource(path, channels, scale, maps, index, None, matlab_axes=True)


def _from_mat5(
    path: Path, channels: int, scale: float, frames: int, key: str | None
) -> PredictionSource:
    arrays = read_mat5(path)
    name = _choose(path, {n: a.ndim for n, a in arrays.items() if hasattr(a, "ndim")}, key)
    maps, index = arrays[name], arrays.get(_INDEX)
    count = frames if index is None else index.size
    if maps.shape[-1] == count or len(maps) != count:
        maps = np.moveaxis(maps, -1, 0)  # frames last, as MATLAB keeps them
    return _ArraySource(path, channels, scale, maps, index, None)


def read_mat5(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file of version 5.

    Raises:
        CacheError: it is missing or damaged.
    """
    try:
        variables: dict[str, Any] = scipy.io.loadmat(path, appendmat=False)
    except Exception as error:  # SciPy tells of damage in exceptions of many types
        raise CacheError(f"{path} cannot be read ({error}). Copy it again.") from error
    return variables


def _choose(path: Path, dimensions: dict[str, int], key: str | None) -> str:
    """Name of the array of maps."""
    candidates = [name for name, ndim in dimensions.items() if ndim >= 3]
    if key is not None:
        if key not in candidates:
            raise CacheError(
                f"{path} has no array of maps called {key!r}. It has: {', '.join(candidates)}."
            )
        return key
    if len(candidates) == 1:
        return candidates[0]
    usual = [name for name in candidates if name in _MAPS]
    if len(usual) == 1:
        return usual[0]
    raise CacheError(
        f"{path} holds the arrays {', '.join(dimensions) or '(none)'}; which are the predictions? "
        f"Call the array one of {', '.join(_MAPS)}, or give its name."
    )


def _numbers(path: Path, index: NDArray[Any], maps: int) -> list[int]:
    numbers = np.asarray(index).ravel()
    if (
        numbers.size != maps
        or numbers.dtype.kind not in "iuf"
        or (numbers != numbers.round()).any()
    ):
        raise CacheError(
            f"{path}: 'index' has {numbers.size} entries of type {numbers.dtype} for {maps} maps. "
            "Give the frame number of each map."
        )
    listed = [int(n) for n in numbers]
    if min(listed, default=1) < 1:
        raise CacheError(f"{path}: 'index' holds {min(listed)}. Frames are counted from 1.")
    if len(set(listed)) != len(listed):
        twice = next(n for n in listed if listed.count(n) > 1)
        raise CacheError(f"{path}: 'index' names frame {twice} twice. Keep one map a frame.")
    return listed


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
