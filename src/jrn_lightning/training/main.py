"""What ``run.py`` calls: registration before Hydra composes, and one job with short errors."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from jrn_lightning.errors import JRNError, no_place
from jrn_lightning.records.record import job_folder
from jrn_lightning.training import config


def prepare() -> None:
    """Register the schema and the resolver that names a job's folder.

    Called before PyTorch is imported, so that its threads read how to wait: those that spin hold up
    every other process of a busy machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    config.register()
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def launch(main: Callable[[], None]) -> None:
    """Run Hydra's ``main`` on the command line; at the end print what came of its jobs.

    A key that does not exist is refused before Hydra composes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8
    try:
        sys.argv[1:] = [config.as_typed(argument) for argument in sys.argv[1:]]
        config.check_keys(sys.argv[1:])
    except JRNError as error:
        sys.exit(str(error))
    try:
        main()
    except KeyboardInterrupt:
        raise
    except BaseException:
        _announce()
        raise
    _announce()


def _announce() -> None:
    from jrn_lightning.training.callback import STARTED, announce_all

    if STARTED:
        announce_all()


def run(cfg: DictConfig) -> float | None:
    """Run a job; a user's mistake becomes an error that Hydra prints without a traceback.

    Returns:
        Mean improvement over the input of the modalities' primary measures, in performance
        units, for a sweeper that optimises; None without a test.
    """
    from jrn_lightning.training.job import run_job

    try:
        results = run_job(cfg)
    except JRNError as error:
        raise CompactHydraException(str(error)) from error
    except OSError as error:
        text = no_place(error)
        if text is None:
            raise
        raise CompactHydraException(text) from error
    return objective(results)


def objective(results: dict[str, object]) -> float | None:
    """Mean improvement of the primary measures, first protocol, pooled over pixels."""
    rows = results.get("improvement")
    modalities = results.get("modalities")
    if not isinstance(rows, list) or not isinstance(modalities, dict):
        return None
    protocol = results["protocols"][0]  # type: ignore[index]
    values = [
        row["value"]
        for row in rows
        if row["protocol"] == protocol
        and row["pooling"] == "pixels"
        and row["measure"] == modalities[row["modality"]]["primary"]
    ]
    return sum(values) / len(values) if values else None
