"""Cat60 and its training loop as one would first write them: the yardstick, nothing optimised.

The same architecture, loss and optimizer as the package's, in float32, in PyTorch's default memory
format. The tests hold it against the package: with the same weights both give the same maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


class PlainBranch(nn.Module):
    """One scale: a convolution per modality, concatenation, a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = _conv(1, 20)
        self.semantic = _conv(5, 20)
        self.fuse = _conv(40, 60)

    def forward(self, depth: Tensor, semantic: Tensor) -> Tensor:
        """``(B, 1, h, w)`` and ``(B, 5, h, w)`` to ``(B, 60, h, w)``."""
        both = torch.cat((F.relu(self.depth(depth)), F.relu(self.semantic(semantic))), dim=1)
        return F.relu(self.fuse(both))


class PlainCat60(nn.Module):
    """Three branches at 1/2, 1/4 and 1/8, joined at 1/2."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(PlainBranch() for _ in range(3))
        self.hidden = _conv(180, 60)
        self.depth = _conv(60, 1)
        self.semantic = _conv(60, 5)

    def forward(self, depth: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """Maps at the frame's size to refined depth and class scores at half of it."""
        features = []
        for scale, branch in zip((2, 4, 8), self.branches, strict=True):
            y = branch(F.avg_pool2d(depth, scale), F.avg_pool2d(semantic, scale))
            if scale > 2:
                y = F.interpolate(y, scale_factor=scale // 2, mode="bilinear", align_corners=False)
            features.append(y)
        hidden = F.relu(self.hidden(torch.cat(features, dim=1)))
        return self.depth(hidden), self.semantic(hidden)


def plain_loss(depth: Tensor, scores: Tensor, true_depth: Tensor, labels: Tensor) -> Tensor:
    """Equation 1 over the pixels where both truths exist.

    Args:
        depth: ``(B, 1, h, w)`` metres.
        scores: ``(B, 5, h, w)``.
        true_depth: ``(B, h, w)`` metres, 0 = missing.
        labels: ``(B, h, w)`` int64, 255 = void.
    """
    both = (true_depth > 0) & (labels != 255)
    difference = depth[:, 0][both] - true_depth[both]
    depth_loss = (difference**2 / true_depth[both]).mean()
    return depth_loss + F.cross_entropy(scores.movedim(1, -1)[both], labels[both])
