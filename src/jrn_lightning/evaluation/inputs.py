"""The quality of the untouched single-task predictions of a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from jrn_lightning.evaluation.protocols import PIXELS, regions
from jrn_lightning.evaluation.statistics import pooled
from jrn_lightning.modalities import Measure

if TYPE_CHECKING:
    from jrn_lightning.cache import PredictionCache

Progress = Callable[[Iterable[int]], Iterable[int]]


def evaluate_inputs(
    cache: PredictionCache, split: str, progress: Progress = lambda rows: rows
) -> dict[str, dict[str, float]]:
    """Measures of the predictions of a split against its ground truth.

    At the ground truth's resolution, over the full frame, pooled over pixels.

    Args:
        cache: an open cache.
        split: one that has ground truth.
        progress: wraps the iteration over the frames, for a progress bar.

    Returns:
        modality -> measure -> value.
    """
    from jrn_lightning.cache.grid import resample

    frames = cache.split(split)
    size = frames.target_size()
    whole = regions(["full"], size)
    totals: dict[str, list[np.ndarray]] = {m: [] for m in cache.modalities}
    for i in progress(range(len(frames))):
        for name, modality in cache.modalities.items():
            native = torch.from_numpy(frames.prediction(name, i)).float()
            prediction = resample(native, frames.grid(name), cache.frame, size)
            target = torch.from_numpy(frames.target(name, i)).to(modality.batch_dtype)
            row = modality.statistics(prediction[None, None], target[None], whole)
            totals[name].append(row[0, 0, 0].numpy())

    def value(name: str, measure: Measure) -> float:
        return float(pooled(np.stack(totals[name]), measure, PIXELS))

    return {
        name: {measure.name: value(name, measure) for measure in modality.measures}
        for name, modality in cache.modalities.items()
    }
