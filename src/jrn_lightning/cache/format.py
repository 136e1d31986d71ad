"""What the reader and the writer of a prediction cache share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

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
    """All but the values of one modality's predictions in one split."""

    shape: tuple[int, int, int]  # (C, h, w) of one sample
    dtype: np.dtype[Any]  # float16 or float32
    grid: Grid
    provenance: Provenance


class Field(NamedTuple):
    """One dataset of a split, a sample a frame."""

    what: str  # for messages
    shape: tuple[int, ...]  # of one sample
    dtype: np.dtype[Any]  # in which it is stored
    problem: Callable[[NDArray[Any]], str | None]  # of a sample's values, None if there is none


@dataclass(eq=False, repr=False, kw_only=True)
class SplitContent:
    """A split without its samples."""

    name: str
    ids: list[str]
    scenes: list[str]
    specs: dict[str, PredictionSpec]
    has_targets: bool
    has_images: bool
    #: names of the ground truths by modality, where they have any: of the one under ``target``,
    #: then of its alternatives
    truths: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def alternatives(self) -> list[tuple[str, str]]:
        """Modality and name of every ground truth but the main ones."""
        return [(m, name) for m, names in self.truths.items() for name in names[1:]]

    def fields(
        self, modalities: Mapping[str, Modality], frame: tuple[int, int]
    ) -> dict[str, Field]:
        """The datasets of its maps, by their names within the group of the split."""
        found = {
            f"{keys.PREDICTION}/{m}": Field(
                f"{m} prediction", spec.shape, spec.dtype, modalities[m].check_prediction
            )
            for m, spec in self.specs.items()
        }
        truths = [(f"{keys.TARGET}/{m}", m, "") for m in modalities] if self.has_targets else []
        truths += [(f"{keys.ALTERNATIVE}/{m}/{n}", m, f" {n!r}") for m, n in self.alternatives]
        for key, m, name in truths:
            kind = modalities[m]
            what = f"{m} ground truth{name}"
            found[key] = Field(what, kind.target_shape(frame), kind.target_dtype, kind.check_target)
        if self.has_images:
            found[keys.IMAGE] = Field("image", (*frame, 3), np.dtype(np.uint8), lambda _: None)
        return found


def check_ids(splits: Iterable[SplitContent], path: Path) -> None:
    """Refuse an id that is empty, or there twice in any of the splits."""
    home: dict[str, str] = {}
    for split in splits:
        for name in split.ids:
            if not name:
                raise CacheError(f"{path}: split {split.name!r} has a frame with an empty id.")
            if name in home:
                raise CacheError(
                    f"{path}: frame {name!r} is in split {home[name]!r} and again in "
                    f"{split.name!r}. A frame belongs to one split, once."
                )
            home[name] = split.name


def are_names(names: object) -> bool:
    """Whether ``names`` can be those of a modality's ground truths: they are parts of paths."""
    return (
        isinstance(names, list | tuple)
        and all(isinstance(n, str) and n.strip(".") and "/" not in n for n in names)
        and 0 < len(names) == len(set(names))
    )


def digest(arrays: Iterable[NDArray[Any]]) -> bytes:
    """SHA-256 over the bytes of one frame, in the order of :meth:`SplitContent.fields`."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.digest()


def content_hash(
    frame: tuple[int, int],
    modalities: Mapping[str, Modality],
    splits: Mapping[str, SplitContent],
    digests: Mapping[str, Mapping[int, bytes]],
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
                "targets": splits[name].has_targets,
                "images": splits[name].has_images,
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
        for i in range(len(splits[name])):
            sha.update(digests[name][i])
    return sha.hexdigest()


def set_text(item: Any, key: str, text: str) -> None:
    """A fixed-length string attribute: those of variable length have no checksum."""
    item.attrs[key] = np.bytes_(text.encode())


def text(item: Any, key: str) -> str:
    """A string attribute; raises KeyError or TypeError where there is none."""
    value = item.attrs[key]
    if not isinstance(value, bytes):
        raise TypeError(f"attribute {key!r} of {item.name!r} is {value!r}, not a string")
    return value.decode()
