"""One array from one file, in whichever form it lies there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning.errors import CacheError

_PICTURES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def read_array(path: Path, key: str | None = None) -> NDArray[Any]:
    """The array in a file: a picture of 8 or 16 bits, .npy, .npz, .h5 or .mat.

    Args:
        path: the file; its suffix tells the form.
        key: name of the array in a file that holds several.

    Raises:
        CacheError: a form that is not read, a damaged file, a key that is not there.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _PICTURES:
            return _picture(path)
        if suffix == ".npy":
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return array
        if suffix == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return np.asarray(archive[_key(path, list(archive.files), key)])
        if suffix in (".h5", ".hdf5") or (suffix == ".mat" and h5py.is_hdf5(path)):
            with h5py.File(path, "r", locking=False) as hdf5:
                names = [n for n, item in hdf5.items() if isinstance(item, h5py.Dataset)]
                stored = hdf5[key if key and key in hdf5 else _key(path, names, key)][()]
                # MATLAB v7.3 is HDF5 with reversed axes.
                return np.asarray(stored.T if suffix == ".mat" else stored)
        if suffix == ".mat":
            found = scipy.io.loadmat(path, appendmat=False)
            names = [n for n in found if not n.startswith("__")]
            return np.asarray(found[_key(path, names, key)])
    except CacheError:
        raise
    except Exception as error:  # damage is told in exceptions of many types
        raise CacheError(f"{path} cannot be read ({error}). Copy it again.") from error
    remedy = "Write it as .npy." if suffix == ".exr" else "Give a picture, .npy, .npz, .h5 or .mat."
    raise CacheError(f"{path} has the form {suffix or 'of no suffix'}, which is not read. {remedy}")


def _key(path: Path, names: list[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        wanted = "which array is it?" if key is None else f"{key!r} is not there."
        raise CacheError(f"{path} holds {', '.join(names) or 'no array'}: {wanted} Give key: NAME.")
    return key


def _picture(path: Path) -> NDArray[Any]:
    with Image.open(path) as picture:
        if path.suffix.lower() == ".png" and picture.mode in ("RGB", "RGBA", "LA"):
            with path.open("rb") as file:
                if file.read(25)[24] == 16:  # the bit depth in the header
                    raise CacheError(
                        f"{path} is a PNG of several channels with 16 bits, which Pillow cuts to "
                        "8. Write it as .npy."
                    )
        alpha = picture.mode in ("RGBA", "LA")
        array = np.asarray(picture.convert(picture.mode[:-1]) if alpha else picture)
        # Pillow gives some 16-bit pictures as 32-bit integers.
        return array.astype(np.uint16) if picture.mode.startswith("I") else array
