"""Influence ω and its uncertainty: NumPy in, NumPy out."""

from jrn_lightning.influence.bootstrap import Bootstrap, halves, interval
from jrn_lightning.influence.distribution import LEVEL, Distribution, Estimate, Sampled, holm
from jrn_lightning.influence.results import Results, compute_results

__all__ = [
    "LEVEL",
    "Bootstrap",
    "Distribution",
    "Estimate",
    "Results",
    "Sampled",
    "compute_results",
    "halves",
    "holm",
    "interval",
]
