"""What every kind of map promises, and the measures of each by somebody else's formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from torch.nn import functional as F
from torchmetrics.image import PeakSignalNoiseRatio

from jrn_lightning.cache import CacheWriter, PredictionCache, PredictionSpec, Provenance, check
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.cache.grid import Grid
from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import regions
from jrn_lightning.evaluation.evaluator import ideal_input
from jrn_lightning.modalities import Continuous, Modality, Normals, Regions
from jrn_lightning.modalities.edges import Edges
from tests.kinds import KINDS, Kind

SIZE = (14, 18)
WHOLE = regions(["full"], SIZE)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def test_every_kind_is_tested() -> None:
    own = {k for k, c in Modality._kinds.items() if c.__module__.startswith("jrn_lightning")}
    assert own == {k.modality.kind for k in KINDS.values()}


def test_it_is_built_again_from_its_attributes(kind: Kind) -> None:
    again = Modality.create(kind.modality.kind, "a", kind.modality.attributes)
    assert again.attributes == kind.modality.attributes
    assert (again.channels, again.target_channels) == (
        kind.modality.channels,
        kind.modality.target_channels,
    )


def test_samples_are_right_and_what_is_not_finite_is_named(kind: Kind) -> None:
    maps, truth = (x.numpy() for x in kind.sample())
    modality = kind.modality
    for prediction, target in zip(maps.astype(np.float16), truth, strict=True):
        assert modality.check_prediction(prediction) is None
        assert modality.check_target(target.astype(modality.target_dtype)) is None
        assert modality.clipped(prediction)[1] == 0
    for value in (np.nan, np.inf):
        maps[0, -1, 2, 3] = value
        assert "holds" in str(modality.check_prediction(maps[0]))


def test_statistics_are_additive_over_images_and_regions(kind: Kind) -> None:
    maps, truth = kind.sample()
    rng = np.random.default_rng(1)
    parts = torch.from_numpy(rng.integers(0, 3, (len(maps), *SIZE)))
    left, right = (slice(None), slice(0, 7)), (slice(None), slice(7, None))
    sets = Regions.of([(slice(None), slice(None)), left, right], SIZE)
    found = kind.modality.statistics(
        maps[None], truth, sets + Regions.partitioned([(3, parts)])
    )[0]  # fmt: skip
    assert found.dtype == torch.float64
    assert found.shape == (3, 6, len(kind.modality.statistic_names))
    for split in (found[:, 1:3], found[:, 3:]):
        torch.testing.assert_close(split.sum(1), found[:, 0], rtol=1e-6, atol=1e-6)
    for b in range(len(maps)):
        alone = kind.modality.statistics(maps[None, b : b + 1], truth[b : b + 1], WHOLE)
        torch.testing.assert_close(alone[0, 0, 0], found[b, 0], rtol=1e-6, atol=1e-6)
    pixels = kind.modality.target_valid(truth).sum((1, 2)).numpy()
    assert kind.modality.pixels(found[:, 0].numpy()).tolist() == pixels.tolist()


def test_an_output_that_is_not_finite_shows(kind: Kind) -> None:
    maps, truth = kind.sample()
    outputs = torch.stack([maps, maps])
    missing = (~kind.modality.target_valid(truth[1])).nonzero()[0].tolist()
    outputs[1, 1, 0, missing[0], missing[1]] = torch.nan
    found = kind.modality.statistics(outputs, truth, WHOLE).isfinite().all(-1)[..., 0]
    assert (~found).nonzero().tolist() == [[1, 1]]


def test_the_gradient_of_the_loss_is_its_slope_and_ignores_missing_truth(kind: Kind) -> None:
    maps, truth = kind.sample(2, (4, 5))
    modality, valid = kind.modality, kind.modality.target_valid(truth)
    target = truth.double() if truth.is_floating_point() else truth
    output = modality.to_output(maps).double().requires_grad_()
    losses: tuple[Callable[..., Any], ...] = (
        lambda x: modality.loss(x, target, valid),
        lambda x: modality.single_task_loss(x, target),
    )
    assert torch.autograd.gradcheck(losses[0], output, eps=1e-7, atol=1e-5)
    for loss in losses:
        (slope,) = torch.autograd.grad(loss(output), output)
        assert slope.isfinite().all()
        assert slope.movedim(1, -1)[valid].any()
        assert not slope.movedim(1, -1)[~valid].any()
    nothing = torch.full_like(truth, modality.invalid)
    assert modality.single_task_loss(output, nothing).isfinite()


def test_the_ideal_is_never_wrong_and_survives_the_output(kind: Kind) -> None:
    maps, truth = kind.sample()
    modality = kind.modality
    ideal = modality.ideal(truth)
    assert ideal is not None
    found = modality.refined(modality.to_output(ideal_input(modality, maps, truth)))
    assert found.isfinite().all()
    primary = modality.measure(modality.primary)
    best, other = (
        primary.performance(primary(modality.statistics(x[None], truth, WHOLE)[0, :, 0].sum(0)))
        for x in (found, maps)
    )
    perfect = 100 if primary.higher_is_better else 0
    assert float(best) == pytest.approx(perfect, abs=1e-3)
    assert best > other
    coarse = ideal_input(modality, maps[..., :7, :9], truth)
    assert all(modality.check_prediction(x) is None for x in coarse.numpy())


def test_a_mirror_changes_no_measure(kind: Kind) -> None:
    maps, truth = kind.sample()
    modality = kind.modality
    assert modality.mirrored(modality.mirrored(maps)).equal(maps)
    mirrored = (modality.mirrored(x.flip(-1)) for x in (maps, truth))
    before, after = (
        modality.statistics(x[None], t, WHOLE) for x, t in ((maps, truth), tuple(mirrored))
    )
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-5)


def test_a_muted_map_gives_an_output(kind: Kind) -> None:
    zeros = torch.zeros(1, kind.modality.channels, *SIZE)
    refined = kind.modality.refined(kind.modality.to_output(zeros))
    assert kind.modality.check_prediction(refined[0].numpy()) is None


def test_strata_share_no_pixel_and_leave_out_what_is_missing(kind: Kind) -> None:
    _, truth = kind.sample()
    valid, names = kind.modality.target_valid(truth), ()
    for own, codes in kind.modality.stratify(truth).items():
        names += own
        assert codes.shape == valid.shape
        assert torch.equal(codes < len(own), valid)
    assert names == kind.modality.strata


def test_what_a_head_starts_with_is_of_the_training_truth(kind: Kind) -> None:
    _, truth = kind.sample()
    modality = kind.modality
    mean = modality.known(truth).double().mean(0)
    assert modality.output_bias(mean).shape == (modality.channels,)
    summed = sum(modality.single_task_statistics(t) for t in truth)
    assert isinstance(summed, torch.Tensor)
    bias = modality.single_task_bias(summed)[None, :, None, None].expand(len(truth), -1, *SIZE)
    loss, other = (modality.single_task_loss(x, truth) for x in (bias, bias.flip(1) - 1))
    assert loss < other
    assert float(modality.single_task_statistics(torch.full_like(truth[0], modality.invalid)).sum()
                 ) == 0  # fmt: skip


def test_pictures_have_a_key_and_grey_out_what_is_missing(kind: Kind) -> None:
    maps, truth = (x[0].numpy() for x in kind.sample())
    modality = kind.modality
    missing = ~modality.target_valid(torch.from_numpy(truth)).numpy()
    pictures = modality.draw_target(truth), modality.draw_error(maps, truth), modality.draw(maps)
    for picture in pictures:
        assert (picture.shape, picture.dtype) == ((*SIZE, 3), np.uint8)
        assert picture.std() > 0
    for picture in pictures[:2]:
        assert (picture[missing] == 128).all()
        assert not (picture[~missing] == 128).all(-1).all()
    key = modality.key()
    assert key.classes or key.ramps
    for ramp in key.ramps:
        assert ramp.colours.shape == (1, 256, 3)
        assert ramp.ends[0] < ramp.ends[1]


def test_a_cache_serves_it(kind: Kind, tmp_path: Path) -> None:
    maps, truth = kind.sample(2, (12, 16))
    modality = kind.modality
    stored = truth.numpy().astype(modality.target_dtype)
    spec = PredictionSpec(
        (modality.channels, 6, 8),
        np.dtype(np.float16),
        Grid.area((6, 8), (12, 16)),
        Provenance("somebody"),
    )
    path = tmp_path / "a.h5"
    with CacheWriter(path, modalities={"a": modality}, frame=(12, 16)) as writer:
        writer.add_split(
            "test", ids=["x", "y"], scenes=["s", "t"], predictions={"a": spec},
            targets=True, images=False,
        )  # fmt: skip
        for i in range(2):
            prediction = {"a": maps[i, :, :6, :8].numpy()}
            writer.write("test", i, predictions=prediction, targets={"a": stored[i]})
    with PredictionCache(path) as cache:
        assert check(cache) == []
        split = cache.split("test")
        np.testing.assert_array_equal(split.target("a", 1), stored[1])
        frames = CachedFrames(split, cache.modalities, [0, 1], (12, 16), (6, 8), untouched=True)
        lazy = frames.batch([1, 0])
        assert lazy["input"]["a"].shape == (2, modality.channels, 12, 16)
        expected = F.interpolate(modality.as_map(truth).double(), size=(6, 8), mode="nearest-exact")
        found = modality.as_map(lazy["target"]["a"]).double()
        torch.testing.assert_close(found, expected.flip(0).float().double(), equal_nan=True)
        assert torch.equal(lazy["valid"], modality.target_valid(lazy["target"]["a"]))
        size = frames.nbytes
        frames.load()
        assert size == sum(x.nbytes for part in frames._maps.values() for x in part.values())
        resident = frames.batch([1, 0])
        torch.testing.assert_close(resident["target"], lazy["target"], equal_nan=True)
        torch.testing.assert_close(resident["input"], lazy["input"])


# -- measures, by others ---------------------------------------------------------------------------


def normals_by_hand(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    known = np.linalg.norm(truth, axis=1) > 0
    p, t = (np.moveaxis(x, 1, -1)[known].astype(np.float64) for x in (prediction, truth))
    cosine = (p * t).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(t, axis=-1)
    angle = np.degrees(np.arccos(cosine.clip(-1, 1)))
    return {
        "mean_angle": angle.mean(),
        "median_angle": np.median(angle),
        "rms_angle": np.sqrt((angle**2).mean()),
        **{f"within_{int(x)}": (angle < x).mean() for x in (11.25, 22.5, 30)},
    }


def continuous_by_others(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    truth = truth.reshape(prediction.shape)
    known = ~np.isnan(truth).any(1)
    p, t = (np.moveaxis(x, 1, -1)[known].ravel() for x in (prediction, truth))
    psnr = PeakSignalNoiseRatio(data_range=float(KINDS["flow"].modality._range))  # type: ignore[attr-defined]
    return {
        "mae": mean_absolute_error(t, p),
        "rmse": root_mean_squared_error(t, p),
        "psnr": float(psnr(torch.from_numpy(p), torch.from_numpy(t))),
    }


def edges_by_scipy(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    true, predicted = truth == 1, (prediction[:, 0] > 0.5) & (truth != 255)
    reach = 0.0075 * np.hypot(*truth.shape[-2:])
    hits = np.zeros(2)
    for own, other in zip(true, predicted, strict=True):
        for k, (of, to) in enumerate(((other, own), (own, other))):
            hits[k] += (distance_transform_edt(~to)[of] <= reach).sum()
    precision, recall = hits / (predicted.sum(), true.sum())
    return {
        "f_measure": 2 * precision * recall / (precision + recall),
        "precision": precision,
        "recall": recall,
    }


@pytest.mark.parametrize(
    ("name", "reference", "bin"),
    [
        ("normals", normals_by_hand, 0.75),
        ("flow", continuous_by_others, 0),
        ("edges", edges_by_scipy, 0),
    ],
)
def test_measures_are_those_of_others(name: str, reference: Any, bin: float) -> None:
    kind = KINDS[name]
    size = (120, 180)  # of which edges tolerate 1.6 pixels
    maps, truth = kind.sample(4, size)
    # Between nothing and all of the truth, so that errors are small and large.
    share = torch.linspace(0, 1, size[1])
    filled = torch.where(truth.isnan(), 0.0, kind.modality.as_map(truth))
    maps = kind.modality.mixed(maps + share * (filled - maps))
    whole = regions(["full"], size)
    found = kind.modality.statistics(maps[None], truth, whole)[0, :, 0].sum(0).numpy()
    expected = reference(maps.numpy(), truth.numpy())
    assert set(expected) == {m.name for m in kind.modality.measures}
    for measure in kind.modality.measures:
        near = {"abs": bin} if "median" in measure.name else {"rel": 1e-5}
        assert float(measure(found)) == pytest.approx(expected[measure.name], **near)
        assert np.isnan(measure(0 * found))


# -- normals ---------------------------------------------------------------------------------------

NORMALS = Normals("normals")


def vectors(*rows: tuple[float, float, float]) -> torch.Tensor:
    """``(1, 3, 1, N)``."""
    return torch.tensor(rows).T[None, :, None]


def test_angles_by_hand() -> None:
    tilt = np.radians([0.0, 0.01, 11.25, 22.4, 90.0, 180.0])
    output = torch.from_numpy(np.stack([np.sin(tilt), 0 * tilt, -np.cos(tilt)])).float()
    output = 3 * output[None, :, None]  # the length does not count
    output = torch.cat([output, torch.zeros(1, 3, 1, 1)], -1)
    truth = vectors(*[(0.0, 0.0, -1.0)] * 7)
    found = NORMALS.statistics(output[None], truth, regions(["full"], (1, 7)))[0, 0, 0].numpy()
    value = {m.name: float(m(found)) for m in NORMALS.measures}
    angles = np.array([0, 0.01, 11.25, 22.4, 90, 180, 90])
    assert value["mean_angle"] == pytest.approx(angles.mean(), rel=1e-6)
    assert value["rms_angle"] == pytest.approx(np.sqrt((angles**2).mean()), rel=1e-6)
    assert value["within_22"] == pytest.approx(4 / 7)
    assert found[1] == pytest.approx(393.66, abs=1e-3)  # 0.01 degrees are not lost


def test_the_loss_is_one_minus_the_cosine() -> None:
    maps, truth = KINDS["normals"].sample()
    valid = NORMALS.target_valid(truth)
    cosine = F.cosine_similarity(maps, truth, dim=1)
    expected = (1 - cosine)[valid].mean()
    # Lengths count as √(1 + 0.01²).
    assert float(NORMALS.loss(maps, truth, valid)) == pytest.approx(float(expected), abs=1e-4)
    output = torch.zeros(1, 3, 2, 2, requires_grad=True)
    target = torch.tensor([0.0, 0.6, -0.8])[None, :, None, None].expand(1, 3, 2, 2)
    NORMALS.loss(output, target, torch.ones(1, 2, 2, dtype=torch.bool)).backward()
    assert output.grad is not None
    assert (output.grad * target).sum() < 0  # toward the truth, from nothing


def test_lengths_are_checked_and_averages_get_theirs_back() -> None:
    right = KINDS["normals"].sample()[0][0].numpy()
    halved = right.copy()
    halved[:, 0, 0] *= 0.7
    assert "length 0.7 (expected 1" in str(NORMALS.check_prediction(halved))
    tidy, count = NORMALS.clipped(halved)
    assert count == 1
    np.testing.assert_allclose(tidy, right, atol=1e-6)
    for factor in (0.3, 1.4):
        wrong = NORMALS.clipped((factor * right).astype(np.float32))[0]
        assert "length" in str(NORMALS.check_prediction(wrong))
    between = NORMALS.mixed(vectors((1.0, 0.0, 0.0), (0.5, 0.0, -0.5), (0.0, 0.0, 0.0)))
    root = 0.5**0.5
    torch.testing.assert_close(between, vectors((1.0, 0, 0), (root, 0, -root), (0.0, 0, 0)))


def test_directions_bends_and_colours() -> None:
    up, wall, ceiling = (0.0, -1.0, 0.0), (0.6, 0.0, -0.8), (0.0, 1.0, 0.0)
    truth = vectors(up, up, up, wall, wall, wall, ceiling, (0.0, 0.0, 0.0))
    ways, borders = NORMALS.stratify(truth).values()
    assert ways.flatten().tolist() == [0, 0, 0, 2, 2, 2, 1, 3]
    assert borders.flatten().tolist() == [1, 1, 0, 0, 1, 0, 0, 2]
    colours = NORMALS.draw(vectors((1.0, 0, 0), up, (0.0, 0, -1))[0].numpy())[0]
    assert colours.tolist() == [[255, 128, 128], [128, 255, 128], [128, 128, 255]]
    assert NORMALS.mirrored(truth)[0, :, 0, 3].tolist() == pytest.approx([-0.6, 0.0, -0.8])


# -- continuous ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": 5}, "has 5 channels. Give 1 to 4"),
        ({"minimum": 1.0}, "has the range 1 to 1"),
        ({"maximum": np.nan}, "has the range 0 to nan"),
    ],
)
def test_no_map_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Continuous("a", **arguments)


def test_values_beyond_the_range_are_clipped_or_named() -> None:
    heat = Continuous("heat", maximum=50.0)
    maps = np.array([[[-4.0, 20.0, 55.0, 70.0]]], np.float32)
    tidy, count = heat.clipped(maps)
    assert (tidy.ravel().tolist(), count) == ([0, 20, 50, 70], 2)
    assert heat.check_prediction(tidy) == "holds 70 (allowed: 0 to 50)"
    assert heat.check_target(np.array([[np.nan, -1.0]])) == "holds -1 (allowed: 0 to 50)"
    assert heat.refined(torch.from_numpy(maps)).flatten().tolist() == [0, 20, 50, 50]


def test_a_subclass_may_have_a_unit_of_its_own() -> None:
    class Temperature(Continuous):
        unit = "°C"

    assert Temperature("t").attributes["unit"] == Temperature("t").unit == "°C"
    assert Temperature("t", unit="K").measure("mae").label == "MAE [K]"


# -- edges -----------------------------------------------------------------------------------------


def test_edges_within_the_tolerance_are_hits() -> None:
    edges = Edges("edges")
    truth = torch.zeros(1, 240, 320, dtype=torch.int64)  # which tolerates 3 pixels
    truth[0, :, 100] = 1
    truth[0, 200:, :] = 255
    for column, hits in ((103, 200), (104, 0)):
        output = torch.full((1, 1, 240, 320), 0.1)
        output[..., column] = 0.9
        found = edges.statistics(output[None], truth, regions(["full"], (240, 320)))[0, 0, 0]
        assert found.tolist() == [200 * 320, hits, 200, hits, 200]
        value = edges.measure("f_measure")
        assert value(found.numpy()) == (hits > 0)
    nothing = np.array([[9.0, 0, 0, 0, 0], [9, 0, 0, 0, 3], [9, 0, 2, 0, 0]])
    np.testing.assert_array_equal(value(nothing), [np.nan, 0, 0])


def test_outputs_and_probabilities_are_measured_alike() -> None:
    maps, truth = KINDS["edges"].sample()
    edges = KINDS["edges"].modality
    outputs = edges.to_output(maps)
    both = edges.statistics(torch.stack([maps, outputs]), truth, WHOLE)
    assert both[0].equal(both[1])
    assert (outputs < 0).any()
    torch.testing.assert_close(edges.refined(outputs), maps.clamp(1e-3, 1 - 1e-3))


def test_the_loss_of_edges_is_balanced() -> None:
    maps, truth = KINDS["edges"].sample()
    edges = KINDS["edges"].modality
    valid, p = edges.target_valid(truth), maps[:, 0].clamp(1e-3, 1 - 1e-3).double().numpy()
    on, off = (truth == 1).numpy(), (truth == 0).numpy()
    beta = off.sum() / valid.sum()
    expected = -(beta * np.log(p[on]).sum() + (1 - beta) * np.log(1 - p[off]).sum())
    loss = edges.loss(edges.to_output(maps), truth, valid)
    assert float(loss) == pytest.approx(float(expected / valid.sum()), rel=1e-5)
