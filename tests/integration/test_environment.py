"""What shells, clusters and terminals leave in a command's environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jrn_lightning.errors import ConfigError
from jrn_lightning.predictors.fill import HOME, home
from jrn_lightning.records.record import plan, planned
from jrn_lightning.training import config
from tests.jobs import command, composed


def test_a_job_runs_to_its_end_whatever_the_shell_has_left(
    small_cache: Path, tmp_path: Path
) -> None:
    """Ranks of another program, an interactive allocation, ``srun``, a terminal without UTF-8."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "srun").chmod(0o755)
    shutil.copy(small_cache, tmp_path / "a cache, no=1.h5")
    left = {
        "LOCAL_RANK": "1",
        "NODE_RANK": "2",
        "WORLD_SIZE": "8",
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_JOB_NAME": "bash",
        "PYTHONIOENCODING": "latin-1",
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    words = command(small_cache, Path("runs"), "arch=cat1", "recipe.epochs=1")
    words = [w for w in words if not w.startswith("data.cache")]
    words += ["data.cache=a cache, no=1.h5", "sweep=2024_05_01", "hydra.job.chdir=true"]
    done = subprocess.run(
        words,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **left},
        timeout=300,
        check=False,
    )
    said = done.stderr.decode("latin-1")
    assert done.returncode == 0, said
    assert "srun" not in said
    sweep = tmp_path / "runs" / "2024_05_01"
    record = json.loads((sweep / "cat1" / "seed0" / "results.json").read_text())
    assert record["status"] == "finished"
    assert (sweep / "comparison.md").exists()
    assert b"Comparison: runs/2024_05_01" in done.stdout


def test_wandb_s_own_variables_are_used_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert config.wandb_settings(composed())["project"] == "jrn-lightning"
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_ENTITY", "lab")
    found = config.wandb_settings(composed())
    assert (found["project"], found["entity"]) == ("ours", "lab")
    assert config.wandb_settings(composed("logger.project=mine"))["project"] == "mine"


def test_the_home_is_looked_for_where_the_user_says_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(HOME, "~/kept")
    assert home() == tmp_path / "kept"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    monkeypatch.setenv(HOME, str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv(HOME)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ConfigError, match=f"{HOME}=/some/folder"):
        home()


def test_sweeps_that_are_planned_at_once_lose_no_job(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from jrn_lightning.records.record import plan\n"
        "for k in range(25): plan(Path(sys.argv[1]), [f'{sys.argv[2]}{k}/seed0'])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], env=os.environ)
        for name in "ab"
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    plan(tmp_path, [])
    assert sorted(planned(tmp_path)) == sorted(f"{n}{k}/seed0" for n in "ab" for k in range(25))
