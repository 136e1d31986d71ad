"""Cross-fitting: predictions of every frame by a network that has not seen its scene.

A network predicts its own training frames better than others, and a refinement network trained on
such predictions trusts them too much. So the training scenes are dealt into K folds, one network
is trained without each, and a training frame is predicted by the network that was trained without
its fold. All other frames are dealt over the same K networks, scene by scene: so both sides come
from networks of one kind, trained on equally many frames. An average of the K, or one network
trained on all folds, would be better on the test frames than any out-of-fold prediction is, and
would bring back the difference that cross-fitting removes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.callbacks import LambdaCallback
from torch.utils.data import DataLoader

from jrn_lightning import keys
from jrn_lightning.errors import CacheError, CheckpointError, JRNError
from jrn_lightning.importers.frames import DataSet
from jrn_lightning.modalities import Modality
from jrn_lightning.predictors import checkpoint
from jrn_lightning.predictors.frames import PreparedFrames, prepare
from jrn_lightning.predictors.networks import ImageNetwork, require_encoder
from jrn_lightning.predictors.settings import SingleTaskSettings
from jrn_lightning.predictors.task import SingleTask, predict_images
from jrn_lightning.progress import Advance, side_by_side

_FRAMES: Final = "frames"
#: frames that are predicted at a time
_CHUNK: Final = 8
#: what predicting a frame costs, against training on it once
_PREDICTION_COST: Final = 0.5


@dataclass(frozen=True)
class Fold:
    """One network's frames, by id.

    It predicts the training frames of the scenes that it has not seen, and its share of all other
    splits.
    """

    index: int  # from 0
    training: tuple[str, ...]
    predicted: tuple[str, ...]


def folds(data: DataSet, count: int, seed: int = 0, *, in_sample: bool = False) -> list[Fold]:
    """Deal scenes into folds of about equally many frames.

    Args:
        data: the data set.
        count: K.
        seed: of the deal.
        in_sample: let a training frame be predicted by a network that *was* trained on it, to
            measure what that costs.

    Raises:
        CacheError: fewer training scenes than folds.
    """
    training = data.splits.get(keys.TRAIN, [])
    others = [n for split, ns in data.splits.items() if split != keys.TRAIN for n in ns]
    scenes = len({data.scene(n) for n in training})
    if scenes < count:
        raise CacheError(
            f"{data.path} has {scenes} training scenes for {count} folds. Give fewer folds."
        )
    home = _deal(data, training, count, seed)
    guests = _deal(data, others, count, seed + 1)
    return [
        Fold(
            k,
            tuple(n for n in training if home[n] != k),
            tuple(n for n in training if home[n] == (k + in_sample) % count)
            + tuple(n for n in others if guests[n] == k),
        )
        for k in range(count)
    ]


def _deal(data: DataSet, frames: Sequence[str], count: int, seed: int) -> dict[str, int]:
    """Frame -> fold; whole scenes, the largest first, each to the fold with the fewest frames."""
    by_scene: dict[str, list[str]] = {}
    for frame in frames:
        by_scene.setdefault(data.scene(frame), []).append(frame)
    scenes = [by_scene[name] for name in sorted(by_scene)]
    order = np.random.default_rng(seed).permutation(len(scenes))
    sizes = [0] * count
    home: dict[str, int] = {}
    for scene in sorted((scenes[i] for i in order), key=len, reverse=True):
        k = sizes.index(min(sizes))
        sizes[k] += len(scene)
        home |= dict.fromkeys(scene, k)
    return home


@dataclass(frozen=True)
class _Job:
    """One network to be trained and asked: all that a process needs."""

    modality: Modality
    settings: SingleTaskSettings
    fold: Fold
    frames: Path
    network: Path
    fingerprint: str
    stamp: str  # of the data set
    statistics: torch.Tensor  # of the training truth
    accelerator: str

    @property
    def predictions(self) -> Path:
        """Where the predictions go, beside their network."""
        return self.network.with_suffix(".npz")

    @property
    def predictions_fingerprint(self) -> str:
        """What the predictions follow from."""
        return f"{self.fingerprint} {self.fold.predicted} {self.stamp}"


def _costs(fold: Fold, settings: SingleTaskSettings) -> tuple[float, float]:
    """Of training and of predicting, in frames trained on once."""
    count = len(fold.training)
    if _whole_batches(count, settings):
        count -= count % settings.batch_size
    return count * settings.epochs, len(fold.predicted) * _PREDICTION_COST


def _whole_batches(frames: int, settings: SingleTaskSettings) -> bool:
    """Whether to leave out an epoch's last, smaller batch: its statistics mislead."""
    return frames >= 2 * settings.batch_size


class CrossFitted:
    """The predictions of one modality, from the finished jobs of all folds; see :class:`.Maps`."""

    ordered_by_name = True

    def __init__(self, jobs: Sequence[_Job]) -> None:
        self.path = jobs[0].network.parent
        self.networks = [job.network for job in jobs]
        self._maps: dict[str, NDArray[np.float16]] = {}
        for job in jobs:
            with np.load(job.predictions, allow_pickle=False) as archive:
                self._maps |= dict(zip(archive["index"].tolist(), archive["maps"], strict=True))
        self.ids = sorted(self._maps)
        self.shape = (jobs[0].modality.channels, *jobs[0].settings.grid)
        self.dtype: np.dtype[Any] = np.dtype(np.float16)
        self.classes: tuple[str, ...] | None = getattr(jobs[0].modality, "classes", None)

    def read(self, frame: str) -> NDArray[Any]:
        """Prediction of a frame: ``(C, h, w)`` float16."""
        return self._maps[frame]

    def hash(self) -> str:
        """SHA-256 of the networks' files."""
        digests = (hashlib.sha256(path.read_bytes()).digest() for path in self.networks)
        return hashlib.sha256(b"".join(digests)).hexdigest()


class CrossFit:
    """Trains and asks the networks of some modalities of a data set, keeping what is finished.

    ``<folder>/<modality>-fold<k>.ckpt`` are the networks. Run again after a stop, finished ones are
    not trained again.

    Args:
        data: the data set.
        modalities: names of those to predict.
        settings: of the networks.
        folder: to keep the networks in.
        force: replace networks of other settings or frames, rather than refuse.
        in_sample: see :func:`folds`.
        workers: processes on a CPU; by default one a processor.
        accelerator: ``auto`` for a GPU if there is one, or ``cpu``.

    Raises:
        CacheError: too few scenes, a fold that lacks a class.
        CheckpointError: the folder holds networks of other settings.
    """

    def __init__(
        self,
        data: DataSet,
        modalities: Iterable[str],
        settings: SingleTaskSettings,
        folder: Path,
        *,
        force: bool = False,
        in_sample: bool = False,
        workers: int | None = None,
        accelerator: str = "auto",
    ) -> None:
        settings.check()
        require_encoder(settings.encoder)
        self.data = data
        self.names = list(modalities)
        self.settings = settings
        self.folder = folder
        self.force = force
        gpu = accelerator != "cpu" and torch.cuda.is_available()
        self.accelerator = "gpu" if gpu else "cpu"
        self.workers = 1 if gpu else workers  # on a GPU they would only wait for each other
        self.in_sample = in_sample
        self.folds = folds(data, settings.folds, settings.seed, in_sample=in_sample)

    @property
    def cost(self) -> float:
        """The work of :meth:`run` in the units of ``advance``, if nothing is finished yet."""
        frames = sum(map(len, self.data.splits.values()))
        return frames + len(self.names) * sum(sum(_costs(f, self.settings)) for f in self.folds)

    def run(self, advance: Advance = lambda _: None) -> dict[str, CrossFitted]:
        """Train what is not there yet, and predict every frame: modality -> its predictions.

        ``advance`` is called with the work done since the last call, of :attr:`cost` in all.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        frames = prepare(self.data, self.settings.size, self.folder / _FRAMES, lambda: advance(1.0))
        stamp = self.data.stamp
        jobs = {
            name: [self._job(name, f, frames, stamp) for f in self.folds] for name in self.names
        }
        waiting = []
        for job in (job for of in jobs.values() for job in of):
            if self._finished(job):
                advance(sum(_costs(job.fold, self.settings)))
            else:
                waiting.append(job)
        side_by_side(_run, waiting, self.workers, advance)
        return {name: CrossFitted(of) for name, of in jobs.items()}

    def clean(self) -> None:
        """Remove what only the building of a cache needs; the networks stay."""
        shutil.rmtree(self.folder / _FRAMES, ignore_errors=True)
        for file in self.folder.glob("*.npz"):
            file.unlink()

    def description(self, name: str) -> str:
        """How a modality was predicted, for the notes of a cache."""
        s = self.settings
        sizes = ", ".join(str(len(f.training)) for f in self.folds)
        seen, why = "the network that has not seen its scene", ", so that both are of one quality"
        if self.in_sample:
            seen, why = "a network that was trained on it", ""
        return (
            f"{s.encoder} on {s.size[0]} × {s.size[1]}, {s.epochs} epochs, {s.folds} folds by "
            f"scene with {sizes} training frames; a training frame is predicted by {seen}, every "
            f"other frame by one of the same networks, dealt scene by scene{why}"
            + ("; mirrored images averaged" if s.mirror else "")
        )

    def _job(self, name: str, fold: Fold, frames: PreparedFrames, stamp: str) -> _Job:
        modality = self.data.modalities[name]
        known = set(frames.usable[name])
        usable = tuple(n for n in fold.training if frames.row[n] in known)
        fold = Fold(fold.index, usable, fold.predicted)
        truths = (frames.batch_truths(name, [frames.row[n]])[0] for n in usable)
        statistics = sum(
            map(modality.single_task_statistics, truths), torch.zeros(1, dtype=torch.float64)
        )
        problem: str | None = "no frame with ground truth"
        if usable and float(statistics.sum()):
            problem = modality.single_task_problem(statistics)
        if problem:
            raise CacheError(
                f"{self.data.path}: fold {fold.index} has {problem} to train the {name} network "
                "on. Give fewer folds, another seed, or more frames."
            )
        return _Job(
            modality,
            self.settings,
            fold,
            frames.folder,
            self.folder / f"{name}-fold{fold.index}.ckpt",
            _fingerprint(self.settings, modality, fold, frames),
            stamp,
            statistics,
            self.accelerator,
        )

    def _finished(self, job: _Job) -> bool:
        """Whether network and predictions are there; a network of other frames is refused."""
        if not job.network.exists():
            return False
        try:
            about = checkpoint.read_about(job.network)
            if about["about"].get("fingerprint") != job.fingerprint:
                old, new = about["settings"], job.settings.values()
                changed = ", ".join(
                    f"{k} {old.get(k)} then, {v} now" for k, v in new.items() if old.get(k) != v
                )
                raise CheckpointError(
                    f"{job.network} was trained with other settings or frames "
                    f"({changed or 'the frames or the way of training differ'}). Remove it "
                    "to train it anew (jrn cache … --force does), or give the cache another name."
                )
        except CheckpointError:
            if not self.force:
                raise
            job.network.unlink()
            return False
        try:
            with np.load(job.predictions, allow_pickle=False) as archive:
                return str(archive["fingerprint"]) == job.predictions_fingerprint
        except Exception:  # a missing or cut-off archive ends in exceptions of many types
            return False


def _fingerprint(
    settings: SingleTaskSettings, modality: Modality, fold: Fold, frames: PreparedFrames
) -> str:
    """What a network's weights follow from."""
    head = [settings.hash, modality.kind, modality.attributes, fold.training]
    sha = hashlib.sha256(json.dumps(head).encode())
    for frame in fold.training:
        row = frames.row[frame]
        sha.update(frames.images[row].tobytes())
        sha.update(frames.truths[modality.name][row].tobytes())
    return sha.hexdigest()


def _run(job: _Job, advance: Advance) -> None:
    """Train the network of a job, unless it is there, and let it predict its frames."""
    frames = PreparedFrames(job.frames)
    if job.network.exists():
        advance(_costs(job.fold, job.settings)[0])
        network = checkpoint.load(job.network).network
    else:
        network = _train(job, frames, advance)
    device = torch.device("cuda" if job.accelerator == "gpu" else "cpu")
    network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps = []
    rows = [frames.row[n] for n in job.fold.predicted]
    for start in range(0, len(rows), _CHUNK):
        images = frames.batch_images(rows[start : start + _CHUNK]).to(device)
        predicted = predict_images(network, job.modality, images, job.settings.mirror)
        maps.append(predicted.cpu().numpy().astype(np.float16))
        advance(len(images) * _PREDICTION_COST)
    part = job.predictions.with_suffix(".part.npz")
    np.savez(
        part,
        index=np.array(job.fold.predicted),
        maps=np.concatenate(maps),
        fingerprint=np.array(job.predictions_fingerprint),
    )
    os.replace(part, job.predictions)


def _train(job: _Job, frames: PreparedFrames, advance: Advance) -> ImageNetwork:
    settings, modality = job.settings, job.modality
    # Another stream of random numbers for every modality and fold.
    seed = int.from_bytes(
        hashlib.sha256(f"{settings.seed} {job.network.stem}".encode()).digest()[:4]
    )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    pl.seed_everything(seed, workers=False, verbose=False)
    network: ImageNetwork = ImageNetwork(
        settings.encoder,
        modality.channels,
        settings.width,
        settings.stride,
        modality.single_task_bias(job.statistics),
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = SingleTask(network, modality, settings)
    data: Any = [frames.row[n] for n in job.fold.training]
    loader: DataLoader[Any] = DataLoader(
        data,
        settings.batch_size,
        shuffle=True,
        collate_fn=lambda rows: (
            frames.batch_images(rows),
            frames.batch_truths(modality.name, rows),
        ),
        drop_last=_whole_batches(len(data), settings),
    )
    tell = LambdaCallback(
        on_train_batch_end=lambda trainer, module, outputs, batch, i: advance(len(batch[0]))
    )
    half = job.accelerator == "gpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    with warnings.catch_warnings():
        # Frames are memory-mapped: worker processes would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # One device needs no srun; Lightning says so wherever that is installed.
        warnings.filterwarnings("ignore", "The `srun` command is available.*")
        # Lightning 2.6.6 uses a name that PyTorch 2.13 deprecates.
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated.*")
        trainer = pl.Trainer(
            accelerator=job.accelerator,
            devices=1,
            precision="bf16-mixed" if half else "32-true",
            max_epochs=settings.epochs,
            gradient_clip_val=1.0,
            plugins=[LightningEnvironment()],  # one device, also in a cluster's allocation
            logger=False,
            callbacks=[tell],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, loader)
    if not np.isfinite(task.losses).all():
        raise JRNError(
            f"training the {modality.name} network diverged. Lower its learning_rate "
            f"(now {settings.learning_rate:g})."
        )
    about = {
        "fingerprint": job.fingerprint,
        "fold": job.fold.index,
        "training_frames": list(job.fold.training),
        "losses": [round(x, 6) for x in task.losses],
    }
    checkpoint.save(job.network, network, modality, settings, about)
    return network
