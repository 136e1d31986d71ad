"""Opening a cache and reading samples from it, beside the same bytes in plain files."""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.data import write_cache
from benchmarks.options import Options
from benchmarks.timing import Row, interleave, pretty, ratio
from jrn_lightning import keys
from jrn_lightning.data.cache import PredictionCache
from jrn_lightning.data.datamodule import CacheDataModule


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
        held = _alone(load_split, path)
        grown = _alone(read_split, path)
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
            1,
            unit="ms",
            detail=f"95 % under {pretty(float(np.quantile(times['cache'], 0.95)))}",
        ),
        ratio(times, "cache", "np.load", "reading a sample over np.load of the same bytes"),
        Row(
            "loading a training split: peak memory it adds over the split's size in memory",
            held[0] / held[1],
            detail=f"{held[0] / 1e6:.1f} MB for {held[1] / 1e6:.1f} MB",
        ),
        Row(
            "reading every sample, none kept: peak memory it adds over one sample's size",
            grown[0] / grown[1],
            detail=f"{grown[0] / 1e6:.1f} MB for {grown[1] / 1e6:.1f} MB, {frames} samples",
        ),
    ]


Memory = tuple[float, float]


def _alone(work: Callable[[Path], Memory], path: Path) -> Memory:
    """Run in a fresh process, whose peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, path).result()


def _peak() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def load_split(path: Path) -> Memory:
    """Peak memory that loading the training split adds, and the size of what it keeps."""
    data = CacheDataModule(path, val_fraction=0)
    before = _peak()
    data.setup("fit")
    assert data.train is not None
    return _peak() - before, data.train.nbytes


def read_split(path: Path) -> Memory:
    """Peak memory that reading every sample adds, and the size of one."""
    with PredictionCache(path) as cache:
        split = cache.split(keys.TRAIN)
        before, size = _peak(), 0
        for i in range(len(split)):
            maps = [split.prediction(m, i) for m in cache.modalities]
            maps += [split.target(m, i) for m in cache.modalities]
            size = sum(x.nbytes for x in maps)
        return _peak() - before, size
