"""Training steps of Cat60: Lightning with the data module, a bare loop, and the plain loop."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
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
from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.training.job import make_trainer
from jrn_lightning.training.task import JointRefinement

LIGHTNING, BARE, PLAIN = "Lightning", "bare loop", "plain loop"
FLOAT32 = "bare loop in float32"


#: steps that a contender runs before the next has its turn; the first finds caches and memory as
#: another left them, and does not count
TURN = 4


class TakeTurns(pl.Callback):
    """After each turn of the trainer, one of every other contender.

    The trainer's time is the whole cycle from the end of one step to the end of the next: data,
    hooks and logging included, the others' steps left out. A turn's time is its mean step.
    """

    def __init__(self, others: Mapping[str, Callable[[], None]]) -> None:
        self.others = dict(others)
        self.times: Times = {name: [] for name in (LIGHTNING, *self.others)}
        self.steps = 0
        self.start = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """At the end of the trainer's turn, note its time and let the others run."""
        self.steps += 1
        if self.steps == 1:
            finish(module.device)
            self.start = perf_counter()
        if self.steps < TURN:
            return
        finish(module.device)
        self.times[LIGHTNING].append((perf_counter() - self.start) / (TURN - 1))
        for name, step in self.others.items():
            step()
            taken = seconds(partial(repeat, step), module.device)
            self.times[name].append(taken / (TURN - 1))
        self.steps = 0


def repeat(step: Callable[[], None]) -> None:
    """The steps of a turn that count."""
    for _ in range(TURN - 1):
        step()


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
                goal=2.5 if large else None,
                at_most=False,
            ),
            ratio(
                times,
                LIGHTNING,
                BARE,
                f"training Cat60 at {size}: Lightning over a bare loop with the same kernels",
                goal=overhead,
            ),
            *_precision_rows(times, size),
            # More than 100 % is possible: the polyphase convolution multiplies less.
            Row(
                f"training Cat60 at {size}: direct convolution's arithmetic, share of matrix rate",
                speed / options.matrix_rate * 100,
                unit="%",
                detail=f"{operations / 1e9:.3g} GFLOP a step, {speed / 1e9:,.4g} GFLOP/s; "
                f"at the full rate {pretty(operations / options.matrix_rate)}",
            ),
        ]
    return found


def _precision_rows(times: Times, size: str) -> list[Row]:
    """Whether ``precision=auto`` chose well, where it chose bfloat16."""
    what = f"training Cat60 at {size}: a bare loop in float32 over a bare loop in bfloat16"
    return [ratio(times, FLOAT32, BARE, what)] if FLOAT32 in times else []


def steps(options: Options, frame: tuple[int, int], rounds: int) -> tuple[Times, int]:
    """Times of each contender's step, and the floating point operations of a plain one."""
    with tempfile.TemporaryDirectory() as folder:
        cache = write_cache(Path(folder) / "cache.h5", frame, train=12, test=3)
        data = CacheDataModule(cache, val_fraction=0, channels_last=options.channels_last)
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        task = JointRefinement(
            network(options),
            data.modalities,
            learning_rate=LEARNING_RATE,
            channels_last=options.channels_last,
        )
        plain = plain_step(options, batch)
        with FlopCounterMode(display=False) as counter:
            plain()
        others = {BARE: bare_step(options, batch), PLAIN: plain}
        if options.bfloat16:
            float32 = replace(options, bfloat16=False, channels_last=False)
            others[FLOAT32] = bare_step(float32, batch)
        turns = TakeTurns(others)
        trainer(
            options,
            max_steps=(1 + rounds) * TURN,
            max_epochs=-1,
            gradient_clip_val=CLIP_NORM,
            callbacks=[turns],
        ).fit(task, datamodule=data)
        data.cache.close()
    warm = {name: times[1:] for name, times in turns.times.items()}
    return warm, counter.get_total_flops()


def trainer(options: Options, **arguments: Any) -> pl.Trainer:
    """The trainer of a job on the device, silent."""
    return make_trainer(
        "gpu" if options.device.type == "cuda" else "cpu",
        options.bfloat16,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        **arguments,
    )
