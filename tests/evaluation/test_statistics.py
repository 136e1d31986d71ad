"""Statistics per image: independent of batches, exact over processes, safe on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import (
    IMAGES,
    PIXELS,
    ImageStatistics,
    StatisticsTable,
    pooled,
    regions,
)
from jrn_lightning.modalities import Depth, Measure, Modality, Semantic

MODALITIES: dict[str, Modality] = {
    # Not in the order of the alphabet, which is that of a careless reader.
    "semantic": Semantic("semantic", ["a", "b", "c"], "made-up"),
    "depth": Depth("depth"),
}
N, SIZE = 7, (9, 12)


def frames(rows: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs ``(2, B, C, H, W)`` and targets ``(B, H, W)`` of some images."""
    outputs: dict[str, list[Tensor]] = {m: [] for m in MODALITIES}
    targets: dict[str, list[Tensor]] = {m: [] for m in MODALITIES}
    for i in rows:
        g = torch.Generator().manual_seed(int(i))
        # Images of very different quality: a mean of per-batch roots would show.
        outputs["depth"].append(torch.rand(2, 1, *SIZE, generator=g) * (i + 1) + 0.5)
        truth = torch.rand(*SIZE, generator=g) * 9
        truth[: i + 1] = 0
        targets["depth"].append(truth)
        outputs["semantic"].append(torch.rand(2, 3, *SIZE, generator=g))
        label = torch.randint(0, 3, SIZE, generator=g)
        targets["semantic"].append(label.where(torch.rand(*SIZE, generator=g) > 0.1 * i, 255))
    return (
        {m: torch.stack(x, 1) for m, x in outputs.items()},
        {m: torch.stack(x) for m, x in targets.items()},
    )


def collected(batches: Sequence[Sequence[int]], metric: ImageStatistics) -> None:
    whole = regions(["full"], SIZE)
    for rows in batches:
        outputs, targets = frames(rows)
        metric.update(
            torch.tensor(rows),
            {m: k.statistics(outputs[m], targets[m], whole) for m, k in MODALITIES.items()},
        )


def test_neither_batch_size_nor_order_matters() -> None:
    expected = ImageStatistics(tuple(MODALITIES))
    collected([[i] for i in range(N)], expected)
    index, rows = expected.compute()
    assert index.tolist() == list(range(N))
    assert rows["semantic"].shape == (N, 2, 1, 9)
    for batches in (
        [[0, 1, 2], [3, 4, 5], [6]],
        [list(range(N))],
        [[6, 2], [0], [5, 4, 1, 3]],
    ):
        metric = ImageStatistics(tuple(MODALITIES))
        collected(batches, metric)
        other, found = metric.compute()
        assert other.tolist() == list(range(N))
        assert (found["semantic"] == rows["semantic"]).all()
        np.testing.assert_allclose(found["depth"], rows["depth"], rtol=1e-6)
        for m, modality in MODALITIES.items():
            for measure in modality.measures:
                for pooling in (PIXELS, IMAGES):
                    np.testing.assert_allclose(
                        pooled(found[m], measure, pooling),
                        pooled(rows[m], measure, pooling),
                        rtol=1e-6,
                    )


def test_a_metric_starts_afresh_when_it_is_reset() -> None:
    metric = ImageStatistics(tuple(MODALITIES))
    collected([[0, 1], [2]], metric)
    metric.reset()
    collected([[5]], metric)
    assert metric.compute()[0].tolist() == [5]


def test_a_repeated_image_counts_once() -> None:
    metric = ImageStatistics(tuple(MODALITIES))
    collected([[3, 1], [3], [1]], metric)
    index, rows = metric.compute()
    alone = ImageStatistics(tuple(MODALITIES))
    collected([[1, 3]], alone)
    assert index.tolist() == [1, 3]
    assert (rows["semantic"] == alone.compute()[1]["semantic"]).all()


def _process(rank: int, shares: list[list[list[int]]], folder: str) -> None:
    """One of two processes, with its share of the batches."""
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=len(shares)
    )
    try:
        metric = ImageStatistics(tuple(MODALITIES))
        collected(shares[rank], metric)
        index, rows = metric.compute()
        np.savez(f"{folder}/{rank}.npz", index=index, **rows)  # type: ignore[arg-type]
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow  # two fresh interpreters
def test_two_processes_see_every_image_once(tmp_path: Path) -> None:
    """Shares of different length, with an image that the sampler repeated to fill one up."""
    shares = [[[0, 2], [4], [6, 0]], [[1], [3, 5, 1], [0]]]
    torch.multiprocessing.spawn(_process, (shares, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    single = ImageStatistics(tuple(MODALITIES))
    collected([list(range(N))], single)
    _, expected = single.compute()
    for rank in (0, 1):
        found = np.load(tmp_path / f"{rank}.npz")
        assert found["index"].tolist() == list(range(N))
        assert (found["semantic"] == expected["semantic"]).all()
        np.testing.assert_allclose(found["depth"], expected["depth"], rtol=1e-6)


def test_pooling_by_hand() -> None:
    """Pixels: the ratio of sums. Images: the mean of the ratios that exist."""
    statistics = np.array([[1.0, 4.0], [0.0, 0.0], [3.0, 3.0]])
    ratio = Measure("r", "r", _ratio, higher_is_better=True)
    assert pooled(statistics, ratio, PIXELS) == pytest.approx(7 / 4)
    assert pooled(statistics, ratio, IMAGES) == pytest.approx((4 + 1) / 2)
    assert np.isnan(pooled(statistics[1:2], ratio, IMAGES))
    with pytest.raises(ValueError, match="pixels, images"):
        pooled(statistics, ratio, "scenes")


def _ratio(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(statistics[..., 1] / statistics[..., 0])


# -- on disk ---------------------------------------------------------------------------------------

SETUPS = ("input", "joint", "muted_semantic", "muted_depth")


@pytest.fixture
def table() -> StatisticsTable:
    rng = np.random.default_rng(0)
    return StatisticsTable(
        tuple(f"frame {i} é" for i in range(N)),
        ("s0", "s0", "s1", "s2", "s2", "s2", "long scene name"),
        SETUPS,
        ("full", "eigen"),
        MODALITIES,
        {
            m: rng.uniform(0, 1e6, (N, len(SETUPS), 2, len(modality.statistic_names)))
            for m, modality in MODALITIES.items()
        },
    )


def same(a: StatisticsTable, b: StatisticsTable) -> bool:
    def names(t: StatisticsTable) -> Any:
        kinds = [(m, k.kind, k.attributes) for m, k in t.modalities.items()]
        return t.ids, t.scenes, t.setups, t.protocols, kinds, list(t.values)

    return names(a) == names(b) and all((a.values[m] == b.values[m]).all() for m in a.values)


def test_a_saved_table_is_loaded_as_it_was(table: StatisticsTable, tmp_path: Path) -> None:
    path = tmp_path / "new" / "statistics.h5"
    table.save(path)
    again = StatisticsTable.load(path)
    assert same(again, table)
    assert (again.of("depth", "joint", "eigen") == table.values["depth"][:, 1, 1]).all()
    mean_iou = MODALITIES["semantic"].measure("mean_iou")
    found = again.measure("semantic", mean_iou, PIXELS)
    assert found.shape == (len(SETUPS), 2)
    assert found[3, 0] == mean_iou(table.values["semantic"][:, 3, 0].sum(0))
    table.save(path)  # over the old one
    assert [p.name for p in path.parent.iterdir()] == ["statistics.h5"]


def test_a_failed_save_leaves_the_old_file(table: StatisticsTable, tmp_path: Path) -> None:
    path = tmp_path / "statistics.h5"
    table.save(path)
    broken = StatisticsTable(
        table.ids, table.scenes, table.setups, table.protocols, MODALITIES, {"semantic": np.ones(1)}
    )
    with pytest.raises(KeyError):
        broken.save(path)
    assert same(StatisticsTable.load(path), table)
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.h5"]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"none\.h5 cannot be read.*Run the job again"):
        StatisticsTable.load(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_a_foreign_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "statistics.h5"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"statistics\.h5 cannot be read"):
        StatisticsTable.load(path)


def test_a_prediction_cache_is_none(small_cache: Path) -> None:
    with pytest.raises(RecordError, match=r"not a statistics file of version 2.*'jrn-cache'"):
        StatisticsTable.load(small_cache)


def test_another_version(table: StatisticsTable, tmp_path: Path) -> None:
    path = tmp_path / "statistics.h5"
    table.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 1  # confusions
    with pytest.raises(RecordError, match=r"version 1\).*same command again.*only tested again"):
        StatisticsTable.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.__setitem__((3, 0, 0, 0), np.nan),
        lambda v: v.__setitem__((3, 0, 0, 0), -1),
        lambda v: v.resize((N, len(SETUPS), 2, 4), refcheck=False),
        lambda v: v.resize((N - 1, len(SETUPS), 2, 9), refcheck=False),
    ],
)
def test_values_that_cannot_be(change: Any, table: StatisticsTable, tmp_path: Path) -> None:
    wrong = table.values["semantic"].copy()
    change(wrong)
    values = {**table.values, "semantic": wrong}
    path = tmp_path / "statistics.h5"
    StatisticsTable(
        table.ids, table.scenes, table.setups, table.protocols, MODALITIES, values
    ).save(path)
    with pytest.raises(RecordError, match=r"statistics\.h5: statistics of semantic"):
        StatisticsTable.load(path)


def test_a_table_of_strata_has_of_a_modality_what_it_measures(tmp_path: Path) -> None:
    names = ("near", "class_a", "class_b", "class_c", "label_edge")
    rng = np.random.default_rng(0)
    values = {"semantic": rng.random((N, 2, 2, 9)), "depth": rng.random((N, 2, 5, 10))}
    table = StatisticsTable(
        tuple("abcdefg"), tuple("abcdefg"), SETUPS[:2], names, MODALITIES, values
    )
    table.save(tmp_path / "strata.h5")
    again = StatisticsTable.load(tmp_path / "strata.h5")
    assert same(again, table)
    assert again.protocols_of("depth") == names
    assert again.protocols_of("semantic") == ("near", "label_edge")
    assert (again.of("semantic", "joint", "label_edge") == values["semantic"][:, 1, 1]).all()
    assert (again.of("depth", "joint", "label_edge") == values["depth"][:, 1, 4]).all()


def test_chunks_are_some_images_and_never_large(tmp_path: Path) -> None:
    many: dict[str, Modality] = {
        "semantic": Semantic("semantic", [f"c{k}" for k in range(150)]),
        "depth": Depth("depth"),
    }
    for count, setups in ((3, 2), (40, 40), (2, 900)):
        names = tuple(f"{k}" for k in range(count))
        values = {m: np.ones((count, setups, 1, len(x.statistic_names))) for m, x in many.items()}
        path = tmp_path / "statistics.h5"
        StatisticsTable(
            names, names, tuple(f"s{s}" for s in range(setups)), ("full",), many, values
        ).save(path)
        with h5py.File(path) as file:
            for dataset in file["modality"].values():
                assert dataset.chunks[1:] == dataset.shape[1:]
                image = 8 * int(np.prod(dataset.shape[1:]))
                assert dataset.chunks[0] * image <= max(1 << 20, image)
                assert dataset.chunks[0] == min(count, max(1, (1 << 20) // image))


def test_a_missing_part(table: StatisticsTable, tmp_path: Path) -> None:
    for part in ("id", "scene", "modality"):
        path = tmp_path / f"{part}.h5"
        table.save(path)
        with h5py.File(path, "r+") as file:
            del file[part]
        with pytest.raises(RecordError, match=rf"{part}\.h5 cannot be read"):
            StatisticsTable.load(path)


def test_damage_is_never_accepted_in_silence(table: StatisticsTable, tmp_path: Path) -> None:
    """Bits flipped, and the file cut off, anywhere: an error, or nothing that matters was hit."""
    path = tmp_path / "statistics.h5"
    table.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.choice(len(whole), 120, replace=False):
        if rng.uniform() < 0.25:
            damaged = whole[:place]
        else:
            flipped = whole[place] ^ (1 << int(rng.integers(8)))
            damaged = whole[:place] + bytes([flipped]) + whole[place + 1 :]
        path.write_bytes(damaged)
        try:
            assert same(StatisticsTable.load(path), table)
        except RecordError:
            noticed += 1
    assert noticed > 100


def test_names_are_protected_too(table: StatisticsTable, tmp_path: Path) -> None:
    """Setups, protocols and classes decide what a number means."""
    path = tmp_path / "statistics.h5"
    table.save(path)
    whole = path.read_bytes()
    for name in (b"muted_depth", b"eigen", b"made-up", b"jrn-statistics"):
        assert name in whole
        path.write_bytes(whole.replace(name, name[:-1] + b"x"))
        with pytest.raises(RecordError):
            StatisticsTable.load(path)
