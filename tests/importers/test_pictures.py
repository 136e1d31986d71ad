from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.pictures import read_rgb, read_values

GREYS = np.random.default_rng(0).integers(0, 256, (4, 6)).astype(np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)


def save_16_bits(file: Path, values: np.ndarray[Any, Any]) -> None:
    """A PNG of 16 bits a sample, grey or RGB, which Pillow does not write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if values.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "1", "LA"])
def test_every_picture_that_says_its_colours_is_read(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(COLOURS if mode in ("RGB", "RGBA") else GREYS)
    expected = picture.convert("1" if mode == "1" else "RGB").convert("RGB")
    picture.convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8(tmp_path: Path, channels: int) -> None:
    shape = (8, 9) if channels == 1 else (8, 9, 3)
    values = np.random.default_rng(2).integers(0, 65536, shape)
    save_16_bits(tmp_path / "a.png", values)
    expected = values / 65535 * 255
    if channels == 1:
        expected = np.repeat(expected[..., None], 3, 2)
    found = read_rgb(tmp_path / "a.png")
    assert np.abs(found - expected).max() < 1.01  # Pillow takes the upper byte of colours


def _transparent(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    picture.putpixel((1, 1), (9, 9, 9, 0))
    return picture


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.png", _transparent, "has transparent pixels.*-flatten"),
        ("a.jpg", lambda p: p.convert("CMYK"), "mode CMYK.*-colorspace sRGB"),
        ("a.tif", lambda p: p.convert("L").convert("F"), "mode F.*-depth 8"),
    ],
)
def test_other_colours_are_refused_with_what_to_do(
    tmp_path: Path, name: str, make: Any, message: str
) -> None:
    make(Image.fromarray(COLOURS)).save(tmp_path / name)
    with pytest.raises(CacheError, match=rf"{name}.*{message}"):
        read_rgb(tmp_path / name)


def test_values_are_read_from_every_picture_that_holds_them(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    grey = Image.fromarray(GREYS)
    indices = Image.fromarray(GREYS % 4).convert("P")
    indices.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])  # as label maps are coloured
    for picture, expected in (
        (grey, GREYS),
        (grey.convert("P"), GREYS),
        (grey.convert("RGB"), GREYS),
        (grey.convert("RGBA"), GREYS),
        (indices, GREYS % 4),
        (Image.fromarray(GREYS.astype(np.uint16) * 200), GREYS.astype(np.uint16) * 200),
    ):
        picture.save(file)
        np.testing.assert_array_equal(read_values(file), expected)


def test_values_that_nobody_can_know_are_refused(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(CacheError, match=r"a\.png is a picture in colours.*grey picture"):
        read_values(tmp_path / "a.png")
    reduced = Image.fromarray(GREYS % 4).convert("P")
    reduced.putpalette([value for grey in (40, 10, 30, 20) for value in (grey, grey, grey)])
    reduced.save(tmp_path / "a.png")
    with pytest.raises(CacheError, match=r"a\.png.*greys that differ from their indices"):
        read_values(tmp_path / "a.png")
    Image.fromarray(GREYS.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(CacheError, match=r"mode F"):
        read_values(tmp_path / "a.tif")
