"""What determines a rendered data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from jrn_lightning import keys
from jrn_lightning.errors import ConfigError

#: to be raised with every change after which the same seed gives other pictures
GENERATOR_VERSION: Final = 2

#: what can be rendered, in the order of a cache
MODALITIES: Final = ("depth", "semantic", "normals", "reflectance")
#: what is rendered unless told otherwise
USUAL: Final = MODALITIES[:2]

_LEAST: Final = {"seed": 0, "height": 24, "width": 32}  # 1 for all others


@dataclass(frozen=True)
class RoomsSpec:
    """A data set of generated rooms.

    Args:
        seed: of everything random.
        train_rooms: rooms in the training split.
        test_rooms: rooms in the test split.
        views: frames of each room.
        height: of a frame, pixels.
        width: of a frame, pixels.
        modalities: names of the ground truths, any of :data:`MODALITIES`, in any order.

    Raises:
        ConfigError: a value that is no whole number, or too small; an unknown modality.

    >>> RoomsSpec().frames
    288
    >>> RoomsSpec(seed=1).hash == RoomsSpec(seed=2).hash
    False
    """

    seed: int = 0
    train_rooms: int = 104
    test_rooms: int = 40
    views: int = 2
    height: int = 240
    width: int = 320
    modalities: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        unknown = [m for m in self.modalities if m not in MODALITIES]
        if unknown or not self.modalities:
            raise ConfigError(
                f"the rooms have no modality {', '.join(unknown) or 'at all'}. Choose from: "
                f"{', '.join(MODALITIES)}."
            )
        ordered = tuple(m for m in MODALITIES if m in self.modalities)
        object.__setattr__(self, "modalities", ordered)
        for field in fields(self)[:-1]:
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 1)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"{field.name} of the rooms is {value!r}. Give a whole number, {least} or more."
                )

    def values(self) -> dict[str, Any]:
        """All fields, the modalities only where they are not the usual ones."""
        values = asdict(self)
        if self.modalities == USUAL:  # rooms that were rendered before there were others are these
            del values["modalities"]
        return values

    @property
    def hash(self) -> str:
        """SHA-256 of all fields and the generator's version."""
        content = {"generator": GENERATOR_VERSION, **self.values()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def frames(self) -> int:
        """Frames in both splits together."""
        return len(self.rooms) * self.views

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of a frame."""
        return (self.height, self.width)

    @property
    def rooms(self) -> list[str]:
        """Names of all rooms in the order of their numbers, which start at 0.

        >>> RoomsSpec(train_rooms=2, test_rooms=1).rooms
        ['train_room_001', 'train_room_002', 'test_room_001']
        """
        counts = ((keys.TRAIN, self.train_rooms), (keys.TEST, self.test_rooms))
        return [f"{split}_room_{k + 1:03d}" for split, count in counts for k in range(count)]
