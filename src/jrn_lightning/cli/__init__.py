"""``jrn``: everything that is no training.

Whatever takes long to import is imported inside a command, so that ``jrn --help`` is quick.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer
from rich.text import Text
from typer import Option

from jrn_lightning.cli import audit, cache, compare, influence, predict, report, run
from jrn_lightning.errors import JRNError, no_place
from jrn_lightning.progress import console

app = typer.Typer(
    name="jrn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an unexpected exception is a defect: show it plainly
    rich_markup_mode="rich",
)


@app.callback()
def _options(
    plugin: Annotated[
        list[str] | None,
        Option(help="Import this module first: it defines modalities, networks, …. Repeatable."),
    ] = None,
) -> None:
    """Joint refinement networks: training, caches, predictions and reports."""
    if plugin:
        from jrn_lightning.modalities import import_plugins

        import_plugins(plugin)


app.command(epilog="Example: jrn audit runs/nyu --out audit.md")(audit.audit)
app.add_typer(cache.app, name="cache")
app.command(epilog="Example: jrn compare runs/nyu-crossfit runs/nyu-insample --out difference.csv")(
    compare.compare
)
app.command(epilog="Example: jrn influence runs/nyu --protocol eigen --figures")(
    influence.influence
)
app.command(epilog="Example: jrn protocols runs/nyu")(influence.protocols)
app.command(
    epilog="Examples: jrn predict runs/nyu/sum60/seed0/checkpoints/last.ckpt nyu.h5 "
    "--split predict --out refined.h5 · "
    "jrn predict runs/rooms/sum60/seed0/checkpoints/last.ckpt --rgb photos --out refined.h5"
)(predict.predict)
app.command(epilog="Example: jrn report runs/nyu --protocol eigen")(report.report)
app.command(
    add_help_option=False,  # Hydra's lists the choices
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(run.run)


def main() -> None:
    """Run the command line; a mistake of the user is one message and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (JRNError, OSError) as error:
        text = no_place(error) if isinstance(error, OSError) else str(error)
        if text is None:
            raise
        message = Text.assemble(("error: ", "bold red"), text)
        console(stderr=True).print(message, soft_wrap=True)
        sys.exit(1)
