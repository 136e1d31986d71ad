"""Long work: a progress bar on standard error, and independent pieces in processes side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jrn_lightning.errors import JRNError

Job = TypeVar("Job")
#: called with the work done since the last call
Advance = Callable[[float], object]

#: in a worker: where to tell progress, and what says to stop
_worker: dict[str, Any] = {}


def console(stderr: bool = False) -> Console:
    """A console that prints text as it is: markup would swallow a path's square brackets."""
    return Console(stderr=stderr, markup=False, highlight=False)


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
    with Progress(*columns, console=console(stderr=True), speed_estimate_period=120) as progress:
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


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(
    work: Callable[[Job, Advance], None],
    jobs: Sequence[Job],
    workers: int | None,
    advance: Advance,
) -> None:
    """Do every job in processes side by side, or here if one worker is enough.

    Jobs must leave only whole results behind: on an error, on Ctrl-C and when this process is
    killed, the others stop at their next report of progress, or at once.

    Args:
        work: does one job and reports its progress; importable by name.
        jobs: what is sent to it.
        workers: processes; one a processor where None.
        advance: called here with every progress reported.

    Raises:
        JRNError: a process was ended from outside.
        Exception: the first that a job raised.
    """
    most = workers or processors()
    count = min(most, len(jobs))
    if count <= 1:
        for job in jobs:
            work(job, advance)
        return
    # Not forked: a fork of a process with threads, as PyTorch has, may stop for ever.
    context = multiprocessing.get_context("spawn")
    told, stop = context.SimpleQueue(), context.Event()
    pool = ProcessPoolExecutor(count, context, _begin, (told, stop, max(1, most // count)))
    try:
        waiting = {pool.submit(_work, work, job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, 0.2, FIRST_COMPLETED)
            while not told.empty():
                advance(told.get())
            for future in done:
                future.result()
    except BrokenProcessPool as error:
        raise JRNError(
            "a process was ended from outside, perhaps for lack of memory. Run the command again: "
            "what is finished is kept."
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(told: Any, stop: Any, threads: int) -> None:
    """In each worker, once."""
    import torch

    _worker.update(told=told, stop=stop)
    torch.set_num_threads(threads)  # as many as there are processors would wait for each other
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; only the parent acts on it
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[Job, Advance], None], job: Job) -> None:
    def report(amount: float) -> None:
        _worker["told"].put(amount)
        if _worker["stop"].is_set():
            raise SystemExit

    if not _worker["stop"].is_set():  # the pool hands out some work that nobody wants any more
        work(job, report)
