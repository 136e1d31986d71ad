"""What a data set of colour frames promises: to be predicted, and to become a prediction cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.modalities import Modality


class Frame(NamedTuple):
    """One frame of a data set.

    Attributes:
        image: ``(H, W, 3)``; None where it was not asked for.
        targets: modality -> ground truth in the modality's shape and dtype, its invalid value
            where there is none; None where it was not asked for.
        alternatives: modality and name -> other ground truth, likewise; None where there is none.
    """

    image: NDArray[np.uint8] | None
    targets: dict[str, NDArray[Any]] | None
    alternatives: Mapping[tuple[str, str], NDArray[Any]] | None = None


class DataSet(Protocol):
    """Colour frames in splits, with ground truth but in the split ``predict``.

    A frame is called by its id, which is any text: the key of scenes, maps and caches.
    """

    #: split -> ids of its frames
    splits: dict[str, list[str]]
    #: (H, W) of every frame
    size: tuple[int, int]
    #: remarks for the cache
    notes: dict[str, str]
    #: names of the ground truths of a modality, where they have any: of the one in a frame's
    #: ``targets``, then of its ``alternatives``
    truths: dict[str, tuple[str, ...]]
    #: where it lies, for messages
    path: Path

    @property
    def stamp(self) -> str:
        """Changes with every file that is read, and with how: what is begun is gone on with."""

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the ground truth is of, in the order of a cache."""

    def scene(self, frame: str) -> str:
        """The scene that a frame shows: the cluster of every split and interval."""

    def read(self, frame: str, *, image: bool = True, targets: bool = True) -> Frame:
        """One frame; ``targets`` only for frames with ground truth."""


def stamp_of(files: Iterable[Path | None], *about: object) -> str:
    """What changes with any of the files, or with what else is told.

    The system's own time of a file's last change cannot be set: a file that another one of the
    same size and age takes the place of is seen, too.
    """
    sha = hashlib.sha256(repr(about).encode(errors="backslashreplace"))
    for file in files:
        found = file.stat() if file is not None and file.exists() else None
        facts = found and (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        sha.update(repr((str(file), facts)).encode(errors="backslashreplace"))
    return sha.hexdigest()


def frame_id(number: int) -> str:
    """The id of a frame that its data set numbers.

    >>> frame_id(7)
    '0007'
    """
    return f"{number:04d}"


def in_order(ids: Iterable[str]) -> list[str]:
    """Ids as a reader sorts them: the numbers within them by value.

    >>> in_order(["10", "9", "ab/2", "b/10", "b/9"])
    ['9', '10', 'ab/2', 'b/9', 'b/10']
    """
    return sorted(ids, key=lambda text: re.sub(r"\d+", lambda digits: digits[0].zfill(20), text))


def by_number(ids: Iterable[str]) -> dict[int, str] | None:
    """Number -> id, where each id is a number of its own; None where they are other text.

    >>> by_number(["0007", "0012"])
    {7: '0007', 12: '0012'}
    >>> by_number(["aachen/07"]) is by_number(["7", "007"]) is None
    True
    """
    ids = list(ids)
    if not all(i.isascii() and i.isdecimal() for i in ids):
        return None
    numbers = {int(i): i for i in ids}
    return numbers if len(numbers) == len(ids) else None
