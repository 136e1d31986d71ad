"""The commands that only read job records, on five architectures × five seeds with controls."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter

from benchmarks.options import Options
from benchmarks.reading import peak
from benchmarks.records import ARCHITECTURES, MODALITIES, write_sweep
from benchmarks.timing import Row

#: command -> the frames that it shows
COMMANDS = {"report": (), "influence": None, "protocols": ("protocols",)}


def rows(options: Options) -> list[Row]:
    """Time of each command without the imports, and the most memory that any of them takes."""
    seeds, images = (2, 30) if options.quick else (5, 654)
    with tempfile.TemporaryDirectory() as folder:
        write_sweep(Path(folder), seeds=seeds, images=images)
        # In a fresh process, whose peak memory is its own.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            measured = {
                command: pool.submit(analyse_sweep, Path(folder), parts).result()
                for command, parts in COMMANDS.items()
            }
    what = (
        f"{len(ARCHITECTURES)} architectures × {seeds} seeds × (1 + {len(MODALITIES)} controls) × "
        f"{images} images"
    )
    found = [
        Row(f"`jrn {command}`: {what}", seconds, 10, unit="s", detail="every part of the records")
        for command, (seconds, _) in measured.items()
    ]
    if sys.platform == "linux":
        memory = max(held for _, held in measured.values())
        found.append(Row("the same: peak memory of the process", memory / 1e9, 2, unit="GB"))
    return found


def analyse_sweep(folder: Path, parts: tuple[str, ...] | None) -> tuple[float, float]:
    """Seconds from records to findings, and the process's peak memory in bytes."""
    from jrn_lightning.analysis.analyse import analyse
    from jrn_lightning.analysis.collect import collect
    from jrn_lightning.analysis.summary import summarize

    start = perf_counter()
    comparison = collect(folder)
    analyse(comparison, summarize(comparison), frames=parts)
    return perf_counter() - start, peak() if sys.platform == "linux" else 0.0
