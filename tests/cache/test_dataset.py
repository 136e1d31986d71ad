"""Batches against interpolation and indexing done another way."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.cache import CacheSplit, PredictionCache
from jrn_lightning.cache.dataset import CachedFrames, nearest_rows
from tests.caches import SEMANTIC_GRID, write_small_cache

FRAME = (48, 64)


@pytest.fixture
def train(small_cache: Path) -> Iterator[CacheSplit]:
    with PredictionCache(small_cache) as cache:
        yield cache.split("train")


def frames(split: CacheSplit, *rows: int, resident: bool = False, **options: Any) -> CachedFrames:
    arguments: dict[str, Any] = {"frame": FRAME, "target_size": FRAME, **options}
    some = CachedFrames(split, split.cache.modalities, rows or range(len(split)), **arguments)
    if resident:
        some.load()
    return some


def native(split: CacheSplit, modality: str, *rows: int) -> Tensor:
    return torch.stack([torch.from_numpy(split.prediction(modality, i)).double() for i in rows])


# -- inputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [(48, 64), (24, 32), (96, 128), (6, 8), (48, 16)])
def test_an_area_grid_is_interpolated_as_pytorch_does(
    train: CacheSplit, frame: tuple[int, int]
) -> None:
    """The depth of 12 × 16, enlarged, reduced with its neighbours in view, or both."""
    found = frames(train, 3, 7, frame=frame)[1]["input"]["depth"]
    expected = F.interpolate(
        native(train, "depth", 7), frame, mode="bilinear", align_corners=False, antialias=True
    )
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_grid_of_corners_is_interpolated_as_pytorch_does(train: CacheSplit) -> None:
    found = frames(train)[4]["input"]["semantic"]
    expected = F.interpolate(
        native(train, "semantic", 4), FRAME, mode="bilinear", align_corners=True
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_grid_of_corners_stays_where_it_is_in_a_smaller_frame(train: CacheSplit) -> None:
    """At half the frame's size a pixel's centre lies between two pixels of the cache's frame."""
    found = frames(train, frame=(24, 32))[4]["input"]["semantic"][0].numpy()
    expected = native(train, "semantic", 4)[0].numpy()
    for axis, (samples, pixels) in enumerate(zip(SEMANTIC_GRID, FRAME, strict=True), start=1):
        at = np.linspace(0, pixels - 1, samples)
        wanted = 2 * np.arange(pixels // 2) + 0.5
        expected = np.apply_along_axis(
            lambda line, wanted=wanted, at=at: np.interp(wanted, at, line), axis, expected
        )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1, atol=2e-3)  # still probabilities


def test_the_untouched_prediction_comes_from_its_own_grid(train: CacheSplit) -> None:
    """At the truth's size, and not by way of the network's smaller input."""
    batch: Any = frames(train, frame=(24, 32), untouched=True)[2]
    assert batch["input"]["depth"].shape[-2:] == (24, 32)
    for m, corners in (("depth", False), ("semantic", True)):
        expected = F.interpolate(native(train, m, 2), FRAME, mode="bilinear", align_corners=corners)
        torch.testing.assert_close(batch["untouched"][m].double(), expected, rtol=1e-5, atol=1e-5)


# -- ground truth ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("out", "size"), [(24, 48), (48, 48), (5, 48), (7, 64), (1, 9), (30, 48)])
def test_nearest_rows_are_the_nearest(out: int, size: int) -> None:
    line = torch.arange(size, dtype=torch.float32)[None, None]
    expected = F.interpolate(line, out, mode="nearest-exact")[0, 0]
    assert nearest_rows(out, size).tolist() == expected.tolist()


@pytest.mark.parametrize("size", [(24, 32), (48, 64), (10, 21)])
def test_targets_are_picked_and_never_mixed(train: CacheSplit, size: tuple[int, int]) -> None:
    batch = frames(train, 5, 9, target_size=size)[1]
    rows, columns = (nearest_rows(s, f) for s, f in zip(size, FRAME, strict=True))
    for m, target in batch["target"].items():
        truth = train.target(m, 9)
        assert (target[0].numpy() == truth[np.ix_(rows, columns)]).all()
        assert set(np.unique(target)) <= set(np.unique(truth))
    assert batch["target"]["depth"].dtype == torch.float32
    assert batch["target"]["semantic"].dtype == torch.int64


def test_valid_is_where_every_modality_has_ground_truth(train: CacheSplit) -> None:
    batch = frames(train)[0]
    expected = (train.target("depth", 0) > 0) & (train.target("semantic", 0) != 255)
    assert batch["valid"].dtype == torch.bool
    assert (batch["valid"][0].numpy() == expected).all()
    assert 0 < expected.sum() < (train.target("depth", 0) > 0).sum()
    alone = CachedFrames(train, {"depth": train.cache.modalities["depth"]}, [0], FRAME, FRAME)
    assert (alone[0]["valid"][0].numpy() == (train.target("depth", 0) > 0)).all()
    assert set(alone[0]["input"]) == {"depth"}


def test_valid_pixels_are_counted_at_the_size_of_the_loss(train: CacheSplit) -> None:
    part = frames(train, 4, 2, target_size=(24, 32))
    expected = [int(part[i]["valid"].sum()) for i in range(2)]
    assert part.valid_pixels().tolist() == expected


def test_frames_without_ground_truth_have_none(small_cache: Path) -> None:
    with PredictionCache(small_cache) as cache:
        batch = frames(cache.split("predict"), target_size=None)[1]
    assert set(batch) == {"id", "index", "input"}


def test_other_ground_truth_is_served_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "two.h5", train=4, test=2, predict=0, raw=True)
    with PredictionCache(path) as cache:
        split = cache.split("train")
        assert "alternative" not in frames(split)[0]
        for resident in (False, True):
            some = frames(split, 3, 1, 2, target_size=(24, 32), alternative=True, resident=resident)
            batch: Any = some[1]
            assert list(batch["alternative"]) == [("depth", "raw")]
            (raw,) = batch["alternative"].values()
            expected = split.alternative("depth", "raw", 1)
            rows, columns = (nearest_rows(s, f) for s, f in ((24, 48), (32, 64)))
            assert raw.dtype == torch.float32
            assert (raw[0].numpy() == expected[np.ix_(rows, columns)]).all()
        kinds = {"semantic": cache.modalities["semantic"]}
        alone: Any = CachedFrames(split, kinds, [0], FRAME, FRAME, alternative=True)
        assert alone[0]["alternative"] == {}


# -- batches ---------------------------------------------------------------------------------------


def leaves(batch: Any) -> dict[str, NDArray[Any]]:
    found = {}
    for key, value in batch.items():
        for name, x in value.items() if isinstance(value, dict) else (("", value),):
            found[f"{key}/{name}"] = np.asarray(x)
    return found


def same(a: Any, b: Any) -> bool:
    x, y = leaves(a), leaves(b)
    return list(x) == list(y) and all(x[k].dtype == y[k].dtype and (x[k] == y[k]).all() for k in x)


def test_a_batch_is_its_frames_together(train: CacheSplit) -> None:
    some = frames(train, 8, 1, 4, 6, untouched=True)
    together = leaves(some.batch([3, 0, 2]))
    assert together["id/"].tolist() == [train.ids[i] for i in (6, 8, 4)]
    assert together["index/"].tolist() == [6, 8, 4]  # in the split, whatever was selected
    single = [leaves(some[i]) for i in (3, 0, 2)]
    for key, value in together.items():
        expected = np.concatenate([s[key] for s in single])
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-7)
        else:
            assert (value == expected).all()


@pytest.mark.parametrize("target_size", [(24, 32), FRAME])
def test_resident_and_streamed_frames_are_identical(
    train: CacheSplit, target_size: tuple[int, int]
) -> None:
    options: dict[str, Any] = {"target_size": target_size, "untouched": True, "frame": (24, 32)}
    streamed = frames(train, 8, 1, 4, **options)
    resident = frames(train, 8, 1, 4, resident=True, **options)
    for positions in ([0], [2, 1], [0, 1, 2]):
        assert same(streamed.batch(positions), resident.batch(positions))
    assert (streamed.valid_pixels() == resident.valid_pixels()).all()
    for m in ("depth", "semantic"):
        chosen = torch.tensor([2, 0])
        assert torch.equal(streamed.inputs(m, chosen), resident.inputs(m, chosen))
        assert torch.equal(streamed.target(m, 2), resident.target(m, 2))


@pytest.mark.parametrize("positions", [[1], [0, 2]])
@pytest.mark.parametrize("frame", [FRAME, (12, 16)])  # the latter is depth's own grid
def test_what_is_done_to_a_batch_stays_in_it(
    train: CacheSplit, positions: list[int], frame: tuple[int, int]
) -> None:
    resident = frames(train, 3, 7, 1, frame=frame, resident=True)
    batch = resident.batch(positions)
    kept = copy.deepcopy(batch)
    for part in ("input", "target"):
        for x in batch[part].values():
            x.fill_(1)
    assert same(resident.batch(positions), kept)


def test_resident_frames_need_the_memory_that_is_foretold(train: CacheSplit) -> None:
    resident = frames(train, 8, 1, 4, resident=True, target_size=(24, 32))
    held = [x for part in resident._maps.values() for x in part.values()]
    assert sum(x.nbytes for x in held) == resident.nbytes


@pytest.mark.parametrize("target_size", [(24, 32), FRAME])
def test_loading_takes_little_more_memory_than_the_frames(
    tmp_path: Path, target_size: tuple[int, int]
) -> None:
    """Lists and copies of whole splits would double it."""
    path = write_small_cache(tmp_path / "c.h5", train=80, test=0, predict=0, images=False)
    with PredictionCache(path) as cache:
        split = cache.split("train")
        frames(split, 0, target_size=target_size, resident=True)  # what is only made once
        tracemalloc.start()
        try:
            resident = frames(split, target_size=target_size, resident=True)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert resident.nbytes <= peak < 1.2 * resident.nbytes
