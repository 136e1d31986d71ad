"""What this machine can do at most: the scale on which the other figures are read."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.timing import interleave
from jrn_lightning.training.job import use_bfloat16


@dataclass(frozen=True)
class Machine:
    """Measured limits of one device.

    Args:
        device: which one.
        float32_rate: FLOP/s of a matrix product.
        bfloat16_rate: likewise.
        copy_rate: bytes/s read and written.
    """

    device: torch.device
    float32_rate: float
    bfloat16_rate: float
    copy_rate: float

    @property
    def bfloat16(self) -> bool:
        """Whether the package would run networks in bfloat16 on this device."""
        return use_bfloat16("auto", "gpu" if self.device.type == "cuda" else "cpu")

    def markdown(self) -> str:
        """A heading and the limits."""
        about = [
            _name(self.device),
            f"{os.cpu_count()} cores",
            f"{torch.get_num_threads()} threads",
            f"torch {torch.__version__}",
            f"Python {platform.python_version()}",
        ]
        if self.device.type == "cpu":
            about.insert(1, f"vector instructions {torch.backends.cpu.get_cpu_capability()}")
        chosen = "bfloat16" if self.bfloat16 else "float32"
        return "\n".join(
            (
                f"## {'GPU' if self.device.type == 'cuda' else 'CPU'}",
                "",
                f"- {', '.join(about)}",
                f"- matrix product: float32 {_gflops(self.float32_rate)}, "
                f"bfloat16 {_gflops(self.bfloat16_rate)}; networks run in {chosen}",
                f"- copy, read and written: {self.copy_rate / 1e9:,.3g} GB/s",
                "",
            )
        )


def limits(device: torch.device, *, quick: bool = False) -> Machine:
    """Measure ``device``."""
    return Machine(
        device,
        matrix_rate(torch.float32, device, quick=quick),
        matrix_rate(torch.bfloat16, device, quick=quick),
        copy_rate(device, quick=quick),
    )


def matrix_rate(dtype: torch.dtype, device: torch.device, *, quick: bool = False) -> float:
    """Floating point operations a second in a square matrix product, the best of several.

    The size doubles until one product takes 50 ms (2 ms if ``quick``): some CPUs are a hundred
    times slower in bfloat16 than in float32.
    """
    side, best = 256, 0.0
    while True:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        taken = min(
            interleave({"product": partial(torch.mm, a, b)}, rounds=5, device=device)["product"]
        )
        best = max(best, 2 * side**3 / taken)
        if taken > (2e-3 if quick else 50e-3) or side >= 16384:
            return best
        side *= 2


def copy_rate(device: torch.device, *, quick: bool = False) -> float:
    """Bytes read plus bytes written a second when a large tensor is copied, the best of several."""
    source = torch.zeros((16 if quick else 256) * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = interleave({"copy": lambda: target.copy_(source)}, rounds=7, device=device)
    return 2 * source.numel() / min(times["copy"])


def _gflops(rate: float) -> str:
    return f"{rate / 1e9:,.4g} GFLOP/s"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "CPU"
