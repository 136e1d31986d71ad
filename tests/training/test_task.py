"""The joint loss, and the test pass over all inference setups."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.evaluation import Evaluator
from jrn_lightning.networks import ConstantMean
from jrn_lightning.training.task import JointRefinement
from tests.checkpoints import task_for


@pytest.fixture
def task(small_cache: Path) -> JointRefinement:
    return task_for(small_cache, fusion_channels=4)


@pytest.fixture
def data(small_cache: Path) -> CacheDataModule:
    data = CacheDataModule(small_cache, batch_size=3)
    data.setup()
    return data


def evaluated(task: JointRefinement, batches: list[Any]) -> dict[str, Any]:
    task.on_test_epoch_start()
    with torch.no_grad():
        for i, batch in enumerate(batches):
            task.test_step(batch, i)
    return task.test_statistics["statistics"].compute()[1]


def test_the_joint_loss_is_equation_1(task: JointRefinement, data: CacheDataModule) -> None:
    """In float64, pixel by pixel, over the n pixels that have both truths."""
    batch = next(iter(data.train_dataloader()))
    with torch.no_grad():
        outputs = task(batch["input"])
        found = sum(task.losses(outputs, batch["target"], batch["valid"]).values())
    depth, label = (batch["target"][m].numpy() for m in ("depth", "semantic"))
    z = outputs["semantic"].double().numpy()
    refined = outputs["depth"].double().numpy()[:, 0]
    known = np.argwhere((depth > 0) & (label != 255))
    total = 0.0
    for b, y, x in known:
        truth = float(depth[b, y, x])
        total += (refined[b, y, x] - truth) ** 2 / truth
        probability = np.exp(z[b, :, y, x]) / np.exp(z[b, :, y, x]).sum()
        total -= np.log(probability[label[b, y, x]])
    assert len(known) < depth.size
    assert float(found) == pytest.approx(total / len(known), rel=1e-5)


def test_each_setup_is_one_row(task: JointRefinement, data: CacheDataModule) -> None:
    """The untouched input, then the outputs with all inputs, and with either of them zero."""
    batches = list(data.test_dataloader())
    rows = evaluated(task, batches)
    assert task.evaluator.setups == ("input", "joint", "muted_depth", "muted_semantic")
    for i, batch in enumerate(batches):
        truth = batch["target"]["depth"].double()
        known = truth > 0
        given = batch["input"]
        maps = [batch["untouched"]["depth"]]
        for muted in (None, "depth", "semantic"):
            inputs = {m: torch.zeros_like(x) if m == muted else x for m, x in given.items()}
            with torch.no_grad():
                output = task.network(inputs)["depth"]
            maps.append(F.interpolate(output, truth.shape[-2:], mode="bilinear"))
        for s, depth in enumerate(maps):
            error = (depth[:, 0].double() - truth)[known]
            n, abs_rel, sq_rel = rows["depth"][i, s, 0, :3]
            assert n == known.sum()
            assert abs_rel == pytest.approx(float((error.abs() / truth[known]).sum()), rel=1e-5)
            assert sq_rel == pytest.approx(float((error**2 / truth[known]).sum()), rel=1e-5)


@pytest.mark.parametrize("value", ["zero", "constant"])
@pytest.mark.parametrize("poisoned", ["depth", "semantic"])
def test_what_a_muted_input_holds_is_in_no_statistic(
    task: JointRefinement, data: CacheDataModule, poisoned: str, value: str
) -> None:
    if value == "constant":
        constant = ConstantMean(data.input_statistics.mean)
        task.evaluator = Evaluator(task.modalities, mute_value=constant)
    batches = list(data.test_dataloader())[:2]
    clean = evaluated(task, batches)
    for batch in batches:
        batch["input"][poisoned].fill_(torch.nan)
    dirty = evaluated(task, batches)
    row = task.evaluator.setups.index(f"muted_{poisoned}")
    for m in ("depth", "semantic"):
        assert np.isfinite(dirty[m][:, row]).all()
        assert (dirty[m][:, row] == clean[m][:, row]).all()
        joint = task.evaluator.setups.index("joint")
        assert (np.nan_to_num(dirty[m][:, joint]) != clean[m][:, joint]).any()


def test_modality_dropout_takes_the_share_that_it_is_told_and_leaves_something(
    task: JointRefinement, data: CacheDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 400 steps a quarter mutes one modality, each as often; never one that is alone."""
    batch = next(iter(data.train_dataloader()))
    seen: list[tuple[str, ...]] = []
    step = 0

    def forward(inputs: Any) -> Any:
        seen.append(tuple(m for m, x in inputs.items() if not x.any()))
        return {}

    monkeypatch.setattr(task.network, "forward", forward)
    monkeypatch.setattr(task, "losses", lambda *_: {"none": torch.zeros(())})
    monkeypatch.setattr(task, "_note", lambda _: None)
    monkeypatch.setattr(JointRefinement, "global_step", property(lambda _: step))
    task.dropout = 0.25
    for step in range(400):  # noqa: B007  # read above
        task.training_step(batch, 0)
    counts = {key: seen.count(key) for key in set(seen)}
    assert set(counts) == {(), ("depth",), ("semantic",)}
    # Binomial: 100 of 400 and 50 of 100, four deviations wide.
    assert 65 <= counts["depth",] + counts["semantic",] <= 135
    assert 25 <= counts["depth",] <= 75
    task.always_muted, seen[:] = ("depth",), []
    for step in range(50):  # noqa: B007
        task.training_step(batch, 0)
    assert set(seen) == {("depth",)}  # the control's own, nothing beside it


def test_what_a_control_never_sees_moves_no_loss_and_no_output(
    task: JointRefinement, data: CacheDataModule
) -> None:
    task.always_muted = ("semantic",)
    batch = next(iter(data.train_dataloader()))
    with torch.no_grad():
        clean = task(batch["input"])
        batch["input"]["semantic"].fill_(torch.nan)
        dirty = task(batch["input"])
        given = {"depth": batch["input"]["depth"], "semantic": torch.zeros(3, 5, 48, 64)}
        expected = task.network(given)
    for m in ("depth", "semantic"):
        assert torch.equal(clean[m], dirty[m])
        assert torch.equal(clean[m], expected[m])


def test_after_one_epoch_it_says_how_long_the_others_take(
    task: JointRefinement, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(JointRefinement, "trainer", SimpleNamespace(max_epochs=12, current_epoch=0))
    monkeypatch.setattr("time.monotonic", iter([0.0, 30.0, 60.0]).__next__)
    caplog.set_level("INFO")
    task.on_train_start()
    task.on_train_epoch_end()
    assert "about 6 minutes: 12 epochs" in caplog.text
