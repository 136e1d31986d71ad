"""How single-task networks are built and trained: plain values, cheap to import."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from jrn_lightning.errors import ConfigError

#: to be raised with every change after which the same settings give other networks
NETWORKS_VERSION: Final = 2


@dataclass
class SingleTaskSettings:
    """One network per modality and fold, from colour images.

    Attributes:
        name: of these settings.
        encoder: ``small``, ``efficientnet_lite0`` or ``timm:NAME``.
        image: (H, W) to which frames are brought for the network.
        stride: pixels of that image a cell of the prediction.
        width: channels of the decoder.
        epochs: over the frames of a fold that have the modality's ground truth.
        batch_size: frames a step.
        learning_rate: largest, of AdamW under a one-cycle schedule.
        weight_decay: of AdamW.
        zoom: largest factor of random crops; 1 for none.
        colour: strength of random brightness, contrast and white balance; 0 for none.
        mirror: predict the mirrored image too, and average.
        folds: K of cross-fitting.
        seed: of folds, initialisation and augmentation.
    """

    name: str
    encoder: str
    image: list[int] = field(default_factory=lambda: [240, 320])
    stride: int = 4
    width: int = 48
    epochs: int = 12
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    zoom: float = 1.5
    colour: float = 0.15
    mirror: bool = True
    folds: int = 3
    seed: int = 0

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
        least = {
            "stride": 2,
            "width": 1,
            "epochs": 1,
            "batch_size": 1,
            "zoom": 1,
            "colour": 0,
            "folds": 2,
            "seed": 0,
            "weight_decay": 0,
        }
        for key, low in least.items():
            if not getattr(self, key) >= low:
                raise ConfigError(
                    f"single_task.{key} is {getattr(self, key)}: give a number of at least {low}."
                )
        if not self.learning_rate > 0:
            raise ConfigError(
                f"single_task.learning_rate is {self.learning_rate}: give a number above 0."
            )
        if len(self.image) != 2 or any(n % self.stride for n in self.image):
            raise ConfigError(
                f"single_task.image is {list(self.image)}: give height and width, both divisible "
                f"by the stride {self.stride}."
            )
        if min(self.image) < 32:
            raise ConfigError(
                f"single_task.image is {list(self.image)}: give at least 32 pixels a side."
            )

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
SETTINGS: Final[Mapping[str, SingleTaskSettings]] = MappingProxyType(
    {
        s.name: s
        for s in (
            # From scratch, for the few small frames of the rooms.
            SingleTaskSettings(
                "small",
                "small",
                image=[120, 160],
                width=32,
                batch_size=4,
                learning_rate=3e-3,
                zoom=1.15,
            ),
            # For photographs: an ImageNet encoder, a light decoder.
            SingleTaskSettings("efficientnet_lite0", "efficientnet_lite0", image=[192, 256]),
        )
    }
)


def named(name: str, overrides: Mapping[str, Any] | None = None) -> SingleTaskSettings:
    """A copy of the settings ``name``, changed.

    Args:
        name: one of :data:`SETTINGS`, or ``timm:NAME`` for those of ``efficientnet_lite0`` with
            another encoder.
        overrides: key -> value.

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


__all__ = ["NETWORKS", "SETTINGS", "SingleTaskSettings", "named"]
