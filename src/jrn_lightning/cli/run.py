"""``jrn run``: what ``run.py`` does, from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

from typer import Context


def run(context: Context) -> None:
    """Train and test one network, or with -m a sweep of them; the same as `python run.py`.

    Arguments are Hydra's: `jrn run --help` lists the choices. A folder conf/ where the command is
    given is searched before the configuration that comes with the package.
    """
    from jrn_lightning.training.main import launch

    sys.argv[0] = "jrn run"
    launch(context.args, own=Path("conf"))
