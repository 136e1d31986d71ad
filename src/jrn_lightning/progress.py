"""A progress bar for long work, on standard error, that tells how long is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: called with the work done since the last call
Advance = Callable[[float], object]


@contextmanager
def bar(what: str, total: float | None) -> Iterator[Advance]:
    """A bar that is called with the work done since the last call, of ``total`` in all.

    Where the total is None nobody knows it: the bar moves, and is full when the work is done.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)
        if total is None:
            progress.update(task, total=progress.tasks[0].completed)


def tracked(rows: Iterable[int], what: str, total: int) -> Iterator[int]:
    """The rows, with a bar that moves as they are taken."""
    with bar(what, total) as advance:
        for row in rows:
            yield row
            advance(1)
