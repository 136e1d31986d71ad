"""Pictures as people have them, read without loss or refused with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from jrn_lightning.errors import CacheError

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# 16 bits a sample. PNG says so of grey pictures alone: Pillow takes those of colour to 8 bits.
_SIXTEEN: Final = ("I;16", "I;16B", "I;16L", "I;16N")
_OPAQUE: Final = 255


def read_rgb(file: Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """A colour picture ``(H, W, 3)``; ``upright`` turns it as its camera says.

    Grey pictures and those with a palette are turned to colour, 16 bits scaled to 8, and an alpha
    channel without transparency is left out.

    Raises:
        CacheError: no picture, transparent pixels, or colours that are no RGB.
    """
    with opened(file) as picture:
        turned = ImageOps.exif_transpose(picture) if upright else picture
        plain = _without_alpha(file, turned)
        if _is_sixteen(plain):
            wide = np.asarray(plain).astype(np.int64)
            grey = ((wide * 255 + 32767) // 65535).astype(np.uint8)
            return np.repeat(grey[..., None], 3, 2)
        if plain.mode not in ("1", "L", "P", "RGB"):
            raise CacheError(
                f"{file} is a picture of mode {plain.mode}, whose colours are no RGB. Convert it "
                "to 8-bit RGB, as with: magick IN -colorspace sRGB -depth 8 OUT."
            )
        return np.array(plain.convert("RGB"))


def read_values(file: Path) -> NDArray[np.integer[Any]]:
    """The one value a pixel ``(H, W)`` of a picture of labels or depth: uint8 or uint16.

    Those of a picture with a palette are its indices, as label maps are kept. A colour picture
    whose three channels agree is grey.

    Raises:
        CacheError: no picture; colours, whose values nobody can know; a palette of other greys
            than its indices, so that either could be meant.
    """
    with opened(file) as picture:
        if _is_sixteen(picture):
            return np.asarray(picture).astype(np.uint16)
        if picture.mode in ("L", "P"):
            values = np.array(picture)
            if picture.mode == "P" and _is_other_grey(picture, values):
                raise CacheError(
                    f"{file} is a picture with a palette of greys that differ from their indices. "
                    "Write the values as a grey picture, without a palette."
                )
            return values
        channels = np.asarray(_without_alpha(file, picture))
    if channels.ndim == 2 and channels.dtype == np.uint8:
        return np.array(channels)
    if channels.ndim == 3 and channels.dtype == np.uint8 and channels.shape[2] == 3:
        if (channels == channels[..., :1]).all():
            return np.array(channels[..., 0])
        raise CacheError(
            f"{file} is a picture in colours, which do not tell labels or depth. Write the values "
            "themselves as a grey picture of 8 or 16 bits."
        )
    raise CacheError(
        f"{file} is a picture of mode {picture.mode}. Write the values as a grey picture of 8 or "
        "16 bits."
    )


def size(file: Path) -> tuple[int, int]:
    """(H, W) of the upright picture, by its header."""
    with opened(file) as picture:
        lying = picture.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        width, height = picture.size
    return (width, height) if lying else (height, width)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """A picture; a CacheError where it does not open, or breaks off when it is read."""
    try:
        with Image.open(file) as picture:
            yield picture
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise CacheError(
            f"{file} cannot be read as a picture ({error}). Copy it again, or leave it out."
        ) from error


def _is_sixteen(picture: Image.Image) -> bool:
    return picture.mode in _SIXTEEN or (picture.mode == "I" and picture.format in ("PNG", "PPM"))


def _without_alpha(file: Path, picture: Image.Image) -> Image.Image:
    """The picture without an alpha channel, which must say that every pixel is opaque."""
    if not picture.has_transparency_data:
        return picture
    if (np.asarray(picture.convert("RGBA"))[..., 3] != _OPAQUE).any():
        raise CacheError(
            f"{file} has transparent pixels, which have no colour. Flatten it, as with: magick IN "
            "-background black -flatten OUT."
        )
    return picture.convert("RGB")


def _is_other_grey(picture: Image.Image, indices: NDArray[np.uint8]) -> bool:
    """Whether the used part of a palette is grey, but not the ramp of the indices."""
    used = np.unique(indices)
    colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)[used]
    grey = bool((colours == colours[:, :1]).all())
    return grey and len(used) > 1 and not np.array_equal(colours[:, 0], used)
