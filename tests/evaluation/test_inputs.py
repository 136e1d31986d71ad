"""The quality of untouched predictions, computed another way from the cache's maps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score
from torch.nn import functional as F

from jrn_lightning.cache import PredictionCache
from jrn_lightning.evaluation import evaluate_inputs


def test_inputs_are_measured_at_the_truths_resolution(small_cache: Path) -> None:
    seen: list[int] = []

    def progress(rows: Iterable[int]) -> Iterable[int]:
        for row in rows:
            seen.append(row)
            yield row

    with PredictionCache(small_cache) as cache:
        found = evaluate_inputs(cache, "test", progress)
        split = cache.split("test")
        depth, labels, truth, label_truth = [], [], [], []
        for i in range(len(split)):
            # Written on an area grid and a grid of corners, see tests/caches.py.
            d = torch.from_numpy(split.prediction("depth", i)).double()[None]
            s = torch.from_numpy(split.prediction("semantic", i)).double()[None]
            depth.append(F.interpolate(d, cache.frame, mode="bilinear", align_corners=False)[0, 0])
            s = F.interpolate(s, cache.frame, mode="bilinear", align_corners=True)
            labels.append(s[0].argmax(0))
            truth.append(split.target("depth", i))
            label_truth.append(split.target("semantic", i))
    assert seen == list(range(6))
    d, t = np.stack(depth), np.stack(truth).astype(np.float64)
    known = t > 0
    d, t = d[known], t[known]
    assert found["depth"]["abs_rel"] == pytest.approx(np.mean(np.abs(d - t) / t), rel=1e-5)
    assert found["depth"]["rms"] == pytest.approx(np.sqrt(np.mean((d - t) ** 2)), rel=1e-5)
    assert found["depth"]["sq_rel"] == pytest.approx(np.mean((d - t) ** 2 / t), rel=1e-5)
    guess, label = np.stack(labels), np.stack(label_truth)
    known = label != 255
    # A pixel or two may be a tie between classes, decided by rounding.
    assert found["semantic"]["mean_iou"] == pytest.approx(
        jaccard_score(label[known], guess[known], average="macro"), abs=1e-3
    )
    assert found["semantic"]["pixel_accuracy"] == pytest.approx(
        accuracy_score(label[known], guess[known]), abs=1e-3
    )
