"""What a predictor promises, and its predictions of all frames, kept on disk as they come."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.cache.grid import AREA, Grid, resample
from jrn_lightning.errors import CacheError
from jrn_lightning.files import replacing
from jrn_lightning.importers.frames import DataSet
from jrn_lightning.importers.labels import LabelSpace
from jrn_lightning.importers.mapping import summation
from jrn_lightning.modalities import Modality
from jrn_lightning.progress import Advance

#: what is left of a pixel for the target classes, below which nothing is known of it
_LEAST_MASS: Final = 1e-6


class Predictor(Protocol):
    """Predicts one modality from images.

    Attributes:
        name: of the network, with its revision.
        batch: images that it takes at a time, at most.
        classes: names of its channels, where they are classes and have names.
        resumes: whether name and hash say all that the maps follow from.
        ranged: whether its maps are known to be in the modality's units, so that what is beyond
            the modality's range becomes its end; of others that is rather a mistake.
    """

    name: str
    batch: int
    classes: tuple[str, ...] | None
    resumes: bool
    ranged: bool

    def hash(self) -> str:
        """SHA-256 of the weights, or of the code."""

    def __call__(self, images: Tensor) -> tuple[Tensor, str]:
        """Maps ``(B, C, h, w)`` of ``(B, 3, H, W)`` uint8 images, and how they lie on the frame.

        The second is what :meth:`.Grid.parse` reads, and the same for all images of one size. An
        image's map does not depend on the others of its batch.
        """


class Predicted:
    """The maps of every frame by a predictor; see :class:`.Maps`.

    They are written to ``folder`` as they come: made again after a stop, with the same predictor,
    classes and frames, it goes on, where the predictor can tell that it is the same. Maps finer
    than the frame are brought to its size. Predicted classes are summed as ``mapping`` says; what
    belongs to none of the targets is left out, and the rest made to sum to 1 again.

    Args:
        data: the frames.
        modality: what is predicted.
        predictor: by what.
        folder: for the maps; what else is in it is removed.
        mapping: has the predictor's classes for members; by default they are those of the same
            names.
        advance: called with the frames done since the last call.

    Raises:
        CacheError: maps of another shape than expected, or not finite; classes that do not fit.
    """

    ordered_by_name = True

    def __init__(
        self,
        data: DataSet,
        modality: Modality,
        predictor: Predictor,
        folder: Path,
        mapping: LabelSpace | None = None,
        advance: Advance = lambda _: None,
    ) -> None:
        self.path, self.modality, self.predictor = folder, modality, predictor
        self.classes: tuple[str, ...] | None = getattr(modality, "classes", None)
        self.ids = [frame for ids in data.splits.values() for frame in ids]
        self._row = {frame: i for i, frame in enumerate(self.ids)}
        self._digest = predictor.hash()
        #: end of the range
        self._top: float | None = getattr(modality, "maximum", None) if predictor.ranged else None
        self._sum, self.unmapped = self._sums(mapping)
        self._open(mapping, data.stamp)
        waiting = [i for i in range(len(self.ids)) if not self._file(i).exists()]
        advance(len(self.ids) - len(waiting))
        for start in range(0, len(waiting), predictor.batch):
            rows = waiting[start : start + predictor.batch]
            self._predict(data, rows)
            advance(len(rows))
        self.shape = self._shape()
        self.dtype: np.dtype[Any] = np.dtype(np.float16)
        self.grid = str(self._load(0, "grid"))
        #: mean probability that was left out, or share of samples that were beyond the range
        self.left = float(np.mean([self._load(i, "left") for i in range(len(self.ids))]))

    def read(self, frame: str) -> NDArray[Any]:
        """Prediction of a frame: ``(C, h, w)`` float16."""
        return self._load(self._row[frame], "maps")

    def hash(self) -> str:
        """That of the predictor."""
        return self._digest

    @property
    def note(self) -> str:
        """How the maps came about, for the notes of a cache."""
        if self._top is not None and self.left:
            return (
                f"{self.predictor.name}; {100 * self.left:.2g} % of its samples were beyond "
                f"{self._top:g} {self.modality.unit}, and are that"
            )
        if not self.unmapped:
            return self.predictor.name
        return (
            f"{self.predictor.name}; {len(self.unmapped)} of its "
            f"{len(self.predictor.classes or ())} classes belong to none here: their probability, "
            f"{100 * self.left:.2g} % on average, is left out and the rest sums to 1 again"
        )

    def _sums(self, mapping: LabelSpace | None) -> tuple[Tensor | None, list[str]]:
        """``(K, S)`` from the predictor's classes to the modality's, and those that go nowhere."""
        theirs, ours = self.predictor.classes, self.classes
        if theirs is None or ours is None:
            if mapping is not None:
                raise CacheError(
                    f"{self.predictor.name}: its channels have no names of classes that --classes "
                    f"{mapping.name} could map. Leave it out."
                )
            return None, []
        if mapping is None and set(theirs) == set(ours):
            mapping = LabelSpace("", {name: (name,) for name in ours})
        if mapping is None:
            raise CacheError(
                f"{self.predictor.name} predicts {len(theirs)} other classes ({theirs[0].strip()}, "
                f"…) than {', '.join(ours)}. Give the label space that has them for members: "
                "--classes ade-to-wang5, or a file of your own."
            )
        table, unmapped = summation(mapping, theirs, ours)
        return torch.from_numpy(table), unmapped

    def _open(self, mapping: LabelSpace | None, stamp: str) -> None:
        """Keep the maps that are there, but not those that follow from something else."""
        follows = {
            "predictor": self.predictor.name,
            "hash": self._digest,
            "modality": [self.modality.kind, self.modality.attributes],
            "classes": mapping and mapping.hash,
            "frames": hashlib.sha256("\n".join([stamp, *self.ids]).encode()).hexdigest(),
        }
        listing, text = self.path / "predictor.json", json.dumps(follows, sort_keys=True)
        if self.predictor.resumes and listing.exists() and listing.read_text("utf-8") == text:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        listing.write_text(text, "utf-8")

    def _file(self, row: int) -> Path:
        return self.path / f"{row:06d}.npz"

    def _load(self, row: int, key: str) -> NDArray[Any]:
        with np.load(self._file(row), allow_pickle=False) as archive:
            array: NDArray[Any] = archive[key]
            return array

    def _shape(self) -> tuple[int, int, int]:
        c, h, w = self._load(0, "maps").shape
        return c, h, w

    def _predict(self, data: DataSet, rows: list[int]) -> None:
        """Predict some frames and write their maps."""
        name, frames = self.predictor.name, [self.ids[i] for i in rows]
        images = [data.read(frame, targets=False).image for frame in frames]
        pixels = torch.from_numpy(np.stack([image for image in images if image is not None]))
        with torch.inference_mode():
            maps, grid = self.predictor(pixels.permute(0, 3, 1, 2))
        maps = maps.float().cpu()
        channels = self.modality.channels if self._sum is None else self._sum.shape[1]
        if maps.ndim != 4 or maps.shape[:2] != (len(rows), channels):
            raise CacheError(
                f"{name} gave {self.modality.name} of shape {tuple(maps.shape)} for {len(rows)} "
                f"images. Expected (B, C, h, w) with B = {len(rows)} and C = {channels}."
            )
        for frame, one in zip(frames, maps, strict=True):
            if not one.isfinite().all():
                raise CacheError(
                    f"{name} gave {self.modality.name} that is not finite on frame {frame!r}. Mend "
                    "it there, or use another network."
                )
        left = torch.zeros(len(rows))
        if self._top is not None:
            left = (maps > self._top).float().mean((1, 2, 3))
            maps = maps.clamp(0, self._top)
        if self._sum is not None:
            maps = torch.einsum("ks,bshw->bkhw", self._sum, maps)
            mass = maps.sum(1, keepdim=True)
            left = 1 - mass.mean((1, 2, 3))
            even = torch.full_like(maps, 1 / len(self._sum))
            maps = torch.where(mass > _LEAST_MASS, maps / mass, even)
        if maps.shape[2] > data.size[0] or maps.shape[3] > data.size[1]:
            theirs, _ = Grid.parse(grid, (maps.shape[2], maps.shape[3]), data.size)
            maps, grid = resample(maps, theirs, data.size, data.size), AREA
        if self._file(0).exists() and maps.shape[1:] != self._shape():
            raise CacheError(
                f"{name} gave {self.modality.name} of shape {tuple(maps.shape[1:])} on frame "
                f"{frames[0]!r}, {self._shape()} before. Predict all frames at one size."
            )
        for row, one, lost in zip(rows, maps.numpy().astype(np.float16), left, strict=True):
            with replacing(self._file(row)) as part, part.open("wb") as file:
                np.savez(file, maps=one, left=float(lost), grid=grid)
