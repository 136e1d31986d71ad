"""What only a GPU can show; `make test-gpu` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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


def test_frames_live_on_the_device(small_cache: Path) -> None:
    import pytorch_lightning as pl

    from jrn_lightning.cache.datamodule import CacheDataModule

    data = CacheDataModule(small_cache)
    data.trainer = pl.Trainer(accelerator="gpu", devices=1, logger=False)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["input"]["depth"].is_cuda
    assert batch["target"]["semantic"].is_cuda


def test_one_seed_gives_the_same_weights(small_cache: Path, tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        job(small_cache, tmp_path / name, EPOCHS, "trainer=gpu", "trainer.precision=float32")
        path = tmp_path / name / record.CHECKPOINT
        states.append(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
