"""The two five-class label spaces of NYU Depth v2.

``nyu_classes.csv`` holds the 894 raw names of the data set in its own order, each with its id
among the 40 classes of Gupta et al. (2013). A label space says what becomes of the 40, and which
raw names it treats unlike their parent.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.modalities.semantic import VOID

CLASSES: Final = ("Ground", "Vertical", "Ceiling", "Furniture", "Object")
#: ids of Gupta's classes are 1 … 40
NYU40: Final = 40


@dataclass(frozen=True)
class LabelSpace:
    """What each NYU-40 id, and each raw name where it differs, becomes.

    Args:
        name: how it is called in caches and on the command line.
        members: class name -> NYU-40 ids; every id once.
        exceptions: class name -> raw names that go there, whatever their NYU-40 id.
        source: where it comes from.
    """

    name: str
    members: Mapping[str, Sequence[int]]
    source: str
    exceptions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.members)

    def from_nyu40(self) -> NDArray[np.uint8]:
        """Lookup table ``(256,)`` from an NYU-40 id; 0 and everything beyond 40 is void."""
        table = np.full(256, VOID, np.uint8)
        for label, ids in enumerate(self.members.values()):
            table[list(ids)] = label
        return table

    def from_raw(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Lookup table ``(len(names) + 1,)`` from a raw label; 0 is void.

        Args:
            names: raw class names, that of label 1 first.

        Raises:
            CacheError: a name that is none of the 894.
        """
        nyu40, parents = self.from_nyu40(), nyu40_of_raw()
        if unknown := [name for name in names if name not in parents]:
            raise CacheError(
                f"raw class names {unknown[:3]} are not among the {len(parents)} of NYU Depth v2. "
                "Is this the file nyu_depth_v2_labeled.mat?"
            )
        label = {name: number for number, name in enumerate(self.members)}
        exceptions = {raw: label[name] for name, raws in self.exceptions.items() for raw in raws}
        table = [exceptions.get(name, nyu40[parents[name]]) for name in names]
        return np.array([VOID, *table], np.uint8)

    @property
    def hash(self) -> str:
        """SHA-256 of the whole mapping."""
        raw = list(nyu40_of_raw())
        table: dict[str, Any] = {
            "classes": self.classes,
            "nyu40": self.from_nyu40().tolist(),
            "raw": dict(zip(raw, self.from_raw(raw)[1:].tolist(), strict=True)),
        }
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


@cache
def nyu40_of_raw() -> Mapping[str, int]:
    """NYU-40 id of each of the 894 raw class names, in the data set's order."""
    text = resources.files(__package__).joinpath("nyu_classes.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["name"]: int(row["nyu40"]) for row in rows})


WANG5: Final = LabelSpace(
    "wang5",
    {
        "Ground": (2, 20),
        "Vertical": (1, 3, 8, 10, 13, 19, 24),
        "Ceiling": (22,),
        "Furniture": (4, 6, 7, 14),
        "Object": (5, 9, 11, 12, 15, 16, 17, 18, 21, 23, *range(25, NYU40 + 1)),
    },
    "Wang et al., Towards Unified Depth and Semantic Prediction From a Single Image, CVPR 2015",
    {
        "Vertical": (
            *("classroom board", "window cover", "door frame", "door curtain", "garage door"),
            *("wall stand", "dishwasher", "projector screen", "mailshelf", "wardrobe"),
            *("storage shelvesbooks", "wall decoration"),
        ),
        "Furniture": ("coffee table", "mattress"),
    },
)

STRUCTURAL5: Final = LabelSpace(
    "structural5",
    {
        "Ground": (2,),
        "Vertical": (1, 8, 9, 12, 13, 16, 28, 30, 38),
        "Ceiling": (22,),
        "Furniture": (3, 4, 5, 6, 7, 10, 14, 15, 17, 24, 32, 33, 36, 39),
        "Object": (11, 18, 19, 20, 21, 23, 25, 26, 27, 29, 31, 34, 35, 37, 40),
    },
    "the four structural superclasses of NYU Depth v2, the ceiling taken out of them",
)

LABEL_SPACES: Final[Mapping[str, LabelSpace]] = {s.name: s for s in (WANG5, STRUCTURAL5)}
