"""Wall time of the sweep of five architectures on a real cache: the command that a user runs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.options import Options
from benchmarks.timing import Row

ROOT = Path(__file__).parents[1]


def rows(options: Options) -> list[Row]:
    """One row if a cache was given, none otherwise."""
    if options.cache is None:
        return []
    kind = "gpu" if options.device.type == "cuda" else "cpu"
    frame = f"[{options.frame[0]},{options.frame[1]}]"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "run.py", "-m", "arch=cat60,sum60,cat10,cat5,cat1"),
            *(f"data.cache={options.cache.resolve()}", f"data.frame={frame}"),
            *(f"trainer={kind}", "logger=none", f"output={folder}"),
        ]
        start = perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        minutes = (perf_counter() - start) / 60
    size = f"{options.frame[0]} × {options.frame[1]}"
    what = f"sweep of five at {size} on {options.cache.name}, from command to comparison"
    return [Row(what, minutes, unit="min", detail="recipe=default, one seed")]
