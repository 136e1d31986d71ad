"""The LightningDataModule that serves cached single-task predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.trainer.states import TrainerStatus
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from jrn_lightning.cache.dataset import CachedFrames, as_collected
from jrn_lightning.cache.reader import CacheSplit, PredictionCache
from jrn_lightning.errors import CacheError, ConfigError
from jrn_lightning.keys import TEST, TRAIN, VAL, Batch
from jrn_lightning.modalities import Modality
from jrn_lightning.networks.muting import InputStatistics

log = logging.getLogger(__name__)

Loader: TypeAlias = "DataLoader[Batch]"


class EpochShuffle(Sampler[int]):
    """A permutation that depends on the seed and the epoch alone, so that a resumed run repeats it.

    ``world`` processes share an epoch; the last ones repeat frames to be equally long.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.seed, self.rank, self.world = length, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.world)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        padded = np.resize(order, len(self) * self.world)
        return iter(padded[self.rank :: self.world].tolist())


def split_by_scene(
    scenes: Sequence[str], fraction: float, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Positions of a training and a validation part that share no scene.

    Scenes are taken in a shuffled order while they fit, so that the validation part is as near to
    ``fraction`` of the frames as whole scenes allow without exceeding it (at least one scene).

    Raises:
        CacheError: fewer than two scenes.

    >>> split_by_scene(["a", "a", "b", "c"], 0.25, seed=1)[1] in ([2], [3])
    True
    """
    names, scene = np.unique(np.asarray(scenes), return_inverse=True)
    if len(names) < 2:
        raise CacheError(
            f"the training split has {len(names)} scene: at least two are needed to take a "
            "validation part that shares none. Set data.val_fraction=0 to do without."
        )
    sizes = np.bincount(scene)
    order = np.random.default_rng(seed).permutation(len(names))
    room = fraction * len(scene)
    chosen: list[int] = []
    for s in order:
        if sizes[s] <= room:
            chosen.append(int(s))
            room -= sizes[s]
    chosen = chosen or [int(order[np.argmin(sizes[order])])]
    validation = np.isin(scene, chosen)
    return np.flatnonzero(~validation).tolist(), np.flatnonzero(validation).tolist()


class CacheDataModule(pl.LightningDataModule):
    """Serves the splits of a prediction cache as batches of frame-sized maps.

    A trainer gets native maps from the loaders and has them resampled after their transfer, on the
    device; whoever iterates over a loader without one gets the same batches whole, from where the
    frames are.

    Training frames with no pixel where every modality has ground truth are left out and counted
    in ``skipped``. Where the cache has no validation split, one is taken from the training
    frames, disjoint by scene; it depends on ``split_seed`` and not on the seed of a run, so that
    runs of different seeds are validated on the same frames.

    Args:
        cache: path of the HDF5 file.
        build: makes the file if it is not there, on :meth:`prepare_data`; None where it has to be.
        frame: (H, W) of the network's inputs; None for the cache's own frame size.
        modalities: names to use, in order; None for all in the cache.
        batch_size: frames a step; 1 in the paper.
        val_fraction: of the training frames, 0 for none.
        split_seed: of the validation split.
        seed: of the order of the training frames.
        memory_limit_gib: a split whose frames need less is kept in memory: on the device, if they
            need less than a quarter of what is free there. The test split, which is passed over
            once, is kept on a GPU only.
        num_workers: processes that read frames which are not kept in memory.
        limit_train: use only the first so many training frames (for a quick try), None for all.
        limit_test: likewise for the test frames.
        alternative: whether test batches hold the alternative ground truths of the cache.
        channels_last: serve the inputs in that memory format; read on :meth:`setup`.
    """

    def __init__(
        self,
        cache: str | Path,
        build: Callable[[Path], object] | None = None,
        frame: Sequence[int] | None = None,
        modalities: Sequence[str] | None = None,
        batch_size: int = 1,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        seed: int = 0,
        memory_limit_gib: float = 4.0,
        num_workers: int = 0,
        limit_train: int | None = None,
        limit_test: int | None = None,
        alternative: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.path = Path(cache)
        self._build = build
        self._chosen, self._frame = modalities, frame
        #: frame size over the size at which the training loss is taken; read on :meth:`setup`
        self.output_scale = 2
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_fraction, self.split_seed, self.seed = val_fraction, split_seed, seed
        self.memory_limit = memory_limit_gib * 2**30
        self.limit_train, self.limit_test = limit_train, limit_test
        self.alternative, self.channels_last = alternative, channels_last
        self.skipped: dict[str, int] = {}
        self.train: CachedFrames | None = None
        self.val: CachedFrames | None = None
        self.test: CachedFrames | None = None

    def prepare_data(self) -> None:
        """Make the cache, if it can be made and is not there; one process does it."""
        if self._build is not None:
            self._build(self.path)

    @cached_property
    def cache(self) -> PredictionCache:
        """The open cache."""
        return PredictionCache(self.path)

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """Those that are served, in order; a ConfigError for one that the cache does not hold."""
        known = self.cache.modalities
        chosen = list(self._chosen) if self._chosen else list(known)
        unknown = [m for m in chosen if m not in known]
        if unknown:
            raise ConfigError(
                f"data.modalities names {', '.join(unknown)}, but {self.path} holds "
                f"{', '.join(known)}."
            )
        return {m: known[m] for m in chosen}

    @property
    def frame(self) -> tuple[int, int]:
        """(H, W) of the network's inputs."""
        height, width = self._frame if self._frame else self.cache.frame
        return int(height), int(width)

    @property
    def loss_size(self) -> tuple[int, int]:
        """(H, W) at which the training loss is taken."""
        return self.frame[0] // self.output_scale, self.frame[1] // self.output_scale

    def setup(self, stage: str | None = None) -> None:
        """Load what ``stage`` (``fit``, ``validate``, ``test``) needs; None for everything.

        Only a trainer knows the device: when it calls this, what is in memory is moved there.
        """
        if stage in (None, "fit", "validate") and self.train is None:
            self._setup_fit()
        if stage in (None, "test") and self.test is None:
            split = self.cache.split(TEST)
            self.test = self._frames(
                split, range(len(split))[: self.limit_test], split.target_size()
            )
        for frames in (self.train, self.val, self.test):
            if frames is not None:
                self._keep(frames)

    def _setup_fit(self) -> None:
        split = source = self.cache.split(TRAIN)
        training, validation = list(range(len(split))), list[int]()
        if VAL in self.cache.splits:
            source = self.cache.split(VAL)
            validation = list(range(len(source)))
        elif self.val_fraction > 0:
            training, validation = split_by_scene(split.scenes, self.val_fraction, self.split_seed)
        train = self._frames(split, training[: self.limit_train], self.loss_size)
        usable = np.flatnonzero(train.valid_pixels())
        self.skipped = {TRAIN: len(train) - len(usable)}
        if not len(usable):
            raise CacheError(
                f"{self.cache.path}: none of the {len(train)} training frames has a pixel where "
                f"all of {', '.join(self.modalities)} have ground truth."
            )
        if count := self.skipped[TRAIN]:
            lacks = "no pixel where every modality has ground truth"
            log.warning("%d training frames have %s: skipped", count, lacks)
        self.train = self._frames(split, train.rows[usable], self.loss_size)
        if validation:
            limit = None if self.limit_train is None else max(1, self.limit_train // 4)
            self.val = self._frames(source, validation[:limit], source.target_size())

    def _frames(
        self,
        split: CacheSplit,
        rows: Sequence[int] | NDArray[np.int64],
        target_size: tuple[int, int],
    ) -> CachedFrames:
        return CachedFrames(
            split,
            self.modalities,
            rows,
            self.frame,
            target_size,
            untouched=split.name == TEST,
            alternative=self.alternative and split.name == TEST,
            channels_last=self.channels_last,
        )

    def _keep(self, frames: CachedFrames) -> None:
        """In memory, and on the trainer's device, if they fit."""
        device = self._device
        once = frames is self.test and device.type == "cpu"
        if once or frames.nbytes > self.memory_limit:
            return
        frames.load()
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else np.inf
        if frames.device == device or frames.nbytes < 0.25 * free:
            frames.to(device)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _share(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self, frames: CachedFrames, sampler: Iterable[int] | None = None, batch_size: int = 1
    ) -> Loader:
        workers = 0 if frames.resident else self.num_workers
        # A trainer that asks will call on_after_batch_transfer.
        asked = self.trainer is not None and self.trainer.state.status == TrainerStatus.RUNNING
        collate: Callable[[Any], Any] = as_collected if asked else frames.prepare
        if sampler is None:  # each process evaluates frames of its own, none twice
            rank, world = self._share()
            sampler = range(rank, len(frames), world)
        return DataLoader(
            frames,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            # Only what is copied from page-locked memory is copied while the device computes.
            pin_memory=self._device.type == "cuda" and frames.device.type == "cpu",
            persistent_workers=workers > 0,
        )

    def train_dataloader(self) -> Loader:
        """Shuffled by seed and epoch."""
        assert self.train is not None
        sampler = EpochShuffle(len(self.train), self.seed, *self._share())
        return self._loader(self.train, sampler, self.batch_size)

    def val_dataloader(self) -> list[Loader]:
        """In order, one frame at a time; no loader if there is no validation split."""
        return [] if self.val is None else [self._loader(self.val)]

    def test_dataloader(self) -> Loader:
        """In order, one frame at a time."""
        assert self.test is not None
        return self._loader(self.test)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """A batch to where the network is."""
        # To look at every tensor of those that are there takes a hundredth of a small step.
        if batch["index"].device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The batch that the task takes, made on its device."""
        trainer = self.trainer
        assert trainer is not None
        frames = self.test if trainer.testing else self.train if trainer.training else self.val
        assert frames is not None
        return frames.prepare(batch)

    def target_means(self) -> dict[str, Tensor]:
        """Mean of the valid training ground truth of each modality: scalars, or ``(C,)``."""
        frames = self._training_frames()
        means = {}
        for name, modality in self.modalities.items():
            total, count = torch.zeros((), dtype=torch.float64), 0
            for i in range(len(frames)):
                known = modality.known(frames.target(name, i)).double()
                total, count = total + known.sum(0).cpu(), count + len(known)
            means[name] = (total / max(count, 1)).float()
        return means

    @cached_property
    def input_statistics(self) -> InputStatistics:
        """Means and deviations of the training inputs, in one pass."""
        frames = self._training_frames()
        found = InputStatistics({}, {}, {})
        for name, modality in self.modalities.items():
            shape, device = (modality.channels, *self.frame), frames.device
            total = torch.zeros(shape, dtype=torch.float64, device=device)
            square = torch.zeros(shape[0], dtype=torch.float64, device=device)
            for i in torch.arange(len(frames), device=device):
                x = frames.inputs(name, i[None])[0].double()
                total += x
                square += x.square().mean((1, 2))
            m = total.mean((1, 2)) / len(frames)
            found.mean[name] = m.float()
            found.mean_map[name] = (total / len(frames)).float()
            found.deviation[name] = (square / len(frames) - m.square()).clamp_min(0).sqrt().float()
        return found

    @property
    def test_scenes(self) -> Sequence[str]:
        """The scene of each test image."""
        return self.cache.split(TEST).scenes[: self.limit_test]

    def test_inputs(self, modality: str, index: Tensor) -> Tensor:
        """Inputs ``(B, C, H, W)`` of the test images at ``index`` ``(B,)``, where that is."""
        if self.test is None:
            self.setup("test")
        assert self.test is not None
        return self.test.inputs(modality, index)

    def _training_frames(self) -> CachedFrames:
        if self.train is None:
            self.setup("fit")
        assert self.train is not None
        return self.train
