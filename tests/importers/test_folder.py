"""A data set of one's own: what a layout says, and what is refused."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import yaml

from jrn_lightning.cache import PredictionCache, check, writer
from jrn_lightning.errors import CacheError
from jrn_lightning.importers import layout
from jrn_lightning.importers.arrays import read_array
from jrn_lightning.importers.build import build
from jrn_lightning.importers.decode import Intrinsics, normals_of
from jrn_lightning.importers.folder import Folder, survey
from tests.importers.miniatures import SIZE, Array, Made, save, scene_of

IDS = [f"{place}/{n}" for place in ("hall", "kitchen") for n in (1, 2)]


def write(root: Path) -> dict[str, Made]:
    """Four frames of two places: pictures, depth in millimetres, ids of labels from 0."""
    found = {}
    for n, id in enumerate(IDS):
        image, made = scene_of(n, 3)
        save(root / f"rgb/{id}.png", image)
        save(root / f"depth/{id}.png", np.rint(made.depth * 1000).astype(np.uint16))
        save(root / f"label/{id}.png", made.label)
        odds = np.full((3, 6, 8), 0.2, np.float32)
        odds[0] = 0.6
        save(root / f"odds/{id}.npy", odds)
        found[id] = made
    return found


def content(**changes: Any) -> dict[str, Any]:
    """The layout of :func:`write`, with other values for its maps."""
    maps = {
        "depth": {"kind": "depth", "file": "depth/{place}/{id}.png", "scale": 0.001},
        "semantic": {
            "kind": "semantic",
            "file": "label/{place}/{id}.png",
            "labels": "three.yaml",
            "void": [255],
        },
    }
    predictions = {
        "depth": {
            "file": "depth/{place}/{id}.png",
            "scale": 0.001,
            "source": "it",
            "grid": "corners",
        },
        "semantic": "odds/{place}/{id}.npy",
    }
    made: dict[str, Any] = {
        "image": "rgb/{place}/{id}.png",
        "scene": "{place}",
        "splits": {"train": {"match": "{place}", "values": "hall"}, "test": "rest"},
        "maps": maps,
        "predictions": predictions,
    }
    for key, value in changes.items():
        if key in maps:
            maps[key] = {**maps[key], **value}
        else:
            made[key] = value
    return made


def opened(root: Path, **changes: Any) -> Folder:
    (root / "three.yaml").write_text("a: 0\nb: 1\nc: 2\n")
    file = root / "mine.yaml"
    file.write_text(yaml.safe_dump(content(**changes)))
    return Folder(root, layout.load(file))


def test_a_folder_of_ones_own_becomes_a_cache(tmp_path: Path) -> None:
    written = write(tmp_path)
    data = opened(tmp_path)
    build(data, data.predictions(), tmp_path / "a.h5")
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert check(cache) == []
        train, test = cache.split("train"), cache.split("test")
        assert train.ids + test.ids == IDS
        assert train.scenes == ["hall", "hall"]
        assert train.provenance("depth").source == "it"
        assert train.provenance("depth").alignment == "corners"
        assert cache.notes["label_space"] == "three"
        assert cache.modalities["semantic"].attributes["classes"] == ["a", "b", "c"]
        for i, id in enumerate(test.ids):
            np.testing.assert_allclose(test.target("depth", i), written[id].depth, atol=6e-4)
            np.testing.assert_array_equal(test.target("semantic", i), written[id].label)
            np.testing.assert_allclose(test.prediction("depth", i)[0], written[id].depth, atol=6e-4)
    assert not data.remarks


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The frames that are read, as they are."""
    found: list[str] = []
    read = Folder.read

    def counted(self: Folder, frame: str, **options: Any) -> Any:
        found.append(frame)
        return read(self, frame, **options)

    monkeypatch.setattr(Folder, "read", counted)
    return found


@pytest.mark.parametrize("changed", ["nothing", "a truth", "the layout", "a prediction"])
def test_a_killed_build_goes_on_where_it_follows_from_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], changed: str
) -> None:
    monkeypatch.setattr(writer, "_FLUSH", 0.0)
    write(tmp_path)
    data = opened(tmp_path)
    whole, killed = tmp_path / "whole/a.h5", tmp_path / "killed/a.h5"
    killed.parent.mkdir()

    def copy_after_two() -> None:  # what is on the disk is what a kill leaves there
        if not list(killed.parent.glob("*.part")) and len(reads) == 2:
            (part,) = whole.parent.glob("*.part")
            shutil.copy(part, killed.parent)

    build(data, data.predictions(), whole, checked=True, advance=copy_after_two)
    reads.clear()
    if changed == "a truth":
        save(tmp_path / f"depth/{IDS[0]}.png", np.full(SIZE, 2000, np.uint16))
    if changed == "a prediction":
        np.save(tmp_path / f"odds/{IDS[0]}.npy", np.full((3, 6, 8), 1 / 3, np.float32))
    data = opened(tmp_path, **({"depth": {"scale": 0.0005}} if changed == "the layout" else {}))
    build(data, data.predictions(), killed, checked=True)
    assert reads == (IDS[2:] if changed == "nothing" else IDS)
    assert [file.name for file in killed.parent.iterdir()] == ["a.h5"]
    with PredictionCache(whole) as a, PredictionCache(killed) as b:
        assert check(b) == []
        assert (a.content_hash == b.content_hash) == (changed == "nothing")


def test_a_stopped_build_goes_on(tmp_path: Path, reads: list[str]) -> None:
    write(tmp_path)
    data = opened(tmp_path)

    def stop() -> None:
        if len(reads) == 2:
            raise SystemExit  # as SIGTERM does

    def again(advance: Callable[[], object]) -> None:
        build(data, data.predictions(), tmp_path / "out/a.h5", checked=True, advance=advance)

    with pytest.raises(SystemExit):
        again(stop)
    again(lambda: None)
    assert reads == IDS
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.h5"]
    with PredictionCache(tmp_path / "out/a.h5") as cache:
        assert check(cache) == []


def test_a_frame_whose_prediction_is_another_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    write(tmp_path)
    data = opened(tmp_path)

    def stop() -> None:
        if len(reads) == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        build(data, data.predictions(), tmp_path / "out/a.h5", checked=True, advance=stop)
    given = data.predictions()
    source = type(given["semantic"].source)
    read = source.read
    monkeypatch.setattr(source, "read", lambda self, id: read(self, id)[..., ::-1])
    build(data, given, tmp_path / "out/a.h5", checked=True)
    assert reads == [*IDS[:2], *IDS]


def test_truth_with_channels_and_a_frame_without_it(tmp_path: Path) -> None:
    write(tmp_path)
    normal = np.zeros((8, 12, 3), np.float32)
    normal[..., 2], normal[1, 2] = 1.0, 0.0
    heat = np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12)
    heat[0, 0] = np.nan
    for id in IDS[:-1]:
        save(tmp_path / f"normal/{id}.npy", normal)
        save(tmp_path / f"heat/{id}.npy", heat)
    maps: dict[str, dict[str, Any]] = {
        "normals": {"kind": "normals", "file": "normal/{place}/{id}.npy", "flip": ["z"]},
        "heat": {"kind": "continuous", "file": "heat/{place}/{id}.npy"},
    }
    maps = {m: {**x, "partial": True} for m, x in maps.items()}
    data = opened(tmp_path, maps={**content()["maps"], **maps}, predictions={})
    targets, lacking = (data.read(id, image=False).targets for id in (IDS[0], IDS[-1]))
    assert targets is not None
    assert lacking is not None
    assert targets["normals"][:, 0, 0].tolist() == [0, 0, -1]
    cells = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(targets["normals"][2], np.kron(-normal[..., 2], cells))
    np.testing.assert_array_equal(targets["heat"], np.kron(heat, cells))
    for name, kind in data.modalities.items():
        assert lacking[name].shape == kind.target_shape(data.size)
    assert not lacking["normals"].any()
    assert np.isnan(lacking["heat"]).all()
    assert survey(data)["heat"].missing == pytest.approx(1 / 96)
    assert survey(data)["normals"].missing == pytest.approx(1 / 96)


@pytest.mark.parametrize("suffix", [".png", ".npy", ".npz", ".h5", ".mat", "7.3.mat"])
def test_every_form_of_file_gives_the_same_array(tmp_path: Path, suffix: str) -> None:
    array = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    path = tmp_path / f"a{suffix}"
    if suffix in (".png", ".npy"):
        save(path, array)
    elif suffix == ".npz":
        np.savez(path, depth=array, other=0)
    elif suffix == ".mat":
        scipy.io.savemat(path, {"depth": array})
    else:
        with h5py.File(path, "w") as file:
            file["depth"] = array.T if suffix == "7.3.mat" else array
    np.testing.assert_array_equal(read_array(path, "depth"), array)


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        # distance: a ray of 3, 4 and focal length 12 is 13 / 12 of the depth
        ([[13.0]], {"form": "distance", "camera": {"focal": 12, "center": [-3, -4]}}, [[12.0]]),
        (
            [[8.0, 0.0]],
            {"form": "disparity", "camera": {"focal": 100, "baseline": 0.2}},
            [[2.5, 0]],
        ),
        ([[0.25, 0.5]], {"form": "inverse"}, [[4.0, 2.0]]),
        ([[3.0, -1.0, np.nan]], {}, [[3.0, 0.0, 0.0]]),
        ([[1.0, 9.0]], {"invalid": [9]}, [[1.0, 0.0]]),
        ([[1.0, 90.0]], {"beyond": "void"}, [[1.0, 0.0]]),
        ([[1.0, 2.0]], {"scale": 2, "offset": 0.5}, [[2.5, 4.5]]),
    ],
)
def test_depth_in_every_form(
    tmp_path: Path, stored: list[list[float]], options: dict[str, Any], expected: list[list[float]]
) -> None:
    write(tmp_path)
    array = np.array(stored, np.float32)
    for id in IDS:
        save(tmp_path / f"d/{id}.npy", array)
    given = {"file": "d/{place}/{id}.npy", "scale": 1.0} | options
    data = opened(tmp_path, depth=given, size=list(array.shape))
    targets = data.read(IDS[0]).targets
    assert targets is not None
    np.testing.assert_allclose(targets["depth"], expected, rtol=1e-6)


def test_a_truth_on_a_grid_of_its_own_takes_the_nearest_pixel(tmp_path: Path) -> None:
    write(tmp_path)
    for id in IDS:
        save(tmp_path / f"label/{id}.png", np.array([[0, 1], [2, 255]], np.uint8))
    targets = opened(tmp_path).read(IDS[0]).targets
    assert targets is not None
    h, w = SIZE
    expected = np.kron(np.array([[0, 1], [2, 255]]), np.ones((h // 2, w // 2)))
    np.testing.assert_array_equal(targets["semantic"], expected)


def test_images_of_other_sizes_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    save(tmp_path / "rgb/kitchen/1.png", np.full((20, 20, 3), 90, np.uint8))
    data = opened(tmp_path)
    image = data.read("kitchen/1").image
    assert image is not None
    assert image.shape == (*SIZE, 3)
    assert "'kitchen/1' of 20 × 20, are brought to 16 × 24" in data.remarks[0]


def test_a_truth_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "depth/hall/2.png").unlink()
    with pytest.raises(CacheError, match=r"1 of 4 frames lack.*'hall/2': .*depth/hall/2\.png"):
        opened(tmp_path)
    targets = opened(tmp_path, depth={"partial": True}).read("hall/2").targets
    assert targets is not None
    assert not targets["depth"].any()
    assert (targets["semantic"] != 255).any()


def test_splits_by_share_are_of_whole_scenes_and_follow_from_the_seed(tmp_path: Path) -> None:
    write(tmp_path)
    dealt = [
        opened(tmp_path, splits={"test": {"share": 0.5, "seed": seed}, "train": "rest"}).splits
        for seed in (0, 0, 1, 2, 3, 4)
    ]
    assert dealt[0] == dealt[1]
    assert {frozenset(s["test"]) for s in dealt} == {frozenset(IDS[:2]), frozenset(IDS[2:])}


def test_normals_of_a_plane() -> None:
    """A plane n · p = c: its depth at a pixel is c / (n · ray)."""
    normal = np.array([0.3, -0.5, -0.8]) / np.linalg.norm([0.3, -0.5, -0.8])
    camera = Intrinsics(40.0, 40.0)
    x, y = camera.rays((20, 30))
    depth = -3 / (normal[0] * x + normal[1] * y + normal[2])
    depth[5, 5] = 0  # no reading
    depth[:, 20:] *= 2  # the edge of something
    found = normals_of(depth, camera)
    known = np.linalg.norm(found, axis=0) > 0
    np.testing.assert_allclose(found[:, known].T, np.tile(normal, (known.sum(), 1)), atol=1e-5)
    expected = np.zeros((20, 30), bool)
    expected[1:-1, 1:-1] = True
    expected[5, 4:7] = expected[4:7, 5] = False
    expected[:, 19:21] = False
    np.testing.assert_array_equal(known, expected)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": {"scal": 1}}, r"yaml: maps\.depth: unknown key 'scal'. Did you mean 'scale'"),
        ({"frmaes": "a"}, r"mine\.yaml: unknown key 'frmaes'. Did you mean 'frames'"),
        ({"depth": {"scale": "mm"}}, r"maps\.depth\.scale is 'mm'. Give a number"),
        ({"depth": {"form": "planer"}}, r"maps\.depth\.form is 'planer'. Did you mean 'planar'"),
        ({"depth": {"form": "disparity"}}, r"maps\.depth: form: disparity needs camera\.focal"),
        ({"depth": {"kind": "dept"}}, r"maps\.depth: .*unknown kind 'dept'"),
        ({"depth": {"attributes": {"max": 3}}}, r"maps\.depth: .*'max'"),
        ({"depth": {"file": None}}, r"maps\.depth: the key 'file' is missing"),
        ({"semantic": {"labels": None}}, r"maps\.semantic: the key 'labels' is missing"),
        ({"semantic": {"labels": "nyu14"}}, "label space 'nyu14' is unknown"),
        ({"predictions": {"dept": "a"}}, r"predictions\.dept is of no map. Did you mean 'depth'"),
        ({"splits": {"tets": "rest"}}, r"splits\.tets: Did you mean 'test'"),
        ({"splits": {"train": {"match": "{place}", "values": "hal"}}},
         r"splits\.train has no frame: {place} is hall, kitchen, none of hal"),
        ({"splits": {"train": {"match": None, "values": ["hall_1"]}}},
         r"the id is hall/1, .*, none of hall_1\. With id: .* as id: '{place}_{id}'"),
        ({"splits": {"test": {"values": ["hall/1"]}, "val": {"values": ["hall/1"]}}},
         r"splits\.val: frame 'hall/1' is in test as well"),
        ({"splits": {"train": {"file": "none.txt"}}}, r"none\.txt cannot be read"),
        ({"image": "rgba/{place}/{id}.png"}, r"image: no file matches.*nearest is 'rgb'"),
        ({"depth": {"file": "dept/{place}/{id}.png"}}, r"maps\.depth: no file.*nearest is 'depth'"),
        ({"depth": {"file": "depth/{id}/{place}.png"}}, r"files match.*none belongs to a frame"),
        ({"depth": {"scale": 0.0001}}, r"depth/hall/1\.png: depths from .* are they normalised"),
        ({"depth": {"scale": 1.0}}, r"depth/hall/1\.png.*9\d\d\d.*are they millimetres"),
        ({"depth": {"invalid": list(range(20000))}}, "have no pixel with truth"),
        ({"id": "{place}"}, r"two files for one frame 'hall': .*1\.png and .*2\.png"),
        ({"semantic": {"void": []}},
         r"label/hall/1\.png of frame 'hall/1' holds the id 255 in 16 pixels, which three lacks"
         r"\. Add it to three\.yaml, or give maps\.semantic\.void: \[255\] where it is of no cl"),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path)
    with pytest.raises(CacheError, match=message) as caught:
        survey(opened(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def _sixteen_bit_colours(folder: Path) -> Path:
    path = folder / "a.png"

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress(2 * (b"\0" + bytes(12)))
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def _written(name: str, array: Array | None) -> Callable[[Path], Path]:
    def store(folder: Path) -> Path:
        path = folder / name
        if array is None:
            path.write_bytes(b"nothing")
        elif path.suffix == ".npz":
            np.savez(path, one=array, two=array)
        return path

    return store


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (
            _written("a.exr", None),
            r"a\.exr has the form \.exr, which is not read. Write it as \.npy",
        ),
        (_written("a.png", None), r"a\.png cannot be read"),
        (_written("a.npy", None), r"a\.npy cannot be read"),
        (_written("a.mat", None), r"a\.mat cannot be read"),
        (_written("a.npz", np.zeros(3)), r"a\.npz holds one, two: which array is it"),
        (_sixteen_bit_colours, r"several channels with 16 bits"),
    ],
)
def test_a_file_that_is_not_read_is_named(
    tmp_path: Path, store: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(CacheError, match=message):
        read_array(store(tmp_path))


def test_frames_without_scenes_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    assert "intervals are too narrow" in opened(tmp_path, scene=None).remarks[0]
    shared = {"train": {"values": [IDS[0], IDS[2]]}, "test": "rest"}
    assert "2 scenes are in training and test frames" in opened(tmp_path, splits=shared).remarks[0]


def test_a_camera_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    camera = {"file": "camera/{place}/{id}.json", "focal": "k.fx", "baseline": 0.2}
    data = opened(tmp_path, depth={"form": "disparity", "camera": camera})
    with pytest.raises(CacheError, match=r"maps\.depth\.camera: .*is missing"):
        data.read(IDS[0])
    (tmp_path / "camera/hall").mkdir(parents=True)
    (tmp_path / "camera/hall/1.json").write_text('{"k": {"fy": 3}}')
    with pytest.raises(CacheError, match=r"1\.json: no number at 'k\.fx'"):
        data.read(IDS[0])
