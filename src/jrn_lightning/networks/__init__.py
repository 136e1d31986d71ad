"""Networks, fusion operations and muting: pure PyTorch."""

from jrn_lightning.networks.build import (
    DEFAULT,
    OWN,
    TARGET,
    accepted,
    build,
    named,
    output_scale,
    refined_only,
)
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
    mute_value,
    partners,
)
from jrn_lightning.networks.padnet import PADNet

__all__ = [
    "ADD",
    "DEFAULT",
    "INITIALIZATIONS",
    "JRN",
    "MUTE_VALUES",
    "OPERATIONS",
    "OWN",
    "SKIPS",
    "TARGET",
    "ConstantMean",
    "HealthCheck",
    "MeanMap",
    "MuteValue",
    "Noise",
    "OtherImage",
    "PADNet",
    "Zero",
    "accepted",
    "build",
    "draw_muted",
    "health_warnings",
    "is_loose",
    "mute",
    "mute_value",
    "named",
    "output_scale",
    "partners",
    "refined_only",
]
