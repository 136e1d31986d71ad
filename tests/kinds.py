"""Modalities for tests of networks, by the channels of their maps; every kind, with samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.modalities import Continuous, Depth, Modality, Normals, Semantic
from jrn_lightning.modalities.edges import Edges


def kinds(channels: Mapping[str, int]) -> dict[str, Any]:
    """Depth, semantics of so many classes, and for other names a map that is added as it is."""
    known = {
        "depth": lambda c: Depth("depth"),
        "semantic": lambda c: Semantic("semantic", "abcdefghij"[:c]),
    }
    return {
        m: known[m](c)
        if m in known
        else SimpleNamespace(channels=c, to_output=lambda prediction: prediction)
        for m, c in channels.items()
    }


@dataclass(frozen=True)
class Kind:
    """A kind of map with random samples of it.

    Args:
        modality: the kind.
        predictions: random ``(B, C, H, W)`` float32, of a number of frames and a size.
        truth: random ground truth of as many, a fifth of it missing.
    """

    modality: Modality
    predictions: Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]
    truth: Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]

    def sample(
        self, count: int = 3, size: tuple[int, int] = (14, 18), seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Predictions, and ground truth in the type of a batch."""
        rng = np.random.default_rng(seed)
        predictions = self.predictions(rng, (count, *size)).astype(np.float32)
        truth = self.truth(rng, (count, *size))
        missing = rng.uniform(size=(count, *size)) < 0.2
        if self.modality.target_channels:
            missing = missing[:, None]
        truth = np.where(missing, self.modality.invalid, truth)
        return torch.from_numpy(predictions), torch.from_numpy(truth).to(self.modality.batch_dtype)


def _uniform(low: float, high: float, *channels: int) -> Any:
    return lambda rng, s: rng.uniform(low, high, (s[0], *channels, *s[1:]))


def _shares(rng: np.random.Generator, s: tuple[int, ...]) -> NDArray[Any]:
    return np.moveaxis(rng.dirichlet(np.ones(4), s), -1, 1)


def _directions(rng: np.random.Generator, s: tuple[int, ...]) -> NDArray[Any]:
    vectors = rng.normal(0, 1, (s[0], 3, *s[1:]))
    vectors[:, 2] = -np.abs(vectors[:, 2]) - 0.1
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _labels(rng: np.random.Generator, s: tuple[int, ...]) -> NDArray[Any]:
    return rng.integers(0, 4, s)


#: every kind of map that the package knows
KINDS = {
    "depth": Kind(Depth("a"), _uniform(0.2, 9.5, 1), _uniform(0.2, 9.5)),
    "street": Kind(Depth("a", maximum=80.0), _uniform(1, 79, 1), _uniform(1, 79)),
    "semantic": Kind(Semantic("a", "wxyz"), _shares, _labels),
    "normals": Kind(Normals("a"), _directions, _directions),
    "edges": Kind(Edges("a"), _uniform(0, 1, 1), lambda rng, s: rng.uniform(0, 1, s) > 0.7),
    "shading": Kind(Continuous("a"), _uniform(0, 1, 1), _uniform(0, 1)),
    "flow": Kind(
        Continuous("a", channels=3, minimum=-2.0, maximum=6.0, unit="px"),
        _uniform(-2, 6, 3),
        _uniform(-2, 6, 3),
    ),
}
