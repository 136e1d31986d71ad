"""Colour frames of rooms of boxes, in memory: what single-task networks are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jrn_lightning import keys
from jrn_lightning.importers.frames import Frame, frame_id
from jrn_lightning.modalities import Modality
from jrn_lightning.predictors.settings import SingleTaskSettings
from tests.caches import _render, _room, modalities

TINY = {"width": 8, "stride": 4, "epochs": 2, "batch_size": 4, "folds": 2, "mirror": False}


def tiny_settings(**changes: Any) -> SingleTaskSettings:
    """Networks that train in a second."""
    return SingleTaskSettings("tiny", "small", **({"image": [48, 64]} | TINY | changes))


class BoxRooms:
    """Training scenes of two frames, half as many test frames, and two frames without truth.

    Args:
        scenes: of the training split.
        frame: (H, W).
    """

    def __init__(self, scenes: int = 6, frame: tuple[int, int] = (48, 64)) -> None:
        self.size = frame
        self.path = Path("box-rooms")
        self.notes = {"data": "boxes"}
        self.truths: dict[str, tuple[str, ...]] = {}
        self.modalities: dict[str, Modality] = modalities()
        self.splits = {
            keys.TRAIN: [frame_id(n) for n in range(1, 2 * scenes + 1)],
            keys.TEST: [frame_id(n) for n in range(2 * scenes + 1, 3 * scenes + 1)],
            keys.PREDICT: [frame_id(3 * scenes + 1), frame_id(3 * scenes + 2)],
        }
        self.reads = 0

    stamp = "boxes"

    def scene(self, frame: str) -> str:
        """Two neighbours share one."""
        return f"scene_{(int(frame) - 1) // 2}"

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """Rendered anew; the colour tells class and depth."""
        self.reads += 1
        number = int(frame)
        rng = np.random.default_rng((number - 1) // 2)
        depth, label = _render(_room(rng), self.size, 0.3 * (number % 2))
        shade = 40 + 40 * label[..., None] + 8 * depth[..., None] + [0, 10, 20]
        picture = np.clip(shade, 0, 255).astype(np.uint8)
        truth = {"depth": depth, "semantic": label}
        return Frame(picture if image else None, truth if targets else None)
