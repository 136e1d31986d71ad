"""Freed memory is kept, and results do not depend on it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from jrn_lightning.memory import keep_freed_memory

# Maps of the sizes of a network's, larger than glibc ever takes from its heap by itself, too.
FAULTS = """
import resource, sys, torch
from jrn_lightning.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
    if len(sys.argv) > 2:
        assert keep_freed_memory(False)
def step():
    maps = [torch.ones(n << 18) for n in (1, 8, 48, 3)]
    return sum(float(m[-1]) for m in maps)
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
assert sum(step() for _ in range(10)) == 40
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    """Pages that ten steps had to ask the system for."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
def test_memory_is_used_again_without_asking_the_system() -> None:
    kept, found, given_up = faults("keep"), faults("leave"), faults("keep", "no longer")
    assert found > 3 * kept
    assert given_up > 3 * kept


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, name: str | None) -> None:
            pass

    monkeypatch.setattr("jrn_lightning.memory.ctypes.CDLL", Library)
    assert not keep_freed_memory()
