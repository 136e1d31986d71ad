"""Depth trained for rms: squared metres, not divided by each pixel's own depth.

A plug-in (``data.plugins=[squared_loss]``) for one question: is the first term of equation 1 why
rms does not improve? The sum of squares is divided by the sum of depths, so that the two terms of
the joint loss weigh about as before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jrn_lightning.modalities.base import at_least_float32
from jrn_lightning.modalities.depth import Depth


def squared(self: Depth, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Σ (D' - D*)² / Σ D* over the valid pixels."""
    error = torch.where(valid, at_least_float32(output[:, 0]) - target, 0.0).square()
    return error.sum() / torch.where(valid, target, 0.0).sum()


Depth.loss = squared  # type: ignore[method-assign]
