"""What ``run.py`` and ``jrn run`` start: the command line, and one job with short errors.

Importing this module registers the schema and the resolver that names a job's folder: a launcher's
worker imports it to find :func:`run`, and composes there. It comes before PyTorch, whose threads
read on import how to wait.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

import jrn_lightning
from jrn_lightning.errors import JRNError, no_place
from jrn_lightning.records.record import job_folder
from jrn_lightning.training import config

# Threads that spin while they wait hold up every other process of a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
config.register()
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def packaged_conf() -> Path:
    """The project's ``conf/``: inside an installed package, beside ``src/`` in a checkout."""
    package = Path(jrn_lightning.__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def _first(folder: Path) -> type[SearchPathPlugin]:
    """Makes Hydra search ``folder`` before the project's own configuration."""

    class First(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            search_path.prepend("own", f"file://{folder.resolve()}", anchor="main")

    return First


def launch(arguments: Sequence[str], own: Path | None = None) -> None:
    """Run jobs from a command line of Hydra's; at the end print what came of them.

    A key that does not exist is refused before Hydra composes.

    Args:
        arguments: what follows the command's name.
        own: a folder of configuration that is searched before the project's own, where it exists.
    """
    arguments = [config.as_typed(argument) for argument in arguments]
    if own is not None and own.is_dir():
        Plugins.instance().register(_first(own))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8
    try:
        config.check_keys(arguments)
    except JRNError as error:
        sys.exit(str(error))
    sys.argv[1:] = arguments
    main = hydra.main(version_base="1.3", config_path=str(packaged_conf()), config_name="config")
    try:
        main(run)()
    except KeyboardInterrupt:
        raise
    except SystemExit as left:
        _announce()
        if left.code is None:  # Lightning's answer to SIGTERM, as if all were done
            sys.exit(128 + signal.SIGTERM)
        raise
    except BaseException:
        _announce()
        raise
    _announce()


#: why jobs of this process failed
_ERRORS: list[str] = []


def _announce() -> None:
    from jrn_lightning.training.callback import STARTED, announce_all

    if STARTED and announce_all():
        for error in _ERRORS:  # once more, below tables that push the first time out of sight
            print(f"error: {error}", file=sys.stderr)


def run(cfg: DictConfig) -> float | None:
    """Run a job; a user's mistake becomes an error that Hydra prints without a traceback.

    Returns:
        Mean improvement over the input of the modalities' primary measures, in performance
        units, for a sweeper that optimises; None without a test.
    """
    from jrn_lightning.training.job import run_job

    try:
        results = run_job(cfg)
    except (JRNError, OSError) as error:
        text = no_place(error) if isinstance(error, OSError) else str(error)
        if text is None:
            raise
        _ERRORS.append(text)
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
