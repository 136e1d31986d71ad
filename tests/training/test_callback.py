"""What a multirun is going to do, noted before its first job."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from jrn_lightning.records.record import SWEPT, planned
from jrn_lightning.training.callback import SweepCallback
from tests.jobs import ROOT


@pytest.fixture
def plan(tmp_path: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The jobs of a sweep, by the callback as Hydra calls it."""
    monkeypatch.setenv(SWEPT, "")  # restored in the end: the callback sets it

    def jobs(*overrides: str, sweep: str = "nyu") -> list[str]:

        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            common = ("data=nyu", f"data.cache={small_cache}", f"output={tmp_path}")
            # Hydra composes the multirun from what is not swept.
            fixed = [o for o in overrides if "," not in o]
            cfg = compose("config", [*fixed, *common], return_hydra_config=True)
            cfg.hydra.overrides.task = [*overrides, *common]
            HydraConfig.instance().set_config(cfg)
            SweepCallback().on_multirun_start(cfg)
        return planned(tmp_path / sweep)

    return jobs


def test_gain_trains_a_joint_network_and_two_controls(plan: Any) -> None:
    jobs = plan("experiment=gain", "arch=cat60,sum60", "seed=0,1,2")
    told = ("", ",recipe.muted=[depth]", ",recipe.muted=[semantic]")
    assert jobs == [
        f"{arch}{muted}/seed{seed}"
        for muted, arch, seed in product(told, ("cat60", "sum60"), range(3))
    ]


def test_an_experiment_s_lists_can_be_given_anew(plan: Any) -> None:
    jobs = plan("experiment=gain", "recipe.muted=[],[semantic]")
    assert jobs == ["cat60/seed0", "cat60,recipe.muted=[semantic]/seed0"]


def test_a_width_sweep_has_fifty_networks_and_more_each_with_a_folder_of_its_own(
    plan: Any,
) -> None:
    jobs = plan("experiment=width-sweep", sweep="nyu-widths")
    assert len(jobs) == len(set(jobs)) >= 50
    assert "sum,arch.fusion_channels=3,arch.stem_channels=20/seed1" in jobs
    assert {job.partition(",")[0] for job in jobs} == {"cat", "sum"}


def test_a_width_sweep_can_be_made_smaller(plan: Any) -> None:
    jobs = plan(
        "experiment=width-sweep", "arch=cat", "arch.fusion_channels=2,4", "arch.stem_channels=20",
        "seed=5", sweep="nyu-widths",
    )  # fmt: skip
    assert jobs == [f"cat,arch.fusion_channels={c},arch.stem_channels=20/seed5" for c in (2, 4)]


@pytest.mark.parametrize("name", ["mute-values", "oracle-ladder"])
def test_what_only_evaluates_adds_no_network(plan: Any, name: str) -> None:
    assert plan(f"experiment={name}", "arch=cat1,cat5") == ["cat1/seed0", "cat5/seed0"]
