"""The real commands, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest

from tests.jobs import ROOT, command, run


def _results(folder: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((folder / "results.json").read_text())
    return data


def test_a_sweep_with_a_job_that_fails_is_resumed_and_compared(
    small_cache: Path, tmp_path: Path
) -> None:
    rates = "recipe.learning_rate=0.005,1e30"  # which diverges
    arguments = ("-m", "arch=cat1,cat5", rates, "recipe.clip_norm=null", "recipe.epochs=1")
    output = tmp_path / "runs"
    first = run(small_cache, output, *arguments)
    assert first.returncode == 1
    # At the end, where tables do not push it out of sight.
    last = first.stderr.rstrip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "the training diverged" in last
    sweep = output / "nyu"
    jobs = sorted(p.parent.parent.name for p in sweep.glob("*/seed0/results.json"))
    assert len(jobs) == 4
    status = {name: _results(sweep / name / "seed0")["status"] for name in jobs}
    assert sorted(status.values()) == ["failed", "failed", "finished", "finished"]
    text = (sweep / "comparison.md").read_text()
    assert "failed" in text
    assert "1e+30" in text
    table = pd.read_csv(sweep / "comparison.csv")
    assert len(table) >= 3
    assert "2 of 4" in first.stdout or "failed" in first.stdout

    def stamps() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in sweep.glob("*/seed0/statistics.h5")}

    before = stamps()
    again = run(small_cache, output, *arguments)
    assert again.returncode == 1
    assert stamps() == before
    changed = run(small_cache, output, *arguments, "arch=cat10,cat1", "recipe.momentum=0.5")
    assert changed.returncode == 2
    assert "recipe.momentum" in changed.stderr
    assert not (sweep / "cat10,recipe.learning_rate=0.005").exists()  # before anything ran
    assert stamps() == before


def test_a_terminated_sweep_does_not_end_as_if_all_were_done() -> None:
    # As Lightning leaves after SIGTERM: without a code.
    code = "import hydra, sys; from jrn_lightning.training import main; "
    code += "hydra.main = lambda **_: lambda _: sys.exit; main.launch([])"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 143


def test_gain_in_one_command(small_cache: Path, tmp_path: Path) -> None:
    """A joint network and one without each modality, told apart, and found again."""
    output = tmp_path / "runs"
    arguments = ("experiment=gain", "arch=cat1", "recipe.epochs=1")
    told = ("", ",recipe.muted=[depth]", ",recipe.muted=[semantic]")
    paths = [output / "nyu" / f"cat1{muted}" / "seed0" for muted in told]
    alone = run(small_cache, output, *arguments)
    assert alone.returncode == 0, alone.stderr
    before = (paths[0] / "statistics.h5").stat().st_mtime_ns
    result = run(small_cache, output, "-m", *arguments)
    assert result.returncode == 0, result.stderr
    # The joint network is the one that was there.
    assert (paths[0] / "statistics.h5").stat().st_mtime_ns == before
    joint, *controls = (_results(path) for path in paths)
    assert joint["setups"] == ["input", "joint", "muted_depth", "muted_semantic"]
    for control, modality in zip(controls, ("depth", "semantic"), strict=True):
        assert control["status"] == "finished"
        assert control["muted"] == [modality]
        assert control["setups"] == ["input", "joint"]
        assert not any(f"stem {modality}" in text for text in control["warnings"])  # type: ignore[attr-defined]
    unknown = run(small_cache, output, *arguments, "recipe.muted=[normals]")
    assert unknown.returncode != 0
    assert "recipe.muted" in unknown.stderr
    assert "depth, semantic" in unknown.stderr
    assert "Traceback" not in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-m", "arch=cat1,cat61"), "cat60"),
        (("-m", "arch=cat1", "recipe.epochs=1,0"), "recipe.epochs is 0"),
        (("-m", "arch=cat1,cat1"), "two jobs"),
        (("arch=cat61",), "cat60"),
        (("recipe.epochs=x",), "recipe.epochs"),
        (("recipe=slow",), "paper"),
        (("arch.fusion_chanels=30",), "Could not override 'arch.fusion_chanels'"),
        (("-m", "arch=cat1", "+foo=1,2"), "no key foo"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    small_cache: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    output = tmp_path / "runs"
    result = run(small_cache, output, *arguments)
    assert result.returncode != 0
    assert told in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not list(output.rglob("results.json"))


def test_help_lists_the_choices(small_cache: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=tmp_path,
    )
    for word in ("arch:", "cat60", "recipe:", "paper", "trainer:", "smoke"):
        assert word in result.stdout


@pytest.mark.slow
def test_two_processes_train_and_test_every_frame_once(small_cache: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    result = run(
        small_cache, output, "arch=cat1", "recipe.epochs=1", "trainer=ddp",
        "trainer.accelerator=cpu", "sweep=ddp",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    data = _results(output / "ddp" / "cat1" / "seed0")
    assert data["status"] == "finished"
    assert data["frames"]["test"] == 6  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib"])
def test_jobs_side_by_side_make_one_comparison(
    small_cache: Path, tmp_path: Path, launcher: str
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher}_launcher")
    output = tmp_path / "runs"
    result = run(
        small_cache, output, "-m", f"hydra/launcher={launcher}", "arch=cat1,cat5",
        "recipe.epochs=1", "seed=0,1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(output / "nyu" / "comparison.csv")
    assert {"cat1", "cat5"} <= set(table["arch"])
    assert len(list((output / "nyu").glob("*/seed*/results.json"))) == 4
    assert "Comparison: " in result.stdout  # the job that completes the sweep says so


def test_the_embedded_rooms_need_nothing_but_the_command(tmp_path: Path) -> None:
    small = [f"data.rooms.{key}={n}" for key, n in (("train_rooms", 6), ("test_rooms", 2))]
    small += ["data.rooms.views=2", "data.rooms.height=48", "data.rooms.width=64"]
    networks = {"image": "[48,64]", "stride": 4, "width": 8, "epochs": 1, "folds": 2}
    small += [f"data.single_task.{key}={value}" for key, value in networks.items()]
    small += ["data.modalities=[depth,semantic,normals]"]
    command = [
        *(sys.executable, str(ROOT / "run.py"), "-m", "arch=cat1,cat5", "recipe.epochs=1"),
        *("evaluation.resamples=200", "trainer=cpu", "logger=none", *small),
    ]
    environment = os.environ | {"JRN_HOME": str(tmp_path / "home")}

    def sweep() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=300,
            check=False,
        )

    first = sweep()
    assert first.returncode == 0, first.stderr
    assert "Rendering 16 frames" in first.stderr
    assert first.stdout.rstrip().endswith("figures beside them.")
    folder = tmp_path / "runs" / "rooms"
    results = _results(folder / "cat5" / "seed0")
    assert results["status"] == "finished"
    assert results["protocols"] == ["full"]
    assert {(r["source"], r["target"]) for r in results["influence"]} == set(
        permutations(("depth", "semantic", "normals"), 2)
    )
    assert Path(str(results["single_task"])).is_dir()
    # Found again: nothing is rendered, trained or tested a second time.
    again = sweep()
    assert again.returncode == 0, again.stderr
    assert "Rendering" not in again.stderr


def test_a_cache_of_ones_own_is_not_taken_for_the_rooms(small_cache: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "logger=none", f"data.cache={small_cache}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert result.returncode != 0
    assert "holds other data than the rooms" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.ckpt"))


def test_jrn_run_trains_from_anywhere_and_looks_into_ones_own_conf_first(
    small_cache: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "conf" / "recipe"
    recipe.mkdir(parents=True)
    text = (ROOT / "conf" / "recipe" / "default.yaml").read_text("utf-8")
    (recipe / "default.yaml").write_text(text.replace("epochs: 12", "epochs: 1"), "utf-8")
    (recipe / "mine.yaml").write_text(text.replace("epochs: 12", "epochs: 2"), "utf-8")
    swept = ("-m", "arch=cat1", "recipe=default,mine")
    _, _, *arguments = command(small_cache, tmp_path / "runs", *swept)
    result = subprocess.run(
        [sys.executable, "-c", "from jrn_lightning.cli import main; main()", "run", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for choice, epochs in (("default", 1), ("mine", 2)):
        job = tmp_path / "runs" / "nyu" / f"cat1,recipe={choice}" / "seed0"
        assert _results(job)["config"]["recipe.epochs"] == epochs


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_folder(small_cache: Path, tmp_path: Path) -> None:
    python = [sys.executable, "-m"]
    wheel = [*python, "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True, capture_output=True, timeout=300)
    target = tmp_path / "site"
    install = [*python, "pip", "install", "--no-deps", "--target", str(target)]
    subprocess.run([*install, *map(str, tmp_path.glob("*.whl"))], check=True, timeout=300)
    swept = ("-m", "arch=cat1,cat5", "recipe.epochs=1")
    _, _, *arguments = command(small_cache, tmp_path / "runs", *swept)
    code = "import jrn_lightning.cli as c; print(c.__file__, flush=True); c.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "run", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(target))
    assert len(list((tmp_path / "runs" / "nyu").glob("*/seed0/results.json"))) == 2
