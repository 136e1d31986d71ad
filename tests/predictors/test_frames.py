from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from jrn_lightning import keys
from jrn_lightning.predictors.frames import PreparedFrames, prepare, small_image
from tests.frames import BoxRooms


def test_images_are_antialiased_and_truth_is_never_mixed(tmp_path: Path) -> None:
    data = BoxRooms(frame=(96, 128))
    told: list[None] = []
    frames = prepare(data, (48, 64), tmp_path, lambda: told.append(None))
    assert len(told) == len(frames.ids) == 20
    number = data.splits[keys.TRAIN][3]
    frame = data.read(number)
    assert frame.image is not None
    assert frame.targets is not None
    image = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(image, size=(48, 64), mode="bilinear", antialias=True)[0] / 255
    got = frames.batch_images([frames.row[number]])[0]
    assert (got - expected).abs().max() < 1.5 / 255
    # The cell's centre lies between pixels 0 and 1: the second is taken.
    for name, target in frame.targets.items():
        row = frames.batch_truths(name, [frames.row[number]])[0]
        np.testing.assert_array_equal(row, target[1::2, 1::2])


def test_test_frames_leave_no_truth_to_train_on(tmp_path: Path) -> None:
    data = BoxRooms()
    frames = prepare(data, (48, 64), tmp_path)
    rows = [frames.row[n] for n in data.splits[keys.TEST] + data.splits[keys.PREDICT]]
    assert (frames.batch_truths("depth", rows) == 0).all()
    assert (frames.batch_truths("semantic", rows) == 255).all()
    assert not set(rows) & set(frames.usable["depth"])


def test_an_interrupted_preparation_is_done_again(tmp_path: Path) -> None:
    prepare(BoxRooms(), (48, 64), tmp_path)
    (tmp_path / "frames.json").unlink()
    (tmp_path / "images.npy").write_bytes(b"half")
    again = prepare(BoxRooms(), (48, 64), tmp_path)
    assert again.images.shape == (20, 48, 64, 3)
    assert PreparedFrames(tmp_path).usable == again.usable


def test_another_size_is_prepared_anew(tmp_path: Path) -> None:
    prepare(BoxRooms(), (48, 64), tmp_path)
    assert prepare(BoxRooms(), (24, 32), tmp_path).images.shape == (20, 24, 32, 3)


def test_other_files_are_prepared_anew(tmp_path: Path) -> None:
    data = BoxRooms(2)
    prepare(data, (24, 32), tmp_path)
    data.stamp = "other boxes"
    reads = data.reads
    prepare(data, (24, 32), tmp_path)
    assert data.reads == 2 * reads


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    assert small_image(image, (4, 6)) is image
