"""Does one modality help to predict another, in which direction, and by how much?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrn_lightning.evaluation.measure import Influence, measure_influence

__all__ = ["Influence", "measure_influence"]


def __getattr__(name: str) -> Any:
    """Import on first use: PyTorch takes seconds that a command's typo should not cost."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jrn_lightning.evaluation import measure

    return getattr(measure, name)
