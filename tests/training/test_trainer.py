"""The trainer of jobs and benchmarks, and the data module with and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.training.job import make_trainer
from tests.checkpoints import task_for

QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
}

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")


def test_weights_are_repeated_and_new_memory_is_left_as_it_is(small_cache: Path) -> None:
    states = []
    for _ in range(2):
        task, data = task_for(small_cache).train(), CacheDataModule(small_cache)
        make_trainer("cpu", False, max_epochs=1, **QUIET).fit(task, datamodule=data)
        data.cache.close()
        states.append(task.state_dict())
    assert all(torch.equal(x, states[1][name]) for name, x in states[0].items())
    assert torch.are_deterministic_algorithms_enabled()
    # Else PyTorch would write the largest number, or NaN, into all memory that it allocates.
    new = torch.empty(100_000, dtype=torch.int64)
    assert (new != torch.iinfo(torch.int64).max).any()


def test_a_loader_gives_whole_batches_before_and_after_a_trainer_used_it(small_cache: Path) -> None:
    task, data = task_for(small_cache), CacheDataModule(small_cache)
    data.setup("test")
    before = next(iter(data.test_dataloader()))
    make_trainer("cpu", False, **QUIET).test(task, datamodule=data, verbose=False)
    after = next(iter(data.test_dataloader()))
    assert before.keys() == after.keys() >= {"input", "target", "valid", "untouched"}
    assert torch.equal(before["input"]["depth"], after["input"]["depth"])
    data.cache.close()
