"""Many classes: memory and time of a whole evaluation."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import pytest
import torch

from benchmarks.reading import peak
from jrn_lightning.evaluation import Evaluator, ImageStatistics, StatisticsTable
from jrn_lightning.evaluation.evaluator import MAIN, STRATA
from jrn_lightning.influence import Bootstrap, Sampled, summarize
from jrn_lightning.modalities import Depth, Modality, Semantic

FRAMES, SIZE = 5000, (120, 160)
SCENES = tuple(f"{i // 3}" for i in range(FRAMES))


def _kinds(classes: int) -> dict[str, Modality]:
    names = [f"c{k}" for k in range(classes)]
    return {"depth": Depth("depth"), "semantic": Semantic("semantic", names)}


def _batch(classes: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand(1, *SIZE, generator=generator) * 9 + 0.5
    label = torch.randint(0, classes, (1, *SIZE), generator=generator)
    label[:, :9] = 255
    maps = {
        "depth": depth[:, None] + torch.rand(1, 1, *SIZE, generator=generator),
        "semantic": torch.randn(1, classes, *SIZE, generator=generator),
    }
    return {
        "id": ["a"],
        "index": torch.tensor([0]),
        "input": maps,
        "target": {"depth": depth, "semantic": label},
        "valid": label != 255,
        "untouched": maps,
    }


def strata_seconds(classes: int) -> float:
    """What strata add to the evaluation of a frame."""
    torch.set_num_threads(1)
    batch, seconds = _batch(classes), {}
    for strata in (False, True):
        evaluator, times = Evaluator(_kinds(classes), strata=strata), []
        for _ in range(15):
            start = process_time()
            evaluator(lambda inputs: inputs, batch)
            times.append(process_time() - start)
        seconds[strata] = median(times)
    return seconds[True] - seconds[False]


def evaluate(classes: int, folder: Path) -> float:
    """Peak memory of all that follows from the maps of 5,000 frames."""
    kinds, batch = _kinds(classes), _batch(classes)
    evaluator = Evaluator(kinds, strata=True)
    rows = evaluator(lambda inputs: inputs, batch)
    metrics = {part: ImageStatistics(tuple(kinds)) for part in rows}
    for i in range(FRAMES):
        for part, statistics in rows.items():
            metrics[part].update(torch.tensor([i]), statistics)
    for part in evaluator.parts(SIZE):
        _, values = metrics.pop(part.name).compute()
        given = (SCENES, SCENES, part.setups, part.protocols, kinds, values)
        StatisticsTable(*given).save(folder / f"{part.name}.h5")
        del given, values
    main = StatisticsTable.load(folder / f"{MAIN}.h5")
    measures = {m: kind.measures for m, kind in kinds.items()}
    summarize(main.values, measures, main.setups, main.protocols, SCENES, resamples=10_000)
    strata = StatisticsTable.load(folder / f"{STRATA}.h5")
    draw = Bootstrap.draw(SCENES, 2_000, seed=0)
    for m, kind in kinds.items():
        Sampled.of(strata.values[m][None], kind.measure(kind.primary), draw)
    return peak()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_150_classes_and_5000_frames_take_less_than_2_gigabytes(tmp_path: Path) -> None:
    # In a fresh process, whose peak memory is its own.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(evaluate, 150, tmp_path).result() < 2e9


@pytest.mark.slow
def test_strata_of_150_classes_take_less_than_twice_the_time_of_five() -> None:
    assert strata_seconds(150) < 2 * strata_seconds(5)
