"""Protocols, statistics per image, and the quality of the inputs."""

from jrn_lightning.evaluation.evaluator import Evaluator, Part, enlarged
from jrn_lightning.evaluation.inputs import evaluate_inputs
from jrn_lightning.evaluation.protocols import IMAGES, PIXELS, POOLINGS, PROTOCOLS, fitting, regions
from jrn_lightning.evaluation.statistics import ImageStatistics, StatisticsTable, pooled

__all__ = [
    "IMAGES",
    "PIXELS",
    "POOLINGS",
    "PROTOCOLS",
    "Evaluator",
    "ImageStatistics",
    "Part",
    "StatisticsTable",
    "enlarged",
    "evaluate_inputs",
    "fitting",
    "pooled",
    "regions",
]
