from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.sources import open_source
from jrn_lightning.modalities import Depth, Modality, Semantic

N, H, W, K = 7, 4, 6, 3
IDS = [f"{n:04d}" for n in range(1, N + 1)]
DEPTH = Depth("depth")
SEMANTIC = Semantic("semantic", ["a", "b", "c"])
RNG = np.random.default_rng(0)
DEPTHS = RNG.uniform(1, 9, (N, H, W)).astype(np.float32)
ODDS = RNG.random((N, K, H, W)).astype(np.float32)
Maps = np.ndarray[Any, np.dtype[Any]]


def npz(folder: Path, maps: Maps) -> Path:
    np.savez(folder / "maps.npz", index=np.arange(1, N + 1), prediction=maps)
    return folder / "maps.npz"


def npy(folder: Path, maps: Maps) -> Path:
    np.save(folder / "maps.npy", maps)
    return folder / "maps.npy"


def channels_last(folder: Path, maps: Maps) -> Path:
    return npy(folder, np.moveaxis(maps, 1, -1) if maps.ndim == 4 else maps[..., None])


def as_matlab(maps: Maps) -> Maps:
    """(h, w, N) or (h, w, C, N), as MATLAB keeps maps."""
    return np.transpose(maps, (2, 3, 1, 0)) if maps.ndim == 4 else np.transpose(maps, (1, 2, 0))


def mat5(folder: Path, maps: Maps) -> Path:
    scipy.io.savemat(folder / "maps.mat", {"depths": as_matlab(maps)})
    return folder / "maps.mat"


def mat5_frames_first(folder: Path, maps: Maps) -> Path:
    scipy.io.savemat(folder / "maps.mat", {"maps": maps, "index": np.arange(1, N + 1)})
    return folder / "maps.mat"


def mat73(folder: Path, maps: Maps) -> Path:
    with h5py.File(folder / "maps.mat", "w", userblock_size=512) as file:
        file["depths"] = as_matlab(maps).T
        file["region"] = np.zeros((4, 1))
    return folder / "maps.mat"


def mat73_frames_first(folder: Path, maps: Maps) -> Path:
    with h5py.File(folder / "maps.mat", "w") as file:
        file["maps"] = maps.T
        file["index"] = np.arange(1.0, N + 1)[:, None]
    return folder / "maps.mat"


def folder_of_npy(folder: Path, maps: Maps) -> Path:
    for i, one in enumerate(maps):
        np.save(folder / f"frame_{i + 1:04d}.npy", one)
    (folder / "notes.txt").write_text("not a map")
    return folder


@pytest.mark.parametrize("modality", [DEPTH, SEMANTIC], ids=lambda m: m.name)
@pytest.mark.parametrize(
    "store",
    [npz, npy, channels_last, mat5, mat5_frames_first, mat73, mat73_frames_first, folder_of_npy],
)
def test_every_form_gives_the_same_maps(
    tmp_path: Path, modality: Modality, store: Callable[[Path, Maps], Path]
) -> None:
    maps = DEPTHS if modality is DEPTH else ODDS
    source = open_source(store(tmp_path, maps), modality, ids=IDS)
    assert source.ids == IDS
    assert source.shape == (modality.channels, H, W)
    assert source.dtype == np.float32
    for i in range(N):
        expected = maps[i].reshape(-1, H, W)
        np.testing.assert_array_equal(source.read(IDS[i]), expected)
    assert len(source.hash()) == 64


def test_maps_are_matched_by_index(tmp_path: Path) -> None:
    order = np.array([3, 1, 7, 2, 6, 4, 5])
    np.savez(tmp_path / "a.npz", index=order, depth=DEPTHS[order - 1])
    source = open_source(tmp_path / "a.npz", DEPTH, ids=IDS)
    assert source.ordered_by_name
    for i in range(N):
        np.testing.assert_array_equal(source.read(IDS[i])[0], DEPTHS[i])


TEXT = ["ulm/ulm_10", "aachen/a_2", "aachen/a_10"]


def test_frames_are_called_by_any_text(tmp_path: Path) -> None:
    named = {id: DEPTHS[k] for k, id in enumerate(TEXT)}
    for id, depth in named.items():
        (tmp_path / id).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{id}.npy", depth)
    np.savez(tmp_path / "index.npz", index=TEXT, depth=np.stack(list(named.values())))
    in_order = ["aachen/a_2", "aachen/a_10", "ulm/ulm_10"]  # numbers by value
    np.savez(tmp_path / "order.npz", depth=np.stack([named[id] for id in in_order]))
    for path in (tmp_path, tmp_path / "index.npz", tmp_path / "order.npz"):
        source = open_source(path, DEPTH, ids=TEXT)
        assert sorted(source.ids) == sorted(TEXT)
        assert source.ordered_by_name == (path.name != "order.npz")
        for id, depth in named.items():
            np.testing.assert_array_equal(source.read(id)[0], depth)
    np.savez(tmp_path / "numbers.npz", index=[1, 2, 3], depth=DEPTHS[:3])
    with pytest.raises(CacheError, match=r"type int64 for 3 maps.*frame id of each map, as ulm/"):
        open_source(tmp_path / "numbers.npz", DEPTH, ids=TEXT)


def test_frames_may_be_counted_from_0(tmp_path: Path) -> None:
    source = open_source(npy(tmp_path, DEPTHS), DEPTH, ids=[str(n) for n in range(N)])
    np.testing.assert_array_equal(source.read("0")[0], DEPTHS[0])
    assert source.ids[-1] == str(N - 1)


def test_half_precision_and_class_names_are_kept(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", probability=ODDS.astype(np.float16), classes=["a", "b", "c"])
    source = open_source(tmp_path / "a.npz", SEMANTIC, ids=IDS)
    assert source.dtype == np.float16
    assert source.classes == ("a", "b", "c")
    assert not source.ordered_by_name


def test_png_millimetres(tmp_path: Path) -> None:
    millimetres = (DEPTHS * 1000).astype(np.uint16)
    for i, one in enumerate(millimetres):
        Image.fromarray(one).save(tmp_path / f"{i + 1}.png")
    with pytest.raises(CacheError, match=r"no stated unit.*--depth-scale 0\.001\.$"):
        open_source(tmp_path, DEPTH, ids=IDS)
    source = open_source(tmp_path, DEPTH, ids=IDS, scale=1e-3)
    np.testing.assert_allclose(source.read("0003")[0], DEPTHS[2], atol=1e-3)
    assert source.read("0003").dtype == np.float32


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_positive(tmp_path: Path, scale: float) -> None:
    with pytest.raises(CacheError, match=r"--depth-scale .* is no factor.*0\.001"):
        open_source(npy(tmp_path, DEPTHS), DEPTH, ids=IDS, scale=scale)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = npy(tmp_path, DEPTHS)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert open_source(path, DEPTH, ids=IDS).hash() == expected


def test_the_hash_of_a_folder_is_of_names_and_content(tmp_path: Path) -> None:
    before = open_source(folder_of_npy(tmp_path, DEPTHS), DEPTH, ids=IDS).hash()
    (tmp_path / "frame_0001.npy").rename(tmp_path / "frame_0008.npy")
    assert open_source(tmp_path, DEPTH, ids=IDS).hash() != before


def _npz(**arrays: Any) -> Callable[[Path], Path]:
    def store(folder: Path) -> Path:
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"

    return store


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def store(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return store


def _folder(**maps: Maps) -> Callable[[Path], Path]:
    """A folder of .npy files; numbers are written with a leading n."""

    def store(folder: Path) -> Path:
        (folder / "maps").mkdir()
        for name, array in maps.items():
            np.save(folder / "maps" / f"{name.removeprefix('n')}.npy", array)
        return folder / "maps"

    return store


def _eight_bit(folder: Path) -> Path:
    Image.fromarray(np.zeros((H, W), np.uint8)).save(folder / "1.png")
    return folder


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (lambda folder: folder / "none.npz", "does not exist"),
        (_bytes("a.txt", b"1 2 3"), r"unknown form '\.txt'"),
        (_bytes("a.npz", b"PK\x03\x04 not really"), "cannot be read"),
        (_bytes("a.npz", b""), "cannot be read"),
        (_bytes("a.npy", b"\x93NUMPY"), "cannot be read"),
        (_bytes("a.mat", b"MATLAB 5.0 MAT-file" * 20), "cannot be read"),
        (_npz(depth=np.array([object()])), "cannot be read"),
        (_npz(index=np.arange(N)), "which are the predictions"),
        (_npz(one=DEPTHS, two=DEPTHS), "which are the predictions"),
        (_npz(depth=DEPTHS, index=np.arange(N)), "counted from 1"),
        (_npz(depth=DEPTHS, index=np.arange(1, N)), "6 entries .* for 7 maps"),
        (_npz(depth=DEPTHS, index=[1, 2, 3, 4, 5, 6, 6]), "frame 0006 twice"),
        (_npz(depth=DEPTHS, index=np.arange(N) + 1.5), "entries of type float64"),
        (_npz(depth=DEPTHS.astype(str)), "of type <U"),
        (_npz(depth=ODDS), r"shape \(3, 4, 6\).*1 channel"),
        (_npz(depth=DEPTHS[:0]), "no predictions"),
        (_folder(), r"holds no \.npy or \.png"),
        (_folder(n1=DEPTHS[0], n01=DEPTHS[0]), "frame 0001 is there twice"),
        (_folder(first=DEPTHS[0]), r"first\.npy: the name does not end in a frame number"),
        (_eight_bit, "8 bits, not a 16-bit"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, store: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(CacheError, match=message) as caught:
        open_source(store(tmp_path), DEPTH, ids=IDS)
    assert str(tmp_path) in str(caught.value)


def test_one_map_of_another_size_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", DEPTHS[0])
    np.save(tmp_path / "2.npy", DEPTHS[0][:, 1:])
    source = open_source(tmp_path, DEPTH, ids=IDS[:2])
    with pytest.raises(CacheError, match=r"frame 0002 has shape \(1, 4, 5\)"):
        source.read("0002")


def test_an_array_can_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=DEPTHS, two=DEPTHS + 1)
    source = open_source(tmp_path / "a.npz", DEPTH, ids=IDS, key="two")
    np.testing.assert_array_equal(source.read("0001")[0], DEPTHS[0] + 1)
    with pytest.raises(CacheError, match=r"'three'.*one, two"):
        open_source(tmp_path / "a.npz", DEPTH, ids=IDS, key="three")
