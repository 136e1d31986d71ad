"""One job: data, network, training, test, statistics, influence, record."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from filelock import Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.plugins.io import TorchCheckpointIO

from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.errors import CheckpointError, ConfigError, JRNError, RecordError
from jrn_lightning.evaluation import POOLINGS, Evaluator, StatisticsTable, fitting
from jrn_lightning.evaluation.evaluator import Part
from jrn_lightning.influence import compute_results
from jrn_lightning.keys import MAIN, TEST
from jrn_lightning.modalities import Modality, import_plugins
from jrn_lightning.networks import (
    ADD,
    DEFAULT,
    OWN,
    TARGET,
    MuteValue,
    Noise,
    accepted,
    build,
    mute_value,
    output_scale,
)
from jrn_lightning.networks.checkpoint import load_network, write_checkpoint
from jrn_lightning.predictors.settings import NETWORKS, SingleTaskSettings
from jrn_lightning.progress import processors
from jrn_lightning.records import record as records
from jrn_lightning.records.record import JobRecord, Status, write_json
from jrn_lightning.training import config as configuration
from jrn_lightning.training.task import JointRefinement

log = logging.getLogger(__name__)

_PACKAGES = ("jrn-lightning", "torch", "pytorch-lightning", "torchmetrics", "numpy", "h5py")


def run_job(cfg: DictConfig, folder: Path | None = None) -> dict[str, Any]:
    """Run one job to its end, or leave a record that says why not.

    A finished job of the same fingerprint is not run again; an interrupted one goes on from its
    last checkpoint.

    Args:
        cfg: composed configuration.
        folder: of the job; Hydra's output folder by default.

    Returns:
        The contents of ``results.json``.

    Raises:
        JRNError: a mistake of the user's; recorded, unless the folder belongs to another job.
    """
    folder = folder or Path(HydraConfig.get().runtime.output_dir)
    try:
        with _alone(folder):
            return _run_job(cfg, folder)
    finally:
        # Trainer, task and data refer to each other in circles; without this a sweep in one
        # process would hold the frames of every job that it has run.
        gc.collect()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two jobs never write to one folder: the second is refused.

    Raises:
        RecordError: another process is at work there.
    """
    if not records.is_main_process():  # it writes nothing, and its main process has the lock
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with records.alone(folder / ".lock"):
            yield
    except Timeout:
        raise RecordError(
            f"{folder} is in use: the same job is running already. Wait for it, or give this one "
            "a sweep= of its own."
        ) from None


def _run_job(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    # A further process of a distributed strategy composes from the saved, untyped configuration.
    cfg = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(configuration.Config), cfg))
    if HydraConfig.initialized() and cfg.data.get("cache"):
        # From where the command was given, also under hydra.job.chdir=true.
        cfg.data.cache = to_absolute_path(cfg.data.cache)
    configuration.check(cfg)
    import_plugins([*cfg.data.plugins, *_module(cfg.arch.get(TARGET, DEFAULT))])
    wanted = cfg.trainer.accelerator.name
    accelerator = ("gpu" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    bfloat16 = use_bfloat16(cfg.trainer.precision.name, accelerator)
    # As they are here: another device or precision gives other numbers.
    cfg.trainer.accelerator = accelerator
    cfg.trainer.precision = "bfloat16" if bfloat16 else "float32"
    data = _data(cfg)
    data.prepare_data()
    if cfg.evaluation.protocols is None:
        cfg.evaluation.protocols = fitting(data.cache.frame)
    science = configuration.science(cfg)
    if len(data.modalities) < 2:
        raise ConfigError(
            f"{data.path}: only {', '.join(data.modalities)} is served. Joint refinement takes at "
            "least two modalities: leave data.modalities out, or give more."
        )
    unknown = [m for m in cfg.recipe.muted if m not in data.modalities]
    if unknown or set(cfg.recipe.muted) >= set(data.modalities):
        raise ConfigError(
            f"recipe.muted is {list(cfg.recipe.muted)}: give some, not all, of "
            f"{', '.join(data.modalities)}."
        )
    if cfg.overwrite and records.is_main_process():  # all else that can be refused was not
        _clear(folder)
    wanted = records.fingerprint(science, data.cache.content_hash)
    known = JobRecord.read(folder)
    known.expect(data.cache.content_hash, configuration.flat(science))
    if known.status is Status.FINISHED and known.data is not None:
        damage = known.damage()
        if damage:
            log.warning("%s is tested again: %s", folder, damage)
        elif known.data["fingerprint"] == wanted:
            log.info("%s is finished: not run again", folder)
            return known.data
        else:
            log.info("%s is trained: tested again, its evaluation has changed", folder)
    job = _Job(cfg, folder, data, wanted, configuration.flat(science), known.data or {})
    try:
        with job.recorded():
            job.run()
    finally:
        data.cache.close()
    return job.results


def _clear(folder: Path) -> None:
    """Throw away what another configuration has left."""
    for name in (records.RESULTS, "traceback.txt"):
        (folder / name).unlink(missing_ok=True)
    records.remove_tables(folder)
    for path in (folder / "checkpoints", *folder.glob("csv*")):
        shutil.rmtree(path, ignore_errors=True)


def _data(cfg: DictConfig) -> CacheDataModule:
    limit = cfg.trainer.limit_frames
    path, build = cfg.data.cache, None
    if cfg.data.rooms is not None:
        path, build = _rooms(cfg)
    return CacheDataModule(
        path,
        build,
        frame=cfg.data.frame,
        modalities=cfg.data.modalities,
        batch_size=cfg.recipe.batch_size,
        val_fraction=cfg.data.val_fraction,
        split_seed=cfg.data.split_seed,
        seed=cfg.seed,
        memory_limit_gib=cfg.data.memory_limit_gib,
        num_workers=cfg.data.num_workers,
        limit_train=limit,
        limit_test=limit,
        alternative=cfg.evaluation.grid,
    )


def _rooms(cfg: DictConfig) -> tuple[Path, Callable[[Path], None]]:
    """Where the cache of the rooms is, and what builds it."""
    from jrn_lightning.predictors.fill import require_rooms, rooms_path
    from jrn_lightning.progress import bar
    from jrn_lightning.rooms import RoomsSpec

    asked: dict[str, Any] = (
        {} if cfg.data.modalities is None else {"modalities": tuple(cfg.data.modalities)}
    )
    spec = RoomsSpec(**configuration.plain(cfg.data.rooms), **asked)
    settings = OmegaConf.to_object(cfg.data.single_task)
    assert isinstance(settings, SingleTaskSettings)
    path = Path(cfg.data.cache) if cfg.data.cache else rooms_path(spec, settings)
    return path, lambda at: require_rooms(spec, settings, at, bar, cfg.trainer.accelerator.name)


def _networks(data: CacheDataModule) -> str | None:
    """The folder of the networks that predicted the cache, where they are known."""
    folder = data.cache.notes.get(NETWORKS)
    return str(data.cache.path.with_name(folder)) if folder else None


class _Job:
    """The state that the stages of a job share."""

    def __init__(
        self,
        cfg: DictConfig,
        folder: Path,
        data: CacheDataModule,
        fingerprint: str,
        science: Mapping[str, Any],
        known: Mapping[str, Any],
    ) -> None:
        self.cfg = cfg
        #: what an earlier run of the same training has left
        self.known = known
        if "name" not in cfg.arch or OmegaConf.is_missing(cfg.arch, "name"):
            raise ConfigError("arch.name is not set: give the architecture a name for its folder.")
        self.folder = folder
        self.data = data
        arch = configuration.plain(cfg.arch)
        choice = folder.parent.name if folder.parent.name.startswith(arch["name"]) else arch["name"]
        self.results: dict[str, Any] = {
            "format": records.FORMAT,
            "version": records.VERSION,
            "status": Status.RUNNING.value,
            "fingerprint": fingerprint,
            "cache_hash": data.cache.content_hash,
            "config": dict(science),
            "sweep": cfg.sweep,
            "arch": {**arch, "name": choice},
            "seed": cfg.seed,
            "recipe": cfg.recipe.name,
            "data": cfg.data.name,
            "cache": str(data.cache.path.resolve()),
            "muted": list(cfg.recipe.muted),
            "single_task": _networks(data),
            "error": None,
            "process": records.process(),
            # Of a training that is not repeated.
            "warnings": list(known.get("warnings", ())),
            "seconds": dict(known.get("seconds", {})),
        }
        self.seconds: dict[str, float] = {}
        target = arch.get(TARGET, DEFAULT)
        self._arguments = {TARGET: target, **{k: v for k, v in arch.items() if k != "name"}}
        if "initialization" in accepted(target):
            self._arguments["initialization"] = cfg.recipe.initialization.name

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep ``results.json`` true whatever happens, and user mistakes free of tracebacks."""
        self._write()
        try:
            yield
        except JRNError as error:
            self._fail(str(error))
            raise
        except Exception as error:
            if records.is_main_process():
                (self.folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
            if isinstance(error, OSError) and error.errno == 28:
                text = f"no space left on the disk of {self.folder}: free some and run again"
            else:
                text = f"{type(error).__name__}: {error} (see {self.folder / 'traceback.txt'})"
            self._fail(text)
            raise
        except BaseException:  # Ctrl-C, SIGTERM
            self.results["status"] = Status.INTERRUPTED.value
            self._write()
            same = "The same command" + " without overwrite=true" * bool(self.cfg.overwrite)
            log.warning("%s: stopped. %s goes on from here.", self.folder, same)
            raise

    def _fail(self, text: str) -> None:
        self.results |= {"status": Status.FAILED.value, "error": text}
        try:
            self._write()
        except JRNError as error:  # the disk may be the reason
            log.error("%s", error)

    def _write(self) -> None:
        if records.is_main_process():
            write_json(self.folder / records.RESULTS, self.results)

    # -- stages --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train, test, summarise."""
        cfg = self.cfg
        accelerator = cfg.trainer.accelerator.name
        if accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigError(
                "trainer=gpu (trainer.accelerator=gpu), but there is no CUDA device here. Use "
                "trainer=auto or trainer=cpu."
            )
        torch.set_num_threads(cfg.trainer.threads or _threads(cfg.trainer.devices))
        bfloat16 = cfg.trainer.precision.name == "bfloat16"
        layout = cfg.trainer.memory_format.name
        # Measured: channels-last wins with bfloat16, the contiguous format trains faster without.
        channels_last = bfloat16 if layout == "auto" else layout == "channels_last"
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        self.data.channels_last = channels_last
        task = self._task(channels_last)
        self.data.setup("fit")
        logger, finish = self._logger(task)
        trainer = self._trainer(accelerator, bfloat16, logger)
        self.results |= {
            "device": _device_name(accelerator),
            "precision": trainer.precision,
            "skipped_frames": self.data.skipped,
            "frames": {"train": len(self.data.train or ()), "val": len(self.data.val or ())},
            "setups": list(task.evaluator.setups),
            "protocols": list(task.evaluator.protocols),
            "poolings": list(POOLINGS),
            "modalities": _described(task.modalities, task.evaluator.truths),
            "versions": {name: version(name) for name in _PACKAGES}
            | {"python": sys.version.split()[0]},
        }
        self.results["arch"] |= {
            "parameters": sum(p.numel() for p in task.network.parameters()),
            "computation": getattr(task.network, "computation", ""),
        }
        self._write()
        try:
            with _quiet():
                self._fit(trainer, task)
                table = self._test(trainer, task)
            if trainer.is_global_zero:
                self._summarize(task, table)
                self._report(task, logger)
        finally:
            finish(self.results["status"] != Status.FINISHED.value)

    def _task(self, channels_last: bool) -> JointRefinement:
        cfg, data = self.cfg, self.data
        arguments = self._arguments
        network = build(arguments, data.modalities)
        data.output_scale = output_scale(network, data.modalities, data.frame)
        start_at = getattr(network, "start_at", None)
        if cfg.recipe.mean_head_bias and callable(start_at):
            # Where an input is added to its output, the first output is plausible already.
            added = getattr(network, "skip", None) == ADD
            start = [m for m in data.modalities if not added or m in cfg.recipe.muted]
            if start:
                means = data.target_means()
                start_at({m: data.modalities[m].output_bias(means[m]) for m in start})
        if channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return JointRefinement(
            network,
            data.modalities,
            learning_rate=cfg.recipe.learning_rate,
            momentum=cfg.recipe.momentum,
            weight_decay=cfg.recipe.weight_decay,
            schedule=cfg.recipe.schedule.name,
            evaluator=self._evaluator(),
            always_muted=cfg.recipe.muted,
            dropout=cfg.recipe.modality_dropout,
            seed=cfg.seed,
            channels_last=channels_last,
            specification={
                "network": arguments,
                "modalities": {
                    m: {"kind": modality.kind, "attributes": modality.attributes}
                    for m, modality in data.modalities.items()
                },
                "frame": list(data.frame),
                "name": self.results["arch"]["name"],
                "plugins": list(cfg.data.plugins),
            },
        )

    def _evaluator(self) -> Evaluator:
        cfg, seed = self.cfg.evaluation, self.cfg.evaluation.mute_seed

        def values(name: str) -> list[MuteValue]:
            value = mute_value(name)
            draws = cfg.permutations if value.drawn else 1
            return [value.of(self.data, seed + k) for k in range(draws)]

        return Evaluator(
            self.data.modalities,
            tuple(cfg.protocols),
            mute_value(cfg.mute_value).of(self.data, seed),
            {name: values(name) for name in cfg.mute_values},
            Noise.of(self.data, seed) if cfg.ladder else None,
            # A network that has never seen one input has nothing to be muted.
            () if self.cfg.recipe.muted else None,
            strata=cfg.strata,
            grid=cfg.grid,
            truths=self.data.cache.split(TEST).truths,
        )

    def _trainer(self, accelerator: str, bfloat16: bool, logger: Any) -> pl.Trainer:
        cfg = self.cfg
        progress = cfg.trainer.progress and sys.stderr.isatty()
        callbacks: list[pl.Callback] = [
            ModelCheckpoint(
                dirpath=self.folder / records.CHECKPOINT.parent,
                filename=records.CHECKPOINT.stem,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        ]
        if progress:
            callbacks.append(TQDMProgressBar(refresh_rate=20))
        return make_trainer(
            accelerator,
            bfloat16,
            devices=cfg.trainer.devices,
            strategy=cfg.trainer.strategy,
            max_epochs=cfg.trainer.max_epochs or cfg.recipe.epochs,
            gradient_clip_val=cfg.recipe.clip_norm,
            logger=logger,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints(), *alone_here(cfg.trainer.devices, cfg.trainer.strategy)],
            enable_progress_bar=progress,
            default_root_dir=self.folder,
        )

    def _fit(self, trainer: pl.Trainer, task: JointRefinement) -> None:
        start = time.perf_counter()
        checkpoint = self.folder / records.CHECKPOINT
        resume = checkpoint.exists()
        if resume:
            try:
                saved = load_network(checkpoint)
            except CheckpointError as error:
                raise CheckpointError(
                    f"{error} Remove it, or set overwrite=true, to start anew."
                ) from error
            if saved.specification != task.specification:
                raise CheckpointError(
                    f"{checkpoint} is of another network ({saved.name} on frames of "
                    f"{list(saved.frame)}). Remove it, or set overwrite=true, to start anew."
                )
            log.info("going on from %s", checkpoint)
        trainer.fit(
            task,
            datamodule=self.data,
            ckpt_path=str(checkpoint) if resume else None,
            weights_only=True,
        )
        # What is trained already is not trained again: its record goes on.
        before = self.known.get("seconds", {}).get("fit", 0.0) if resume else 0.0
        self.seconds["fit"] = before + time.perf_counter() - start
        self.results["seconds"]["fit"] = round(self.seconds["fit"], 2)
        if not resume or task.validated:
            self.results["warnings"] = list(task.health)
        self._write()

    def _test(self, trainer: pl.Trainer, task: JointRefinement) -> StatisticsTable:
        start = time.perf_counter()
        trainer.test(task, datamodule=self.data, verbose=False)
        assert self.data.test is not None and self.data.test.target_size is not None
        tables = {
            part.name: self._table(task, part)
            for part in task.evaluator.parts(self.data.test.target_size)
        }
        if trainer.is_global_zero:
            records.save_tables(self.folder, tables)
        self.seconds["test"] = time.perf_counter() - start
        return tables[MAIN]

    def _table(self, task: JointRefinement, part: Part) -> StatisticsTable:
        index, values = task.test_statistics.pop(part.name).compute()  # as a table it is whole
        broken = [m for m, value in values.items() if not np.isfinite(value).all()]
        if broken:
            raise JRNError(
                f"the outputs for {', '.join(broken)} are not finite: the training diverged. Lower "
                f"recipe.learning_rate (now {self.cfg.recipe.learning_rate:g}) or set "
                "recipe.clip_norm=1, with overwrite=true."
            )
        assert self.data.test is not None
        split = self.data.test.split
        return StatisticsTable(
            tuple(split.ids[i] for i in index),
            tuple(split.scenes[i] for i in index),
            part.setups,
            part.protocols,
            task.modalities,
            values,
        )

    def _summarize(self, task: JointRefinement, table: StatisticsTable) -> None:
        start = time.perf_counter()
        summary = compute_results(
            table.values,
            {m: modality.measures for m, modality in task.modalities.items()},
            table.setups,
            table.protocols,
            table.scenes,
            resamples=self.cfg.evaluation.resamples,
        )
        self.seconds["bootstrap"] = time.perf_counter() - start
        self.results["frames"]["test"] = len(table.ids)
        self.results |= {
            "status": Status.FINISHED.value,
            "metrics": summary.metrics,
            "improvement": summary.improvement,
            "influence": summary.influence,
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()},
        }
        self._write()

    # -- logging -------------------------------------------------------------------------------

    def _logger(self, task: JointRefinement) -> tuple[Any, Callable[[bool], None]]:
        """The Lightning logger, and what to call when all is over."""
        kind = self.cfg.logger.kind.name
        if kind == "csv":
            from pytorch_lightning.loggers import CSVLogger

            if self.known.get("status") == Status.FINISHED.value:  # nothing to log but the test
                return False, lambda failed: None
            # Lightning's logger deletes what it finds: the epochs before a stop stay beside it.
            parts = len(list(self.folder.glob("csv*")))
            name = f"csv-{parts + 1}" if parts else "csv"
            return CSVLogger(str(self.folder), name="", version=name), lambda failed: None
        if kind == "none":
            return False, lambda failed: None
        from jrn_lightning.training.logging import wandb_logger

        return wandb_logger(self.cfg, self.results, task, self.folder)

    def _report(self, task: JointRefinement, logger: Any) -> None:
        if self.cfg.logger.kind.name == "wandb":
            from jrn_lightning.training.logging import log_job

            log_job(self.cfg, self.results, task, self.data, logger)


class AtomicCheckpoints(TorchCheckpointIO):
    """A kill while saving leaves the last checkpoint whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write beside it, then rename; Lightning would write to the temporary folder first."""
        write_checkpoint(checkpoint, Path(path))


def alone_here(devices: int, strategy: str) -> list[LightningEnvironment]:
    """For one device, an environment without a cluster.

    Lightning would take the tasks of an interactive SLURM allocation for processes of its own.
    """
    return [LightningEnvironment()] if devices == 1 and strategy == "auto" else []


def make_trainer(accelerator: str, bfloat16: bool, **arguments: Any) -> pl.Trainer:
    """A trainer that gives the same weights each time, as jobs and benchmarks have it.

    Args:
        accelerator: ``cpu`` or ``gpu``.
        bfloat16: train and test under bfloat16 autocast.
        arguments: further ones of the trainer.
    """
    # Without it matrix products on a GPU are not repeatable; read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    trainer = pl.Trainer(
        accelerator=accelerator,
        precision="bf16-mixed" if bfloat16 else "32-true",
        num_sanity_val_steps=0,
        log_every_n_steps=50,
        deterministic="warn",
        use_distributed_sampler=False,  # the data module's samplers share by themselves
        enable_model_summary=False,
        **arguments,
    )
    # With deterministic algorithms PyTorch also fills every tensor that it allocates with NaN, to
    # make reading uninitialised memory repeatable. Nothing here reads any.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return trainer


def use_bfloat16(precision: str, accelerator: str) -> bool:
    """Whether to train and test under bfloat16 autocast.

    ``auto`` means where the device has units for it: emulated, it is a hundred times slower than
    float32.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if accelerator == "gpu":
        available = torch.cuda.is_available()
        return available and bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _module(target: str) -> list[str]:
    """The module of a network that the user has named, unless it is the package's own."""
    module = target.rpartition(".")[0]
    return [] if module == OWN else [module]


def _threads(devices: int = 1) -> int:
    """Threads of a process: the processors that are here, shared with all that run beside it."""
    beside = 1
    if HydraConfig.initialized():
        beside = HydraConfig.get().launcher.get("n_jobs") or 1  # joblib's; -1 is one a processor
    here = processors()
    return max(1, here // ((here if beside < 0 else beside) * devices))


def _device_name(accelerator: str) -> str:
    return torch.cuda.get_device_name() if accelerator == "gpu" else "cpu"


def _described(
    modalities: Mapping[str, Modality], truths: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    return {
        name: {
            "kind": modality.kind,
            "primary": modality.primary,
            "truths": list(truths.get(name, ())),
            "measures": [
                {
                    "name": m.name,
                    "label": m.label,
                    "higher_is_better": m.higher_is_better,
                    "scale": m.scale,
                    "in_table": m.in_table,
                }
                for m in modality.measures
            ],
        }
        for name, modality in modalities.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice that does not apply here."""
    with warnings.catch_warnings():
        # Frames are kept in memory: worker processes would only copy them.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # The number of steps between logs is set on purpose.
        warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
        # The checkpoint folder exists when a job is resumed.
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        # One device needs no srun; Lightning says so wherever that is installed.
        warnings.filterwarnings("ignore", "The `srun` command is available.*")
        # A sweep's folder may be moved.
        warnings.filterwarnings("ignore", "The dirpath has changed from .*")
        # data.val_fraction=0 asks for no validation.
        warnings.filterwarnings("ignore", "Total length of .list. across ranks is zero.*")
        # Lightning 2.6.6 uses a name that PyTorch 2.13 deprecates.
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated.*")
        yield


__all__ = ["make_trainer", "run_job", "use_bfloat16"]
