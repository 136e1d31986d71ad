"""Splits, order, skipped frames, and what muting knows of the inputs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jrn_lightning.cache import CacheWriter, PredictionCache
from jrn_lightning.cache.datamodule import CacheDataModule, EpochShuffle, split_by_scene
from jrn_lightning.errors import CacheError, ConfigError
from tests.caches import write_small_cache

Edit = Callable[[str, int, dict[str, NDArray[Any]]], None]


def copied(source: Path, out: Path, edit: Edit, names: dict[str, str] | None = None) -> Path:
    """A cache with other ground truth, and splits under other names."""
    with (
        PredictionCache(source) as cache,
        CacheWriter(out, modalities=cache.modalities, frame=cache.frame) as writer,
    ):
        for old, new in (names or {"train": "train", "test": "test"}).items():
            split = cache.split(old)
            writer.add_split(
                new,
                ids=split.ids,
                scenes=split.scenes,
                predictions={m: split.spec(m) for m in cache.modalities},
                targets=True,
                images=False,
            )
            for i in range(len(split)):
                targets = {m: split.target(m, i) for m in cache.modalities}
                edit(new, i, targets)
                predictions = {m: split.prediction(m, i) for m in cache.modalities}
                writer.write(new, i, predictions=predictions, targets=targets)
    return out


def made(cache: Path, stage: str | None = None, **options: Any) -> CacheDataModule:
    data = CacheDataModule(cache, **options)
    data.setup(stage)
    return data


def ids(loader: Any) -> list[str]:
    return [name for batch in loader for name in batch["id"]]


# -- splits ----------------------------------------------------------------------------------------


def test_validation_is_disjoint_by_scene_and_the_same_for_every_seed(small_cache: Path) -> None:
    data = [made(small_cache, "fit", seed=seed, val_fraction=0.25) for seed in (0, 1)]
    other = [made(small_cache, "fit", split_seed=s, val_fraction=0.25) for s in range(1, 6)]

    def scenes(frames: Any) -> set[str]:
        return {frames.split.scenes[i] for i in frames.rows}

    for d in (*data, *other):
        assert d.train is not None
        assert d.val is not None
        assert not scenes(d.train) & scenes(d.val)
        assert sorted([*d.train.rows, *d.val.rows]) == list(range(12))
        assert 1 <= len(d.val) <= 3
    assert data[0].val is not None
    assert data[1].val is not None
    assert data[0].val.rows.tolist() == data[1].val.rows.tolist()
    assert len({tuple(d.val.rows) for d in other if d.val is not None}) > 1


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda s: len(set(s)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_a_split_by_scene(scenes: list[int], fraction: float, seed: int) -> None:
    names = [f"scene {s}" for s in scenes]
    training, validation = split_by_scene(names, fraction, seed)
    assert sorted(training + validation) == list(range(len(names)))
    assert training
    assert validation
    chosen = {names[i] for i in validation}
    assert not chosen & {names[i] for i in training}
    if len(validation) > fraction * len(names):  # nothing fits: the smallest scene
        assert len(chosen) == 1
        assert len(validation) == min(map(names.count, names))
    assert split_by_scene(names, fraction, seed) == (training, validation)


def test_a_single_scene_cannot_be_split() -> None:
    with pytest.raises(CacheError, match=r"1 scene.*data\.val_fraction=0"):
        split_by_scene(["a", "a"], 0.5)


def test_no_validation_on_demand(small_cache: Path) -> None:
    data = made(small_cache, "fit", val_fraction=0)
    assert data.val is None
    assert data.val_dataloader() == []
    assert len(ids(data.train_dataloader())) == 12


def test_a_validation_split_of_the_cache_is_taken_as_it_is(
    small_cache: Path, tmp_path: Path
) -> None:
    path = copied(
        small_cache, tmp_path / "val.h5", lambda *_: None, {"train": "train", "test": "val"}
    )
    data = made(path, "fit")
    assert data.train is not None
    assert data.val is not None
    assert len(data.train) == 12
    assert data.val.split.name == "val"
    assert ids(data.val_dataloader()[0]) == data.val.split.ids
    with pytest.raises(CacheError, match="no split 'test'"):
        data.setup("test")


def test_fitting_never_looks_at_the_test_split(
    small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = PredictionCache.split

    def split(self: PredictionCache, name: str) -> Any:
        asked.append(name)
        return original(self, name)

    monkeypatch.setattr(PredictionCache, "split", split)
    data = made(small_cache, "fit")
    ids(data.train_dataloader()), ids(data.val_dataloader()[0])
    data.target_means(), data.input_statistics
    assert set(asked) == {"train"}
    assert data.test is None


def test_the_test_loader_serves_the_whole_split_in_order(small_cache: Path) -> None:
    data = made(small_cache, "test", batch_size=4)
    assert data.test is not None
    assert ids(data.test_dataloader()) == data.test.split.ids
    batch = next(iter(data.test_dataloader()))
    assert batch["index"].tolist() == [0]
    assert batch["target"]["depth"].shape == batch["untouched"]["depth"][:, 0].shape == (1, 48, 64)


def test_limits(small_cache: Path) -> None:
    data = made(small_cache, limit_train=8, limit_test=2, val_fraction=0.3)
    assert len(ids(data.train_dataloader())) <= 8
    assert data.train is not None
    assert len(data.train) == 8
    assert len(ids(data.val_dataloader()[0])) == 2
    assert len(ids(data.test_dataloader())) == 2


def test_a_modality_that_is_not_in_the_cache(small_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.modalities names sound, but .*depth, semantic"):
        CacheDataModule(small_cache, modalities=["depth", "sound"]).setup("test")


def test_modalities_in_the_order_that_is_asked_for(small_cache: Path) -> None:
    data = made(small_cache, "test", modalities=["semantic", "depth"])
    assert list(data.modalities) == ["semantic", "depth"]
    assert list(next(iter(data.test_dataloader()))["input"]) == ["semantic", "depth"]
    alone = made(small_cache, "test", modalities=["semantic"])
    batch = next(iter(alone.test_dataloader()))
    assert list(batch["input"]) == ["semantic"]
    assert torch.equal(batch["valid"], batch["target"]["semantic"] != 255)


# -- skipped frames --------------------------------------------------------------------------------


def nothing_in_common(split: str, i: int, targets: dict[str, NDArray[Any]]) -> None:
    """Two training frames whose modalities have truth at different pixels, or one has none."""
    if split == "train" and i == 3:
        targets["depth"][:, :32] = 0
        targets["semantic"][:, 32:] = 255
    if split == "train" and i == 7:
        targets["semantic"][:] = 255


def test_frames_without_a_jointly_valid_pixel_are_skipped_and_counted(
    small_cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = copied(small_cache, tmp_path / "gaps.h5", nothing_in_common)
    for limit in (4.0, 1e-9):  # resident and streamed
        data = made(path, "fit", val_fraction=0, memory_limit_gib=limit)
        assert data.skipped == {"train": 2}
        assert data.train is not None
        assert sorted(data.train.rows) == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
        assert all(batch["valid"].any() for batch in data.train_dataloader())
    assert "2 training frames have no pixel" in caplog.text
    alone = made(path, "fit", val_fraction=0, modalities=["depth"])
    assert alone.skipped == {"train": 0}


def test_training_frames_without_any_truth_in_common(small_cache: Path, tmp_path: Path) -> None:
    def void(split: str, i: int, targets: dict[str, NDArray[Any]]) -> None:
        targets["semantic"][:] = 255

    path = copied(small_cache, tmp_path / "void.h5", void)
    with pytest.raises(CacheError, match=r"none of the 12 training frames.*depth, semantic"):
        made(path, "fit", val_fraction=0)


# -- batches ---------------------------------------------------------------------------------------


def test_losses_are_taken_at_the_networks_size_and_measures_at_the_truths(
    small_cache: Path,
) -> None:
    data = made(small_cache, "fit", frame=[24, 32], batch_size=3)
    assert data.loss_size == (12, 16)
    batch = next(iter(data.train_dataloader()))
    assert batch["input"]["semantic"].shape == (3, 5, 24, 32)
    assert batch["target"]["semantic"].shape == batch["valid"].shape == (3, 12, 16)
    assert "untouched" not in batch
    assert next(iter(data.val_dataloader()[0]))["valid"].shape == (1, 48, 64)
    assert made(small_cache, "fit").frame == (48, 64)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # asked for here
@pytest.mark.parametrize("start", [None, *multiprocessing.get_all_start_methods()])
def test_memory_workers_and_the_file_serve_the_same(small_cache: Path, start: str | None) -> None:
    """A cache beyond the memory limit is read from the file, here or by other processes."""

    def batches(**options: Any) -> list[Any]:
        data = made(small_cache, "fit", batch_size=2, **options)
        assert data.train is not None
        assert data.train.resident == (not options)
        return [*data.train_dataloader(), *data.val_dataloader()[0]]

    resident, usual = batches(), multiprocessing.get_start_method()
    multiprocessing.set_start_method(start or usual, force=True)
    try:
        other = batches(memory_limit_gib=1e-9, num_workers=int(start is not None))
    finally:
        multiprocessing.set_start_method(usual, force=True)
    assert len(other) == len(resident)
    assert all(equal(a, b) for a, b in zip(resident, other, strict=True))


# -- order -----------------------------------------------------------------------------------------


def epoch(sampler: EpochShuffle, number: int) -> list[int]:
    sampler.set_epoch(number)
    return list(sampler)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    sampler = EpochShuffle(50, seed=3)
    orders = [epoch(sampler, e) for e in range(4)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    torch.rand(5), np.random.default_rng().random()
    resumed = EpochShuffle(50, seed=3)
    assert epoch(resumed, 2) == orders[2]
    assert epoch(sampler, 0) == orders[0]
    assert list(sampler) == list(sampler)
    assert epoch(EpochShuffle(50, seed=4), 2) != orders[2]


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 3), (2, 5), (12, 4)])
def test_processes_share_an_epoch(length: int, world: int) -> None:
    samplers = [EpochShuffle(length, 0, rank, world) for rank in range(world)]
    shares = [epoch(s, 1) for s in samplers]
    assert {len(s) for s in shares} == {len(samplers[0])} == {-(-length // world)}
    together = [i for share in shares for i in share]
    assert set(together) == set(range(length))
    repeated = -length % world
    assert len(together) == length + repeated
    if repeated < length:
        assert max(map(together.count, range(length))) <= 2


@pytest.mark.parametrize("world", [1, 2, 5])
def test_evaluation_is_shared_without_repetition(
    fitted: CacheDataModule, monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    assert fitted.val is not None
    shares: list[int] = []
    for rank in range(world):
        monkeypatch.setattr(fitted, "_share", lambda rank=rank: (rank, world))
        (loader,) = fitted.val_dataloader()
        shares += loader.sampler
    assert sorted(shares) == list(range(len(fitted.val)))


def test_only_test_batches_hold_other_ground_truth_and_only_on_demand(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "two.h5", predict=0, raw=True)
    for wanted in (False, True):
        data = made(path, val_fraction=0.25, alternative=wanted)
        (test,) = [next(iter(data.test_dataloader()))]
        assert ("alternative" in test) == wanted
        for loader in (data.train_dataloader(), *data.val_dataloader()):
            assert "alternative" not in next(iter(loader))
        data.cache.close()


@pytest.mark.parametrize("memory", [0.0, 4.0])
def test_inputs_lie_as_asked_for_and_what_is_measured_does_not(
    small_cache: Path, memory: float
) -> None:
    either = [
        made(small_cache, val_fraction=0, channels_last=flag, memory_limit_gib=memory)
        for flag in (False, True)
    ]
    for loaders in (
        [data.train_dataloader() for data in either],
        [data.test_dataloader() for data in either],
    ):
        for plain, last in zip(*loaders, strict=True):
            assert plain["id"] == last["id"]
            torch.testing.assert_close(last["input"], plain["input"])
            for x in last["input"].values():
                assert x.is_contiguous(memory_format=torch.channels_last)
            for x in last.get("untouched", {}).values():
                assert x.is_contiguous()
            torch.testing.assert_close(last.get("untouched"), plain.get("untouched"))
    assert not next(iter(either[0].train_dataloader()))["input"]["semantic"].is_contiguous(
        memory_format=torch.channels_last
    )
    for data in either:
        data.cache.close()


@pytest.mark.parametrize("batch_size", [1, 5, 12, 20])
def test_batches_hold_every_frame_once(small_cache: Path, batch_size: int) -> None:
    data = made(small_cache, "fit", val_fraction=0, batch_size=batch_size)
    loader = data.train_dataloader()
    sizes = [len(batch["id"]) for batch in loader]
    assert len(sizes) == len(loader)
    assert sizes == [batch_size] * (12 // batch_size) + [12 % batch_size] * (12 % batch_size > 0)
    assert len(set(ids(loader))) == 12
    data.cache.close()


# -- what muting knows -----------------------------------------------------------------------------


@pytest.fixture
def fitted(small_cache: Path) -> Iterator[CacheDataModule]:
    data = made(small_cache, "fit", frame=[24, 32])
    yield data
    data.cache.close()


def test_input_statistics_are_those_of_the_training_inputs(fitted: CacheDataModule) -> None:
    found = fitted.input_statistics
    assert fitted.train is not None
    batch = fitted.train.batch(range(len(fitted.train)))
    for m, x in batch["input"].items():
        maps = x.double().numpy()
        np.testing.assert_allclose(found.mean[m], maps.mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(found.deviation[m], maps.std((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(found.mean_map[m], maps.mean(0), rtol=1e-5)


def test_target_means_are_those_of_the_valid_training_truth(fitted: CacheDataModule) -> None:
    assert fitted.train is not None
    batch = fitted.train.batch(range(len(fitted.train)))
    depth, label = batch["target"]["depth"].double(), batch["target"]["semantic"].double()
    found = fitted.target_means()
    assert found["depth"].item() == pytest.approx(depth[depth > 0].mean().item(), rel=1e-6)
    assert found["semantic"].item() == pytest.approx(label[label != 255].mean().item(), rel=1e-6)
