"""Files of predictions, in whatever form the single-task network left them.

A source knows the ids of its frames and reads one at a time. Accepted are

- ``.npz``: one array of maps and, optionally, ``index`` (ids) and ``classes`` (names),
- ``.npy``: one array of maps, frames first; memory-mapped,
- ``.mat``: as MATLAB writes it, version 5 or 7.3, frames last (or first),
- a folder with one ``.npy`` ``(C, h, w)`` or ``(h, w)``, or one ``.png`` a frame, 16-bit for
  depth, class ids for semantics: its path without the suffix is the id. Where ids are numbers, the
  digits at the end of a name are it.

Without an index the maps are those of frames 1, 2, 3 … where ids are numbers, and else of all
frames in the order of their ids. An index holds ids, or numbers where ids are numbers.

A map with channels is ``(C, h, w)`` or ``(h, w, C)``; one-channel maps may lack that axis. Class
predictions that are no probabilities yet become so where it is clear how, see
:mod:`.probabilities`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.importers import pictures
from jrn_lightning.importers.arrays import read_array
from jrn_lightning.importers.frames import by_number, in_order
from jrn_lightning.importers.probabilities import as_probabilities
from jrn_lightning.modalities import Modality, Semantic

_FORMS: Final = "a .npz, .npy or .mat file, or a folder of .npy or .png files"
#: Arrays of these names are taken for the maps when a file holds several.
_MAPS: Final = ("depth", "depths", "probability", "probabilities", "prediction", "predictions")
_INDEX: Final = "index"
Option = Callable[[str, str], str]
_CLASSES: Final = "classes"


class Contents(NamedTuple):
    """What a file or folder holds; see :class:`PredictionSource`."""

    ids: list[str]
    raw: Callable[[str], NDArray[Any]]  # map by frame, in the file's units and order of axes
    files: list[Path]
    ordered_by_name: bool
    classes: tuple[str, ...] | None = None


class PredictionSource:
    """Predictions of one modality, by frame; made by :func:`open_source`.

    Attributes:
        path: the file or folder.
        channels: C of the modality.
        scale: factor to the modality's units, e.g. 0.001 for millimetres.
        option: how another value of an option is given, of its name and the value.
        ids: the frames that it covers, in its own order.
        ordered_by_name: whether each map says which frame it is of; if not, it follows from their
            order.
        shape: (C, h, w) of every map.
        dtype: to store, float16 or float32.
        classes: names of the channels, where the file gives them.
        conversion: what was done to make the maps probabilities, for the cache; empty if nothing.
    """

    def __init__(
        self,
        path: Path,
        modality: Modality,
        scale: float,
        contents: Contents,
        option: Option | None = None,
    ) -> None:
        self.path = path
        self.option: Option = option or f"--{modality.name}-{{}} {{}}".format
        if not 0 < scale < math.inf:
            raise CacheError(
                f"{self.option('scale', f'{scale:g}')} is no factor. Give a positive number, e.g. "
                "0.001 for millimetres."
            )
        self.channels = modality.channels
        self.scale = scale
        self.ids, self._raw, self._files, self.ordered_by_name, self.classes = contents
        self.conversion = ""
        first = self._raw(self.ids[0])
        if first.dtype.kind not in "fiu":
            raise CacheError(f"{path}: maps of type {first.dtype}. Give numbers.")
        self._is_semantic = isinstance(modality, Semantic)
        if isinstance(modality, Semantic):
            if _folded(self.classes) == _folded(modality.classes):
                self.classes = modality.classes
            read = self._raw
            every = map(read, self.ids)
            convert, self.conversion = as_probabilities(path, modality, first, every)
            self._raw = lambda frame: convert(read(frame))
            first = convert(first)
        elif first.dtype.kind != "f" and scale == 1:
            raise CacheError(
                f"{path}: maps of the integer type {first.dtype} have no stated unit. "
                f"Give the scale, of millimetres {self.option('scale', '0.001')}."
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
            name = os.fsencode(file.relative_to(self.path).as_posix())
            sha.update(name + bytes.fromhex(_file_hash(file)))
        return sha.hexdigest()

    def read(self, frame: str) -> NDArray[Any]:
        """Prediction of a frame: ``(C, h, w)`` in the modality's units.

        Raises:
            CacheError: a map of another shape than the first one.
        """
        maps = self._channels_first(self._raw(frame))
        if maps.shape != self.shape:
            raise CacheError(
                f"{self.path}: the prediction of frame {frame} has shape {maps.shape}, others "
                f"have {self.shape}. Predict all frames at one size."
            )
        with np.errstate(over="ignore"):  # what becomes infinite is refused as such
            return maps if self.scale == 1 else np.asarray(maps * self.scale, np.float32)

    def _channels_first(self, maps: NDArray[Any]) -> NDArray[Any]:
        """``(C, h, w)`` of a map in any order of axes."""
        if maps.ndim == 2 and self.channels == 1:
            maps = maps[None]
        if maps.ndim == 3 and maps.shape[0] == self.channels:
            return maps
        if maps.ndim == 3 and maps.shape[2] == self.channels:
            return np.moveaxis(maps, 2, 0)
        raise CacheError(
            f"{self.path}: a prediction of shape {maps.shape}, where {self.channels} channel(s) "
            f"were expected. Give ({self.channels}, h, w) or (h, w, {self.channels}) a frame"
            + (", class ids (h, w), or the 40 classes of NYU." if self._is_semantic else ".")
        )


def open_source(
    path: Path,
    modality: Modality,
    *,
    ids: Sequence[str],
    scale: float = 1.0,
    key: str | None = None,
    option: Option | None = None,
) -> PredictionSource:
    """Open the predictions in ``path``.

    Args:
        path: file or folder.
        modality: what is predicted.
        ids: of all frames of the data set; their number tells the frame axis of a MATLAB array.
        scale: factor to the modality's units; required for integers.
        key: the array's name in a file that holds several.
        option: how the user gives another value of an option, of its name and the value, for
            messages; ``--depth-scale 0.001`` and the like unless given.

    Raises:
        CacheError: a path, an array or a shape that cannot be used, with what would do.
    """
    if not path.exists():
        raise CacheError(f"{path} does not exist. Give {_FORMS}.")
    try:
        contents = _folder(path, ids, modality) if path.is_dir() else _file(path, ids, key)
        return PredictionSource(path, modality, scale, contents, option)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise CacheError(f"{path} cannot be read ({error}). Give {_FORMS}.") from error


def from_files(
    path: Path,
    modality: Modality,
    files: Mapping[str, Path],
    *,
    scale: float = 1.0,
    key: str | None = None,
    option: Option,
) -> PredictionSource:
    """Predictions that lie in a file for each frame: a PNG, .npy, .npz, .h5 or .mat.

    Args:
        path: the folder of them all.
        modality: what is predicted.
        files: of each frame that is predicted.
        scale: factor to the modality's units; required for integers.
        key: the array's name in a file that holds several.
        option: see :func:`open_source`.

    Raises:
        CacheError: a map of a shape that cannot be used.
    """
    contents = Contents(
        list(files), lambda frame: read_array(files[frame], key), list(files.values()), True
    )
    return PredictionSource(path, modality, scale, contents, option)


def _folded(classes: tuple[str, ...] | None) -> list[str] | None:
    """Names of classes, whatever their case and the spaces around them."""
    return None if classes is None else [name.strip().casefold() for name in classes]


def _folder(path: Path, ids: Sequence[str], modality: Modality) -> Contents:
    """One file a frame."""
    files: dict[str, Path] = {}
    numbers = by_number(ids)
    for file in sorted(path.iterdir() if numbers else path.rglob("*")):
        if file.suffix.lower() not in (".npy", ".png"):
            continue
        frame = file.relative_to(path).with_suffix("").as_posix()
        if numbers is not None:
            digits = re.search(r"(\d+)$", file.stem)
            if digits is None:
                raise CacheError(
                    f"{file}: the name does not end in a frame number. Name the files "
                    f"{ids[0]}.npy, …"
                )
            frame = numbers.get(int(digits[1]), str(int(digits[1])))
        if frame in files:
            raise CacheError(
                f"{path}: frame {frame} is there twice, as {file.name} and "
                f"{files[frame].name}. Keep one."
            )
        files[frame] = file
    if not files:
        raise CacheError(f"{path} holds no .npy or .png file. Give {_FORMS}.")
    named, labels = list(files.values()), isinstance(modality, Semantic)
    return Contents(list(files), lambda frame: _read_map(files[frame], labels), named, True)


def _read_map(file: Path, labels: bool) -> NDArray[Any]:
    """The map of one file; an 8-bit picture may hold class ids, but no depth."""
    try:
        if file.suffix.lower() == ".npy":
            array: NDArray[Any] = np.load(file, allow_pickle=False)
            return array
        values = pictures.read_values(file)
    except (OSError, ValueError) as error:
        raise CacheError(f"{file} cannot be read ({error}). Write it again.") from error
    if not labels and values.dtype == np.uint8:
        raise CacheError(
            f"{file} is a picture of 8 bits, not a 16-bit map. Write depth as 16-bit PNG, e.g. in "
            "millimetres."
        )
    return values


def _file(path: Path, ids: Sequence[str], key: str | None) -> Contents:
    """One array, whose maps :func:`_array` takes frames first."""
    numbers = by_number(ids)
    frames = max(numbers) if numbers else len(ids)
    if path.suffix == ".npy":
        return _array(path, ids, np.load(path, mmap_mode="r", allow_pickle=False))
    if path.suffix == ".npz":
        # NumPy leaves a file of its own open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        maps = arrays[_choose(path, arrays, key)]
        return _array(path, ids, maps, arrays.get(_INDEX), arrays.get(_CLASSES))
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
            return _array(path, ids, maps[()].T, index)
        return _array(path, ids, maps, index, swap=True)
    arrays = read_mat(path)
    maps, index = arrays[_choose(path, arrays, key)], arrays.get(_INDEX)
    count = frames if index is None else index.size
    if maps.shape[-1] == count or len(maps) != count:
        maps = np.moveaxis(maps, -1, 0)  # frames last, as MATLAB keeps them
    return _array(path, ids, maps, index)


def _array(
    path: Path,
    ids: Sequence[str],
    maps: Any,
    index: NDArray[Any] | None = None,
    classes: NDArray[Any] | None = None,
    swap: bool = False,
) -> Contents:
    """Maps ``(N, …)``, in which h and w may be swapped."""
    if not len(maps):
        raise CacheError(f"{path} holds no predictions.")
    frames = _unnamed(ids, len(maps)) if index is None else _named(path, ids, index, len(maps))
    row = {frame: k for k, frame in enumerate(frames)}

    def raw(frame: str) -> NDArray[Any]:
        array = np.asarray(maps[row[frame]])
        return array.swapaxes(-1, -2) if swap else array

    names = None if classes is None else tuple(map(str, classes))
    return Contents(frames, raw, [path], index is not None, names)


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file of version 5, or the arrays of 7.3, with reversed axes.

    Raises:
        CacheError: it is missing or damaged.
    """
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as hdf5:
                return {k: v[()] for k, v in hdf5.items() if isinstance(v, h5py.Dataset)}
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


def _unnamed(ids: Sequence[str], maps: int) -> list[str]:
    """The frames of maps without an index."""
    numbers = by_number(ids)
    if numbers is not None:
        first = min(1, *numbers)
        return [numbers.get(n, str(n)) for n in range(first, first + maps)]
    ordered = in_order(ids)[:maps]
    return ordered + [f"map {k}" for k in range(len(ordered), maps)]


def _named(path: Path, ids: Sequence[str], index: NDArray[Any], maps: int) -> list[str]:
    """The frames that an index names."""
    entries, numbers = np.asarray(index).ravel(), by_number(ids)
    if entries.dtype.kind == "S":
        entries = np.char.decode(entries)
    is_text = entries.dtype.kind == "U"
    is_number = entries.dtype.kind in "iuf" and numbers is not None
    whole = is_text or (is_number and (entries == entries.round()).all())
    if entries.size != maps or not whole:
        form = "number" if numbers is not None else "id"
        raise CacheError(
            f"{path}: 'index' has {entries.size} entries of type {entries.dtype} for {maps} maps. "
            f"Give the frame {form} of each map, as {ids[0]}."
        )
    if is_text:
        listed = entries.tolist()
    else:
        assert numbers is not None
        listed = [numbers.get(int(n), str(int(n))) for n in entries]
        if min(entries, default=1) < min(1, *numbers):
            raise CacheError(
                f"{path}: 'index' holds {min(entries)}. Frames are counted from {min(1, *numbers)}."
            )
    if len(set(listed)) != len(listed):
        twice = next(n for n in listed if listed.count(n) > 1)
        raise CacheError(f"{path}: 'index' names frame {twice} twice. Keep one map a frame.")
    return listed


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
