"""Does one modality help to predict another, in which direction, and by how much?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrn_lightning.evaluation.measure import Influence, measure_influence
    from jrn_lightning.report.sweep import Sweep

__all__ = ["Influence", "Sweep", "measure_influence"]


def __getattr__(name: str) -> Any:
    """Import on first use: PyTorch takes seconds that a command's typo should not cost."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "report.sweep" if name == "Sweep" else "evaluation.measure"
    return getattr(import_module(f"{__name__}.{where}"), name)
