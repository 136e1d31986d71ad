"""``jrn influence`` and ``jrn protocols`` as a user runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks.records import write_sweep
from jrn_lightning.analysis.findings import COLUMNS
from jrn_lightning.cli import app
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation.evaluator import LADDER
from jrn_lightning.records.record import plan


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "nyu"
    return write_sweep(folder, architectures=("cat60", "cat5"), seeds=2, images=24)


@pytest.fixture
def sweep(_made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(_made, tmp_path / "nyu")


def run(*arguments: object, columns: int = 140) -> str:
    result = CliRunner().invoke(
        app, [*map(str, arguments)], catch_exceptions=False, env={"COLUMNS": str(columns)}
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, RecordError), result.output
    return str(result.exception)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_influence_draws_what_it_found(sweep: Path, tmp_path: Path) -> None:
    output = run("influence", sweep, "--figures", "--out", tmp_path)
    for kind in ("influence", "effects", "mute_values", "points", "strata", "ladder"):
        path = tmp_path / f"{kind}_depth_to_semantic.png"
        assert path.read_bytes().startswith(b"\x89PNG"), kind
        assert str(path) in output
    assert (tmp_path / "differences_gain_semantic_to_depth.png").is_file()


def test_influence_prints_and_writes_every_frame(sweep: Path, tmp_path: Path) -> None:
    (sweep / "cat5" / "seed1" / f"{LADDER}.h5").unlink()
    before = files(sweep)
    output = run("influence", sweep, "--protocol", "eigen", "--out", tmp_path / "out")
    assert files(sweep) == before  # it only reads
    for words in (
        "effects on depth",
        "breakage",
        "of 8 are significant",
        "ω by what stands in for depth",
        "other_image",
        "ω by kind of pixels",
        "gain by kind of pixels",
        "label_edge",
        "A by dose of semantic",
        "half truth",
        "frames of largest and smallest gain, depth → semantic",
        "Figure 8, depth → semantic: ",
        "protocol eigen, pooled over pixels",
        "cat5/seed1: left out of the ladder: it holds none",
    ):
        assert words in output, words
    written = {p.stem: pd.read_csv(p) for p in (tmp_path / "out").glob("*.csv")}
    assert set(written) == set(COLUMNS) - {"protocols"}
    for name, frame in written.items():
        assert tuple(frame.columns) == COLUMNS[name]
    # What is printed is what is written.
    effects = written["effects"]
    gain = effects[(effects["arch"] == "cat60") & (effects["effect"] == "gain")].iloc[0]
    assert f"[{gain['low']:+.2f}, {gain['high']:+.2f}]" in output


def test_nothing_is_cut_in_a_terminal_of_80_columns(sweep: Path) -> None:
    for command in ("influence", "protocols"):
        output = run(command, sweep, columns=80)
        assert "…" not in output
        assert max(map(len, output.splitlines()[:-1])) <= 80  # the last one is a path


def test_frames_are_ranked_by_their_gain(sweep: Path) -> None:
    output = run("influence", sweep)
    images = pd.read_csv(sweep / "influence" / "images.csv", dtype={"id": str})
    rows = images[images["target"] == "semantic"]
    best = rows.groupby("id")["gain"].mean().idxmax()
    lines = output.partition("smallest gain, depth → semantic")[2].splitlines()
    assert lines[2].split()[0] == best


def test_one_seed_is_told(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "one", architectures=("cat60", "cat5"), seeds=1, images=24)
    output = run("influence", sweep)
    assert "over scenes alone (one seed)" in output
    assert "significant (of one seed each)" in output
    assert "averaged over images" in run("influence", sweep, "--pooling", "images")


def test_influence_shows_what_there_is(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path / "little", architectures=("cat1",), seeds=1, images=9, controls=False,
        parts=("statistics",),
    )  # fmt: skip
    output = run("influence", sweep)
    assert "effects on depth" in output
    assert "breakage" not in output
    assert "kind of pixels" not in output
    assert (sweep / "influence" / "ladder.csv").read_text().startswith("arch,computation,")


def test_protocols_marks_the_nearest_to_the_published(sweep: Path) -> None:
    output = run("protocols", sweep)
    table = pd.read_csv(sweep / "influence" / "protocols.csv")
    assert set(table["arch"]) == {"input", "cat60", "cat5"}
    assert "published" in output
    assert set(table["truth"]) == {"truth"}  # records that name none
    assert ["convention", "truth", "pooling"] in [line.split()[:3] for line in output.splitlines()]
    assert "0.1250" in output  # rel(sqr) of the paper's input
    rows = table[(table["arch"] == "input") & (table["measure"] == "mean_iou")]
    assert "Over all of them:" in output
    for value in rows["value"]:
        assert f"{100 * value:.2f}" in output
    assert "published" not in run("protocols", sweep, "--no-published")


def test_the_marked_protocol_is_the_nearest(sweep: Path) -> None:
    """By hand, over all measures that the paper prints for its input."""
    output = run("protocols", sweep)
    table = pd.read_csv(sweep / "influence" / "protocols.csv")
    rows = table[(table["arch"] == "input") & (table["modality"] == "semantic")]
    printed = {"mean_iou": 0.53284, "pixel_accuracy": 0.72268}
    away: dict[str, float] = {}
    for place, group in rows.groupby(["crop", "convention", "truth", "pooling"], sort=False):
        values = group.set_index("measure")["value"]
        away[" / ".join(place)] = sum(abs(values[m] / p - 1) for m, p in printed.items()) / 2
    nearest = min(away, key=lambda place: away[place])
    assert f"{nearest}, {100 * away[nearest]:.1f} % away" in output


def test_protocols_of_one_architecture(sweep: Path) -> None:
    output = run("protocols", sweep, "--arch", "cat5")
    assert "depth, cat5" in output
    assert "capped" in output
    assert "published" not in output
    error = fail("protocols", sweep, "--arch", "cat7")
    assert "cat7" in error
    assert "input, cat5, cat60" in error


@pytest.mark.parametrize("command", ["influence", "protocols"])
def test_nothing_to_show_is_told(tmp_path: Path, command: str) -> None:
    assert "no such folder" in fail(command, tmp_path / "nowhere")
    plan(tmp_path, ["cat60/seed0"])
    assert "no job has finished" in fail(command, tmp_path)


def test_wrong_choices_and_folders_are_told(sweep: Path, tmp_path: Path) -> None:
    assert "full, eigen" in fail("influence", sweep, "--protocol", "half")
    (tmp_path / "file").write_text("")
    assert "--out" in fail("protocols", sweep, "--out", tmp_path / "file")
