"""From the classes that a network predicts to those of a label space, whose members they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import LabelSpace, space
from jrn_lightning.importers.schema import close

#: what networks trained with detectron2 call some classes of ADE20K
_SPELLINGS: Final = {
    "airplane": "plane",
    "apparel": "clothes",
    "ashcan": "trash can",
    "bathtub": "tub",
    "railing": "rail",
    "streetlight": "street lamp",
    "swimming pool": "pool",
    "television receiver": "tv",
    "waterfall": "falls",
    "windowpane": "window",
}


def summation(
    mapping: LabelSpace, sources: Sequence[str], targets: Sequence[str]
) -> tuple[NDArray[np.float32], list[str]]:
    """``(K, S)`` of zeros and ones that sums the probabilities of S source classes into K targets.

    Names are compared without case and by their first synonym: "bed, bunk" is "bed".

    Returns:
        The table, and the source classes that are of no target: their columns are zero.

    Raises:
        CacheError: a class of the mapping that is no target, or a member that is no source, with
            the choices; a source that is of two targets.
    """
    rows = {_first(name): k for k, name in enumerate(targets)}
    columns: dict[str, list[int]] = {}
    for i, name in enumerate(sources):
        columns.setdefault(_first(name), []).append(i)
    known = space(mapping.of).own_ids if mapping.of else mapping.own_ids
    table = np.zeros((len(targets), len(sources)), np.float32)
    for target, members in mapping.members.items():
        if _first(target) not in rows:
            raise CacheError(
                f"{mapping.name} has the class {target!r}, which is not predicted here. "
                f"{close(target, targets)}"
            )
        for member in members:
            name = _first(str(known.get(member, member) if isinstance(member, int) else member))
            here = columns.get(name) or columns.get(_SPELLINGS.get(name, ""))
            if here is None:
                raise CacheError(
                    f"{mapping.name}: {target} has the member {member!r}, which the network does "
                    f"not predict. {close(name, (source.strip() for source in sources))}"
                )
            table[rows[_first(target)], here] = 1
    counts = table.sum(0).tolist()
    for name, count in zip(sources, counts, strict=True):
        if count > 1:
            raise CacheError(
                f"{mapping.name}: {name.strip()!r} is of {count:g} classes. Leave one."
            )
    return table, [name.strip() for name, n in zip(sources, counts, strict=True) if not n]


def _first(name: str) -> str:
    """The first synonym, to be compared.

    >>> _first("Window ; windowpane"), _first("bed ")
    ('window', 'bed')
    """
    return re.split(r"[;,]", name)[0].strip().casefold()
