"""What a step sends to the device and waits for there, found without one: ``meta`` stands for it.

A ``meta`` tensor has no values, so whatever asks the device for one (``item``, ``tolist``, ``cpu``,
``nonzero``, ``bincount``) raises; what crosses from one device to another is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.evaluation import Evaluator
from jrn_lightning.networks import MUTE_VALUES
from tests.caches import write_small_cache
from tests.checkpoints import task_for
from tests.jobs import job

META = torch.device("meta")


class Traffic(TorchDispatchMode):
    """Notes the operations that read tensors of one device and write to another."""

    def __init__(self) -> None:
        super().__init__()
        self.crossed: list[str] = []
        self.converted = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
        devices = {x.device for x in tensors}
        if len(devices) > 1:
            self.crossed.append(f"{func} {[tuple(x.shape) for x in tensors]}")
        self.converted += META in devices and func is torch.ops.aten._to_copy.default
        return result


@pytest.fixture
def data(tmp_path: Path) -> Iterator[CacheDataModule]:
    path = write_small_cache(tmp_path / "two.h5", predict=0, raw=True)
    data = CacheDataModule(path, batch_size=2, alternative=True)
    data.setup()
    yield data
    data.cache.close()


def sent(frames: CachedFrames | None) -> CachedFrames:
    """On the device, as a trainer's call of ``setup`` leaves them."""
    assert frames is not None
    frames.load()
    frames.to(META)
    return frames


def batch(data: CacheDataModule, frames: CachedFrames, *positions: int) -> Any:
    """From the loader to the step."""
    native = frames.__getitems__(positions)
    return frames.prepare(data.transfer_batch_to_device(native, META, 0))


def test_a_training_step_sends_nothing_and_waits_for_nothing(data: CacheDataModule) -> None:
    task, frames = task_for(data.path).to(META), sent(data.train)
    for step in range(2):  # the first sends what stays there, as matrices that resample
        with Traffic() as traffic:
            task.training_step(batch(data, frames, 3, 1), step).backward()
    assert traffic.crossed == []
    assert traffic.converted == 1  # labels from bytes


def test_a_test_step_sends_nothing_and_waits_for_nothing(
    data: CacheDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every mute value, the ladder, strata, and each convention and ground truth."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta
    task = task_for(data.path).to(META)
    task.evaluator = Evaluator(
        data.modalities,
        mute_values={name: [value.of(data, 0)] for name, value in MUTE_VALUES.items()},
        noise=MUTE_VALUES["noise"].of(data, 0),
        strata=True,
        grid=True,
        truths=data.cache.split("test").truths,
    )
    frames = sent(data.test)
    task.on_test_epoch_start()
    with torch.no_grad():
        for step in range(2):
            with Traffic() as traffic:
                task.test_step(batch(data, frames, step), step)
    assert traffic.crossed == []


def test_a_job_sends_frames_where_its_trainer_is_and_prepares_batches_there(
    small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, sent, order = [], [], []
    to, transfer = CachedFrames.to, CacheDataModule.transfer_batch_to_device
    prepare = CachedFrames.prepare

    def to_noted(self: CachedFrames, device: torch.device) -> None:
        moved.append((self.split.name, device.type))
        to(self, device)

    def transfer_noted(self: CacheDataModule, batch: Any, device: Any, index: int) -> Any:
        sent.append(set(batch))
        order.append("sent")
        return transfer(self, batch, device, index)

    def prepare_noted(self: CachedFrames, batch: Any) -> Any:
        order.append("prepared")
        return prepare(self, batch)

    monkeypatch.setattr(CachedFrames, "to", to_noted)
    monkeypatch.setattr(CacheDataModule, "transfer_batch_to_device", transfer_noted)
    monkeypatch.setattr(CachedFrames, "prepare", prepare_noted)
    job(small_cache, tmp_path, "arch=cat1", "recipe.epochs=1")
    assert ("train", "cpu") in moved
    assert all(keys == {"id", "index", "prediction", "target"} for keys in sent)
    assert order == ["sent", "prepared"] * len(sent)
    assert len(sent) > 12  # of training, validation and test
