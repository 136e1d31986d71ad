"""Label spaces: the classes of a semantic map, and which stored ids become which class.

Each is one YAML file in the folder ``spaces``, or a file of the user's own. A *base* space lists
its classes in the order of the ids that files hold, from ``first`` on: ``nyu40``, ``cityscapes``
(its label ids), ``ade150``, ``pascal21`` and others. A space that is derived from another one
``of:`` names, for each class, the ids or names of that one that become it; every other id is void.

``nyu_classes.csv`` holds the 894 raw names of NYU Depth v2 in the data set's own order, each with
its id among the 40 classes of Gupta et al. (2013).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.files import read_text
from jrn_lightning.importers.schema import close, keys_of, load_yaml
from jrn_lightning.modalities.semantic import VOID

#: ids of Gupta's classes are 1 … 40
NYU40: Final = 40
_FORM: Final = "a YAML of 'class: [ids or names]', or a CSV with the columns class and member"


@dataclass(frozen=True)
class LabelSpace:
    """What the ids in a file of labels become.

    Args:
        name: how it is called in caches and on the command line.
        members: class name -> ids or names in the space ``of``; of a base space, its own id.
        source: where it comes from.
        of: the space whose ids are merged; None for a base space, or where they have no names.
        first: id of the first class in files that hold these very classes, in their order.
        exceptions: class name -> raw names of NYU Depth v2 that go there, whatever their NYU-40 id.
        colors: (r, g, b) of each class in files that hold pictures of them.
    """

    name: str
    members: Mapping[str, Sequence[int | str]]
    source: str = ""
    of: str | None = None
    first: int = 0
    exceptions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    colors: Sequence[Sequence[int]] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.members)

    @property
    def own_ids(self) -> dict[int, str]:
        """Id -> class, in files that hold these very classes."""
        return dict(enumerate(self.members, self.first))

    def labels_of(self, ids: str | None) -> dict[int, int]:
        """Label of each id that is known; void where it is of no class.

        Args:
            ids: the space that the ids in the files are of; None if they have no names.

        Raises:
            CacheError: this space says nothing of such ids.
        """
        if ids == self.name:
            return {id: label for label, id in enumerate(self.own_ids)}
        if self.of not in (None, ids):
            raise CacheError(
                f"label space {self.name} is of the ids of {self.of}, the files hold "
                f"{ids or 'ids without names'}. Give another label space, ids: {self.of}, or ids: "
                f"{self.name} where they count its own classes from {self.first}."
            )
        known = {} if ids is None else space(ids).own_ids
        table = dict.fromkeys(known, VOID)
        by_name = {name: id for id, name in known.items()}
        for label, (name, members) in enumerate(self.members.items()):
            for member in members:
                id = by_name.get(member, member) if isinstance(member, str) else member
                if not isinstance(id, int) or (known and id not in known):
                    near = close(str(member), by_name) if known else "Give numbers, or name ids:."
                    raise CacheError(
                        f"label space {self.name}: {name} has the member {member!r}, which "
                        f"{ids or 'files without names'} lacks. {near}"
                    )
                if table.get(id, VOID) != VOID:
                    raise CacheError(
                        f"label space {self.name}: {member!r} is of {name} and of "
                        f"{self.classes[table[id]]}. Leave one."
                    )
                table[id] = label
        return table

    def from_nyu40(self) -> NDArray[np.uint8]:
        """Lookup table ``(256,)`` from an NYU-40 id; 0 and everything beyond 40 is void."""
        table = np.full(256, VOID, np.uint8)
        for id, label in self.labels_of("nyu40").items():
            table[id] = label
        return table

    def from_raw(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """Lookup table ``(len(names) + 1,)`` from a raw label of NYU Depth v2; 0 is void.

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
        table: dict[str, Any] = {"classes": self.classes}
        if "nyu40" in (self.of, self.name):
            raw = list(nyu40_of_raw())
            table["nyu40"] = self.from_nyu40().tolist()
            table["raw"] = dict(zip(raw, self.from_raw(raw)[1:].tolist(), strict=True))
        else:
            table |= {"of": self.of, "members": list(map(list, self.members.values()))}
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


@cache
def nyu40_of_raw() -> Mapping[str, int]:
    """NYU-40 id of each of the 894 raw class names, in the data set's order."""
    text = resources.files(__package__).joinpath("nyu_classes.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["name"]: int(row["nyu40"]) for row in rows})


@cache
def names() -> list[str]:
    """The label spaces that come with the package."""
    folder = resources.files(__package__).joinpath("spaces")
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())


def space(name: str | Path, of: str | None = None) -> LabelSpace:
    """A label space that comes with the package, by name, or one of the user's own, by file.

    Args:
        name: its name, or a .yaml or .csv file.
        of: whose ids a file merges that does not say it.

    Raises:
        CacheError: no such space (the known ones are listed), or a file that is none.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _parse(load_yaml(path, _FORM), path.stem, str(path), of)
    if path.suffix == ".csv":
        return LabelSpace(path.stem, _csv(path), str(path), of)
    return _packaged(str(name))


@cache
def _packaged(name: str) -> LabelSpace:
    if name not in names():
        raise CacheError(
            f"label space {name!r} is unknown. {close(name, names())} Or give {_FORM}."
        )
    file = resources.files(__package__).joinpath("spaces", f"{name}.yaml")
    return _parse(yaml.safe_load(file.read_text("utf-8")), name, "", None)


def _parse(content: Mapping[str, Any], name: str, where: str, of: str | None) -> LabelSpace:
    if "classes" not in content:  # nothing but the classes
        content = {"classes": content}
    keys_of(content, ("classes", "of", "first", "source", "exceptions", "colors"), where)
    classes, first = content["classes"], int(content.get("first", 0))
    if isinstance(classes, list):
        classes = {str(c): [first + i] for i, c in enumerate(classes)}
    try:
        members = {
            str(c): tuple(m if isinstance(m, list) else [m]) for c, m in dict(classes).items()
        }
    except (TypeError, ValueError):
        raise CacheError(f"{where}: classes are {classes!r}. Give {_FORM}.") from None
    if not 0 < len(members) <= VOID:
        raise CacheError(f"{where}: {len(members)} classes. Give 1 to {VOID}.")
    return LabelSpace(
        name,
        members,
        str(content.get("source", where)),
        content.get("of", of),
        first,
        content.get("exceptions", {}),
        content.get("colors", ()),
    )


def _csv(path: Path) -> dict[str, tuple[int | str, ...]]:
    found: dict[str, list[int | str]] = {}
    try:
        for row in csv.DictReader(read_text(path).splitlines()):
            member = row["member"].strip()
            value = int(member) if member.lstrip("-").isdecimal() else member
            found.setdefault(row["class"].strip(), []).append(value)
    except (OSError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise CacheError(f"{path} cannot be read ({error!r}). Give {_FORM}.") from error
    return {name: tuple(members) for name, members in found.items()}


WANG5: Final = space("wang5")
STRUCTURAL5: Final = space("structural5")
#: names of the five classes of both
CLASSES: Final = WANG5.classes
