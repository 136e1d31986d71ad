from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from jrn_lightning.analysis.collect import collect
from jrn_lightning.cli import app
from jrn_lightning.errors import ConfigError, JRNError, RecordError
from jrn_lightning.records.record import plan
from tests.report.sweeps import make_sweep

FILES = (
    "comparison.csv",
    "comparison.md",
    "influence_depth_to_semantic.png",
    "influence_semantic_to_depth.png",
)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("runs") / "nyu")


@pytest.fixture
def sweep(_made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_made, tmp_path / "nyu [test]")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(
        app, ["report", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_prints_and_writes_the_comparison(sweep: Path) -> None:
    output = run(sweep)
    for name in FILES:
        assert (sweep / name).stat().st_size > 500
        assert f"written: {sweep / name}" in output
    assert not list(sweep.glob(".comparison*"))
    assert "cat60" in output
    assert "failed: cat5/seed1: out of memory" in output
    assert "missing: cat1/seed0: has not run" in output
    assert "warning: cat60/seed0: a dead stem" in output
    assert "3 of 5 jobs are finished." in output


def test_the_csv_holds_the_collected_numbers(sweep: Path) -> None:
    run(sweep, "--protocol", "eigen", "--pooling", "images")
    table = pd.read_csv(sweep / "comparison.csv")
    expected = collect(sweep).by_architecture("eigen", "images").set_index("arch")
    means = table[table["kind"] == "mean"].set_index("arch")
    untouched = table[table["kind"] == "input"].set_index("arch")
    assert list(means.index) == ["cat60", "cat5", "cat1"]
    for column in ("depth/sq_rel", "semantic/mean_iou_low", "omega/depth->semantic"):
        for arch in ("cat60", "cat5"):
            assert means.loc[arch, column] == pytest.approx(expected.loc[arch, column])
    assert untouched.loc["input", "depth/rms"] == pytest.approx(expected.loc["input", "depth/rms"])
    assert pd.isna(means.loc["cat1", "depth/sq_rel"])


def test_writing_again_replaces(sweep: Path) -> None:
    run(sweep)
    (sweep / "comparison.md").write_text("old")
    run(sweep, "--no-published")
    text = (sweep / "comparison.md").read_text()
    assert "old" not in text
    assert "published" not in text


def test_out_leaves_the_sweep_alone(sweep: Path, tmp_path: Path) -> None:
    run(sweep, "--out", tmp_path / "elsewhere" / "here")
    assert sorted(p.name for p in (tmp_path / "elsewhere" / "here").iterdir()) == sorted(FILES)
    assert not (sweep / "comparison.csv").exists()


def test_wandb_says_where_the_run_lies(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jrn_lightning.report import wandb

    asked = {}

    def log_report(summary: object, folder: Path, **options: object) -> str:
        asked.update(options, folder=folder)
        return "offline, upload with: wandb sync somewhere"

    monkeypatch.setattr(wandb, "log_report", log_report)
    output = run(sweep, "--wandb", "--project", "mine")
    assert "W&B: offline, upload with: wandb sync somewhere" in output
    assert asked["findings"].effects["arch"].nunique() == 2  # type: ignore[attr-defined]
    assert "effects/depth_to_semantic" in asked["figures"]  # type: ignore[operator]
    assert not any("influence" in name for name in asked["figures"])  # type: ignore[attr-defined]
    del asked["findings"], asked["figures"]
    assert asked == {"folder": sweep, "project": "mine", "entity": None}


def test_begins_with_the_answer(sweep: Path) -> None:
    first, *_ = run(sweep).split("\ndepth\n")  # the head of the first table
    assert first.startswith("The answer\n• ")
    words = " ".join(first.split())
    assert "Gain not measured; ω is" in words  # there are no controls
    assert "experiment=gain" in words
    assert "2 of 5 jobs are not finished" in words


def test_html_writes_one_page_more(sweep: Path) -> None:
    output = run(sweep, "--html", "--protocol", "eigen")
    assert f"written: {sweep / 'report.html'}" in output
    text = (sweep / "report.html").read_text(encoding="utf-8")
    assert "protocol eigen, pooled over pixels" in text
    assert "cat5/seed1" in text
    assert "experiment=mute-values" in text  # this part was not recorded


def fail(*arguments: object) -> JRNError:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert isinstance(result.exception, JRNError), result.output
    return result.exception


def test_no_such_folder(tmp_path: Path) -> None:
    error = fail(tmp_path / "nowhere")
    assert isinstance(error, RecordError)
    assert "nowhere" in str(error)
    assert "no such folder" in str(error)


def test_not_a_sweep(tmp_path: Path) -> None:
    assert "run.py" in str(fail(tmp_path))


def test_no_finished_job_is_written_down_and_refused(tmp_path: Path) -> None:
    plan(tmp_path, ["cat60/seed0"])
    assert "no job has finished" in str(fail(tmp_path))
    assert "cat60" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("option", ["--protocol", "--pooling"])
def test_unknown_choices_are_refused_with_the_known_ones(sweep: Path, option: str) -> None:
    error = fail(sweep, option, "nonsense")
    assert isinstance(error, (ConfigError, RecordError))
    assert "nonsense" in str(error)
    assert ("full, eigen" if option == "--protocol" else "pixels, images") in str(error)


def test_a_folder_that_cannot_be_written(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--out" in str(fail(sweep, "--out", tmp_path / "file"))
    assert not (sweep / "comparison.csv").exists()
