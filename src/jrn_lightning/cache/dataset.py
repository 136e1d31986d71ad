"""Frames of a cache as batches: native maps from the file, frame-sized ones on the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from jrn_lightning.cache.grid import resample
from jrn_lightning.cache.reader import CacheSplit
from jrn_lightning.keys import ALTERNATIVE, PREDICTION, TARGET, Batch
from jrn_lightning.modalities import Modality

#: ``id`` and ``index`` as in :class:`Batch`; under ``prediction``, ``target`` and ``alternative``
#: maps as the cache has them: predictions on their own grid, labels as bytes
NativeBatch = dict[str, Any]


def nearest_rows(out_size: int, in_size: int) -> NDArray[np.int64]:
    """The input row whose cell holds the centre of each output cell: labels are never mixed.

    >>> nearest_rows(2, 8).tolist()
    [2, 6]
    """
    return ((np.arange(out_size) + 0.5) * in_size / out_size).astype(np.int64)


class CachedFrames(Dataset[Batch]):
    """Some frames of one split, whole batches at a time, in two stages.

    A data loader collects native maps (:meth:`__getitems__`): in memory or on the device after
    :meth:`load` and :meth:`to`, else read when they are asked for. :meth:`prepare` makes a
    :class:`Batch` of them wherever they are by then: inputs of the frame's size, ground truth in
    the type that losses take. ``frames[i]`` does both.

    Args:
        split: of an open cache.
        modalities: those to serve, in order.
        rows: positions in the split.
        frame: (H, W) of the inputs.
        target_size: (H', W') of the ground truth; None if it is not wanted.
        untouched: also serve the prediction at the ground truth's size, from its own grid.
        alternative: also serve the alternative ground truths that the split has.
        channels_last: serve the inputs in that memory format.
    """

    def __init__(
        self,
        split: CacheSplit,
        modalities: dict[str, Modality],
        rows: Sequence[int] | NDArray[np.int64],
        frame: tuple[int, int],
        target_size: tuple[int, int] | None,
        *,
        untouched: bool = False,
        alternative: bool = False,
        channels_last: bool = False,
    ) -> None:
        self.split, self.modalities = split, modalities
        self.rows = np.asarray(rows, np.int64)
        self.frame, self.target_size = frame, target_size
        self.untouched, self.alternative = untouched, alternative
        self.channels_last = channels_last
        self._index = torch.from_numpy(self.rows)
        self._maps: dict[str, dict[Any, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def resident(self) -> bool:
        """Whether everything is in memory already."""
        return bool(self._maps)

    @property
    def device(self) -> torch.device:
        """Where a data loader's batches are."""
        return self._index.device

    @property
    def nbytes(self) -> int:
        """Memory that is or would be resident, in bytes."""
        samples = sum(int(np.prod(self.split.spec(m).shape)) * 4 for m in self.modalities)
        if self.target_size is not None:
            truths = [*self.modalities, *(m for m, _ in self._alternatives)]
            for modality in (self.modalities[m] for m in truths):
                numbers = int(np.prod(modality.target_shape(self.target_size)))
                samples += numbers * modality.target_dtype.itemsize
        return len(self) * samples

    def load(self) -> None:
        """Read everything into memory, unless it is there."""
        if not self.resident:
            # float32 once here rather than at every step.
            self._maps = self._read(range(len(self)), np.dtype(np.float32))

    def to(self, device: torch.device) -> None:
        """Move what :meth:`load` has read; batches then come from there."""
        self._index = self._index.to(device)
        for part in self._maps.values():
            for key, maps in part.items():  # one after the other: never all of them twice
                part[key] = maps.to(device)

    def __getitem__(self, position: int) -> Batch:
        """A prepared batch of one."""
        return self.batch([position])

    def batch(self, positions: Sequence[int]) -> Batch:
        """A prepared batch."""
        return self.prepare(self.__getitems__(positions))

    def __getitems__(self, positions: Sequence[int]) -> NativeBatch:
        """A collated native batch; the data loader needs no collate function."""
        if self.resident:
            maps = {
                part: {key: _taken(x, positions) for key, x in of.items()}
                for part, of in self._maps.items()
            }
        else:
            maps = self._read(positions)
        ids = [self.split.ids[self.rows[i]] for i in positions]
        return {"id": ids, "index": _taken(self._index, positions), **maps}

    def prepare(self, batch: NativeBatch) -> Batch:
        """The batch that networks and losses take, on the device of the native one."""
        native = batch[PREDICTION]
        whole: dict[str, Any] = {
            "id": batch["id"],
            "index": batch["index"],
            "input": {m: self._input(m, x) for m, x in native.items()},
        }
        if TARGET in batch:
            whole["target"] = {m: self._typed(m, x) for m, x in batch[TARGET].items()}
            whole["valid"] = self._valid(whole["target"])
        if self.untouched and self.target_size is not None:
            # Statistics take twice as long of maps in the other memory format.
            same = self.target_size == tuple(self.frame) and not self.channels_last
            whole["untouched"] = {
                m: whole["input"][m] if same else self._resampled(m, x, self.target_size)
                for m, x in native.items()
            }
        if ALTERNATIVE in batch:
            others = batch[ALTERNATIVE].items()
            whole["alternative"] = {key: self._typed(key[0], x) for key, x in others}
        return whole  # type: ignore[return-value]

    def inputs(self, modality: str, positions: Tensor) -> Tensor:
        """One modality's inputs ``(B, C, H, W)`` at ``positions`` ``(B,)``, on their device."""
        if self.resident:  # found without waiting for the device to tell which
            native = self._maps[PREDICTION][modality][positions.to(self.device)]
        else:
            native = self._predictions(modality, positions.tolist())
        return self._input(modality, native.to(positions.device))

    def target(self, modality: str, position: int) -> Tensor:
        """One modality's ground truth of one frame: ``(1, H', W')`` or ``(1, C, H', W')``."""
        if self.resident:
            target = self._maps[TARGET][modality][position : position + 1]
        else:
            target = self._targets(modality, [position])
        return self._typed(modality, target)

    def valid_pixels(self) -> NDArray[np.int64]:
        """Pixels of each frame where every modality has ground truth: ``(N,)``."""
        rows = range(len(self))
        masks = (self._valid({m: self.target(m, i) for m in self.modalities}) for i in rows)
        return np.asarray([int(mask.sum()) for mask in masks], np.int64)

    def _input(self, modality: str, native: Tensor) -> Tensor:
        return self._resampled(modality, native, self.frame, self.channels_last)

    def _resampled(
        self, modality: str, native: Tensor, size: tuple[int, int], channels_last: bool = False
    ) -> Tensor:
        grid = self.split.grid(modality)
        maps = resample(native, grid, self.split.target_size(), size, channels_last)
        return self.modalities[modality].mixed(maps)

    def _typed(self, modality: str, target: Tensor) -> Tensor:
        return target.to(self.modalities[modality].batch_dtype)

    def _valid(self, targets: dict[str, Tensor]) -> Tensor:
        masks = (self.modalities[m].target_valid(t) for m, t in targets.items())
        return reduce(torch.logical_and, masks)

    @property
    def _alternatives(self) -> list[tuple[str, str]]:
        given = self.split.alternatives if self.alternative else []
        return [(m, name) for m, name in given if m in self.modalities]

    def _read(
        self, positions: Sequence[int], dtype: np.dtype[Any] | None = None
    ) -> dict[str, dict[Any, Tensor]]:
        """Native maps from the file; predictions in ``dtype``, or as they are stored."""
        maps: dict[str, dict[Any, Tensor]] = {
            PREDICTION: {m: self._predictions(m, positions, dtype) for m in self.modalities}
        }
        if self.target_size is not None:
            maps[TARGET] = {m: self._targets(m, positions) for m in self.modalities}
            if self.alternative:
                others = self._alternatives
                maps[ALTERNATIVE] = {(m, n): self._targets(m, positions, n) for m, n in others}
        return maps

    def _predictions(
        self, modality: str, positions: Sequence[int], dtype: np.dtype[Any] | None = None
    ) -> Tensor:
        # Frame by frame into its place: a list of them all would be the whole split again.
        spec = self.split.spec(modality)
        maps = np.empty((len(positions), *spec.shape), dtype or spec.dtype)
        for k, i in enumerate(positions):
            maps[k] = self.split.prediction(modality, int(self.rows[i]))
        return torch.from_numpy(maps)

    def _targets(
        self, modality: str, positions: Sequence[int], alternative: str | None = None
    ) -> Tensor:
        assert self.target_size is not None
        height, width = self.split.target_size()
        full = (height, width) == self.target_size
        y, x = nearest_rows(self.target_size[0], height), nearest_rows(self.target_size[1], width)
        kind = self.modalities[modality]
        shape = kind.target_shape(self.target_size)
        maps = np.empty((len(positions), *shape), kind.target_dtype)
        for k, i in enumerate(positions):
            row = int(self.rows[i])
            target = (
                self.split.target(modality, row)
                if alternative is None
                else self.split.alternative(modality, alternative, row)
            )
            maps[k] = target if full else target[..., y[:, None], x]
        return torch.from_numpy(maps)


def _taken(maps: Tensor, positions: Sequence[int]) -> Tensor:
    """Some of the maps, copied, so that nothing done to a batch reaches what is resident."""
    # Not by a tensor of positions: that would have to be sent to the device, and waited for.
    return torch.stack([maps[i] for i in positions])


def as_collected(batch: NativeBatch) -> NativeBatch:
    """The collate function of native batches, here so that a worker need not import Lightning."""
    return batch
