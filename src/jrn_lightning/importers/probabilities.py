"""Class predictions as people have them, turned into probabilities of a label space.

Unambiguous are class ids, percentages, counts of 255 or 65535, and probabilities of the 40 classes
of NYU Depth v2. What was done is told, so that the cache can note it; all else is refused with how
to convert it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import NYU40, LabelSpace, names
from jrn_lightning.importers.labels import space as label_space
from jrn_lightning.modalities import Semantic
from jrn_lightning.modalities.semantic import VOID

Maps = NDArray[Any]
#: what the classes of a pixel sum to, where they do not sum to 1
_UNITS: Final = {100: "percentages", 255: "8-bit probabilities", 65535: "16-bit probabilities"}


def as_probabilities(
    path: Path, modality: Semantic, first: Maps, every: Iterable[Maps]
) -> tuple[Callable[[Maps], Maps], str]:
    """How each map becomes probabilities ``(K, h, w)``, and a note of it.

    Args:
        path: of the predictions, for messages.
        modality: what is predicted.
        first: the first map.
        every: all of them, taken only to know the range of class ids.

    Returns:
        A function of a map, and the note; empty where the maps are probabilities already.

    Raises:
        CacheError: maps of which it cannot be known what they say.
    """
    k = modality.channels
    ends = (first.shape[0], first.shape[-1])
    if first.ndim == 2 or (first.ndim == 3 and 1 in ends and k not in ends):
        _check_ids(path, modality, every)
        return (
            lambda ids: np.moveaxis(np.eye(k, dtype=np.float32)[_flat(ids).astype(np.int64)], 2, 0),
            "class ids, taken for certain (one-hot)",
        )
    notes: list[str] = []
    steps: list[Callable[[Maps], Maps]] = []
    space = label_space(modality.label_space) if modality.label_space in names() else None
    if first.ndim != 3 or (k not in ends and (NYU40 not in ends or not _merges_nyu40(space))):
        return _unchanged, ""  # refused for its shape
    if k not in ends:
        assert space is not None
        source = 0 if first.shape[0] == NYU40 else 2
        steps.append(lambda maps: _summed(np.moveaxis(maps, source, 0), space))
        notes.append(f"NYU-40 probabilities, summed over the members of each {space.name} class")
        first = steps[0](first)
    axis = 0 if first.shape[0] == k else 2
    unit = _unit(path, first, axis)
    if unit != 1:
        steps.append(lambda maps: _divided(path, maps, axis, unit))
        notes.append(f"{_UNITS[unit]}, divided by their sum")
    if not steps:
        return _unchanged, ""

    def convert(maps: Maps) -> Maps:
        for step in steps:
            maps = step(maps)
        return maps

    return convert, "; ".join(notes)


def _unchanged(maps: Maps) -> Maps:
    return maps


def _flat(ids: Maps) -> Maps:
    """``(h, w)`` of a map that may have an axis of one channel."""
    if ids.ndim == 2:
        return ids
    return ids[0] if ids.shape[0] == 1 else ids[..., 0]


def _check_ids(path: Path, modality: Semantic, maps: Iterable[Maps]) -> None:
    """Refuse maps of one channel that are not the label space's ids, counted from 0."""
    ids = f"0 to {modality.channels - 1} ({', '.join(modality.classes)})"
    low, high = np.inf, -np.inf
    for one in maps:
        if one.dtype.kind == "f" and (one != np.round(one)).any():
            raise CacheError(
                f"{path}: maps of one channel with fractions, where {modality.channels} classes "
                "were expected. Give the probabilities of all classes, or class ids."
            )
        low, high = min(low, one.min()), max(high, one.max())
    if low != 0 or high >= modality.channels:
        raise CacheError(
            f"{path}: class ids from {low:g} to {high:g}, those of the label space are {ids}, "
            "every pixel of one class. Map them to these, or give probabilities of all classes."
        )


def _merges_nyu40(space: LabelSpace | None) -> bool:
    """Whether each of the 40 classes is a part of one of the space's."""
    if space is None or space.of != "nyu40":
        return False
    return bool((space.from_nyu40()[1 : NYU40 + 1] != VOID).all())


def _summed(maps: Maps, space: LabelSpace) -> Maps:
    """``(40, h, w)`` of ids 1 to 40 to ``(K, h, w)``."""
    label = space.from_nyu40()[1 : NYU40 + 1]
    return np.stack([maps[label == k].sum(0, dtype=np.float32) for k in range(len(space.members))])


def _unit(path: Path, first: Maps, axis: int) -> int:
    """What the classes of a pixel sum to: 1, or a key of ``_UNITS``."""
    low = float(np.fmin.reduce(first, axis=None))
    if low < 0:
        total = np.exp(first.astype(np.float64)).sum(axis)
        log = low < 0 and float(first.max()) <= 0 and bool((np.abs(total - 1) < 0.01).all())
        what, function = ("log-probabilities", "exp") if log else ("logits", "softmax")
        raise CacheError(
            f"{path}: a value of {low:g} is no probability; these seem to be {what}. Give their "
            f"{function}."
        )
    typical = float(np.median(first.sum(axis, dtype=np.float64)))
    for unit in _UNITS:
        if abs(typical - unit) <= max(0.01 * unit, first.shape[axis] / 2):
            return unit
    if first.dtype.kind in "iu":
        raise CacheError(
            f"{path}: integers that sum to {typical:g} over the classes of a pixel. Give "
            f"probabilities, or let them sum to one of: {', '.join(map(str, _UNITS))}."
        )
    return 1


def _divided(path: Path, maps: Maps, axis: int, unit: int) -> Maps:
    """Divided by each pixel's own sum, which rounding may have moved from ``unit``."""
    total = maps.sum(axis, keepdims=True, dtype=np.float64)
    beyond = np.abs(total - unit) > max(0.01 * unit, maps.shape[axis] / 2)
    if beyond.any():
        raise CacheError(
            f"{path}: {_UNITS[unit]} that sum to {float(total[beyond][0]):g} at a pixel. Let the "
            f"classes of every pixel sum to {unit}."
        )
    return np.asarray(maps / total, np.float32)
