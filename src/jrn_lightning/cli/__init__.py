"""``jrn``: everything that is no training.

Each file of this folder adds its commands with ``register(app)``. Whatever takes long to import
is imported inside a command, so that ``jrn --help`` is quick.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jrn_lightning.cli import audit, cache, compare, influence, predict, report
from jrn_lightning.errors import JRNError, no_place

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
        typer.Option(
            help="Import this module first; it may define modalities or networks. Repeatable."
        ),
    ] = None,
) -> None:
    """Joint refinement networks: caches, predictions and reports. Training is run.py."""
    if plugin:
        from jrn_lightning.modalities import import_plugins

        import_plugins(plugin)


for _commands in (audit, cache, compare, influence, predict, report):
    _commands.register(app)


def main() -> None:
    """Run the command line; a mistake of the user is one message and exit code 1."""
    try:
        app()
    except (JRNError, OSError) as error:
        text = no_place(error) if isinstance(error, OSError) else str(error)
        if text is None:
            raise
        from rich.console import Console
        from rich.text import Text

        message = Text.assemble(("error: ", "bold red"), text)
        Console(stderr=True).print(message, soft_wrap=True)
        sys.exit(1)
