"""The operation ``op`` of Figure 3: how the features of the modalities become one.

Each operation maps M feature maps ``(B, F, H, W)`` to one ``(B, C0, H, W)``. Concatenation and
sum are the paper's; product, maximum and the learned gate are there to explore.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from jrn_lightning.errors import ConfigError


class Fusion(nn.Module):
    """An operation over M feature maps of ``features`` channels each.

    Args:
        modalities: M.
        features: F, channels of each map.
    """

    name: ClassVar[str]

    def __init__(self, modalities: int, features: int) -> None:
        super().__init__()
        #: C0, channels after the operation
        self.channels = features

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fuse M maps ``(B, F, H, W)`` into ``(B, C0, H, W)``."""
        raise NotImplementedError


class Concatenation(Fusion):
    """C0 = M F: the loosest interaction (Section III-B)."""

    name: ClassVar[str] = "concatenation"

    def __init__(self, modalities: int, features: int) -> None:
        super().__init__(modalities, features)
        self.channels = modalities * features

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Concatenate along the channels."""
        return torch.cat(tuple(features), dim=1)


class Sum(Fusion):
    """C0 = F: forces a joint representation (Section III-B)."""

    name: ClassVar[str] = "sum"

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Add element by element."""
        return reduce(torch.add, features)


class Product(Fusion):
    """C0 = F: a feature survives where every modality has it."""

    name: ClassVar[str] = "product"

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Multiply element by element."""
        return reduce(torch.mul, features)


class Maximum(Fusion):
    """C0 = F: a feature survives where any modality has it."""

    name: ClassVar[str] = "maximum"

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maximum, element by element."""
        return reduce(torch.maximum, features)


class Gate(Fusion):
    """C0 = F: a learned convex combination, one weight per modality and pixel."""

    name: ClassVar[str] = "gate"

    def __init__(self, modalities: int, features: int) -> None:
        super().__init__(modalities, features)
        self.weights = nn.Conv2d(modalities * features, modalities, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Softmax over the modalities of a 1 × 1 convolution, then the weighted sum."""
        weights: Tensor = self.weights(torch.cat(tuple(features), dim=1)).softmax(1)
        weighted = [weights[:, i : i + 1] * f for i, f in enumerate(features)]
        return reduce(torch.add, weighted)


OPERATIONS: dict[str, type[Fusion]] = {
    op.name: op for op in (Concatenation, Sum, Product, Maximum, Gate)
}


def fusion(operation: str, modalities: int, features: int) -> Fusion:
    """Build the operation called ``operation``.

    Raises:
        ConfigError: no such operation; the known ones are listed.

    >>> fusion("concatenation", 2, 20).channels
    40
    """
    if operation not in OPERATIONS:
        raise ConfigError(f"arch.operation is {operation!r}. Choose from: {', '.join(OPERATIONS)}.")
    return OPERATIONS[operation](modalities, features)
