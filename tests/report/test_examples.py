from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.analysis.collect import collect
from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.records.record import CHECKPOINT
from jrn_lightning.report.examples import gallery
from jrn_lightning.report.gallery import Gallery, Pick
from tests.caches import write_small_cache
from tests.checkpoints import save, task_for
from tests.report.sweeps import make_job

PICKS = [Pick("0014", "second"), Pick("0012", "first")]
ARCHS = ["cat60", "cat5"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_cache(tmp_path_factory.mktemp("cache") / "small.h5")


@pytest.fixture
def sweep(tmp_path: Path, cache: Path) -> Path:
    """Two architectures with their checkpoints; one has a second seed without."""
    with PredictionCache(cache) as opened:
        about = {"cache": str(cache), "cache_hash": opened.content_hash}
    for arch, seed in (("cat60", 0), ("cat60", 1), ("cat5", 0)):
        folder = tmp_path / "sweep" / arch / f"seed{seed}"
        make_job(folder, arch, seed, 0.6, **about)
        if seed == 0:
            (folder / CHECKPOINT.parent).mkdir()
            channels = 4 if arch == "cat60" else 2
            save(task_for(cache, fusion_channels=channels), folder / CHECKPOINT)
    return tmp_path / "sweep"


def run(sweep: Path, picks: list[Pick] = PICKS) -> Gallery:
    return gallery(collect(sweep), picks, ARCHS)


def test_maps_are_what_the_networks_say(sweep: Path, cache: Path) -> None:
    found = run(sweep)
    assert [(f.id, f.note) for f in found.frames] == [("0014", "second"), ("0012", "first")]
    assert found.archs == ("cat60", "cat5")
    assert found.note.startswith("Maps of cat60/seed0, cat5/seed0")
    frame = found.frames[1]
    assert list(frame.outputs) == [UNTOUCHED, *ARCHS]
    task = task_for(cache, fusion_channels=4)
    with PredictionCache(cache) as opened, torch.inference_mode():
        split = opened.split("test")
        row = split.ids.index("0012")
        data = CachedFrames(split, task.modalities, [row], (48, 64), None)
        raw = task.network(data[0]["input"])["depth"].float()
        large = F.interpolate(raw, size=(48, 64), mode="bilinear", align_corners=False)
        expected = task.modalities["depth"].refined(large)[0].numpy()
        np.testing.assert_array_equal(frame.target["depth"], split.target("depth", row))
        assert frame.image is not None
        np.testing.assert_array_equal(frame.image, split.image(row))
    np.testing.assert_allclose(frame.outputs["cat60"]["depth"], expected, rtol=1e-5)
    assert not np.allclose(frame.outputs["cat5"]["depth"], expected)


def test_a_lost_checkpoint_leaves_its_architecture_out(sweep: Path) -> None:
    (sweep / "cat60" / "seed0" / CHECKPOINT).unlink()
    found = run(sweep)
    assert found.archs == ("cat5",)
    assert "cat60 is left out" in found.note


def test_a_frame_that_is_not_in_the_cache_is_left_out(sweep: Path) -> None:
    assert [f.id for f in run(sweep, [Pick("gone", ""), PICKS[0]]).frames] == ["0014"]


def test_without_checkpoints_there_is_a_reason(sweep: Path) -> None:
    for arch in ARCHS:
        (sweep / arch / "seed0" / CHECKPOINT).unlink()
    found = run(sweep)
    assert not found.frames
    assert "cannot be made again" in found.note


def test_without_the_cache_there_is_a_reason(sweep: Path, cache: Path, tmp_path: Path) -> None:
    hidden = cache.rename(tmp_path / "elsewhere.h5")
    try:
        found = run(sweep)
    finally:
        hidden.rename(cache)
    assert not found.frames
    assert str(cache) in found.note


def test_a_cache_of_other_contents_is_not_drawn(sweep: Path, cache: Path) -> None:
    for job in sweep.glob("*/seed*/results.json"):
        job.write_text(
            job.read_text().replace(collect(sweep).finished[0].data["cache_hash"], "f00")
        )
    found = run(sweep)
    assert not found.frames
    assert "other contents" in found.note


def test_nothing_finished(sweep: Path) -> None:
    assert not gallery(collect(sweep), [], ARCHS).frames
    assert not gallery(collect(sweep), PICKS, ["sum60"]).frames
