"""Rows read past HDF5's filters, held to what HDF5 stores and reads."""

from __future__ import annotations

import ctypes
import ctypes.util
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jrn_lightning.data import chunks
from jrn_lightning.data.cache import PredictionCache
from jrn_lightning.errors import CacheError
from tests.compiled import needed


def stored_checksum(data: NDArray[np.uint8]) -> int:
    """What HDF5 itself puts behind ``data``."""
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("x", data=data, chunks=data.shape, fletcher32=True)
        _, chunk = dataset.id.read_direct_chunk((0,))
    return int.from_bytes(chunk[-4:], "little")


def checksum(data: NDArray[np.uint8]) -> int:
    return needed(chunks._checksum())(data.ctypes.data, len(data))


@given(st.binary(min_size=1, max_size=20_000))
@example(b"\xff" * 720)
@example(b"\x00" * 4097)
@example(b"\x00" * 99 + b"\x01")
@example(b"\x01" + b"\x00" * 6000)
@example(b"\xff\xff")
@example(b"\xff" * 5760 + b"\x00" * 5760)
def test_the_checksum_is_that_of_hdf5(data: bytes) -> None:
    array = np.frombuffer(data, np.uint8)
    assert checksum(array) == stored_checksum(array)


@pytest.mark.parametrize("size", [2 * 8 * 360, 1_228_800, 5_000_001])
@pytest.mark.parametrize("fill", [0, 1, 255, None])
def test_the_checksum_of_much_is_that_of_hdf5(size: int, fill: int | None) -> None:
    rng = np.random.default_rng(size)
    data = rng.integers(0, 256, size, np.uint8) if fill is None else np.full(size, fill, np.uint8)
    assert checksum(data) == stored_checksum(data)


@pytest.fixture(params=["compiled", "by HDF5"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the compiled checksum, and as where there was no compiler."""
    if request.param == "by HDF5":
        monkeypatch.setattr(chunks, "_checksum", lambda: None)
    else:
        needed(chunks._checksum())
    return str(request.param)


TRUTH = "test/target/depth"


def rows(path: Path) -> dict[str, NDArray[Any]]:
    with PredictionCache(path) as cache:
        split = cache.split("test")
        return {
            "test/prediction/depth": split.prediction("depth", 1),
            "test/prediction/semantic": split.prediction("semantic", 1),
            TRUTH: split.target("depth", 1),
            "test/target/semantic": split.target("semantic", 1),
            "test/image": split.image(1),
        }


def test_rows_are_those_that_hdf5_reads(small_cache: Path, way: str) -> None:
    found = rows(small_cache)
    with h5py.File(small_cache) as file:
        for name, row in found.items():
            assert (chunks.reader(file[name]) is not None) == (way == "compiled")
            np.testing.assert_array_equal(row, file[name][1])
            assert (row.dtype, row.shape) == (file[name].dtype, file[name].shape[1:])
            row[...] = 0  # the caller's own


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("at", ["first", "middle", "last", "checksum"])
def test_a_flipped_bit_is_noticed(small_cache: Path, tmp_path: Path, at: str) -> None:
    with h5py.File(small_cache) as file:
        info, size = file[TRUTH].id.get_chunk_info(1), file[TRUTH][1].nbytes
    assert info.size == size + 4
    content = bytearray(small_cache.read_bytes())
    offset = {"first": 0, "middle": size // 2 + 1, "last": size - 1, "checksum": size + 2}[at]
    content[info.byte_offset + offset] ^= 16
    path = tmp_path / "flipped.h5"
    path.write_bytes(content)
    with PredictionCache(path) as cache:
        cache.split("test").target("depth", 0)
        with pytest.raises(CacheError, match=rf"flipped\.h5: dataset '{TRUTH}', row 1 cannot"):
            cache.split("test").target("depth", 1)


def test_a_chunk_stored_without_its_checksum_is_refused(small_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.h5"
    path.write_bytes(small_cache.read_bytes())
    with h5py.File(path, "r+") as file:
        dataset = file[TRUTH]
        needed(chunks.reader(dataset))
        dataset.id.write_direct_chunk((1, 0, 0), dataset[1].tobytes(), filter_mask=1)
    with (
        PredictionCache(path) as cache,
        pytest.raises(CacheError, match=f"'{TRUTH}', row 1.*without its checksum"),
    ):
        cache.split("test").target("depth", 1)


@pytest.mark.usefixtures("way")
def test_what_other_programs_compress_is_read(small_cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.h5"
    path.write_bytes(small_cache.read_bytes())
    with h5py.File(path, "r+") as file:
        data, attributes = file[TRUTH][...], dict(file[TRUTH].attrs)
        del file[TRUTH]
        shape = (1, *data.shape[1:])
        packed = file.create_dataset(
            TRUTH, data=data, chunks=shape, fletcher32=True, compression="gzip"
        )
        packed.attrs.update(attributes)
        assert chunks.reader(packed) is None
    np.testing.assert_array_equal(rows(path)[TRUTH], rows(small_cache)[TRUTH])


def test_a_library_without_the_function_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in (None, ctypes.CDLL(ctypes.util.find_library("c"))):
        monkeypatch.setattr("jrn_lightning.compiled.library", lambda _, found=library: found)
        assert chunks._checksum.__wrapped__() is None
