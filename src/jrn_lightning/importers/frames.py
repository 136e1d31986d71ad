"""What a data set of colour frames promises: to be predicted, and to become a prediction cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.modalities import Modality


class Frame(NamedTuple):
    """One frame of a data set.

    Attributes:
        image: ``(H, W, 3)``; None where it was not asked for.
        targets: modality -> ground truth ``(H, W)`` in the modality's dtype, its invalid value
            where there is none; None where it was not asked for.
        alternatives: modality and name -> other ground truth, likewise; None where there is none.
    """

    image: NDArray[np.uint8] | None
    targets: dict[str, NDArray[Any]] | None
    alternatives: Mapping[tuple[str, str], NDArray[Any]] | None = None


class DataSet(Protocol):
    """Numbered colour frames in splits, with ground truth but in the split ``predict``."""

    #: split -> numbers of its frames, from 1
    splits: dict[str, list[int]]
    #: (H, W) of every frame
    size: tuple[int, int]
    #: remarks for the cache
    notes: dict[str, str]
    #: names of the ground truths of a modality, where they have any: of the one in a frame's
    #: ``targets``, then of its ``alternatives``
    truths: dict[str, tuple[str, ...]]
    #: where it lies, for messages
    path: Path

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the ground truth is of, in the order of a cache."""

    def scene(self, number: int) -> str:
        """The scene that a frame shows: the cluster of every split and interval."""

    def read(self, number: int, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame; ``targets`` only for frames with ground truth."""


def frame_id(number: int) -> str:
    """A frame's name in a cache.

    >>> frame_id(7)
    '0007'
    """
    return f"{number:04d}"
