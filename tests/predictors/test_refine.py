"""Checkpoints are not trusted, and refined maps are those that were tested."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jrn_lightning.cache import CacheWriter, PredictionCache, check
from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.errors import CacheError, CheckpointError, ConfigError, JRNError
from jrn_lightning.evaluation import evaluate_inputs
from jrn_lightning.modalities import Semantic
from jrn_lightning.networks.checkpoint import load_network
from jrn_lightning.predictors.refine import refine
from tests.caches import write_small_cache
from tests.checkpoints import checkpoint_of, save, task_for

FRAME = (48, 64)


@pytest.fixture(scope="module")
def checkpoint(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = task_for(small_cache, fusion_channels=10)
    return save(task, tmp_path_factory.mktemp("checkpoint") / "last.ckpt")


def refined(checkpoint: Path, cache: Path, split: str, out: Path, **options: Any) -> Path:
    with PredictionCache(cache) as opened:
        refine(load_network(checkpoint), opened, split, out, **options)
    return out


# -- loading ---------------------------------------------------------------------------------------


def test_the_network_is_built_again(small_cache: Path, checkpoint: Path) -> None:
    trained = load_network(checkpoint)
    expected = task_for(small_cache, fusion_channels=10).network.state_dict()
    found = trained.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], expected[k]) for k in expected)
    assert not trained.network.training
    assert trained.frame == FRAME
    assert trained.name == "made"
    assert {m: k.attributes for m, k in trained.modalities.items()} == {
        "depth": {},
        "semantic": {"classes": ["Ground", "Vertical", "Ceiling", "Furniture", "Object"],
                     "label_space": "wang5"},
    }  # fmt: skip


def test_other_ground_truth_is_taken_along(checkpoint: Path, tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "two.h5", train=2, test=2, predict=0, raw=True)
    out = refined(checkpoint, path, "test", tmp_path / "out.h5")
    with PredictionCache(path) as before, PredictionCache(out) as after:
        a, b = before.split("test"), after.split("test")
        assert a.truths == b.truths == {"depth": ("filled", "raw")}
        for i in range(2):
            found = b.alternative("depth", "raw", i)
            np.testing.assert_array_equal(found, a.alternative("depth", "raw", i))
        assert check(after) == []


def test_a_control_never_sees_what_it_was_trained_without(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    task = task_for(small_cache, fusion_channels=10)
    task.always_muted = ("semantic",)
    control = load_network(save(task, tmp_path / "control.ckpt"))
    assert control.muted == ("semantic",)
    # Not part of what the network is built from: older checkpoints do not have it.
    assert control.specification == load_network(checkpoint).specification
    with PredictionCache(small_cache) as cache:
        refine(control, cache, "test", tmp_path / "out.h5", dtype="float32")
    data = CacheDataModule(small_cache)
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    inputs = {"depth": batch["input"]["depth"], "semantic": torch.zeros(1, 5, *FRAME)}
    with torch.no_grad():
        output = F.interpolate(control.network(inputs)["depth"], FRAME, mode="bilinear")
    with PredictionCache(tmp_path / "out.h5") as made:
        found = made.split("test").prediction("depth", 0)
    np.testing.assert_allclose(found, output[0].clamp(1e-3, 10), rtol=1e-5)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.where),)


@pytest.mark.parametrize("how", ["pickle", "torch", "hidden in a checkpoint"])
def test_code_in_a_checkpoint_does_not_run(how: str, small_cache: Path, tmp_path: Path) -> None:
    path, owned = tmp_path / "evil.ckpt", tmp_path / "owned"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Evil(owned), protocol=2))
    elif how == "torch":
        torch.save(Evil(owned), path)
    else:
        whole = checkpoint_of(task_for(small_cache, fusion_channels=1))
        torch.save({**whole, "callbacks": {"x": Evil(owned)}}, path)
    with pytest.raises(CheckpointError, match=r"evil\.ckpt .*could run foreign code"):
        load_network(path)
    assert not owned.exists()
    # It would have run:
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert owned.is_dir()


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.ckpt: no such checkpoint.*last\.ckpt"):
        load_network(tmp_path / "none.ckpt")


def test_damage_is_never_accepted_in_silence(checkpoint: Path, tmp_path: Path) -> None:
    """Cut off or with a flipped bit anywhere: an error, or the same weights."""
    whole = checkpoint.read_bytes()
    expected = load_network(checkpoint)
    path = tmp_path / "damaged.ckpt"
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.choice(len(whole), 60, replace=False):
        cut = rng.uniform() < 0.3
        flipped = bytes([whole[place] ^ (1 << int(rng.integers(8)))]) + whole[place + 1 :]
        path.write_bytes(whole[:place] + (b"" if cut else flipped))
        try:
            found = load_network(path)
        except CheckpointError:
            noticed += 1
            continue
        assert not cut
        state = found.network.state_dict()
        for key, value in expected.network.state_dict().items():
            assert torch.equal(value, state[key])
        assert found.specification == expected.specification
    assert noticed > 40


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, {"jrn": {"format": "other"}}, {"jrn": 3}, [1, 2], {}]
)
def test_a_checkpoint_of_something_else(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt is a checkpoint of something else"):
        load_network(tmp_path / "other.ckpt")


def test_no_checkpoint_at_all(small_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    for path in (tmp_path / "text.ckpt", small_cache):
        with pytest.raises(CheckpointError, match=path.name):
            load_network(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["jrn"].update(version=1), r"has version 1, this package reads 2"),
        (lambda c: c["jrn"].pop("version"), r"has version None"),
        (lambda c: c["jrn"].pop("frame"), r"does not tell how to build.*'frame'"),
        (lambda c: c["jrn"]["network"].update(depth=3), r"no argument depth. It has: fused_"),
        (lambda c: c["jrn"]["network"].update(_target_="os.system"), r"'os.system'.*plug-in"),
        (lambda c: c["jrn"]["modalities"].update(x={}), r"does not tell how to build.*'kind'"),
        (lambda c: c.pop("state_dict"), r"does not tell how to build.*'state_dict'"),
        (
            lambda c: c["jrn"]["network"].update(operation="sum"),
            r"weights are not those of the architecture 'made'.*fuse.weight",
        ),
        (lambda c: c["state_dict"].pop("network.hidden.bias"), r"Missing key.*hidden\.bias"),
    ],
)
def test_what_does_not_fit_together(
    change: Any, message: str, checkpoint: Path, tmp_path: Path
) -> None:
    content = copy.deepcopy(torch.load(checkpoint, weights_only=True))
    change(content)
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match=rf"odd\.ckpt.*{message}"):
        load_network(tmp_path / "odd.ckpt")


def test_a_checkpoint_cannot_import_a_module(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "surprise.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    content["jrn"]["plugins"] = ["surprise"]
    torch.save(content, tmp_path / "plugin.ckpt")
    assert load_network(tmp_path / "plugin.ckpt").name


def test_a_modality_that_no_plugin_defines_is_named(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["jrn"]["modalities"]["depth"]["kind"] = "sonar"
    torch.save(content, tmp_path / "plugin.ckpt")
    with pytest.raises(ConfigError, match=r"sonar.*--plugin"):
        load_network(tmp_path / "plugin.ckpt")


# -- refining --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "shape"), [("frame", FRAME), ("network", (24, 32))])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_refined_maps_are_the_networks(
    small_cache: Path,
    checkpoint: Path,
    tmp_path: Path,
    size: str,
    shape: tuple[int, int],
    dtype: str,
) -> None:
    out = refined(checkpoint, small_cache, "predict", tmp_path / "r.h5", size=size, dtype=dtype)
    network = load_network(checkpoint).network
    with PredictionCache(out) as made, PredictionCache(small_cache) as source:
        assert check(made) == []
        assert made.splits == ("predict",)
        ours, theirs = made.split("predict"), source.split("predict")
        assert (ours.ids, ours.scenes) == (theirs.ids, theirs.scenes)
        assert not ours.has_targets
        assert (ours.image(1) == theirs.image(1)).all()
        data = CacheDataModule(small_cache)
        for i in range(len(theirs)):
            native = {
                m: torch.from_numpy(theirs.prediction(m, i)).float()[None]
                for m in network.modalities
            }
            inputs = {
                "depth": F.interpolate(native["depth"], FRAME, mode="bilinear"),
                "semantic": F.interpolate(
                    native["semantic"], FRAME, mode="bilinear", align_corners=True
                ),
            }
            with torch.no_grad():
                outputs = network(inputs)
            for m, y in outputs.items():
                y = F.interpolate(y, shape, mode="bilinear")
                expected = data.modalities[m].refined(y)[0].numpy()
                found = ours.prediction(m, i)
                assert found.dtype == dtype
                tolerance = 2e-3 if dtype == "float16" else 1e-4
                np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def joint_measures(cache: Path, checkpoint: Path) -> dict[str, dict[str, float]]:
    """The joint setup of a test pass, as a job does it."""
    task = task_for(cache, fusion_channels=10)
    task.network.load_state_dict(load_network(checkpoint).network.state_dict())
    data = CacheDataModule(cache)
    data.setup("test")
    with torch.no_grad():
        for i, batch in enumerate(data.test_dataloader()):
            task.test_step(batch, i)
    _, rows = task.test_statistics["statistics"].compute()
    joint = task.evaluator.setups.index("joint")
    return {
        m: {x.name: float(x(rows[m].sum(0)[joint, 0])) for x in modality.measures}
        for m, modality in task.modalities.items()
    }


@pytest.mark.parametrize(("size", "tolerance"), [("frame", 1e-4), ("network", 0.03)])
def test_evaluated_again_they_give_the_joint_setups_measures(
    small_cache: Path, checkpoint: Path, tmp_path: Path, size: str, tolerance: float
) -> None:
    """At the network's size probabilities are interpolated, where a job interpolates scores."""
    out = refined(checkpoint, small_cache, "test", tmp_path / "r.h5", size=size, dtype="float32")
    with PredictionCache(out) as made, PredictionCache(small_cache) as source:
        found = evaluate_inputs(made, "test")
        assert (
            made.split("test").target("depth", 2) == source.split("test").target("depth", 2)
        ).all()
    expected = joint_measures(small_cache, checkpoint)
    for m, measures in expected.items():
        for name, value in measures.items():
            assert found[m][name] == pytest.approx(value, rel=tolerance, abs=1e-3, nan_ok=True), (
                name
            )
    assert 0.2 < expected["semantic"]["mean_iou"] < 0.95  # maps that are worth comparing


def test_what_was_refined_can_be_refined_again(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    once = refined(checkpoint, small_cache, "train", tmp_path / "1.h5", size="network")
    twice = refined(checkpoint, once, "train", tmp_path / "2.h5")
    digest = load_network(checkpoint).digest
    with PredictionCache(once) as a, PredictionCache(twice) as b:
        assert a.split("train").spec("depth").shape == (1, 24, 32)
        first, second = (c.split("train").provenance("semantic") for c in (a, b))
        assert first.source == "made on noisy"
        assert second.source == "made on made on noisy"
        assert first.source_hash == second.source_hash == digest
        # The network has seen these frames, whatever the single-task network had.
        assert first.sampling == "in-sample"
        assert first.alignment == "area"


def test_unseen_frames_stay_what_they_were(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = refined(checkpoint, small_cache, "test", tmp_path / "r.h5")
    with PredictionCache(out) as made:
        split = made.split("test")
        assert [split.provenance(m).sampling for m in ("depth", "semantic")] == [
            "in-sample",
            "unseen",
        ]


def test_progress_sees_every_frame(small_cache: Path, checkpoint: Path, tmp_path: Path) -> None:
    seen = []

    def progress(rows: Iterable[int]) -> Iterable[int]:
        for i in rows:
            seen.append(i)
            yield i

    refined(checkpoint, small_cache, "predict", tmp_path / "r.h5", progress=progress)
    assert seen == [0, 1, 2]


# -- refusals --------------------------------------------------------------------------------------


def recast(source: Path, out: Path, modalities: dict[str, Any]) -> Path:
    """The predictions of a cache under another description."""
    with (
        PredictionCache(source) as cache,
        CacheWriter(out, modalities=modalities, frame=cache.frame) as writer,
    ):
        split = cache.split("predict")
        writer.add_split(
            "predict",
            ids=split.ids,
            scenes=split.scenes,
            predictions={m: split.spec(m) for m in modalities},
            targets=False,
            images=False,
        )
        for i in range(len(split)):
            writer.write("predict", i, predictions={m: split.prediction(m, i) for m in modalities})
    return out


def test_a_cache_with_other_classes(small_cache: Path, checkpoint: Path, tmp_path: Path) -> None:
    with PredictionCache(small_cache) as cache:
        other = dict(cache.modalities)
    other["semantic"] = Semantic("semantic", list("abcde"), "made-up")
    path = recast(small_cache, tmp_path / "classes.h5", other)
    with pytest.raises(CheckpointError, match=r"Ground.*classes\.h5.*made-up.*same classes"):
        refined(checkpoint, path, "predict", tmp_path / "r.h5")
    assert not (tmp_path / "r.h5").exists()


def test_a_cache_without_a_modality(small_cache: Path, checkpoint: Path, tmp_path: Path) -> None:
    with PredictionCache(small_cache) as cache:
        depth = {"depth": cache.modalities["depth"]}
    path = recast(small_cache, tmp_path / "depth.h5", depth)
    with pytest.raises(CheckpointError, match=r"depth\.h5 holds depth: semantic is missing"):
        refined(checkpoint, path, "predict", tmp_path / "r.h5")


def test_a_network_that_uses_fewer_modalities_takes_what_it_knows(
    small_cache: Path, tmp_path: Path
) -> None:
    with PredictionCache(small_cache) as cache:
        depth = {"depth": cache.modalities["depth"]}
    only = recast(small_cache, tmp_path / "depth.h5", depth)
    path = save(task_for(only, fusion_channels=2), tmp_path / "depth.ckpt")
    out = refined(path, small_cache, "predict", tmp_path / "r.h5")
    with PredictionCache(out) as made:
        assert list(made.modalities) == ["depth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, r"size is 'huge'.*frame, network"),
        ({"split": "val"}, r"no split 'val'.*train, test, predict"),
    ],
)
def test_a_wrong_choice(
    options: dict[str, Any], message: str, small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(JRNError, match=message):
        refined(
            checkpoint, small_cache, **{"split": "predict", "out": tmp_path / "r.h5", **options}
        )


def test_an_existing_file_is_kept(small_cache: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.h5"
    out.write_text("mine")
    with pytest.raises(CacheError, match=r"r\.h5 exists.*--force"):
        refined(checkpoint, small_cache, "predict", out)
    assert out.read_text() == "mine"
    refined(checkpoint, small_cache, "predict", out, force=True)
    with PredictionCache(out) as made:
        assert len(made.split("predict")) == 3


def test_a_stop_in_the_middle_leaves_nothing(
    small_cache: Path, checkpoint: Path, tmp_path: Path
) -> None:
    def stopping(rows: Iterable[int]) -> Iterable[int]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refined(checkpoint, small_cache, "predict", tmp_path / "r.h5", progress=stopping)
    assert not list(tmp_path.iterdir())
