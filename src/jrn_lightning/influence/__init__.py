"""Influence ω and its uncertainty: NumPy in, NumPy out."""

from jrn_lightning.influence.bootstrap import Bootstrap, interval, over_seeds
from jrn_lightning.influence.summary import Summary, summarize

__all__ = ["Bootstrap", "Summary", "interval", "over_seeds", "summarize"]
