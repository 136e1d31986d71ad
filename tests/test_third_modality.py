"""A third modality goes all the way with nothing but its own file and its configuration."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jrn_lightning.cache import CacheWriter, PredictionCache, PredictionSpec, Provenance, check
from jrn_lightning.cache.grid import Grid
from jrn_lightning.evaluation import PIXELS, evaluate_inputs, pooled
from jrn_lightning.modalities import Modality, import_plugins
from jrn_lightning.networks.checkpoint import load_network
from jrn_lightning.predictors.refine import refine
from jrn_lightning.records.record import CHECKPOINT, JobRecord
from tests.jobs import job

NAMES = ("depth", "semantic", "albedo")
GRID = (10, 14)
CONFIGURATION = (
    "data.plugins=[tests.reflectance]",
    "arch=sum60",
    "arch.fusion_channels=8",
    "arch.stem_channels=4",
    "arch.hidden_channels=8",
    "recipe.epochs=1",
    "data.val_fraction=0.25",
)


@pytest.fixture(scope="module")
def cache(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small cache with reflectance beside depth and semantics."""
    import_plugins(["tests.reflectance"])
    out = tmp_path_factory.mktemp("third") / "third.h5"
    rng = np.random.default_rng(0)
    spec = PredictionSpec(
        (2, *GRID), np.dtype(np.float32), Grid.area(GRID, (48, 64)), Provenance("made-up")
    )
    with PredictionCache(small_cache) as source:
        kind = Modality.create("reflectance", "albedo", {"brightest": 2.0})
        with CacheWriter(
            out, modalities={**source.modalities, "albedo": kind}, frame=source.frame
        ) as writer:
            for name in source.splits:
                split = source.split(name)
                writer.add_split(
                    name,
                    ids=split.ids,
                    scenes=split.scenes,
                    predictions={m: split.spec(m) for m in source.modalities} | {"albedo": spec},
                    targets=split.has_targets,
                    images=False,
                )
                for i in range(len(split)):
                    predictions = {m: split.prediction(m, i) for m in source.modalities}
                    predictions["albedo"] = rng.uniform(0, 2, (2, *GRID))
                    targets = None
                    if split.has_targets:
                        targets = {m: split.target(m, i) for m in source.modalities}
                        # Bound to the labels, so that there is something to learn from them.
                        albedo = np.minimum(targets["semantic"] / 4.0, 2.0)
                        targets["albedo"] = np.stack([albedo, albedo / 2])
                        targets["albedo"][1, :, :3] = np.nan
                    writer.write(name, i, predictions=predictions, targets=targets)
    return out


@pytest.fixture(scope="module")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The real job, from a configuration that is composed from ``conf/``."""
    folder = tmp_path_factory.mktemp("runs") / "sum60" / "seed0"
    return folder, job(cache, folder, *CONFIGURATION)


def test_the_cache_knows_it(cache: Path) -> None:
    with PredictionCache(cache) as opened:
        assert tuple(opened.modalities) == NAMES
        assert opened.modalities["albedo"].attributes == {"brightest": 2.0}
        assert check(opened) == []
        assert opened.split("test").target("albedo", 0).shape == (2, *opened.frame)
        assert set(evaluate_inputs(opened, "test")["albedo"]) == {"mae", "rmse", "psnr"}


def test_every_setup_is_tested(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    assert results["status"] == "finished"
    assert results["setups"] == ["input", "joint", *(f"muted_{m}" for m in NAMES)]
    table = JobRecord.read(folder).statistics()
    assert tuple(table.modalities) == NAMES
    assert table.modalities["albedo"].attributes == {"brightest": 2.0}
    assert table.values["albedo"].shape == (6, 5, 1, 3)
    # Muting any of the three changes every output.
    for m in NAMES:
        joint = table.of(m, "joint", "full")
        for source in NAMES:
            assert (table.of(m, f"muted_{source}", "full") != joint).any()


def test_all_six_directions_of_influence(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    rows = [r for r in results["influence"] if r["pooling"] == PIXELS]
    assert {(r["source"], r["target"]) for r in rows} == set(permutations(NAMES, 2))
    table = JobRecord.read(folder).statistics()
    for row in rows:
        modality = table.modalities[row["target"]]
        measure = modality.measure(row["measure"])
        sign = 1 if measure.higher_is_better else -1

        def performance(
            setup: str, row: Any = row, measure: Any = measure, sign: int = sign
        ) -> float:
            value = pooled(table.of(row["target"], setup, "full"), measure)
            return float(sign * measure.scale * value)

        if row["value"] is None:  # a class that is nowhere
            assert np.isnan(performance("joint"))
            continue
        expected = performance("joint") - performance(f"muted_{row['source']}")
        assert row["value"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert {r["measure"] for r in rows if r["target"] == "albedo"} == {"mae", "rmse", "psnr"}
    assert results["modalities"]["albedo"]["primary"] == "mae"


def test_its_checkpoint_refines_frames_without_truth(
    finished: tuple[Path, dict[str, Any]], cache: Path, tmp_path: Path
) -> None:
    trained = load_network(finished[0] / CHECKPOINT)
    with PredictionCache(cache) as opened:
        refine(trained, opened, "predict", tmp_path / "refined.h5")
    with PredictionCache(tmp_path / "refined.h5") as made:
        assert made.split("predict").prediction("albedo", 2).shape == (2, 48, 64)


def test_a_subset_of_the_modalities_is_a_smaller_question(cache: Path, tmp_path: Path) -> None:
    results = job(cache, tmp_path, *CONFIGURATION, "data.modalities=[albedo,depth]")
    assert {(r["source"], r["target"]) for r in results["influence"]} == {
        ("albedo", "depth"),
        ("depth", "albedo"),
    }
