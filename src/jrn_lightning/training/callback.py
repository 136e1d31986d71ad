"""The Hydra callback of ``run.py``: check a sweep before it starts, compare after each job.

An exception inside a Hydra callback is only a warning, and ``on_multirun_end`` is not called when
a job failed (Hydra 1.3.8). So a refusal leaves by SystemExit, and the comparison is made after
every job.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jrn_lightning.errors import JRNError, no_place
from jrn_lightning.records.record import SWEPT, JobRecord, is_main_process, job_folder, plan
from jrn_lightning.training import config as configuration

log = logging.getLogger(__name__)


#: in the process that the user started: folder of a sweep -> what its report needs of the logger
STARTED: dict[Path, dict[str, Any] | None] = {}


class SweepCallback(Callback):
    """Keeps the sweep's folder true."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose and check every job, and note them all, before the first one runs."""
        forget_ranks(config)
        if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
            # Another sweeper decides its jobs as it goes.
            STARTED[Path(config.output) / config.sweep] = _wandb(config)
            return
        loader = GlobalHydra.instance().config_loader()
        parser = OverridesParser.create(config_loader=loader)
        # As BasicSweeper.sweep has it: an experiment's own lists, then the command line's.
        lists = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
        overrides = parser.parse_overrides([*lists, *config.hydra.overrides.task])
        os.environ[SWEPT] = ",".join(o.key_or_group for o in overrides if o.is_sweep_override())
        jobs = []
        try:
            for batch in BasicSweeper.split_arguments(overrides, None):
                for job in batch:
                    composed = loader.load_sweep_config(config, list(job))
                    choice = composed.hydra.runtime.choices.arch
                    _check(composed)
                    folder = Path(composed.output) / composed.sweep
                    jobs.append((folder, job_folder(choice, job, composed.seed)))
                    _expect(folder / jobs[-1][1], composed)
        except (JRNError, HydraException, OmegaConfBaseException) as error:
            _refuse(str(error))
        names = [f"{folder}/{job}" for folder, job in jobs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            _refuse(f"two jobs of this sweep would write to {', '.join(sorted(twice))}.")
        try:
            for folder in dict.fromkeys(folder for folder, _ in jobs):
                plan(folder, [job for at, job in jobs if at == folder])
                STARTED[folder] = _wandb(config)
        except JRNError as error:
            _refuse(str(error))
        except OSError as error:
            _refuse(no_place(error) or str(error))

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """A single job is a sweep of one: checked before it has a folder."""
        forget_ranks(config)
        if not is_main_process():
            return
        try:
            _check(config.copy())
            sweep = Path(config.output) / config.sweep
            sweep.mkdir(parents=True, exist_ok=True)
        except JRNError as error:
            _refuse(str(error))
        except OSError as error:
            _refuse(no_place(error) or str(error))
        STARTED[sweep] = _wandb(config)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """In whichever process a launcher runs the job."""
        forget_ranks(config)

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Write the comparison of what there is: also after a job that failed."""
        if not is_main_process():
            return
        from jrn_lightning.report.comparison import write_comparison

        try:
            # From where the command was given, also under hydra.job.chdir=true.
            write_comparison(Path(to_absolute_path(config.output)) / config.sweep)
        except JRNError as error:
            # Where a job failed before it had a folder, its own error says why.
            log.info("no comparison: %s", error)


def announce_all() -> bool:
    """Print what came of the sweeps that this process has started, once each.

    Under a launcher that works elsewhere, too: the jobs' own output may be cut or lost.

    Returns:
        Whether there was anything to print.
    """
    from jrn_lightning.report.comparison import announce, write_comparison

    said = False
    for folder, wandb in STARTED.items():
        try:
            sweep = write_comparison(folder, answered=True)
        except JRNError as error:
            log.info("no comparison: %s", error)
            continue
        if sweep.summary.finished:
            announce(sweep, wandb)
            said = True
    STARTED.clear()
    return said


#: what a launcher of several processes tells each of them
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def forget_ranks(config: DictConfig) -> None:
    """With one device the process is the main one, whatever a shell or pod has left behind."""
    if config.trainer.devices == 1 and config.trainer.strategy == "auto":
        for name in _RANKS:
            os.environ.pop(name, None)


def _check(composed: DictConfig) -> None:
    """Check a composed configuration, which is Hydra's no more afterwards."""
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    configuration.check(composed)


def _expect(folder: Path, composed: DictConfig) -> None:
    """Refuse a folder that another configuration or cache has trained in, before any job runs."""
    known = JobRecord.read(folder)
    if composed.overwrite or known.data is None:
        return
    cache_hash = known.data["cache_hash"]
    if composed.data.cache:
        from jrn_lightning.cache.reader import PredictionCache

        with PredictionCache(composed.data.cache) as cache:
            cache_hash = cache.content_hash
    science = configuration.flat(configuration.science(composed))
    old = known.data["config"]
    # What `auto` comes to is known in the job.
    known.expect(cache_hash, {k: old.get(k) if v == "auto" else v for k, v in science.items()})


def _wandb(config: DictConfig) -> dict[str, Any] | None:
    """Settings of the report run; None where W&B is not asked for."""
    if config.logger.kind.name != "wandb":
        return None
    return configuration.wandb_settings(config)


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
