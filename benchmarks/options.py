"""What a run of the benchmarks measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Options:
    """Sizes, repetitions, and how networks are computed.

    Args:
        frame: (H, W) of the large frames.
        small: (H, W) where overhead shows.
        frames: of a generated split.
        rounds: turns of each contender.
        device: where networks run.
        bfloat16: autocast, as the package would choose on this device.
        channels_last: memory format, likewise.
        matrix_rate: measured FLOP/s of a matrix product in the chosen precision.
        cache: a real prediction cache, for the sweep; None without one.
        quick: small everything, to see that it runs; the figures mean nothing.
    """

    frame: tuple[int, int]
    small: tuple[int, int]
    frames: int
    rounds: int
    device: torch.device
    bfloat16: bool
    channels_last: bool
    matrix_rate: float
    cache: Path | None
    quick: bool
