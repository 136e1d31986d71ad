"""From colour images to caches and pictures, as a user calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jrn_lightning.cache import PredictionCache
from jrn_lightning.importers.labels import WANG5
from jrn_lightning.importers.nyu import FrameFolder
from jrn_lightning.predictors.fill import HOME
from tests.checkpoints import save, task_for
from tests.cli.test_cache import jrn

TINY = [
    part
    for change in ("image=[32,32]", "stride=4", "width=8", "epochs=1", "folds=2", "mirror=false")
    for part in ("--set", change)
]


def write_frames(folder: Path, frames: int = 12, size: tuple[int, int] = (48, 64)) -> Path:
    """Frames of eight training and four test pictures that have every class."""
    rng = np.random.default_rng(0)
    for kind in ("rgb", "depth", "label40"):
        (folder / kind).mkdir(parents=True)
    for n in range(1, frames + 1):
        label = np.repeat(np.repeat(rng.permutation([2, 1, 22, 4, 5, 0])[None], 48, 0), 11, 1)
        label = np.ascontiguousarray(label[:, : size[1]], np.uint8)
        depth = np.linspace(20, 200, size[1]).astype(np.uint8)[None].repeat(size[0], 0)
        image = np.stack([label * 10, depth, depth // 2], -1).astype(np.uint8)
        Image.fromarray(image).save(folder / "rgb" / f"{n:04d}.jpg")
        Image.fromarray(depth).save(folder / "depth" / f"{n:04d}.png")
        Image.fromarray(label).save(folder / "label40" / f"{n:04d}.png")
    # Every other number: a run of neighbours would be one scene.
    numbers = [str(n) for n in range(1, frames + 1)]
    (folder / "train.txt").write_text("\n".join(numbers[:8:2] + numbers[8:10:2]))
    (folder / "test.txt").write_text("\n".join(numbers[1:4:2]))
    (folder / "unlabelled.txt").write_text(numbers[11])
    return folder


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "nyu")


def test_what_was_made_of_the_files_is_told_in_the_cache(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ids").mkdir()
    for file in (frames / "depth").iterdir():
        depth = np.asarray(Image.open(file)).astype(np.uint16)
        Image.fromarray(depth * 40).save(file)  # millimetres
        Image.fromarray((depth % 5).astype(np.uint8)).save(tmp_path / "ids" / file.name)
    np.savez(tmp_path / "d.npz", depth=np.full((12, 6, 8), 2.0), index=np.arange(1, 13))
    command = ["cache", "nyu", "--frames", frames, "--depth", tmp_path / "d.npz"]
    command += ["--semantic", tmp_path / "ids", "--out", tmp_path / "a.h5"]
    assert jrn(monkeypatch, *command) == 1
    assert "--truth-scale 0.001" in capsys.readouterr().err
    assert jrn(monkeypatch, *command, "--truth-scale", "0.001") == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert "one-hot" in cache.notes["semantic_predictions"]
        assert "steps of 0.001 m" in cache.notes["ground_truth"]
        assert cache.split("train").target("depth", 0).max() == pytest.approx(200 * 0.04)


def test_each_modality_has_a_predictor_of_its_own(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "even.py").write_text(
        "import torch\n"
        "def predict(images):\n    return torch.full((len(images), 4, 6, 8), 0.25)\n"
        'predict.classes = ["floor", "wall", "bed", "sky"]\n'
    )
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text("class,member\nGround,floor\nVertical,wall\nObject,bed\n")
    command = ["cache", "nyu", "--frames", frames, "--predict", "depth=small", *TINY]
    command += ["--predict", "semantic=py:even:predict", "--out", tmp_path / "own.h5"]
    assert jrn(monkeypatch, *command) == 1
    assert "--sampling semantic=in-sample if it was" in " ".join(capsys.readouterr().err.split())
    command += ["--classes", tmp_path / "own.csv", "--sampling", "unseen"]
    assert jrn(monkeypatch, *command) == 0
    assert "1 of its 4 classes belong to none here" in capsys.readouterr().out
    with PredictionCache(tmp_path / "own.h5") as cache:
        made = [cache.split("train").provenance(m) for m in cache.modalities]
        assert [m.sampling for m in made] == ["out-of-fold", "unseen"]
        found = cache.split("test").prediction("semantic", 0)[:, 0, 0]
        np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0, 0, 1 / 3], atol=1e-3)

    assert jrn(monkeypatch, *command, "--force", "--only", "test") == 1  # networks need training
    assert jrn(monkeypatch, *command, "--force", "--only", "tests") == 2
    assert "has the splits train, test, predict" in " ".join(capsys.readouterr().err.split())


def test_networks_of_our_own_for_everything_or_for_one_modality(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["cache", "nyu", "--frames", frames, "--single-task", "small", *TINY]
    assert jrn(monkeypatch, *command, "--out", tmp_path / "own.h5") == 0
    out = capsys.readouterr().out
    assert "out-of-fold" in out
    assert "depth_network: small on 32 × 32, 1 epochs, 2 folds by scene" in out
    with PredictionCache(tmp_path / "own.h5") as cache:
        assert cache.split("train").spec("semantic").shape == (5, 8, 8)
        assert cache.splits == ("train", "test", "predict")
    networks = tmp_path / "own-single-task"
    assert len(list(networks.glob("*.ckpt"))) == 4
    ids = [n for ns in FrameFolder(frames, WANG5).splits.values() for n in ns]
    maps = np.full((len(ids), 5, 6, 8), 0.2, np.float32)
    np.savez(tmp_path / "semantic.npz", index=ids, probability=maps)
    mixed = [*command, "--semantic", tmp_path / "semantic.npz", "--semantic-sampling", "unseen"]
    assert jrn(monkeypatch, *mixed, "--out", tmp_path / "mixed.h5") == 0
    with PredictionCache(tmp_path / "mixed.h5") as cache:
        train = cache.split("train")
        assert train.provenance("depth").sampling == "out-of-fold"
        assert train.provenance("semantic").sampling == "unseen"
    # Stopped before the cache was written, it goes on with the networks that are there.
    (tmp_path / "own.h5").unlink()
    before = {f: f.stat().st_mtime_ns for f in networks.glob("*.ckpt")}
    assert jrn(monkeypatch, *command, "--out", tmp_path / "own.h5") == 0
    assert before == {f: f.stat().st_mtime_ns for f in networks.glob("*.ckpt")}
    # Other settings are not mixed in.
    (tmp_path / "own.h5").unlink()
    other = [*command, "--set", "epochs=2", "--out", tmp_path / "own.h5"]
    assert jrn(monkeypatch, *other) == 1
    assert "epochs 1 then, 2 now" in " ".join(capsys.readouterr().err.split())


def test_frames_may_lack_one_truth_if_that_is_said(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (frames / "depth" / "0003.png").unlink()
    command = ["cache", "nyu", "--frames", frames, "--single-task", "small", *TINY]
    assert jrn(monkeypatch, *command, "--out", tmp_path / "a.h5") == 1
    assert "0003.png is missing" in capsys.readouterr().err
    assert jrn(monkeypatch, *command, "--partial", "--out", tmp_path / "a.h5") == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        split = cache.split("train")
        row = split.ids.index("0003")
        assert (split.target("depth", row) == 0).all()
        assert (split.target("semantic", row) != 255).any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--single-task to predict what is not given"),
        (["--single-task", "large"], "'large' are unknown. Choose from: small"),
        (["--single-task", "small", "--folds", "1"], "single_task.folds is 1"),
        (["--single-task", "small", "--folds", "9"], "training scenes for 9 folds"),
        (["--single-task", "small", "--set", "epoch=1"], "no epoch"),
        (["--single-task", "small", "--set", "epochs"], "give KEY=VALUE"),
        (["--folds", "3"], "--single-task"),
    ],
)
def test_what_cannot_work_is_refused(
    options: list[str],
    told: str,
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "a.h5"
    assert jrn(monkeypatch, "cache", "nyu", "--frames", frames, "--out", out, *options) != 0
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not out.exists()


def test_rooms_and_their_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    out = tmp_path / "rooms.h5"
    size = ["--train-rooms", 6, "--test-rooms", 2, "--views", 2, "--height", 48, "--width", 64]
    assert jrn(monkeypatch, "cache", "rooms", *size, *TINY, "--out", out) == 0
    assert "train" in capsys.readouterr().out
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    with PredictionCache(out) as cache:
        for i in range(2):
            Image.fromarray(cache.split("test").image(i)).save(photographs / f"view{i}.png")
    checkpoint = save(task_for(out, fusion_channels=2), tmp_path / "last.ckpt")
    command = ["predict", checkpoint, "--rgb", photographs, "--out", tmp_path / "refined.h5"]
    assert jrn(monkeypatch, *command) == 1  # this checkpoint is no job's
    assert "--single-task" in capsys.readouterr().err
    assert jrn(monkeypatch, *command, "--single-task", tmp_path / "rooms-single-task") == 0
    with PredictionCache(tmp_path / "refined.h5") as refined:
        split = refined.split("predict")
        assert split.ids == ["view0", "view1"]
        assert split.spec("depth").shape == (1, 48, 64)
    for i in range(2):
        with Image.open(tmp_path / "refined-pictures" / f"view{i}.png") as picture:
            assert np.asarray(picture).std() > 10


def test_a_difference_between_training_and_test_quality_is_told(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = FrameFolder(frames, WANG5)
    good, bad = np.eye(5, dtype=np.float32), np.full((5,), 0.2, np.float32)
    maps = {"depth": [], "semantic": []}  # type: ignore[var-annotated]
    ids = [n for ns in data.splits.values() for n in ns]
    for n in ids:
        depth = np.full((48, 64), 2.0, np.float32)
        label = np.zeros((48, 64), np.int64)
        if n not in data.splits["predict"]:
            targets = data.read(n).targets
            assert targets is not None
            label = np.where(targets["semantic"] == 255, 0, targets["semantic"])
            # In-sample depth is right; out of the sample it is a fifth too far.
            depth = targets["depth"] * (1.0 if n in data.splits["train"] else 1.2)
        maps["depth"].append(np.minimum(depth, 10)[None])
        maps["semantic"].append(np.moveaxis(0.5 * good[label] + 0.5 * bad, -1, 0))
    for name, values in maps.items():
        np.savez(tmp_path / f"{name}.npz", index=ids, prediction=np.stack(values))
    given = [*("--depth", tmp_path / "depth.npz"), *("--semantic", tmp_path / "semantic.npz")]
    command = ["cache", "nyu", "--frames", frames, *given, "--out", tmp_path / "a.h5"]
    assert jrn(monkeypatch, *command, "--depth-sampling", "in-sample") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warning: depth: rel is 0.000 on the training frames and 0.200 on the test frames" in out
    assert "(in-sample predictions), more than a sixth apart" in out
    assert "warning: semantic" not in out
