"""Networks, fusion operations and muting: pure PyTorch."""

from jrn_lightning.networks.diagnostics import HealthCheck, health_warnings
from jrn_lightning.networks.fusion import OPERATIONS
from jrn_lightning.networks.jrn import ADD, INITIALIZATIONS, JRN, SKIPS, is_loose
from jrn_lightning.networks.muting import (
    MUTE_VALUES,
    ConstantMean,
    MeanMap,
    MuteValue,
    Noise,
    OtherImage,
    Zero,
    draw_muted,
    mute,
    partners,
)

__all__ = [
    "ADD",
    "INITIALIZATIONS",
    "JRN",
    "MUTE_VALUES",
    "OPERATIONS",
    "SKIPS",
    "ConstantMean",
    "HealthCheck",
    "MeanMap",
    "MuteValue",
    "Noise",
    "OtherImage",
    "Zero",
    "draw_muted",
    "health_warnings",
    "is_loose",
    "mute",
    "partners",
]
