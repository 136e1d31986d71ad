"""Jobs as the tests run them: composed from the real conf/, small and quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import jrn_lightning.training.main  # noqa: F401  # registers the schema
from jrn_lightning.training.job import run_job

ROOT = Path(__file__).parents[1]
# One precision on every machine: what a processor does well differs.
SMALL = (
    "evaluation=full",
    "evaluation.resamples=200",
    "logger=none",
    "trainer=cpu",
    "trainer.precision=float32",
)


def composed(*overrides: str) -> DictConfig:
    """The configuration that ``run.py`` would see."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(overrides))


def job(cache: Path, folder: Path, *overrides: str) -> dict[str, Any]:
    """Run a job of a few seconds in this process."""
    return run_job(composed("data=nyu", f"data.cache={cache}", *SMALL, *overrides), folder)


def command(cache: Path, output: Path, *arguments: str) -> list[str]:
    """The real command line of ``run.py`` for a small job or sweep."""
    return [
        sys.executable,
        str(ROOT / "run.py"),
        *arguments,
        "data=nyu",
        f"data.cache={cache}",
        f"output={output}",
        *SMALL,
    ]


def run(cache: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``run.py`` to its end, as a user would."""
    return subprocess.run(
        command(cache, output, *arguments),
        capture_output=True,
        text=True,
        cwd=output.parent,
        timeout=300,
        check=False,
    )
