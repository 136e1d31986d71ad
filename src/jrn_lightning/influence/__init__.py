"""Influence ω and its uncertainty: NumPy in, NumPy out."""

from jrn_lightning.influence.bootstrap import Bootstrap, halves, interval
from jrn_lightning.influence.distribution import LEVEL, Distribution, Estimate, Sampled, holm
from jrn_lightning.influence.summary import Summary, summarize

__all__ = [
    "LEVEL",
    "Bootstrap",
    "Distribution",
    "Estimate",
    "Sampled",
    "Summary",
    "halves",
    "holm",
    "interval",
    "summarize",
]
