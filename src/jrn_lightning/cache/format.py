"""What the reader and the writer of a prediction cache share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import CacheError
from jrn_lightning.modalities import Modality

FORMAT: Final = "jrn-cache"
VERSION: Final = 1
#: Group of the modalities, beside those of the splits.
MODALITY: Final = "modality"
#: Types in which predictions are stored.
DTYPES: Final = (np.dtype(np.float16), np.dtype(np.float32))
#: What a prediction network knew of the frames it predicts.
SAMPLING: Final = ("in-sample", "out-of-fold", "unseen", "unknown")


@dataclass(frozen=True)
class Provenance:
    """Where the predictions of one modality come from.

    Args:
        source: name of the network.
        source_hash: SHA-256 of its weights, or of the file that held its predictions.
        sampling: one of :data:`SAMPLING`: whether the network was trained on these very frames.
        alignment: ``area``, ``corners`` or ``explicit``, how the grid was stated.
    """

    source: str
    source_hash: str = ""
    sampling: str = "unknown"
    alignment: str = "area"

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLING:
            raise CacheError(
                f"sampling {self.sampling!r} of {self.source!r} is unknown. "
                f"Choose from: {', '.join(SAMPLING)}."
            )


@dataclass(frozen=True)
class PredictionSpec:
    """All but the values of one modality's predictions in one split.

    Args:
        shape: (C, h, w) of one sample.
        dtype: float16 or float32.
        grid: how the samples lie on the frame.
        provenance: where they come from.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    grid: Grid
    provenance: Provenance


@dataclass
class SplitContent:
    """A split without its samples; of those, the digests.

    Args:
        ids: of the frames.
        scenes: of the frames.
        specs: of the predictions, by modality.
        targets: whether there is ground truth.
        images: whether there are images.
        truths: names of the ground truths by modality, where they have any: of the one under
            ``target``, then of its alternatives.
        digests: row -> digest of the sample.
    """

    ids: list[str]
    scenes: list[str]
    specs: dict[str, PredictionSpec]
    targets: bool
    images: bool
    truths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)

    @property
    def alternatives(self) -> list[tuple[str, str]]:
        """See :func:`alternatives`."""
        return alternatives(self.truths)


def check_ids(splits: Mapping[str, Sequence[str]], path: Path) -> None:
    """Make sure that every frame is there once, in one split.

    Raises:
        CacheError: an id that is empty, or there twice.
    """
    home: dict[str, str] = {}
    for split, ids in splits.items():
        for name in ids:
            if not name:
                raise CacheError(f"{path}: split {split!r} has a frame with an empty id.")
            if name in home:
                raise CacheError(
                    f"{path}: frame {name!r} is in split {home[name]!r} and again in {split!r}. "
                    "A frame belongs to one split, once."
                )
            home[name] = split


def alternatives(truths: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Modality and name of every ground truth but the main ones.

    >>> alternatives({"depth": ("filled", "raw"), "semantic": ("labels",)})
    [('depth', 'raw')]
    """
    return [(m, name) for m, names in truths.items() for name in names[1:]]


def are_names(names: object) -> bool:
    """Whether ``names`` can be those of a modality's ground truths: they are parts of paths."""
    return (
        isinstance(names, list | tuple)
        and all(isinstance(n, str) and n.strip(".") and "/" not in n for n in names)
        and 0 < len(names) == len(set(names))
    )


def digest(arrays: Iterable[NDArray[Any]]) -> bytes:
    """SHA-256 over the bytes of one sample.

    Predictions, ground truth, alternatives to it, image, in that order.
    """
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.digest()


def content_hash(
    frame: tuple[int, int],
    modalities: Mapping[str, Modality],
    splits: Mapping[str, SplitContent],
) -> str:
    """SHA-256 over structure and samples, whatever the order of writing.

    The name of a ground truth that has no alternative is a remark, as notes are.
    """
    present = [name for name in keys.SPLITS if name in splits]
    structure = {
        "frame": frame,
        "modalities": [[name, m.kind, m.attributes] for name, m in modalities.items()],
        "splits": {
            name: {
                "ids": splits[name].ids,
                "scenes": splits[name].scenes,
                "targets": splits[name].targets,
                "images": splits[name].images,
                "predictions": {
                    m: [spec.shape, str(spec.dtype), astuple(spec.grid), asdict(spec.provenance)]
                    for m, spec in splits[name].specs.items()
                },
                **({"truths": splits[name].truths} if splits[name].alternatives else {}),
            }
            for name in present
        },
    }
    sha = hashlib.sha256(json.dumps(structure).encode())
    for name in present:
        for i in range(len(splits[name].ids)):
            sha.update(splits[name].digests[i])
    return sha.hexdigest()


def set_text(item: Any, key: str, text: str) -> None:
    """A fixed-length string attribute: those of variable length have no checksum."""
    item.attrs[key] = np.bytes_(text.encode())


def text(item: Any, key: str) -> str:
    """A string attribute.

    Raises:
        KeyError: it is missing.
        TypeError: it is no fixed-length string.
    """
    value = item.attrs[key]
    if not isinstance(value, bytes):
        raise TypeError(f"attribute {key!r} of {item.name!r} is {value!r}, not a string")
    return value.decode()
