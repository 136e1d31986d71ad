"""Frames of a cache as batches: native grids in, frame-sized inputs and ground truth out."""

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
from jrn_lightning.keys import Batch
from jrn_lightning.modalities import Modality


def nearest_rows(out_size: int, in_size: int) -> NDArray[np.int64]:
    """The input row whose cell holds the centre of each output cell: labels are never mixed.

    >>> nearest_rows(2, 8).tolist()
    [2, 6]
    """
    return ((np.arange(out_size) + 0.5) * in_size / out_size).astype(np.int64)


class CachedFrames(Dataset[Batch]):
    """Some frames of one split, whole batches at a time.

    A resident data set holds the native predictions and the ground truth, at the size in which
    they are used, in memory (or on the device); otherwise each sample is read when it is asked
    for.

    Args:
        split: of an open cache.
        modalities: those to serve, in order.
        rows: positions in the split.
        frame: (H, W) of the inputs.
        target_size: (H', W') of the ground truth; None if it is not wanted.
        resident: load everything now.
        untouched: also serve the prediction at the ground truth's size, straight from its own
            grid, under ``untouched``.
        alternative: also serve the alternative ground truths that the split has, under
            ``alternative``; they are read when they are asked for.
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
        resident: bool = False,
        untouched: bool = False,
        alternative: bool = False,
        channels_last: bool = False,
    ) -> None:
        self.split = split
        self.modalities = modalities
        self.rows = np.asarray(rows, np.int64)
        self.frame = frame
        self.target_size = target_size
        self.untouched = untouched
        self.alternative = alternative
        self.channels_last = channels_last
        self._cache_frame = split.cache.frame
        self._predictions: dict[str, Tensor] = {}
        self._targets: dict[str, Tensor] = {}
        self._place = torch.arange(len(self.rows))  # where each frame is in what is resident
        if resident:
            every = range(len(self.rows))
            self._predictions = {m: self._read_predictions(m, every) for m in modalities}
            if target_size is not None:
                self._targets = {m: self._read_targets(m, every) for m in modalities}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def resident(self) -> bool:
        """Whether everything is in memory already."""
        return bool(self._predictions)

    @property
    def nbytes(self) -> int:
        """Memory that is or would be resident, in bytes."""
        if self._predictions:
            return sum(x.nbytes for x in (*self._predictions.values(), *self._targets.values()))
        total = 0
        for m, modality in self.modalities.items():
            total += len(self) * int(np.prod(self.split.prediction_shape(m))) * 4
            if self.target_size is not None:
                total += len(self) * int(np.prod(self.target_size)) * modality.target_dtype.itemsize
        return total

    def to(self, device: torch.device) -> None:
        """Move what is resident to ``device``; batches then come from there."""
        self._predictions = {m: x.to(device) for m, x in self._predictions.items()}
        self._targets = {m: x.to(device) for m, x in self._targets.items()}

    def select(self, positions: Sequence[int] | NDArray[Any]) -> CachedFrames:
        """The same data set with only some of its frames.

        What is resident is shared, not copied: leaving out a few frames takes no more memory, and
        frees none either.
        """
        chosen = np.asarray(positions, np.int64)
        part = CachedFrames(
            self.split,
            self.modalities,
            self.rows[chosen],
            self.frame,
            self.target_size,
            untouched=self.untouched,
            alternative=self.alternative,
            channels_last=self.channels_last,
        )
        part._predictions, part._targets = dict(self._predictions), dict(self._targets)
        part._place = self._place[torch.from_numpy(chosen)]
        return part

    def __getitem__(self, position: int) -> Batch:
        """A batch of one."""
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """A collated batch; the data loader needs no collate function."""
        rows = self.rows[np.asarray(positions, np.int64)]
        native = {m: self._native(m, positions) for m in self.modalities}
        batch: dict[str, Any] = {
            "id": [self.split.ids[i] for i in rows],
            "index": torch.from_numpy(rows),
            "input": {m: self._input(m, x) for m, x in native.items()},
        }
        if self.target_size is not None:
            targets = {m: self._target(m, positions) for m in self.modalities}
            batch["target"] = targets
            batch["valid"] = self._all_valid(targets)
            if self.untouched:
                # Statistics take twice as long of maps in the other memory format.
                same = self.target_size == tuple(self.frame) and not self.channels_last
                batch["untouched"] = {
                    m: batch["input"][m] if same else self._resampled(m, x, self.target_size)
                    for m, x in native.items()
                }
            if self.alternative:
                batch["alternative"] = {
                    (m, name): self._read_targets(m, positions, name).to(target.dtype)
                    for m, target in targets.items()
                    for name in self.split.truths.get(m, ())[1:]
                }
        return batch  # type: ignore[return-value]

    def inputs(self, modality: str, positions: Sequence[int]) -> Tensor:
        """One modality's inputs ``(B, C, H, W)`` at the frame size."""
        return self._input(modality, self._native(modality, positions))

    def targets(self, modality: str, positions: Sequence[int]) -> Tensor:
        """One modality's ground truth ``(B, H', W')``."""
        return self._target(modality, positions)

    def valid_pixels(self) -> NDArray[np.int64]:
        """Pixels of each frame where every modality has ground truth: ``(N,)``."""
        counts = [
            int(self._all_valid({m: self._target(m, [i]) for m in self.modalities}).sum())
            for i in range(len(self))
        ]
        return np.asarray(counts, np.int64)

    # -- reading -------------------------------------------------------------------------------

    def _native(self, modality: str, positions: Sequence[int]) -> Tensor:
        if self._predictions:
            maps = self._predictions[modality]
            if len(positions) == 1:  # where it lies: resampling makes the copy
                place = int(self._place[positions[0]])
                return maps[place : place + 1]
            return self._resident(maps, positions)
        return self._read_predictions(modality, positions)

    def _target(self, modality: str, positions: Sequence[int]) -> Tensor:
        if self._targets:
            x = self._resident(self._targets[modality], positions)
        else:
            x = self._read_targets(modality, positions)
        return x.to(self.modalities[modality].batch_dtype)

    def _resident(self, maps: Tensor, positions: Sequence[int]) -> Tensor:
        return maps[self._place[torch.as_tensor(positions)].to(maps.device)]

    def _input(self, modality: str, native: Tensor) -> Tensor:
        return self._resampled(modality, native, self.frame, self.channels_last)

    def _resampled(
        self, modality: str, native: Tensor, size: tuple[int, int], channels_last: bool = False
    ) -> Tensor:
        grid = self.split.grid(modality)
        return resample(native, grid, self._cache_frame, size, channels_last)

    def _all_valid(self, targets: dict[str, Tensor]) -> Tensor:
        masks = (self.modalities[m].target_valid(t) for m, t in targets.items())
        return reduce(torch.logical_and, masks)

    def _read_predictions(self, modality: str, positions: Sequence[int]) -> Tensor:
        # Frame by frame into its place: a list of them all, and its copy, would be the whole split
        # again. float32 once here rather than at every step: half precision resamples slowly on
        # a CPU.
        maps = np.empty((len(positions), *self.split.prediction_shape(modality)), np.float32)
        for k, i in enumerate(positions):
            maps[k] = self.split.prediction(modality, int(self.rows[i]))
        return torch.from_numpy(maps)

    def _read_targets(
        self, modality: str, positions: Sequence[int], alternative: str | None = None
    ) -> Tensor:
        assert self.target_size is not None
        height, width = self.split.target_size()
        full = (height, width) == self.target_size
        y, x = nearest_rows(self.target_size[0], height), nearest_rows(self.target_size[1], width)
        dtype = self.modalities[modality].target_dtype
        maps = np.empty((len(positions), *self.target_size), dtype)
        for k, i in enumerate(positions):
            row = int(self.rows[i])
            if alternative is None:
                target = self.split.target(modality, row)
            else:
                target = self.split.alternative(modality, alternative, row)
            maps[k] = target if full else target[y[:, None], x]
        return torch.from_numpy(maps)
