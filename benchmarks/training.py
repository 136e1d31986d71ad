"""Training steps of Cat60: Lightning with the data module, a bare loop, and the plain loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import write_cache
from benchmarks.networks import CLIP_NORM, LEARNING_RATE, bare_step, network, plain_step
from benchmarks.options import Options
from benchmarks.timing import Row, Times, finish, pretty, ratio, seconds
from jrn_lightning.data.datamodule import CacheDataModule
from jrn_lightning.task import JointRefinement

LIGHTNING, BARE, PLAIN = "Lightning", "bare loop", "plain loop"


class TakeTurns(pl.Callback):
    """After each step of the trainer, one step of every other contender.

    The trainer's time is the whole cycle from the end of one step to the end of the next: data,
    hooks and logging included, the others' steps left out.
    """

    def __init__(self, others: Mapping[str, Callable[[], None]], warm_up: int) -> None:
        self.others = dict(others)
        self.times: Times = {name: [] for name in (LIGHTNING, *self.others)}
        self.warm_up = warm_up
        self.start: float | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Note the trainer's step, then let the others run."""
        finish(module.device)
        cycle = None if self.start is None else perf_counter() - self.start
        turns = {name: seconds(step, module.device) for name, step in self.others.items()}
        if cycle is not None and trainer.global_step > self.warm_up:
            self.times[LIGHTNING].append(cycle)
            for name, taken in turns.items():
                self.times[name].append(taken)
        self.start = perf_counter()


def rows(options: Options) -> list[Row]:
    """Large frames against the plain loop, and the overhead at both sizes."""
    found = []
    for frame, overhead in ((options.frame, 1.05), (options.small, 1.10)):
        large = frame == options.frame
        rounds = options.rounds * (2 if large else 10)
        times, operations = steps(options, frame, rounds)
        size = f"{frame[0]} × {frame[1]}"
        speed = operations / median(times[LIGHTNING])
        found += [
            ratio(
                times,
                PLAIN,
                LIGHTNING,
                f"training Cat60 at {size}: plain float32 loop over Lightning",
                goal=2.8 if large else None,
                at_most=False,
            ),
            ratio(
                times,
                LIGHTNING,
                BARE,
                f"training Cat60 at {size}: Lightning over a bare loop with the same kernels",
                goal=overhead,
            ),
            # More than 100 % is possible: Winograd's convolution multiplies less.
            Row(
                f"training Cat60 at {size}: direct convolution's arithmetic, share of matrix rate",
                speed / options.matrix_rate * 100,
                unit="%",
                detail=f"{operations / 1e9:.3g} GFLOP a step, {speed / 1e9:,.4g} GFLOP/s; "
                f"at the full rate {pretty(operations / options.matrix_rate)}",
            ),
        ]
    return found


def steps(options: Options, frame: tuple[int, int], rounds: int) -> tuple[Times, int]:
    """Times of each contender's step, and the floating point operations of a plain one."""
    warm_up = 3
    with tempfile.TemporaryDirectory() as folder:
        cache = write_cache(Path(folder) / "cache.h5", frame, train=12, test=3)
        data = CacheDataModule(cache, val_fraction=0)
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        data.train = None  # loaded again, to the device, when the trainer asks
        task = JointRefinement(
            network(options),
            data.modalities,
            learning_rate=LEARNING_RATE,
            channels_last=options.channels_last,
        )
        plain = plain_step(options, batch)
        with FlopCounterMode(display=False) as counter:
            plain()
        turns = TakeTurns({BARE: bare_step(options, batch), PLAIN: plain}, warm_up)
        trainer(
            options,
            max_steps=warm_up + rounds,
            max_epochs=-1,
            gradient_clip_val=CLIP_NORM,
            callbacks=[turns],
        ).fit(task, datamodule=data)
        data.cache.close()
    return turns.times, counter.get_total_flops()


def trainer(options: Options, **arguments: Any) -> pl.Trainer:
    """A trainer on the device, silent, in the precision that the package would choose."""
    return pl.Trainer(
        accelerator="gpu" if options.device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if options.bfloat16 else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )
