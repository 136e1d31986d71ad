"""Independent pieces of long work in processes side by side, with one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, TypeVar

from jrn_lightning.errors import JRNError
from jrn_lightning.progress import Advance

Job = TypeVar("Job")

_LOOK_AGAIN: Final = 0.2  # seconds between looks at how far the workers are


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(
    work: Callable[[Job, Advance], None],
    jobs: Sequence[Job],
    workers: int | None,
    advance: Advance,
) -> None:
    """Do every job, in this process if one worker is enough.

    Jobs must leave only whole results behind: on an error, on Ctrl-C and when this process is
    killed, the others stop at their next report of progress, or at once.

    Args:
        work: does one job and reports its progress; importable by name, as it is sent to
            processes that start afresh.
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
    told, stop = context.Queue(), context.Event()
    threads = max(1, most // count)
    executor = ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(told, stop, threads)
    )
    try:
        waiting = {executor.submit(_work, work, job) for job in jobs}
        while waiting:
            done, waiting = wait(waiting, _LOOK_AGAIN, FIRST_COMPLETED)
            _pass_on(told, advance)
            for future in done:
                future.result()
    except BrokenProcessPool as error:
        raise JRNError(
            "a process was ended from outside, perhaps for lack of memory. Run the command again: "
            "what is finished is kept."
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)
        _pass_on(told, advance)
        told.close()


def _pass_on(told: Any, advance: Advance) -> None:
    while True:
        try:
            advance(told.get_nowait())
        except queue.Empty:
            return


# Set in each worker when it begins.
_told: Any = None
_stop: Any = None


class _StoppedError(Exception):
    """The parent wants no more."""


def _begin(told: Any, stop: Any, threads: int) -> None:
    import torch

    global _told, _stop
    _told, _stop = told, stop
    # As many threads as there are processors would wait for each other.
    torch.set_num_threads(threads)
    # Ctrl-C goes to the whole group; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Callable[[Job, Advance], None], job: Job) -> None:
    # The executor hands out some work beforehand, which cannot be taken back.
    if _stop.is_set():
        raise _StoppedError
    work(job, _report)


def _report(amount: float) -> None:
    _told.put(amount)
    if _stop.is_set():
        raise _StoppedError
