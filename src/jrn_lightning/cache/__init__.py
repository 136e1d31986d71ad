"""The prediction cache: one HDF5 file, its reader and writer, and the batches made of it."""

from jrn_lightning.cache.format import PredictionSpec, Provenance
from jrn_lightning.cache.reader import CacheSplit, PredictionCache, check
from jrn_lightning.cache.writer import CacheWriter, refuse_existing

__all__ = [
    "CacheSplit",
    "CacheWriter",
    "PredictionCache",
    "PredictionSpec",
    "Provenance",
    "check",
    "refuse_existing",
]
