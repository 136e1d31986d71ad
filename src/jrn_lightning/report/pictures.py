"""A picture of every frame before and after refinement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from jrn_lightning import keys
from jrn_lightning.report.maps import Frame, panel

if TYPE_CHECKING:
    from jrn_lightning.cache import PredictionCache


def draw_refined(
    before: PredictionCache,
    after: PredictionCache,
    split: str,
    folder: Path,
    advance: Callable[[float], object] = lambda _: None,
) -> None:
    """Write ``<id>.png`` for every frame: image, single-task and refined maps, and the truth.

    Args:
        before: the single-task predictions.
        after: the refined ones, of the same frames.
        split: of both.
        folder: for the pictures; made if need be.
        advance: called with 1 after each frame.
    """
    from jrn_lightning.cache.grid import resample

    folder.mkdir(parents=True, exist_ok=True)
    source, refined = before.split(split), after.split(split)
    for i, name in enumerate(refined.ids):
        outputs = {
            setup: {
                m: resample(
                    torch.from_numpy(maps.prediction(m, i)), maps.grid(m), cache.frame, cache.frame
                ).numpy()
                for m in after.modalities
            }
            for setup, cache, maps in (
                (keys.UNTOUCHED, before, source),
                (keys.JOINT, after, refined),
            )
        }
        truth = {m: refined.target(m, i) for m in after.modalities} if refined.has_targets else {}
        image = refined.image(i) if refined.has_images else None
        figure = panel([Frame(name, truth, outputs, image)], after.modalities)
        figure.savefig(folder / f"{name}.png")
        advance(1)
