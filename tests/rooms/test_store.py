from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from jrn_lightning import keys
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import DataSet, frame_id
from jrn_lightning.rooms import Rooms, RoomsSpec, render, store
from jrn_lightning.rooms.view import draw_room

IDS = [frame_id(n) for n in range(1, 7)]
SPEC = RoomsSpec(seed=5, train_rooms=2, test_rooms=1, views=2, height=48, width=64)
FULL = replace(SPEC, modalities=("depth", "semantic", "normals", "reflectance"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms") / "rooms"
    advance = Mock()
    render(SPEC, folder, workers=1, advance=advance)
    assert advance.call_count == SPEC.frames
    return folder


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(rendered, tmp_path / "rooms")


def contents(folder: Path) -> dict[str, bytes]:
    """Arrays of all files; the files themselves carry the time."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            found |= {f"{path.name}/{name}": file[name].tobytes() for name in file}
    return found


def test_frames_hold_what_the_generator_drew(rendered: Path) -> None:
    data: DataSet = Rooms(SPEC, rendered)
    number = 0
    for room in range(3):
        for view in draw_room(SPEC.seed, room, SPEC.views, SPEC.size):
            number += 1
            frame = data.read(frame_id(number))
            assert frame.image is not None
            assert frame.targets is not None
            np.testing.assert_array_equal(frame.image, view.image)
            np.testing.assert_array_equal(frame.targets["semantic"], view.label)
            np.testing.assert_allclose(frame.targets["depth"], view.depth, atol=0.00051)
            np.testing.assert_array_equal(frame.targets["depth"] == 0, view.depth == 0)


def test_more_modalities_leave_the_usual_ones_as_they_are(rendered: Path, tmp_path: Path) -> None:
    render(FULL, tmp_path / "full", workers=1)
    more = contents(tmp_path / "full")
    assert {k: v for k, v in more.items() if k in contents(rendered)} == contents(rendered)
    data = Rooms(FULL, tmp_path / "full")
    assert tuple(data.modalities) == FULL.modalities
    (view, *_) = draw_room(SPEC.seed, 0, SPEC.views, SPEC.size)
    planes = []
    for frame in IDS:
        targets = data.read(frame, image=False).targets
        assert targets is not None
        for name, modality in data.modalities.items():
            assert modality.check_target(targets[name]) is None
            assert targets[name].dtype == modality.target_dtype
            assert targets[name].shape == modality.target_shape(SPEC.size)
        if frame == IDS[0]:
            np.testing.assert_allclose(targets["normals"], view.normals, atol=5e-4)
            np.testing.assert_allclose(targets["reflectance"], view.reflectance, atol=5e-4)
        assert targets["reflectance"].std() > 0.05
        # The points of a floor lie on a plane, whose normal is theirs: right, down, forward.
        z = targets["depth"]
        floor = (targets["semantic"] == 0) & (z > 0) & (targets["normals"][1] < -0.9)
        if floor.sum() < 100:
            continue
        row, column = np.nonzero(floor)
        focal = 32 / np.tan(np.radians(58.5) / 2)  # of views between 57 and 60 degrees
        rays = np.stack([(column - 31.5) / focal, (row - 23.5) / focal, np.ones(len(row))])
        points = rays * z[floor]
        up = np.linalg.svd(points - points.mean(1, keepdims=True))[0][:, 2]
        up *= -np.sign(up[1])
        own = targets["normals"][:, floor]
        assert np.degrees(np.arccos(np.median(up @ own))) < 4
        assert (own * rays).sum(0).max() < 0  # toward the camera
        planes.append(frame)
    assert planes


def test_the_data_set_says_what_it_is(rendered: Path) -> None:
    data = Rooms(SPEC, rendered)
    assert data.splits == {keys.TRAIN: IDS[:4], keys.TEST: IDS[4:]}
    scenes = ["train_room_001"] * 2 + ["train_room_002"] * 2 + ["test_room_001"] * 2
    assert [data.scene(frame) for frame in IDS] == scenes
    assert data.size == (48, 64)
    assert data.path == rendered
    frame = data.read("0004", image=False)
    assert frame.image is None
    assert frame.targets is not None
    for name, modality in data.modalities.items():
        target = frame.targets[name]
        assert target.dtype == modality.target_dtype
        assert target.shape == data.size
        assert modality.check_target(target) is None
    assert data.read("0004", targets=False).targets is None


def test_no_two_frames_are_alike_and_all_show_something(rendered: Path) -> None:
    data = Rooms(SPEC, rendered)
    images = set()
    labels = np.zeros(256, np.int64)
    for id in IDS:
        frame = data.read(id)
        assert frame.image is not None
        assert frame.targets is not None
        images.add(frame.image.tobytes())
        depth, label = frame.targets["depth"], frame.targets["semantic"]
        labels += np.bincount(label.ravel(), minlength=256)
        assert 0.6 < np.median(depth[depth > 0]) < 7
        assert 0 < (depth == 0).mean() < 0.4
        assert len(np.unique(label)) >= 3
        assert 40 < frame.image.mean() < 200
        assert frame.image.std() > 15
    assert len(images) == SPEC.frames
    assert (labels[[0, 1, 2, 3, 4, 255]] > 0).all()
    assert labels.sum() == labels[[0, 1, 2, 3, 4, 255]].sum()


def test_processes_make_the_same_files_and_count_frames(rendered: Path, tmp_path: Path) -> None:
    advance = Mock()
    render(SPEC, tmp_path / "two", workers=2, advance=advance)
    assert advance.call_count == SPEC.frames
    assert contents(tmp_path / "two") == contents(rendered)
    assert not list((tmp_path / "two").glob("*.part"))


def test_only_what_is_missing_or_damaged_is_rendered(
    folder: Path, rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train_room_002.npz").unlink()
    broken = folder / "test_room_001.npz"
    broken.write_bytes(broken.read_bytes()[:-200])
    draw = Mock(side_effect=draw_room)
    monkeypatch.setattr(store, "draw_room", draw)
    advance = Mock()
    render(SPEC, folder, workers=1, advance=advance)
    assert [call.args[1] for call in draw.call_args_list] == [1, 2]
    assert advance.call_count == SPEC.frames
    assert contents(folder) == contents(rendered)


def test_an_interruption_leaves_whole_files_only(tmp_path: Path, rendered: Path) -> None:
    stop = Mock(side_effect=[None] * SPEC.views + [KeyboardInterrupt])
    with pytest.raises(KeyboardInterrupt):
        render(SPEC, tmp_path, workers=1, advance=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rooms.json", "train_room_001.npz"]
    render(SPEC, tmp_path, workers=1)
    assert contents(tmp_path) == contents(rendered)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def other_layout(path: Path) -> None:
    np.savez_compressed(path, image=np.zeros(3), depth=np.zeros(3), label=np.zeros(3))


def lacks_an_array(path: Path) -> None:
    np.savez_compressed(path, image=np.zeros(3))


def pickled(path: Path) -> None:
    thing = np.array([{}], object)
    np.savez_compressed(path, image=thing, depth=thing, label=thing)


@pytest.mark.parametrize("damage", [truncate, flip, other_layout, lacks_an_array, pickled])
def test_a_damaged_file_is_named(folder: Path, damage: Callable[[Path], None]) -> None:
    path = folder / "train_room_002.npz"
    damage(path)
    data = Rooms(SPEC, folder)
    data.read("0001")
    with pytest.raises(CacheError, match=r"train_room_002\.npz .*[Dd]elete it and render"):
        data.read("0003")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "test_room_001.npz").unlink()
    with pytest.raises(CacheError, match=r"test_room_001\.npz does not exist.*Render"):
        Rooms(SPEC, folder)


def test_other_rooms_are_refused(rendered: Path) -> None:
    other = RoomsSpec(seed=6, train_rooms=2, test_rooms=1, views=2, height=48, width=64)
    before = contents(rendered)
    for use in (lambda: render(other, rendered), lambda: Rooms(other, rendered)):
        with pytest.raises(CacheError, match=r"holds other rooms.*'seed': 5.*Name another folder"):
            use()
    assert contents(rendered) == before


def test_another_generator_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / store.MANIFEST).read_text())
    manifest |= {"generator": 0, "hash": "0" * 64}
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match="by generator 0"):
        Rooms(SPEC, folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_a_damaged_manifest_is_named(folder: Path, text: str) -> None:
    (folder / store.MANIFEST).write_text(text)
    for use in (lambda: render(SPEC, folder), lambda: Rooms(SPEC, folder)):
        with pytest.raises(CacheError, match=r"rooms\.json cannot be read.*Delete the folder"):
            use()


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(CacheError, match=r"other files \(thesis\.tex\).*empty folder"):
        render(SPEC, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"holds no rendered rooms.*Render them"):
        Rooms(SPEC, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match=r"rooms cannot be written.*another folder"):
        render(SPEC, tmp_path / "file" / "rooms")


@pytest.mark.parametrize("id", ["0000", "0007"])
def test_a_frame_out_of_range_is_refused(rendered: Path, id: str) -> None:
    with pytest.raises(CacheError, match=f"no frame {id}.*1 to 6"):
        Rooms(SPEC, rendered).read(id)
