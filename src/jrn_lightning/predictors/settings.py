"""How single-task networks are built and trained: plain values, cheap to import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from jrn_lightning.errors import ConfigError

#: to be raised with every change after which the same settings give other networks
NETWORKS_VERSION: Final = 2


@dataclass
class SingleTaskSettings:
    """One network per modality and fold, from colour images."""

    name: str  # of these settings
    encoder: str  # small, efficientnet_lite0 or timm:NAME
    image: list[int] = field(default_factory=lambda: [240, 320])  # (H, W) for the network
    stride: int = 4  # pixels of that image a cell of the prediction
    width: int = 48  # channels of the decoder
    epochs: int = 12  # over the frames of a fold that have the modality's ground truth
    batch_size: int = 8
    learning_rate: float = 1e-3  # largest, of AdamW under a one-cycle schedule
    weight_decay: float = 1e-2  # of AdamW
    zoom: float = 1.5  # largest factor of random crops; 1 for none
    colour: float = 0.15  # strength of random brightness, contrast, white balance; 0 for none
    mirror: bool = True  # predict the mirrored image too, and average
    folds: int = 3  # K of cross-fitting
    seed: int = 0  # of folds, initialisation and augmentation

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: names the key, the value and what it may be.
        """
        for key, value in asdict(self).items():
            kind = _TYPES[key]
            whole = kind is float and type(value) is int
            if not (type(value) is kind or whole) or (
                kind is list and any(type(n) is not int for n in value)
            ):
                raise ConfigError(f"single_task.{key} is {value!r}: give {_KINDS[kind]}.")
        least = dict.fromkeys(("stride", "folds"), 2)
        least |= dict.fromkeys(("width", "epochs", "batch_size", "zoom"), 1)
        least |= dict.fromkeys(("colour", "seed", "weight_decay"), 0)
        for key, low in least.items():
            _require(getattr(self, key) >= low, self, key, f"a number of at least {low}")
        _require(self.learning_rate > 0, self, "learning_rate", "a number above 0")
        both = len(self.image) == 2 and not any(n % self.stride for n in self.image)
        sides = f"height and width, both divisible by the stride {self.stride}"
        _require(both, self, "image", sides)
        _require(min(self.image) >= 32, self, "image", "at least 32 pixels a side")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the network's image."""
        return int(self.image[0]), int(self.image[1])

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of a prediction."""
        return self.size[0] // self.stride, self.size[1] // self.stride

    def values(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "image": list(self.size)}

    @property
    def hash(self) -> str:
        """SHA-256 of everything but the name, and the networks' version."""
        values = {"networks": NETWORKS_VERSION, **self.values()}
        del values["name"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _require(fine: bool, settings: SingleTaskSettings, key: str, instead: str) -> None:
    if not fine:
        raise ConfigError(f"single_task.{key} is {getattr(settings, key)}: give {instead}.")


#: key -> type of its value
_TYPES: Final = {k: type(v) for k, v in asdict(SingleTaskSettings("", "")).items()}
#: what to tell of a type
_KINDS: Final = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "two whole numbers, as [240,320]",
}

#: note of a cache: the folder of the networks that predicted it, beside the cache
NETWORKS: Final = "single_task"

#: the named choices of ``--single-task`` and of the group ``single_task``
SETTINGS: Final[Mapping[str, SingleTaskSettings]] = {
    # From scratch, for the few small frames of the rooms.
    "small": SingleTaskSettings(
        "small", "small", [120, 160], width=32, batch_size=4, learning_rate=3e-3, zoom=1.15
    ),
    # For photographs: an ImageNet encoder, a light decoder.
    "efficientnet_lite0": SingleTaskSettings(
        "efficientnet_lite0", "efficientnet_lite0", [192, 256]
    ),
}


def named(name: str, overrides: Mapping[str, Any] | None = None) -> SingleTaskSettings:
    """A copy of the settings ``name``, changed.

    ``timm:NAME`` are those of ``efficientnet_lite0`` with another encoder.

    Raises:
        ConfigError: an unknown name, key or value; the choices are listed.
    """
    from jrn_lightning.predictors.networks import LITE0, TIMM

    if name.startswith(TIMM):
        values = SETTINGS[LITE0].values() | {"name": name, "encoder": name}
    elif name in SETTINGS:
        values = SETTINGS[name].values()
    else:
        raise ConfigError(
            f"single-task settings {name!r} are unknown. Choose from: "
            f"{', '.join(SETTINGS)}, {TIMM}NAME."
        )
    unknown = sorted(set(overrides or {}) - set(values))
    if unknown:
        raise ConfigError(
            f"single-task settings have no {', '.join(unknown)}. Choose from: {', '.join(values)}."
        )
    settings = SingleTaskSettings(**(values | dict(overrides or {})))
    settings.check()
    return settings
