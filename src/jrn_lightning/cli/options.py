"""Options that several commands share, and how they tell what was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from jrn_lightning.errors import RecordError
from jrn_lightning.progress import console

Sweep = Annotated[Path, Argument(metavar="DIR", help="Folder of a sweep, as runs/nyu.")]
Protocol = Annotated[str, Option(help="Crop to evaluate: one of those that the jobs evaluated.")]
Pooling = Annotated[
    str, Option(help="pixels: pooled over the test set; images: averaged over images.")
]
ForceFile = Annotated[bool, Option("--force", help="Replace an existing file.")]


def written(paths: Iterable[object]) -> None:
    """Name the files, each on a line that is never broken."""
    for path in paths:
        console().print(f"written: {path}", soft_wrap=True)


def require_finished(sweep: Path, finished: int, what: str, where: str) -> None:
    """Refuse a sweep of which no job has finished.

    Raises:
        RecordError: says ``what`` cannot be done, and ``where`` it is told what failed.
    """
    if not finished:
        raise RecordError(
            f"{sweep}: no job has finished, so there is nothing to {what} yet. Run the sweep "
            f"again: it goes on where it stopped; {where}."
        )
