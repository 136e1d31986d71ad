"""What only a GPU can show; `make test-gpu` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.records import record
from tests.jobs import job

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

EPOCHS = "recipe.epochs=3"


def test_bfloat16_is_chosen_and_agrees_with_the_cpu(small_cache: Path, tmp_path: Path) -> None:
    gpu = job(small_cache, tmp_path / "gpu", EPOCHS, "trainer=gpu")
    cpu = job(small_cache, tmp_path / "cpu", EPOCHS)
    assert gpu["precision"] == "bf16-mixed"
    for a, b in zip(gpu["metrics"], cpu["metrics"], strict=True):
        if b["measure"] in ("sq_rel", "rms", "pixel_accuracy") and b["pooling"] == "pixels":
            assert b["low"] - 1e-9 <= a["value"] <= b["high"] + 1e-9, (a, b)


@pytest.mark.parametrize("limit", [4.0, 1e-9])
def test_frames_wait_on_the_device_or_in_page_locked_memory(
    small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    places = set()
    transfer = CacheDataModule.transfer_batch_to_device

    def noted(self: CacheDataModule, batch: Any, device: torch.device, index: int) -> Any:
        maps = [*batch["prediction"].values(), *batch["target"].values(), batch["index"]]
        places.update("device" if x.is_cuda else f"pinned: {x.is_pinned()}" for x in maps)
        return transfer(self, batch, device, index)

    monkeypatch.setattr(CacheDataModule, "transfer_batch_to_device", noted)
    job(small_cache, tmp_path, EPOCHS, "trainer=gpu", f"data.memory_limit_gib={limit}")
    assert places == {"device" if limit == 4 else "pinned: True"}


def test_one_seed_gives_the_same_weights(small_cache: Path, tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        job(small_cache, tmp_path / name, EPOCHS, "trainer=gpu", "trainer.precision=float32")
        path = tmp_path / name / record.CHECKPOINT
        states.append(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
