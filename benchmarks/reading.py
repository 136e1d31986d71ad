"""Opening a cache and reading samples from it, beside the same bytes in plain files."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.data import write_cache
from benchmarks.options import Options
from benchmarks.timing import Row, interleave, pretty, ratio
from jrn_lightning import keys
from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.datamodule import CacheDataModule


def rows(options: Options) -> list[Row]:
    """A sample is the predictions and both ground truths of one frame, in random order."""
    cpu = torch.device("cpu")
    frames = options.frames
    with tempfile.TemporaryDirectory() as folder:
        path = write_cache(Path(folder) / "cache.h5", options.frame, train=frames, test=3)
        size = path.stat().st_size / 1e6
        opening = interleave(
            {"open": lambda: PredictionCache(path).close()}, rounds=options.rounds, device=cpu
        )["open"]
        with PredictionCache(path) as cache:
            split = cache.split(keys.TRAIN)
            names = list(cache.modalities)

            def read(i: int) -> list[np.ndarray]:
                maps = [split.prediction(m, i) for m in names]
                return maps + [split.target(m, i) for m in names]

            plain = [Path(folder) / f"{i}.npy" for i in range(frames)]
            for i, file in enumerate(plain):
                np.save(file, np.concatenate([x.reshape(-1).view(np.uint8) for x in read(i)]))
            order = np.random.default_rng(0).permutation(frames)
            turns = iter(np.resize(order, 2 * (frames + 1) * options.rounds).tolist())
            times = interleave(
                {
                    "cache": lambda: read(next(turns)),
                    "np.load": lambda: np.load(plain[next(turns)]),
                },
                rounds=frames * options.rounds,
                device=cpu,
            )
            bytes_read = sum(x.nbytes for x in read(0)) / 1e6
        memory = _memory_rows(path) if sys.platform == "linux" else []
    height, width = options.frame
    what = f"predictions and truth at {height} × {width}, {bytes_read:.1f} MB"
    reading = median(times["cache"])
    return [
        Row(
            f"opening a cache of {frames + 3} frames, {size:.0f} MB",
            median(opening) * 1e3,
            100,
            unit="ms",
            detail=f"slowest of {len(opening)} {pretty(max(opening))}",
        ),
        Row(
            f"reading a sample ({what}), checksums verified",
            reading * 1e3,
            2,
            unit="ms",
            detail=f"95 % under {pretty(float(np.quantile(times['cache'], 0.95)))}",
        ),
        ratio(times, "cache", "np.load", "reading a sample over np.load of the same bytes"),
        *memory,
    ]


def _memory_rows(path: Path) -> list[Row]:
    # In a fresh process, whose peak memory is its own.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        held, size = pool.submit(load_split, path).result()
        grown, sample = pool.submit(read_split, path).result()
    return [
        Row(
            "loading a training split: peak memory it adds over the split's size in memory",
            held / size,
            detail=f"{held / 1e6:.1f} MB for {size / 1e6:.1f} MB",
        ),
        Row(
            "reading every sample, none kept: peak memory it adds over one sample's size",
            grown / sample,
            detail=f"{grown / 1e6:.1f} MB for {sample / 1e6:.1f} MB",
        ),
    ]


Memory = tuple[float, float]


def peak(*, reset: bool = False) -> float:
    """The most memory that this process has held, in bytes (Linux); ``reset``: from now on."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text()
    return 1024.0 * next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")
    )


def load_split(path: Path) -> Memory:
    """Peak memory that loading the training split adds, and the size of what it keeps."""
    data = CacheDataModule(path, val_fraction=0)
    before = peak(reset=True)
    data.setup("fit")
    assert data.train is not None
    return peak() - before, data.train.nbytes


def read_split(path: Path) -> Memory:
    """Peak memory that reading every sample adds, and the size of one."""
    with PredictionCache(path) as cache:
        split = cache.split(keys.TRAIN)
        before, size = peak(reset=True), 0
        for i in range(len(split)):
            maps = [split.prediction(m, i) for m in cache.modalities]
            maps += [split.target(m, i) for m in cache.modalities]
            size = sum(x.nbytes for x in maps)
        return peak() - before, size
