"""A job's W&B run: what is logged beside Lightning's own metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import WandbLogger

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.keys import JOINT, UNTOUCHED
from jrn_lightning.report.maps import Frame, panel
from jrn_lightning.report.wandb import finish, log_results, start_run
from jrn_lightning.training import config as configuration
from jrn_lightning.training.task import JointRefinement


def wandb_logger(
    cfg: DictConfig, results: Mapping[str, Any], task: JointRefinement, folder: Path
) -> tuple[WandbLogger, Callable[[bool], None]]:
    """Lightning's logger around a run of the job's own, and how to end it.

    Returns:
        The logger, and a function that takes whether the job failed.
    """
    losses = ["val/loss", *(f"val/loss_{m}" for m in task.modalities)]
    best = dict.fromkeys(losses, "min") | {
        f"val/{JOINT}/{measure.name}": "max" if measure.higher_is_better else "min"
        for modality in task.modalities.values()
        for measure in modality.measures
        if measure.in_table
    }
    run = start_run(
        folder,
        sweep=cfg.sweep,
        arch=results["arch"],
        seed=cfg.seed,
        fingerprint=results["fingerprint"],
        config=configuration.plain(cfg),
        best=best,  # type: ignore[arg-type]
        **configuration.wandb_settings(cfg),
    )
    return WandbLogger(experiment=run), lambda failed: finish(run, failed=failed)


def log_job(
    cfg: DictConfig,
    results: Mapping[str, Any],
    task: JointRefinement,
    data: CacheDataModule,
    logger: WandbLogger,
) -> None:
    """Test metrics, improvement, ω and a panel of example maps."""
    figure = None
    if cfg.logger.examples:
        figure = panel(examples(task, data, cfg.logger.examples), task.modalities)
    log_results(logger.experiment, results, figure)


def examples(task: JointRefinement, data: CacheDataModule, count: int) -> list[Frame]:
    """Test frames at even distances, with the maps of every inference setup.

    Args:
        task: trained.
        data: set up for the test.
        count: how many.
    """
    assert data.test is not None
    frames = data.test
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))
    result = []
    for i in chosen.tolist():
        batch = frames[i]
        on_device = task.transfer_batch_to_device(batch, task.device, 0)
        with torch.inference_mode():
            outputs = {
                setup: {
                    # The untouched input is in its own units already.
                    m: y if setup == UNTOUCHED else task.modalities[m].refined(y)
                    for m, y in maps.items()
                }
                for setup, maps in task.evaluator.maps(task, on_device).items()
            }
        row = int(frames.rows[i])
        result.append(
            Frame(
                batch["id"][0],
                {m: batch["target"][m][0].cpu().numpy() for m in task.modalities},
                {
                    setup: {m: x[0].float().cpu().numpy() for m, x in maps.items()}
                    for setup, maps in outputs.items()
                },
                frames.split.image(row) if frames.split.has_images else None,
            )
        )
    return result
