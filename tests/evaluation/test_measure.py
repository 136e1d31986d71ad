"""Influence in any network: by hand on one that is no JRN, and as a job has it on one that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jrn_lightning import measure_influence
from jrn_lightning.cache.datamodule import CacheDataModule
from jrn_lightning.errors import ConfigError, JRNError
from jrn_lightning.evaluation.measure import Influence
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.networks.checkpoint import load_network
from jrn_lightning.networks.muting import mute_value
from jrn_lightning.records.record import CHECKPOINT, JobRecord
from tests.jobs import job

N, SIZE = 6, (8, 10)
MODALITIES = {"depth": Depth("depth"), "semantic": Semantic("semantic", ["floor", "wall"])}


class Distilled(nn.Module):
    """Both inputs in one stack of convolutions, nothing of a JRN; dropout tells training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mix = nn.Conv2d(3, 8, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.depth = nn.Conv2d(8, 1, 1)
        self.semantic = nn.Conv2d(8, 2, 1, bias=False)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = torch.cat([inputs["depth"], inputs["semantic"]], 1)
        x = self.drop(F.max_pool2d(self.mix(x).relu(), 2))
        return {
            "depth": self.depth(x).exp(),
            "semantic": self.semantic(x - x.mean((2, 3), keepdim=True)),
            "normals": x,  # what else it gives is no matter
        }


@pytest.fixture(scope="module")
def batches() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for count in (1, 3, 2):
        depth = 1 + 4 * torch.rand(count, *SIZE, generator=generator)
        depth[:, 0, :3] = 0
        label = torch.randint(0, 2, (count, *SIZE), generator=generator)
        label[:, -1] = 255
        noise = torch.rand(count, 2, *SIZE, generator=generator)
        found.append({
            "input": {"depth": depth[:, None] + noise[:, :1], "semantic": noise.softmax(1)},
            "target": {"depth": depth, "semantic": label},
        })  # fmt: skip
    return found


@pytest.fixture(scope="module")
def found(batches: list[dict[str, Any]]) -> Influence:
    return measure_influence(Distilled(), batches, MODALITIES, scenes=list("aabbcc"), resamples=300)


def _performance(batches: list[dict[str, Any]], muted: str) -> dict[str, float]:
    """-100 rel(sqr) and the mean IoU in percent, over all pixels, in NumPy."""
    network = Distilled().eval()
    square = count = 0.0
    confusion = np.zeros((2, 2))
    for batch in batches:
        inputs = {m: x * (m != muted) for m, x in batch["input"].items()}
        with torch.no_grad():
            out = network(inputs)
        large = {m: F.interpolate(out[m], SIZE, mode="bilinear").double().numpy() for m in out}
        d = batch["target"]["depth"].double().numpy()
        square += (((large["depth"][:, 0] - d) ** 2)[d > 0] / d[d > 0]).sum()
        count += (d > 0).sum()
        label = batch["target"]["semantic"].numpy()
        guess = large["semantic"].argmax(1)
        np.add.at(confusion, (label[label != 255], guess[label != 255]), 1)
    hit = np.diag(confusion)
    iou = hit / (confusion.sum(0) + confusion.sum(1) - hit)
    return {"depth": -100 * square / count, "semantic": 100 * iou.mean()}


PRIMARY = {"depth": "sq_rel", "semantic": "mean_iou"}


def _row(frame: pd.DataFrame, **key: str) -> pd.Series[Any]:
    chosen = frame
    for column, value in key.items():
        chosen = chosen[chosen[column] == value]
    (row,) = (r for _, r in chosen.iterrows())
    return row


@pytest.mark.parametrize(("source", "target"), [("depth", "semantic"), ("semantic", "depth")])
def test_omega_by_hand(
    found: Influence, batches: list[dict[str, Any]], source: str, target: str
) -> None:
    joint, without = _performance(batches, ""), _performance(batches, source)
    row = _row(found.omega, source=source, target=target, measure=PRIMARY[target], pooling="pixels")
    assert row.value == pytest.approx(joint[target] - without[target], rel=1e-4)
    assert row.low <= row.value <= row.high
    assert row.low < row.high
    measured = _row(
        found.measures, setup="joint", modality=target, measure=PRIMARY[target], pooling="pixels"
    )
    sign = -1 if target == "depth" else 1
    assert sign * 100 * measured.value == pytest.approx(joint[target], rel=1e-4)


def test_the_scenes_are_the_clusters(found: Influence, batches: list[dict[str, Any]]) -> None:
    assert found.table.scenes == tuple("aabbcc")
    assert found.table.ids == tuple("012345")
    alone = measure_influence(Distilled(), batches, MODALITIES, resamples=300)
    assert alone.table.scenes == alone.table.ids
    key = {"source": "depth", "target": "semantic", "measure": "mean_iou", "pooling": "pixels"}
    ours, theirs = _row(found.omega, **key), _row(alone.omega, **key)
    assert ours.value == theirs.value
    assert (ours.low, ours.high) != (theirs.low, theirs.high)


def test_the_size_of_the_batches_does_not_matter(
    found: Influence, batches: list[dict[str, Any]]
) -> None:
    whole = {
        kind: {m: torch.cat([b[kind][m] for b in batches]) for m in MODALITIES}
        for kind in ("input", "target")
    }
    again = measure_influence(Distilled(), iter([whole]), MODALITIES, resamples=10)
    for m in MODALITIES:
        np.testing.assert_allclose(again.table.values[m], found.table.values[m], rtol=1e-5)


def test_a_module_is_left_as_it_was(batches: list[dict[str, Any]]) -> None:
    network = Distilled().train()
    network.mix.eval()
    measure_influence(network, batches, MODALITIES, resamples=10)
    assert network.training
    assert network.drop.training
    assert not network.mix.training


def test_parts_are_saved_and_read_as_a_job_s(
    found: Influence, batches: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "mine.h5").write_bytes(b"")
    found.save(tmp_path)
    table = JobRecord.read(tmp_path).statistics()
    assert table.setups == ("input", "joint", "muted_depth", "muted_semantic")
    for m in MODALITIES:
        np.testing.assert_array_equal(table.values[m], found.table.values[m])
    assert (tmp_path / "mine.h5").exists()


def test_without_mute_values_there_are_no_rows(found: Influence) -> None:
    assert found.mute_values.empty
    assert {"mute_value", "performance", "source", "value"} <= set(found.mute_values.columns)


# -- a JRN -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "cat5" / "seed0"
    job(
        small_cache, folder, "arch=cat5", "recipe.epochs=1", "evaluation.ladder=true",
        "evaluation.mute_values=[zero,mean_map,other_image]", "evaluation.permutations=2",
        "trainer.precision=float32",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def measured(trained: Path, small_cache: Path) -> Influence:
    data = CacheDataModule(small_cache)
    data.setup()
    assert data.test is not None
    return measure_influence(
        load_network(trained / CHECKPOINT).network,
        data.test_dataloader(),
        data.modalities,
        scenes=data.test.split.scenes,
        mute_values={
            "zero": [mute_value("zero").of(data, 0)],
            "mean_map": [mute_value("mean_map").of(data, 0)],
            "other_image": [mute_value("other_image").of(data, seed) for seed in (0, 1)],
        },
        noise=mute_value("noise").of(data, 0),
        strata=True,
        resamples=200,
    )


def test_a_jrn_has_the_numbers_of_its_test_pass(trained: Path, measured: Influence) -> None:
    record = JobRecord.read(trained)
    assert set(measured.tables) == {"statistics", "strata", "mute_values", "ladder"}
    for part, table in measured.tables.items():
        theirs = record.statistics(part)
        assert (table.ids, table.scenes) == (theirs.ids, theirs.scenes)
        assert (table.setups, table.protocols) == (theirs.setups, theirs.protocols)
        for m in table.modalities:
            np.testing.assert_array_equal(table.values[m], theirs.values[m])
    assert record.data is not None
    for kind, rows in (("influence", measured.omega), ("metrics", measured.measures),
                       ("improvement", measured.improvement)):  # fmt: skip
        expected = pd.DataFrame(record.data[kind])
        pd.testing.assert_frame_equal(rows, expected.astype(rows.dtypes))


def test_mute_values_side_by_side(measured: Influence) -> None:
    frame = measured.mute_values.query("measure == 'mean_iou' and source == 'depth'")
    assert frame["mute_value"].tolist() == ["zero", "mean_map", "other_image"]
    key = {"source": "depth", "target": "semantic", "measure": "mean_iou", "pooling": "pixels"}
    usual = _row(measured.omega, **key)
    zero = _row(measured.mute_values, mute_value="zero", **key)
    # Zero is what the usual ω takes: the same value, and the same resamples.
    assert (zero.value, zero.low, zero.high) == (usual.value, usual.low, usual.high)
    joint = _row(
        measured.measures, setup="joint", modality="semantic", measure="mean_iou", pooling="pixels"
    )
    for _, row in frame.iterrows():
        assert 100 * joint.value - row.performance == pytest.approx(row.value)
    assert frame["value"].nunique() == 3


def test_an_unknown_mute_value_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'one'.*zero, mean_map, constant, other_image, noise"):
        mute_value("one")


# -- mistakes --------------------------------------------------------------------------------------


def _without(batch: dict[str, Any], kind: str) -> dict[str, Any]:
    return {**batch, kind: {"depth": batch[kind]["depth"]}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b: [], "no batch"),
        (lambda b: [_without(b[0], "input")], "no 'input' for semantic"),
        (lambda b: [_without(b[0], "target")], "no 'target' for semantic"),
        (lambda b: [{"target": b[0]["target"]}], "no 'input' for depth, semantic"),
        (lambda b: [{**b[0], "input": b[0]["target"]}], r"\(1, 8, 10\).*\(B, 1, H, W\)"),
        (lambda b: [{**b[0], "index": [0]}, {**b[0], "index": [0]}], "index 0"),
        (lambda b: [b[0], {
            "input": b[0]["input"],
            "target": {m: t[:, :4] for m, t in b[0]["target"].items()},
        }], "4 × 10"),
    ],
)  # fmt: skip
def test_batches_that_do_not_fit_are_told(
    change: Any, told: str, batches: list[dict[str, Any]]
) -> None:
    with pytest.raises(ConfigError, match=told):
        measure_influence(Distilled(), change(batches), MODALITIES)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda inputs: {"depth": inputs["depth"]}, "gives depth and no 'semantic'"),
        (lambda inputs: {**inputs, "depth": inputs["semantic"]}, r"depth of shape.*\(1, 1, h, w\)"),
        (lambda inputs: {**inputs, "depth": inputs["depth"] / 0}, "for depth are not finite"),
        (
            lambda inputs: {**inputs, "semantic": inputs["semantic"] * torch.nan},
            "for semantic are not finite",
        ),
    ],
)
def test_networks_that_do_not_fit_are_told(
    network: Any, told: str, batches: list[dict[str, Any]]
) -> None:
    with pytest.raises(JRNError, match=told):
        measure_influence(network, batches, MODALITIES)


def test_too_few_scenes_are_told(batches: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="2 scenes and an image of index 5"):
        measure_influence(Distilled(), batches, MODALITIES, scenes=["a", "b"])


def test_it_needs_no_trainer_no_hydra_and_no_wandb() -> None:
    code = (
        "import sys, jrn_lightning\n"
        "assert 'torch' not in sys.modules\n"
        "jrn_lightning.measure_influence\n"
        "found = {'pytorch_lightning', 'hydra', 'wandb'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
