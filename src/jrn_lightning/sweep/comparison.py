"""Writing the comparison of a sweep beside its jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jrn_lightning.sweep.collect import Comparison, collect


def compare(sweep: Path, wandb: dict[str, Any] | None = None) -> Comparison:
    """Collect."""
    return collect(sweep)
