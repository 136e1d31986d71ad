"""The whole test pass, beside nothing but its forward passes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.data import write_cache
from benchmarks.networks import bare_forward, network, plain_forward
from benchmarks.options import Options
from benchmarks.timing import Row, interleave, ratio
from benchmarks.training import trainer
from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.evaluation import Evaluator
from jrn_lightning.training.task import JointRefinement

PASS, BARE, PLAIN = "test pass", "bare forward passes", "plain float32 forward passes"
STRATA = "test pass with strata"
PROTOCOLS = ("full", "eigen", "eigen_fergus")


def rows(options: Options) -> list[Row]:
    """Reading, resizing, three setups, enlarging and the statistics, for a whole split."""
    # The crops are defined for frames of 480 × 640 only.
    protocols = PROTOCOLS if options.frame == (480, 640) else PROTOCOLS[:1]
    images = options.frames
    with tempfile.TemporaryDirectory() as folder:
        cache = write_cache(Path(folder) / "cache.h5", options.frame, train=3, test=images)

        def test(strata: bool) -> None:
            # A job's frames are read once.
            data = CacheDataModule(cache, channels_last=options.channels_last)
            evaluator = Evaluator(data.modalities, protocols, strata=strata)
            last = options.channels_last
            task = JointRefinement(
                network(options), data.modalities, evaluator=evaluator, channels_last=last
            )
            trainer(options).test(task, datamodule=data, verbose=False)
            data.cache.close()

        data = CacheDataModule(cache, channels_last=options.channels_last)
        data.setup("test")
        batch = next(iter(data.test_dataloader()))
        data.cache.close()
        setups = 1 + len(data.modalities)
        bare, plain = bare_forward(options, batch), plain_forward(options, batch)

        def passes(forward: object) -> None:
            assert callable(forward)
            for _ in range(setups * images):
                forward()

        times = interleave(
            {
                PASS: lambda: test(strata=False),
                STRATA: lambda: test(strata=True),
                BARE: lambda: passes(bare),
                PLAIN: lambda: passes(plain),
            },
            rounds=max(3, options.rounds // 2),
            device=options.device,
        )
    size = f"{options.frame[0]} × {options.frame[1]}"
    what = f"test pass over {images} images at {size}, {setups} setups, "
    what += f"protocols {', '.join(protocols)}"
    return [
        ratio(times, PASS, BARE, f"{what}, over as many bare forward passes", goal=1.3),
        ratio(times, STRATA, PASS, f"{what}: with strata, as by default, over it"),
        ratio(times, PLAIN, PASS, f"{what}: plain forward passes over it", at_most=False),
    ]
