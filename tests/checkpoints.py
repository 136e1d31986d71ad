"""A checkpoint without the training: the network of a task, saved as a job saves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from jrn_lightning.cache import PredictionCache
from jrn_lightning.networks import JRN
from jrn_lightning.training.task import JointRefinement


def task_for(cache: Path, frame: tuple[int, int] = (48, 64), **arguments: Any) -> JointRefinement:
    """A network with random weights whose outputs are near what a trained one gives."""
    torch.manual_seed(0)
    with PredictionCache(cache) as opened:
        modalities = opened.modalities
    network = JRN(modalities, **arguments)
    with torch.no_grad():  # outputs near the inputs, not to be clipped
        network.head.weight.normal_(std=0.01)
    return JointRefinement(
        network.eval(),
        modalities,
        specification={
            "network": arguments,
            "modalities": {
                m: {"kind": modality.kind, "attributes": modality.attributes}
                for m, modality in modalities.items()
            },
            "frame": list(frame),
            "name": "made",
            "plugins": [],
        },
    )


def checkpoint_of(task: JointRefinement) -> dict[str, Any]:
    """What a trainer would save, without its own entries."""
    checkpoint: dict[str, Any] = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    return checkpoint


def save(task: JointRefinement, path: Path) -> Path:
    """Write a checkpoint."""
    torch.save(checkpoint_of(task), path)
    return path
