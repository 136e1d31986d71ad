from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cli import app, main
from jrn_lightning.importers.labels import WANG5
from jrn_lightning.importers.nyu import FrameFolder, LabeledMat
from tests.caches import write_small_cache
from tests.importers.test_nyu import (
    TEST,
    TRAIN,
    write_folder,
    write_mat,
    write_predictions,
    write_splits,
)


def jrn(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of the command line, as a shell would see it."""
    monkeypatch.setattr(sys, "argv", ["jrn", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> list[object]:
    """Arguments that build a cache from a folder of frames."""
    frames = write_folder(tmp_path / "nyu")
    paths = write_predictions(tmp_path, FrameFolder(frames, WANG5))
    return [
        *("cache", "nyu", "--frames", frames),
        *("--depth", paths["depth"], "--semantic", paths["semantic"]),
        *("--out", tmp_path / "a.h5"),
    ]


def test_from_frames(
    folder: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [
        *("--depth-source", "METER", "--depth-sampling", "in-sample"),
        *("--semantic-grid", "corners", "--no-images"),
    ]
    assert jrn(monkeypatch, *folder, *options) == 0
    out = capsys.readouterr().out
    for words in ("METER", "in-sample", "unseen", "corners", "train", "predict", "wang5"):
        assert words in out
    with PredictionCache(tmp_path / "a.h5") as cache:
        train = cache.split("train")
        assert not train.has_images
        assert train.provenance("depth").source == "METER"
        assert train.provenance("semantic").source == "semantic"
        assert train.provenance("semantic").alignment == "corners"
    assert jrn(monkeypatch, *folder) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "--force" in error
    assert "Traceback" not in error
    assert jrn(monkeypatch, *folder, "--force") == 0
    assert PredictionCache(tmp_path / "a.h5").split("train").has_images


def test_from_the_matlab_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mat(tmp_path / "nyu.mat")
    splits = write_splits(tmp_path / "splits.mat", TRAIN, TEST)
    paths = write_predictions(tmp_path, LabeledMat(tmp_path / "nyu.mat", splits, WANG5))
    arguments = [
        *("cache", "nyu", "--mat", tmp_path / "nyu.mat", "--splits", splits),
        *("--depth", paths["depth"], "--semantic", paths["semantic"]),
        *("--out", tmp_path / "a.h5", "--truth", "raw", "--label-space", "structural5"),
    ]
    assert jrn(monkeypatch, *arguments) == 0
    with PredictionCache(tmp_path / "a.h5") as cache:
        assert cache.notes["label_space"] == "structural5"
        assert "raw sensor depth" in cache.notes["ground_truth"]
    capsys.readouterr()
    assert jrn(monkeypatch, "cache", "info", tmp_path / "a.h5", "--no-quality") == 0
    assert "yes (depth: raw, filled)" in capsys.readouterr().out
    assert jrn(monkeypatch, "cache", "check", tmp_path / "a.h5") == 0
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["test/alternative/depth/filled"][2, 5, 5] = np.nan
    assert jrn(monkeypatch, "cache", "check", tmp_path / "a.h5") == 1
    assert "frame '0009': depth ground truth 'filled' holds nan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mat", "nyu.mat", "--splits", "splits.mat"], "either --frames or --mat"),
        (["--splits", "splits.mat"], "belong together"),
        (["--truth", "raw"], "needs --mat"),
        (["--depth-sampling", "insample"], "insample"),
    ],
)
def test_a_wrong_use_is_exit_code_2(
    folder: list[object],
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert jrn(monkeypatch, *folder, *options) == 2
    assert message in capsys.readouterr().err


def test_a_mistake_in_a_file_is_one_message(
    folder: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "nyu" / "depth" / "0004.png").unlink()
    assert jrn(monkeypatch, *folder) == 1
    error = capsys.readouterr().err
    assert "0004.png is missing" in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("a.h5*"))


def test_info_says_what_is_in_it_and_how_good_it_is(
    small_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jrn(monkeypatch, "cache", "info", small_cache) == 0
    out = capsys.readouterr().out
    for words in ("48 × 64", "Furniture", "blurred", "in-sample", "rel(sqr)", "mIoU", "12 × 16"):
        assert words in out
    assert jrn(monkeypatch, "cache", "info", small_cache, "--no-quality") == 0
    assert "rel(sqr)" not in capsys.readouterr().out


def test_info_without_ground_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_small_cache(tmp_path / "a.h5", train=0, test=0, predict=2)
    assert jrn(monkeypatch, "cache", "info", path) == 0
    assert "No split has ground truth" in capsys.readouterr().out


def test_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_small_cache(tmp_path / "a.h5", train=2, test=1, predict=0)
    assert jrn(monkeypatch, "cache", "check", path) == 0
    assert "3 frames, nothing wrong" in capsys.readouterr().out
    with h5py.File(path, "r+") as file:
        file["train/target/depth"][1, 5, 5] = np.nan
    assert jrn(monkeypatch, "cache", "check", path) == 1
    out = capsys.readouterr().out
    assert "frame '0001': depth ground truth holds nan" in out
    assert "2 problems in 3 frames" in out


@pytest.mark.parametrize("command", ["info", "check"])
def test_a_file_that_is_no_cache(
    tmp_path: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.h5").write_text("[bold]no cache[/bold]")
    assert jrn(monkeypatch, "cache", command, tmp_path / "a.h5") == 1
    assert "a.h5 is no HDF5 file" in capsys.readouterr().err
    assert jrn(monkeypatch, "cache", command, tmp_path / "[b].h5") == 1
    assert "[b].h5 does not exist" in capsys.readouterr().err


def test_square_brackets_in_a_path_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "x [test]"
    path = write_small_cache(folder / "a.h5", train=2, test=1, predict=0)
    for command in (["info"], ["check"], ["show", "--out", folder / "s.png"]):
        assert jrn(monkeypatch, "cache", command[0], path, *command[1:]) == 0
        out = capsys.readouterr().out
        assert str(folder) in out
        assert "0.0 MB" not in out


def test_a_plugin_that_is_not_there(
    small_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jrn(monkeypatch, "--plugin", "no.such", "cache", "info", small_cache) == 1
    assert "plug-in 'no.such'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["cache"], ["cache", "nyu"], ["cache", "info"]])
def test_help_has_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="jrn")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert len(command) < 2 or "Example: jrn cache" in words or "Examples: jrn cache" in words


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jrn_lightning.cli import app; app(['cache', '--help'], "
        "standalone_mode=False); print(sorted({'torch', 'matplotlib', 'pandas', 'wandb', 'h5py'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_a_folder_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jrn(monkeypatch, "cache", "info", tmp_path) == 1
    assert f"{tmp_path} is a folder. Give the file" in capsys.readouterr().err


def test_a_place_where_nothing_can_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    rooms = ("--train-rooms", 3, "--test-rooms", 1, "--views", 1)
    assert jrn(monkeypatch, "cache", "rooms", "--out", tmp_path / "file" / "a.h5", *rooms) == 1
    told = capsys.readouterr().err
    assert "Not a directory" in told
    assert "Choose a folder" in told


def test_an_encoder_that_is_not_there_is_told_before_anything_is_made(
    folder: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    frames = folder[:4]
    options = ("--single-task", "timm:resnet18", "--out", tmp_path / "b.h5")
    assert jrn(monkeypatch, *frames, *options) == 1
    assert "encoder=timm:resnet18 needs timm" in capsys.readouterr().err
    assert not list(tmp_path.glob("b*"))


def test_fewer_rooms_than_folds_are_told_before_they_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JRN_HOME", str(tmp_path / "home"))
    assert jrn(monkeypatch, "cache", "rooms", "--out", tmp_path / "a.h5", "--train-rooms", 2) == 1
    assert "2 training rooms cannot be dealt into 3 folds" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
