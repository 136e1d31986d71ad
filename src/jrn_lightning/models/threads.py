"""Independent tasks on PyTorch's number of threads, each task on one.

An operator that PyTorch splits over threads ends with all of them waiting for the slowest; work
made of thousands of short operators then crawls as soon as another process wants a core. Tasks
that are whole bands of an image wait once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork


def _pool(size: int) -> ThreadPoolExecutor:
    with _lock:
        if size not in _pools:
            ready = threading.Barrier(size + 1)

            def prepare() -> None:
                torch.set_num_threads(1)
                ready.wait()

            pool = ThreadPoolExecutor(size, thread_name_prefix="jrn")
            for _ in range(size):
                pool.submit(prepare)
            ready.wait()
            torch.set_num_threads(size)  # the number is each thread's own, its default is not
            _pools[size] = pool
        return _pools[size]


def parallel(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Results of the tasks, in order; they must not record gradients.

    With one thread, or one task, they run in the caller's.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    inference = torch.is_inference_mode_enabled()

    def run(task: Callable[[], T]) -> T:
        with torch.inference_mode(inference), torch.no_grad():  # these modes are a thread's own
            return task()

    return list(_pool(threads).map(run, tasks))


def parts(images: int, rows: int) -> list[tuple[int, int, int]]:
    """(image, first row, end row) such that every thread has work, in order."""
    count = min(rows, -(-torch.get_num_threads() // images))
    cuts = [rows * i // count for i in range(count + 1)]
    return [(b, *cut) for b in range(images) for cut in pairwise(cuts)]
