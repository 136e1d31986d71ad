"""``jrn predict`` as a user calls it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cli import app, main
from tests.checkpoints import save, task_for


@pytest.fixture(scope="module")
def checkpoint(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    return save(task_for(small_cache, fusion_channels=2), folder / "last.ckpt")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_frames_without_truth_at_the_frames_size(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x [test]" / "refined.h5"
    said = run(checkpoint, small_cache, "--out", out, "--pictures", out.parent / "pictures")
    assert f"{out.parent / 'pictures'}: a picture of every frame" in said
    assert re.search(r" 48 × 64, \d+\.\d kB", said)
    assert f"{out}: 3 frames of split 'predict' refined by made" in said
    assert "depth, semantic at 48 × 64" in said
    with PredictionCache(out) as made:
        split = made.split("predict")
        assert split.spec("semantic").shape == (5, 48, 64)
        assert split.prediction("depth", 0).dtype == "float16"


def test_another_split_at_the_networks_size(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "refined.h5"
    options = ("--split", "test", "--size", "network", "--dtype", "float32")
    assert "6 frames of split 'test'" in run(checkpoint, small_cache, *options, "--out", out)
    with PredictionCache(out) as made:
        assert made.split("test").prediction("depth", 5).shape == (1, 24, 32)
        assert made.split("test").prediction("depth", 5).dtype == "float32"
        assert made.split("test").has_targets


def fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["jrn", "predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return caught.value.code, " ".join(error.split())


def test_a_mistake_is_one_message_and_exit_code_1(
    small_cache: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "refined.h5"
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(checkpoint.read_bytes()[:2000])
    for arguments, message in (
        ((cut, small_cache), "cut.ckpt"),
        ((tmp_path / "none.ckpt", small_cache), "none.ckpt: no such checkpoint"),
        ((checkpoint, tmp_path / "none.h5"), "none.h5 does not exist"),
        ((checkpoint, checkpoint), "last.ckpt is no HDF5 file"),
        ((checkpoint, small_cache, "--split", "val"), "no split 'val'"),
    ):
        code, error = fails(capsys, monkeypatch, *arguments, "--out", out)
        assert code == 1
        assert error.startswith("error: ")
        assert message in error
        assert not out.exists()
    out.write_text("mine")
    assert "--force" in fails(capsys, monkeypatch, checkpoint, small_cache, "--out", out)[1]
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--size", "huge"), "huge"), (("--dtype", "float64"), "float64"), ((), "--out")],
)
def test_a_wrong_option_is_a_usage_error(
    small_cache: Path, checkpoint: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = ("--out", str(tmp_path / "r.h5")) if arguments else ()
    result = CliRunner().invoke(
        app, ["predict", str(checkpoint), str(small_cache), *arguments, *out]
    )
    assert result.exit_code == 2
    assert message in result.output


def test_help_has_an_example() -> None:
    assert "Examples: jrn predict" in run("--help")
