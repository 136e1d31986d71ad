from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from jrn_lightning.cache import PredictionCache, check
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.build import Input, build
from jrn_lightning.importers.frames import DataSet, Frame, frame_id
from jrn_lightning.importers.labels import STRUCTURAL5, WANG5, LabelSpace, nyu40_of_raw
from jrn_lightning.importers.nyu import DEPTH, SEMANTIC, FrameFolder, LabeledMat
from jrn_lightning.importers.nyu import modalities as nyu_modalities
from jrn_lightning.importers.sources import PredictionSource, open_source

SIZE = (24, 32)
IDS = [frame_id(n) for n in range(1, 1450)]  # of the whole data set
TRAIN, TEST, UNLABELLED = [3, 4, 5, 8], [1, 2, 9], [6, 7]
FRAMES = 9
SCENES = ["kitchen_0004", "kitchen_0004", "office_0003", "office_0003", "office_0004"] + [
    "bedroom_0001"
] * 4


def depth_values(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """8-bit depth: a ramp of its own for every frame."""
    column = np.linspace(rng.integers(30, 90), rng.integers(120, 240), SIZE[1])
    return np.broadcast_to(column, SIZE).astype(np.uint8)


def write_folder(folder: Path, seed: int = 0) -> Path:
    """Nine frames in the layout of FrameFolder."""
    rng = np.random.default_rng(seed)
    for kind in ("rgb", "depth", "label40"):
        (folder / kind).mkdir(parents=True)
    for n in range(1, FRAMES + 1):
        image = np.full((*SIZE, 3), 25 * n, np.uint8)
        Image.fromarray(image).save(folder / "rgb" / f"{n:04d}.jpg")
        if n in UNLABELLED:
            continue
        Image.fromarray(depth_values(rng)).save(folder / "depth" / f"{n:04d}.png")
        label = np.repeat(rng.integers(0, 41, (SIZE[0] // 4, SIZE[1])), 4, 0).astype(np.uint8)
        Image.fromarray(label).save(folder / "label40" / f"{n:04d}.png")
    for name, numbers in (("train", TRAIN), ("test", TEST), ("unlabelled", UNLABELLED)):
        (folder / f"{name}.txt").write_text("".join(f"{n:04d}\n" for n in numbers))
    types = {1: "kitchen", 2: "kitchen", 6: "bedroom", 7: "bedroom", 9: "bedroom"}
    rows = "".join(f"{n:04d}\t{kind}\n" for n, kind in types.items())
    (folder / "scene_type.tsv").write_text(rows)
    return folder


def write_mat(
    path: Path, *, frames: int = FRAMES, size: tuple[int, int] = SIZE, seed: int = 0
) -> dict[str, Any]:
    """A file laid out as nyu_depth_v2_labeled.mat; returns its arrays in image order."""
    rng = np.random.default_rng(seed)
    names = list(nyu40_of_raw())
    scenes = (SCENES * frames)[:frames] if frames != FRAMES else SCENES
    arrays = {
        "images": rng.integers(0, 256, (frames, *size, 3)).astype(np.uint8),
        "depths": rng.uniform(0.7, 9.9, (frames, *size)).astype(np.float32),
        "labels": rng.integers(0, 895, (frames, *size)).astype(np.uint16),
    }
    raw = arrays["depths"].copy()
    raw[:, :3] = 0.0
    raw[:, :, :2] = 10.0
    arrays["rawDepths"] = raw

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            # MATLAB (H, W[, 3], N) in column-major order is (N, [3,] W, H) in HDF5.
            axes = (0, 3, 2, 1) if array.ndim == 4 else (0, 2, 1)
            file.create_dataset(name, data=array.transpose(axes), compression="gzip")
        references = file.create_group("#refs#")
        cells = {"names": names, "scenes": scenes, "sceneTypes": [s[:-5] for s in scenes]}
        count = 0
        for name, texts in cells.items():
            cell = file.create_dataset(name, (1, len(texts)), h5py.ref_dtype)
            for i, text in enumerate(texts):
                count += 1
                codes = np.array([[ord(letter)] for letter in text], np.uint16)
                cell[0, i] = references.create_dataset(f"r{count}", data=codes).ref
    # As in the published file, the first 512 bytes are MATLAB's own.
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return arrays


def write_splits(path: Path, train: list[int], test: list[int]) -> Path:
    scipy.io.savemat(
        path, {"trainNdxs": np.array(train)[:, None], "testNdxs": np.array(test)[:, None]}
    )
    return path


def write_predictions(folder: Path, data: DataSet, *, index: bool = True) -> dict[str, Path]:
    """Depth and probabilities that resemble the ground truth, where there is one."""
    rng = np.random.default_rng(1)
    last = max(int(f) for ids in data.splits.values() for f in ids)
    labelled = {n for split, ns in data.splits.items() if split != "predict" for n in ns}
    depths = np.full((last, SIZE[0] // 4, SIZE[1] // 4), 2.0, np.float16)
    odds = np.full((last, 5, SIZE[0] // 4, SIZE[1] // 4), 0.2, np.float16)
    for frame in labelled:
        targets, n = data.read(frame).targets, int(frame)
        assert targets is not None
        depths[n - 1] = targets[DEPTH][2::4, 2::4] * rng.uniform(0.9, 1.1)
        label = targets[SEMANTIC][2::4, 2::4]
        for k in range(5):
            odds[n - 1, k] = np.where(label == k, 0.6, np.where(label == 255, 0.2, 0.1))
    numbers = {"index": np.arange(1, last + 1)} if index else {}
    np.savez(folder / "depth.npz", depth=depths, **numbers)
    np.savez(folder / "semantic.npz", probability=odds, **numbers)
    return {DEPTH: folder / "depth.npz", SEMANTIC: folder / "semantic.npz"}


def open_all(paths: dict[str, Path], data: DataSet) -> dict[str, Input]:
    kinds = nyu_modalities(WANG5)
    ids = [frame for split in data.splits.values() for frame in split]
    return {
        name: Input(open_source(path, kinds[name], ids=ids), f"net-{name}", "in-sample")
        for name, path in paths.items()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "nyu")


# -- a folder of frames ------------------------------------------------------------------------


def test_the_folder_becomes_a_cache(folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(folder, WANG5)
    inputs = open_all(write_predictions(tmp_path, data), data)
    done: list[None] = []
    build(data, inputs, tmp_path / "a.h5", advance=lambda: done.append(None))
    assert len(done) == FRAMES
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        assert cache.frame == SIZE
        assert cache.splits == ("train", "test", "predict")
        assert cache.notes["label_space_hash"] == WANG5.hash
        assert {s: cache.split(s).ids for s in cache.splits} == {
            "train": ["0003", "0004", "0005", "0008"],
            "test": ["0001", "0002", "0009"],
            "predict": ["0006", "0007"],
        }
        train, test, predict = (cache.split(s) for s in cache.splits)
        assert [p.provenance(DEPTH).sampling for p in (train, test, predict)] == [
            "in-sample",
            "unseen",
            "unseen",
        ]
        assert train.provenance(DEPTH).source == "net-depth"
        assert train.provenance(DEPTH).source_hash == inputs[DEPTH].source.hash()
        assert train.scenes == ["train_0003"] * 3 + ["train_0008"]
        assert test.scenes == ["kitchen_0001", "kitchen_0001", "bedroom_0009"]
        assert predict.scenes == ["bedroom_0006", "bedroom_0006"]
        assert not predict.has_targets
        assert (train.truths, predict.truths) == ({DEPTH: ("filled",)}, {})
        assert train.alternatives == []

        value = np.asarray(Image.open(folder / "depth" / "0005.png")).astype(np.float64)
        np.testing.assert_allclose(train.target(DEPTH, 2), (value + 0.5) / 255 * 9.99547, rtol=1e-6)
        nyu40 = np.asarray(Image.open(folder / "label40" / "0005.png"))
        label = train.target(SEMANTIC, 2)
        assert ((label == 0) == np.isin(nyu40, (2, 20))).all()
        assert ((label == 255) == (nyu40 == 0)).all()
        np.testing.assert_array_equal(
            train.image(2), np.asarray(Image.open(folder / "rgb" / "0005.jpg"))
        )
        np.testing.assert_array_equal(train.prediction(DEPTH, 2), inputs[DEPTH].source.read("0005"))


def test_depth_pictures_of_16_bits_have_a_scale_and_no_reading_where_0(folder: Path) -> None:
    for file in (folder / "depth").iterdir():
        millimetres = np.asarray(Image.open(file)).astype(np.uint16) * 30
        millimetres[0] = 0
        Image.fromarray(millimetres).save(file)
    data = FrameFolder(folder, WANG5, truth_scale=0.001)
    targets = data.read("0003").targets
    assert targets is not None
    expected = np.asarray(Image.open(folder / "depth" / "0003.png")) / 1000
    np.testing.assert_allclose(targets[DEPTH], expected, rtol=1e-6)
    assert targets[DEPTH].dtype == np.float32
    assert not targets[DEPTH][0].any()
    assert "0.001 m" in data.notes["ground_truth"]
    assert data.truths == {}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_are_read_as_windows_writes_them(folder: Path, encoding: str) -> None:
    expected = FrameFolder(folder, WANG5)
    for name in ("train.txt", "test.txt", "unlabelled.txt", "scene_type.tsv"):
        text = (folder / name).read_text().replace("\n", "\r\n")
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        (folder / name).write_bytes((mark + text).encode(encoding))
    data = FrameFolder(folder, WANG5)
    assert data.splits == expected.splits
    assert data.scene("0009") == expected.scene("0009") == "bedroom_0009"


def test_colours_may_be_a_png(folder: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    (folder / "rgb" / "0003.jpg").unlink()
    Image.fromarray(colours).save(folder / "rgb" / "0003.png")
    np.testing.assert_array_equal(FrameFolder(folder, WANG5).read("0003").image, colours)


def test_the_largest_picture_value_is_still_a_depth(folder: Path) -> None:
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(folder / "depth" / "0003.png")
    targets = FrameFolder(folder, WANG5).read("0003").targets
    assert targets is not None
    assert targets[DEPTH].max() == np.float32(9.99547)


def test_long_runs_are_cut_where_the_colours_change(tmp_path: Path) -> None:
    folder = tmp_path / "nyu"
    (folder / "rgb").mkdir(parents=True)
    shades = [40] * 4 + [120] * 3 + [121] * 3  # one change of colour, one that is none
    for n, shade in enumerate(shades, start=1):
        Image.fromarray(np.full((*SIZE, 3), shade, np.uint8)).save(folder / f"rgb/{n:04d}.jpg")
    numbers = [f"{n}\n" for n in range(1, 11)]
    (folder / "train.txt").write_text("".join(numbers))
    (folder / "test.txt").write_text("")
    data = FrameFolder(folder, WANG5)
    assert [data.scene(frame) for frame in IDS[:10]] == ["train_0001"] * 4 + ["train_0005"] * 6
    (folder / "train.txt").write_text("".join(numbers[:8]))  # short runs are left whole
    data = FrameFolder(folder, WANG5)
    assert {data.scene(frame) for frame in IDS[:8]} == {"train_0001"}


def test_a_list_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    file = folder / "train.txt"
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert FrameFolder(folder, WANG5).splits["train"] == ["0003", "0004", "0005", "0008"]


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _picture(name: str, array: Any) -> Callable[[Path], object]:
    return lambda folder: Image.fromarray(np.asarray(array, np.uint8)).save(folder / name)


def _sixteen_bits(name: str) -> Callable[[Path], object]:
    return lambda folder: Image.fromarray(np.full(SIZE, 2000, np.uint16)).save(folder / name)


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, r"train\.txt cannot be read"),
        (_remove("test.txt"), r"test\.txt cannot be read"),
        (_remove("rgb/0004.jpg"), r"rgb/0004\.jpg or .* \.png is missing.*take 0004 off"),
        (_remove("depth/0008.png"), r"depth/0008\.png is missing"),
        (_remove("label40/0009.png"), r"label40/0009\.png is missing"),
        (_write("depth/0004.png", "no picture"), r"depth/0004\.png cannot be read"),
        (
            _picture("depth/0004.png", np.eye(SIZE[0], 3)[:, None].repeat(SIZE[1], 1) * 9),
            r"depth/0004\.png is a picture in colours.*grey picture",
        ),
        (_sixteen_bits("depth/0004.png"), r"0004\.png has 16 bits.*--truth-scale 0\.001"),
        (_picture("label40/0004.png", np.ones((8, 8))), r"label40/0004\.png has \(8, 8\)"),
        (_picture("label40/0004.png", np.full(SIZE, 41)), r"label40/0004\.png holds the label 41"),
        (_write("train.txt", "0003\nfour\n"), r"train\.txt: .*'four'"),
        (_write("test.txt", "1\n2\n3\n"), "frame '0003' is in split 'train' and again in 'test'"),
        (_write("scene_type.tsv", "0001 kitchen\n"), r"scene_type\.tsv: expected"),
    ],
)
def test_a_faulty_folder_is_refused_by_name(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    data = FrameFolder(folder, WANG5)
    inputs = open_all(write_predictions(tmp_path, data), data)
    change(folder)
    with pytest.raises(CacheError, match=message):
        build(FrameFolder(folder, WANG5), inputs, tmp_path / "a.h5")
    assert not list(tmp_path.glob("a.h5*"))


# -- the MATLAB file ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written_mat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("mat") / "nyu.mat"
    return path, write_mat(path)


@pytest.mark.parametrize("space", [WANG5, STRUCTURAL5], ids=lambda space: space.name)
@pytest.mark.parametrize("raw_depth", [False, True])
def test_the_matlab_file_becomes_a_cache(
    written_mat: tuple[Path, dict[str, Any]], tmp_path: Path, space: LabelSpace, raw_depth: bool
) -> None:
    path, arrays = written_mat
    splits = write_splits(tmp_path / "splits.mat", TRAIN, TEST)
    data = LabeledMat(path, splits, space, raw_depth=raw_depth)
    inputs = open_all(write_predictions(tmp_path, data), data)
    build(data, inputs, tmp_path / "a.h5")
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        assert cache.frame == SIZE
        assert cache.modalities[SEMANTIC].attributes["label_space"] == space.name
        assert ("raw sensor" in cache.notes["ground_truth"]) == raw_depth
        main, other = ("raw", "filled") if raw_depth else ("filled", "raw")
        for name, numbers in (("train", TRAIN), ("test", TEST)):
            split = cache.split(name)
            assert split.ids == [f"{n:04d}" for n in numbers]
            assert split.scenes == [SCENES[n - 1] for n in numbers]
            named = (main, other) if name == "test" else (main,)
            assert split.truths == {DEPTH: named}
            for i, n in enumerate(numbers):
                np.testing.assert_array_equal(split.image(i), arrays["images"][n - 1])
                expected = {truth: arrays["depths"][n - 1].copy() for truth in (main, other)}
                expected["raw"][:3] = 0
                expected["raw"][:, :2] = 0
                np.testing.assert_array_equal(split.target(DEPTH, i), expected[main])
                if name == "test":
                    found = split.alternative(DEPTH, other, i)
                    np.testing.assert_array_equal(found, expected[other])
                table = space.from_raw(list(nyu40_of_raw()))
                np.testing.assert_array_equal(
                    split.target(SEMANTIC, i), table[arrays["labels"][n - 1]]
                )


def test_splits_may_be_of_matlab_7_3(
    written_mat: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "splits.mat", "w", userblock_size=512) as file:
        file["trainNdxs"] = np.array(TRAIN, np.float64)[None]  # (1, N), reversed as all of 7.3
        file["testNdxs"] = np.array(TEST, np.float64)[None]
    data = LabeledMat(written_mat[0], tmp_path / "splits.mat", WANG5)
    assert data.splits == {
        s: [f"{n:04d}" for n in ns] for s, ns in (("train", TRAIN), ("test", TEST))
    }


def test_a_matlab_file_without_the_other_depth_serves_as_well(
    written_mat: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copy(written_mat[0], tmp_path / "nyu.mat")
    _delete("rawDepths")(tmp_path)
    splits = write_splits(tmp_path / "splits.mat", TRAIN, TEST)
    assert LabeledMat(tmp_path / "nyu.mat", splits, WANG5).truths == {DEPTH: ("filled",)}
    with pytest.raises(CacheError, match="rawDepths"):
        LabeledMat(tmp_path / "nyu.mat", splits, WANG5, raw_depth=True)


def test_the_matlab_file_is_read_frame_by_frame(tmp_path: Path) -> None:
    frames, size = 40, (72, 96)
    arrays = write_mat(tmp_path / "nyu.mat", frames=frames, size=size)
    total = sum(array.nbytes for array in arrays.values())
    del arrays
    splits = write_splits(tmp_path / "splits.mat", list(range(1, 31)), list(range(31, 41)))
    index = np.arange(1, frames + 1)
    np.savez(tmp_path / "depth.npz", index=index, depth=np.ones((frames, 2, 2)))
    np.savez(tmp_path / "semantic.npz", index=index, p=np.full((frames, 5, 2, 2), 0.2))
    data = LabeledMat(tmp_path / "nyu.mat", splits, WANG5)
    paths = {DEPTH: tmp_path / "depth.npz", SEMANTIC: tmp_path / "semantic.npz"}
    inputs = open_all(paths, data)
    tracemalloc.start()
    build(data, inputs, tmp_path / "a.h5", checked=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < total / 8


def _change_mat(change: Callable[[h5py.File], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        with h5py.File(folder / "nyu.mat", "r+") as file:
            change(file)

    return apply


def _delete(name: str) -> Callable[[Path], object]:
    return _change_mat(lambda file: file.__delitem__(name))


def _too_large_a_label(file: h5py.File) -> None:
    file["labels"][2, 0, 0] = 900


def _bad_depth(file: h5py.File) -> None:
    file["depths"][3, 5, 5] = np.nan


def _narrow_raw_depths(file: h5py.File) -> None:
    maps = file["rawDepths"][:, :, 1:]
    del file["rawDepths"]
    file["rawDepths"] = maps


def _unknown_name(file: h5py.File) -> None:
    file[file["names"][0, 3]][0] = ord("#")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("nyu.mat"), r"nyu\.mat does not exist.*Download"),
        (_write("nyu.mat", "MATLAB"), r"nyu\.mat is not nyu_depth_v2_labeled\.mat"),
        (_delete("scenes"), "is not nyu_depth_v2_labeled"),
        (_delete("depths"), "is not nyu_depth_v2_labeled"),
        (_change_mat(_narrow_raw_depths), r"rawDepths.*\(9, 32, 23\).*expected"),
        (_change_mat(_unknown_name), "not among the 894"),
        (_change_mat(_too_large_a_label), "label 900 is beyond the 894 names"),
        (_change_mat(_bad_depth), "frame '0004'.*depth ground truth holds nan"),
        (_remove("splits.mat"), r"splits\.mat cannot be read"),
        (_write("splits.mat", "nothing"), r"splits\.mat cannot be read"),
        (lambda f: scipy.io.savemat(f / "splits.mat", {"a": 1}), r"splits\.mat lacks.*trainNdxs"),
        (lambda f: write_splits(f / "splits.mat", [0, 1], [2]), "names frame 0 of 9"),
        (lambda f: write_splits(f / "splits.mat", [1, 2], [2]), "frame '0002' is in split 'train'"),
    ],
)
def test_a_faulty_matlab_file_is_refused(
    written_mat: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    change: Callable[[Path], object],
    message: str,
) -> None:
    shutil.copy(written_mat[0], tmp_path / "nyu.mat")
    splits = write_splits(tmp_path / "splits.mat", TRAIN, TEST)
    data = LabeledMat(tmp_path / "nyu.mat", splits, WANG5)
    inputs = open_all(write_predictions(tmp_path, data), data)
    data.close()
    change(tmp_path)
    with pytest.raises(CacheError, match=message):
        build(LabeledMat(tmp_path / "nyu.mat", splits, WANG5), inputs, tmp_path / "a.h5")
    assert not list(tmp_path.glob("a.h5*"))


# -- predictions that do not fit ---------------------------------------------------------------


def test_small_overshoots_are_clipped_and_counted(folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(folder, WANG5)
    paths = write_predictions(tmp_path, data)
    depth = np.load(paths[DEPTH])["depth"]
    depth[2, 0, :3] = 10.75
    np.savez(paths[DEPTH], depth=depth, index=np.arange(1, FRAMES + 1))
    build(data, open_all(paths, data), tmp_path / "a.h5")
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert cache.notes["clipped"].startswith("3 samples")
        assert cache.split("train").prediction(DEPTH, 0).max() == 10
    depth[2, 0, 0] = 12.5
    np.savez(paths[DEPTH], depth=depth, index=np.arange(1, FRAMES + 1))
    with pytest.raises(CacheError, match=r"frame '0003'.*12\.5 m"):
        build(data, open_all(paths, data), tmp_path / "b.h5")


def test_sums_that_8_bits_moved_are_renormalised_and_counted(folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(folder, WANG5)
    paths = write_predictions(tmp_path, data)
    odds = np.load(paths[SEMANTIC])["probability"].astype(np.float32)
    odds[2, :, 0, :3] = np.array([153, 26, 26, 26, 26])[:, None] / 255  # 1.008
    np.savez(paths[SEMANTIC], probability=odds, index=np.arange(1, FRAMES + 1))
    build(data, open_all(paths, data), tmp_path / "a.h5")
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert cache.notes["renormalised"] == "3 samples of predicted semantic"
        found = cache.split("train").prediction(SEMANTIC, 0)
        np.testing.assert_allclose(found[:, 0, 0], odds[2, :, 0, 0] / (257 / 255), rtol=1e-5)
        assert check(cache) == []
    odds[2, 0, 0, 0] += 0.05
    np.savez(paths[SEMANTIC], probability=odds, index=np.arange(1, FRAMES + 1))
    with pytest.raises(CacheError, match=r"sum to 1\.058 .*softmax"):
        build(data, open_all(paths, data), tmp_path / "b.h5")


def test_missing_frames_are_refused(folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(folder, WANG5)
    paths = write_predictions(tmp_path, data)
    maps = np.load(paths[DEPTH])["depth"]
    np.savez(paths[DEPTH], depth=maps[:7], index=np.arange(1, 8))
    with pytest.raises(CacheError, match=r"depth\.npz lacks depth.* 2 of 9 frames.*0008"):
        build(data, open_all(paths, data), tmp_path / "a.h5")
    np.savez(paths[DEPTH], depth=maps[:7])
    with pytest.raises(CacheError, match=r"of 7 frames.*frames up to 0009.*'index'"):
        build(data, open_all(paths, data), tmp_path / "a.h5")


def test_classes_in_another_order_are_refused(folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(folder, WANG5)
    paths = write_predictions(tmp_path, data)
    with np.load(paths[SEMANTIC]) as archive:
        np.savez(
            tmp_path / "other.npz",
            index=archive["index"],
            probability=archive["probability"],
            classes=["Vertical", "Ground", "Ceiling", "Furniture", "Object"],
        )
    paths[SEMANTIC] = tmp_path / "other.npz"
    with pytest.raises(CacheError, match=r"predicts Vertical, Ground.*has Ground"):
        build(data, open_all(paths, data), tmp_path / "a.h5")


class Ramps:
    """Forty frames, all different."""

    size = SIZE
    path = Path("frames")
    stamp = "ramps"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.ids = [frame_id(n) for n in range(1, 41)]
        self.splits = {"train": self.ids[:30], "test": self.ids[30:]}
        self.notes: dict[str, str] = {}
        self.truths: dict[str, tuple[str, ...]] = {}
        self.modalities = nyu_modalities(WANG5)
        self.truth = {
            n: {
                DEPTH: (depth_values(rng) / 25).astype(np.float32),
                SEMANTIC: np.repeat(rng.integers(0, 5, (6, 32)), 4, 0).astype(np.uint8),
            }
            for n in self.ids
        }

    def scene(self, frame: str) -> str:
        return f"scene{int(frame) // 3}"

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Any:
        return Frame(np.zeros((*SIZE, 3), np.uint8) if image else None, self.truth[frame])


def test_with_an_index_any_order_will_do(tmp_path: Path) -> None:
    data = Ramps()
    paths = write_predictions(tmp_path, data, index=False)
    build(data, open_all(paths, data), tmp_path / "a.h5", images=False)
    rows = np.random.default_rng(0).permutation(40)
    for path in paths.values():
        ((key, maps),) = np.load(path).items()
        np.savez(path, **{key: maps[rows]}, index=rows + 1)
    build(data, open_all(paths, data), tmp_path / "b.h5", images=False)
    with PredictionCache(tmp_path / "a.h5") as a, PredictionCache(tmp_path / "b.h5") as b:
        for split, name in (("train", DEPTH), ("test", SEMANTIC)):
            one, other = a.split(split), b.split(split)
            for i in range(len(one)):
                np.testing.assert_array_equal(one.prediction(name, i), other.prediction(name, i))


# -- the real thing ----------------------------------------------------------------------------


def real_sources(folder: Path) -> dict[str, PredictionSource]:
    kinds = nyu_modalities(WANG5)
    predictions = folder / "predictions"
    return {
        DEPTH: open_source(predictions / "depth_meter_xxs.npz", kinds[DEPTH], ids=IDS),
        SEMANTIC: open_source(
            predictions / "semantic_deeplab_ade20k_wang5.npz", kinds[SEMANTIC], ids=IDS
        ),
    }


@pytest.mark.real_data
def test_real_frames_become_a_cache(nyu_folder: Path, tmp_path: Path) -> None:
    data = FrameFolder(nyu_folder, WANG5)
    assert {name: len(numbers) for name, numbers in data.splits.items()} == {
        "train": 795,
        "test": 327,
        "predict": 327,
    }
    scenes = {name: {data.scene(n) for n in numbers} for name, numbers in data.splits.items()}
    assert not scenes["train"] & (scenes["test"] | scenes["predict"])
    assert len(scenes["train"]) > 120
    assert len(scenes["test"]) > 60

    data.splits = {name: numbers[:6] for name, numbers in data.splits.items()}
    grids = {DEPTH: "area", SEMANTIC: f"0,{8 * 479 / 383},0,{8 * 639 / 512}"}
    inputs = {
        name: Input(source, name, "in-sample", grids[name])
        for name, source in real_sources(nyu_folder).items()
    }
    build(data, inputs, tmp_path / "a.h5")
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        train = cache.split("train")
        assert cache.frame == (480, 640)
        assert train.spec(DEPTH).shape == (1, 48, 64)
        assert train.spec(SEMANTIC).shape == (5, 49, 65)
        rows = range(len(train))
        coarse = np.stack([train.prediction(DEPTH, i)[0] for i in rows]).astype(np.float64)
        truth = np.stack([train.target(DEPTH, i)[5::10, 5::10] for i in rows])
        assert np.mean(np.abs(coarse - truth) / truth) < 0.15
