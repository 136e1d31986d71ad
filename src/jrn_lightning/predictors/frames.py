"""Colour frames and their ground truth brought to a network's size, kept on disk for all folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from jrn_lightning import keys
from jrn_lightning.cache.dataset import nearest_rows
from jrn_lightning.errors import CacheError
from jrn_lightning.files import replacing
from jrn_lightning.importers.frames import DataSet

_LISTING: Final = "frames.json"
_IMAGES: Final = "images.npy"


def small_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` brought to ``size``, antialiased."""
    if image.shape[:2] == size:
        return image
    picture = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)


class PreparedFrames:
    """All frames of a data set at one size, memory-mapped: ``(N, H, W, 3)`` images and truths.

    Args:
        folder: written by :func:`prepare`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listing = json.loads((folder / _LISTING).read_text("utf-8"))
        #: ids of the frames, in the order of the rows
        self.ids: list[str] = listing["ids"]
        self.row = {frame: i for i, frame in enumerate(self.ids)}
        self.images: NDArray[np.uint8] = np.load(folder / _IMAGES, mmap_mode="r")
        self.truths: dict[str, NDArray[Any]] = {
            m: np.load(folder / f"truth-{m}.npy", mmap_mode="r") for m in listing["modalities"]
        }
        #: modality -> rows of the training frames that have its ground truth
        self.usable: dict[str, list[int]] = listing["usable"]

    def batch_images(self, rows: Sequence[int]) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1]."""
        chosen = torch.from_numpy(self.images[list(rows)])
        return chosen.permute(0, 3, 1, 2).float().div_(255)

    def batch_truths(self, modality: str, rows: Sequence[int]) -> Tensor:
        """Ground truth of B frames in the modality's dtype."""
        return torch.from_numpy(self.truths[modality][list(rows)])


def prepare(
    data: DataSet,
    size: tuple[int, int],
    folder: Path,
    advance: Callable[[], object] = lambda: None,
) -> PreparedFrames:
    """Bring every frame of ``data`` to ``size``; nothing is done where that was done before.

    The folder is complete when its listing is there; ``advance`` is called after each frame.

    Raises:
        CacheError: a training or test frame without ground truth of any modality; whatever
            reading a frame refuses.
    """
    ids = [frame for split in data.splits.values() for frame in split]
    wanted = {
        "ids": ids,
        "size": list(size),
        "modalities": list(data.modalities),
        "stamp": data.stamp,
    }
    listing = folder / _LISTING
    if listing.is_file():
        known = json.loads(listing.read_text("utf-8"))
        if {k: known.get(k) for k in wanted} == wanted:
            for _ in ids:
                advance()
            return PreparedFrames(folder)
        listing.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / _IMAGES, "w+", np.uint8, (len(ids), *size, 3))
    truths, usable = {}, {}
    for m, kind in data.modalities.items():
        shape = (len(ids), *kind.target_shape(size))
        truths[m] = np.lib.format.open_memmap(
            folder / f"truth-{m}.npy", "w+", kind.target_dtype, shape
        )
        truths[m][...] = kind.invalid
        usable[m] = list[int]()
    y, x = (nearest_rows(n, full) for n, full in zip(size, data.size, strict=True))
    splits = ((split, id) for split, members in data.splits.items() for id in members)
    for row, (split, id) in enumerate(splits):
        frame = data.read(id, targets=split != keys.PREDICT)
        assert frame.image is not None
        images[row] = small_image(frame.image, size)
        known_any = split == keys.PREDICT
        for m, target in (frame.targets or {}).items():
            small = target[..., y[:, None], x]
            known = bool(data.modalities[m].target_valid(torch.from_numpy(small)).any())
            known_any |= known
            if known and split == keys.TRAIN:
                usable[m].append(row)
                truths[m][row] = small
        if not known_any:
            raise CacheError(
                f"{data.path}: frame {id} of split {split!r} has no ground truth "
                "at all. Take it off its list, or put it among the frames without truth."
            )
        advance()
    for m, rows in usable.items():
        if data.splits.get(keys.TRAIN) and not rows:
            raise CacheError(f"{data.path}: no training frame has ground truth of {m}.")
    for array in (images, *truths.values()):
        array.flush()
    with replacing(listing) as part:
        part.write_text(json.dumps(wanted | {"usable": usable}), encoding="utf-8")
    return PreparedFrames(folder)
