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
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

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


class _Contents(NamedTuple):
    """What a file or folder holds; see :class:`PredictionSource`."""

    numbers: list[int]
    raw: Callable[[int], NDArray[Any]]  # map by frame, in the file's units and order of axes
    files: list[Path]
    ordered_by_name: bool
    classes: tuple[str, ...] | None = None


class PredictionSource:
    """Predictions of one modality, by frame number; made by :func:`open_source`.

    Attributes:
        path: the file or folder.
        channels: C of the modality.
        scale: factor to the modality's units, e.g. 0.001 for millimetres.
        numbers: the frames that it covers, in its own order.
        ordered_by_name: whether each map says which frame it is of; if not, the maps are taken to
            be those of frames 1, 2, 3 …
        shape: (C, h, w) of every map.
        dtype: to store, float16 or float32.
        classes: names of the channels, where the file gives them.
    """

    def __init__(self, path: Path, channels: int, scale: float, contents: _Contents) -> None:
        self.path = path
        self.channels = channels
        self.scale = scale
        self.numbers, self._raw, self._files, self.ordered_by_name, self.classes = contents
        first = self._raw(self.numbers[0])
        if first.dtype.kind not in "fiu":
            raise CacheError(f"{path}: maps of type {first.dtype}. Give numbers.")
        if first.dtype.kind != "f" and scale == 1:
            raise CacheError(
                f"{path}: maps of the integer type {first.dtype} have no stated unit. "
                "Give the scale, e.g. --depth-scale 0.001 for millimetres."
            )
        c, h, w = self._channels_first(first).shape
        self.shape = (c, h, w)
        half = first.dtype == np.float16 and scale == 1
        self.dtype: np.dtype[Any] = np.dtype(np.float16 if half else np.float32)

    def hash(self) -> str:
        """SHA-256 of the file, or of a folder's names and files."""
        if not self.path.is_dir():
            return _file_hash(self.path)
        sha = hashlib.sha256()
        for file in self._files:
            sha.update(file.name.encode() + bytes.fromhex(_file_hash(file)))
        return sha.hexdigest()

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
    if not path.exists():
        raise CacheError(f"{path} does not exist. Give {_FORMS}.")
    try:
        contents = _folder(path) if path.is_dir() else _file(path, frames, key)
        return PredictionSource(path, modality.channels, scale, contents)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CacheError(f"{path} cannot be read ({error}). Give {_FORMS}.") from error


def _folder(path: Path) -> _Contents:
    """One file a frame."""
    files: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in (".npy", ".png"):
            continue
        digits = re.search(r"(\d+)$", file.stem)
        if digits is None:
            raise CacheError(
                f"{file}: the name does not end in a frame number. Name the files 0001.npy, …"
            )
        number = int(digits[1])
        if number in files:
            raise CacheError(
                f"{path}: frame {number} is there twice, as {file.name} and "
                f"{files[number].name}. Keep one."
            )
        files[number] = file
    if not files:
        raise CacheError(f"{path} holds no .npy or .png file. Give {_FORMS}.")
    return _Contents(list(files), lambda n: _read_map(files[n]), list(files.values()), True)


def _read_map(file: Path) -> NDArray[Any]:
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


def _file(path: Path, frames: int, key: str | None) -> _Contents:
    """One array, whose maps :func:`_array` takes frames first."""
    if path.suffix == ".npy":
        return _array(path, np.load(path, mmap_mode="r", allow_pickle=False))
    if path.suffix == ".npz":
        # NumPy leaves a file of its own open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        maps = arrays[_choose(path, arrays, key)]
        return _array(path, maps, arrays.get(_INDEX), arrays.get(_CLASSES))
    if path.suffix != ".mat":
        raise CacheError(f"{path} has the unknown form {path.suffix!r}. Give {_FORMS}.")
    if h5py.is_hdf5(path):
        # MATLAB v7.3 is HDF5 with reversed axes: (h, w, C, N) lies here as (N, C, w, h).
        hdf5 = h5py.File(path, "r", locking=False)  # kept open: maps are read one at a time
        arrays = {name: item for name, item in hdf5.items() if isinstance(item, h5py.Dataset)}
        maps = arrays[_choose(path, arrays, key)]
        index = arrays[_INDEX][()] if _INDEX in arrays else None
        count = frames if index is None else index.size
        if len(maps) != count and maps.shape[-1] == count:
            # Frames first in MATLAB, so last here: (h, w[, C]) of each is reversed as well.
            return _array(path, maps[()].T, index)
        return _array(path, maps, index, swap=True)
    arrays = read_mat5(path)
    maps, index = arrays[_choose(path, arrays, key)], arrays.get(_INDEX)
    count = frames if index is None else index.size
    if maps.shape[-1] == count or len(maps) != count:
        maps = np.moveaxis(maps, -1, 0)  # frames last, as MATLAB keeps them
    return _array(path, maps, index)


def _array(
    path: Path,
    maps: Any,
    index: NDArray[Any] | None = None,
    classes: NDArray[Any] | None = None,
    swap: bool = False,
) -> _Contents:
    """Maps ``(N, …)``, in which h and w may be swapped."""
    numbers = list(range(1, len(maps) + 1)) if index is None else _numbers(path, index, len(maps))
    if not numbers:
        raise CacheError(f"{path} holds no predictions.")
    row = {number: k for k, number in enumerate(numbers)}

    def raw(number: int) -> NDArray[Any]:
        array = np.asarray(maps[row[number]])
        return array.swapaxes(-1, -2) if swap else array

    names = None if classes is None else tuple(map(str, classes))
    return _Contents(numbers, raw, [path], index is not None, names)


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


def _choose(path: Path, variables: dict[str, Any], key: str | None) -> str:
    """Name of the array of maps."""
    arrays = {name: value for name, value in variables.items() if hasattr(value, "ndim")}
    candidates = [name for name, array in arrays.items() if array.ndim >= 3]
    if key is not None:
        if key not in candidates:
            raise CacheError(
                f"{path} has no array of maps called {key!r}. It has: {', '.join(candidates)}."
            )
        return key
    for names in (candidates, [name for name in candidates if name in _MAPS]):
        if len(names) == 1:
            return names[0]
    raise CacheError(
        f"{path} holds the arrays {', '.join(arrays) or '(none)'}; which are the predictions? "
        f"Call the array one of {', '.join(_MAPS)}, or give its name."
    )


def _numbers(path: Path, index: NDArray[Any], maps: int) -> list[int]:
    numbers = np.asarray(index).ravel()
    is_number = numbers.dtype.kind in "iuf"
    if numbers.size != maps or not is_number or (numbers != numbers.round()).any():
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
