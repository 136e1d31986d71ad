"""Independent tasks on PyTorch's number of threads, each task on one.

An operator that PyTorch splits over threads ends with all of them waiting for the slowest; work
made of thousands of short operators then crawls as soon as another process wants a core. Tasks
that are whole bands of an image wait once.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def _pool(size: int) -> ThreadPoolExecutor:
    """``size`` threads that help the caller, each of them with one thread of PyTorch's."""
    with _lock:
        if size not in _pools:
            before = torch.get_num_threads()
            ready = threading.Barrier(size + 1)

            def prepare() -> None:
                # The first question sets the thread to the process's default, whatever it was
                # told before; asked later, each of them would start as many threads again.
                torch.get_num_threads()
                torch.set_num_threads(1)
                ready.wait()

            pool = ThreadPoolExecutor(size, thread_name_prefix="jrn")
            for _ in range(size):
                pool.submit(prepare)
            ready.wait()
            torch.set_num_threads(before)  # the number is each thread's own, its default is not
            _pools[size] = pool
        return _pools[size]


def parallel(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Results of the tasks, in order; they must not record gradients.

    The caller works too, which saves waking a thread, and is set to one thread of PyTorch's for as
    long; with one thread, or one task, it is alone.
    An exception of a task is raised when every thread has stopped.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    inference = torch.is_inference_mode_enabled()
    waiting = deque(enumerate(tasks))
    results: dict[int, T] = {}

    def work() -> None:
        with torch.inference_mode(inference), torch.no_grad():  # these modes are a thread's own
            while True:
                try:
                    i, task = waiting.popleft()
                except IndexError:
                    return
                results[i] = task()

    helpers = min(threads, len(tasks)) - 1
    futures = [_pool(threads - 1).submit(work) for _ in range(helpers)]
    torch.set_num_threads(1)
    try:
        work()
    finally:
        torch.set_num_threads(threads)
        wait(futures)
    for future in futures:
        future.result()
    return [results[i] for i in range(len(tasks))]


def parts(images: int, rows: int) -> list[tuple[int, int, int]]:
    """(image, first row, end row) such that every thread has work, in order."""
    count = min(rows, -(-torch.get_num_threads() // images))
    cuts = [rows * i // count for i in range(count + 1)]
    return [(b, *cut) for b in range(images) for cut in pairwise(cuts)]
