"""Depth's loss and measures against NumPy, written from the paper's formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import IMAGES, PIXELS, pooled, regions
from jrn_lightning.modalities import Depth, Modality

DEPTH = Depth("depth")
PROTOCOLS = ("full", "eigen", "eigen_fergus")
# Spelt out once more: rows and columns, half-open, 0-based, of 480 × 640.
CROPS = {
    "full": (slice(0, 480), slice(0, 640)),
    "eigen": (slice(44, 471), slice(40, 601)),
    "eigen_fergus": (slice(23, 459), slice(27, 615)),
}
IMAGES_IN_ALL = 3


def reference(
    prediction: NDArray[Any], truth: NDArray[Any], low: float = 0.001, high: float = 10.0
) -> dict[str, float]:
    """Section IV-A over the pixels that have ground truth, in float64."""
    known = truth > 0
    d, t = prediction[known].astype(np.float64), truth[known].astype(np.float64)
    n = len(t)
    measures = {
        "abs_rel": np.sum(np.abs(t - d) / t) / n,
        "sq_rel": np.sum((t - d) ** 2 / t) / n,
        "sq_rel_squared": np.sum((t - d) ** 2 / t**2) / n,
        "rms": np.sqrt(np.sum((t - d) ** 2) / n),
    }
    # Only these are of clipped depths: the others have no trouble with 0 or 12 metres.
    d, t = np.clip(d, low, high), np.clip(t, low, high)
    measures["log10"] = np.sum(np.abs(np.log10(t) - np.log10(d))) / n
    measures["rms_log"] = np.sqrt(np.sum((np.log(t) - np.log(d)) ** 2) / n)
    for k in (1, 2, 3):
        measures[f"delta{k}"] = np.sum(np.maximum(t / d, d / t) < 1.25**k) / n
    return {name: float(value) for name, value in measures.items()}


@pytest.fixture(scope="module")
def frames() -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions ``(2 setups, 3, 480, 640)`` and truth with missing pixels ``(3, 480, 640)``.

    Predictions are also negative and beyond 10 m, so that clipping shows.
    """
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.3, 10.0, (IMAGES_IN_ALL, 480, 640)).astype(np.float32)
    error = rng.lognormal(0, 0.4, (2, *truth.shape)) + rng.normal(0, 0.05, (2, *truth.shape))
    prediction = (truth * error).astype(np.float32)
    prediction[:, :, 100:110, 100:400] = -0.5
    prediction[:, :, 200:205] = 14.0
    truth[rng.uniform(size=truth.shape) < 0.2] = 0
    truth[0, 50:90] = 0  # as many as to make pooled pixels and averaged images differ
    truth[1, :, :300] = 0
    assert prediction.max() > 10 > 0 > prediction.min()
    return prediction, truth


@pytest.fixture(scope="module")
def statistics(frames: tuple[NDArray[Any], NDArray[Any]]) -> NDArray[np.float64]:
    """``(N, S, P, D)``."""
    prediction, truth = map(torch.from_numpy, frames)
    found = DEPTH.statistics(prediction[:, :, None], truth, regions(PROTOCOLS, (480, 640)))
    assert found.dtype == torch.float64
    assert found.shape == (2, IMAGES_IN_ALL, len(PROTOCOLS), len(DEPTH.statistic_names))
    return np.moveaxis(found.numpy(), 1, 0)


def test_every_measure_is_in_the_reference() -> None:
    assert {m.name for m in DEPTH.measures} == set(reference(np.ones((1, 1)), np.ones((1, 1))))
    assert [m.name for m in DEPTH.measures if m.in_table] == [
        *("abs_rel", "sq_rel", "log10", "rms", "rms_log", "delta1", "delta2", "delta3")
    ]


@pytest.mark.parametrize("setup", [0, 1])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_measures_pooled_over_pixels(
    frames: tuple[NDArray[Any], NDArray[Any]],
    statistics: NDArray[np.float64],
    protocol: str,
    setup: int,
) -> None:
    prediction, truth = frames
    crop = (slice(None), *CROPS[protocol])
    expected = reference(prediction[setup][crop], truth[crop])
    found = statistics[:, setup, PROTOCOLS.index(protocol)]
    for measure in DEPTH.measures:
        assert pooled(found, measure, PIXELS) == pytest.approx(expected[measure.name], rel=2e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_measures_averaged_over_images(
    frames: tuple[NDArray[Any], NDArray[Any]], statistics: NDArray[np.float64], protocol: str
) -> None:
    prediction, truth = frames
    rows, columns = CROPS[protocol]
    images = [
        reference(d[rows, columns], t[rows, columns])
        for d, t in zip(prediction[1], truth, strict=True)
    ]
    found = statistics[:, 1, PROTOCOLS.index(protocol)]
    for measure in DEPTH.measures:
        expected = np.mean([image[measure.name] for image in images])
        assert pooled(found, measure, IMAGES) == pytest.approx(expected, rel=2e-6)
    # A mean of roots is no root of means: the two poolings are told apart by these data.
    rms = DEPTH.measure("rms")
    assert pooled(found, rms, IMAGES) != pytest.approx(pooled(found, rms, PIXELS), rel=1e-4)


def test_only_logarithms_and_ratios_are_clipped() -> None:
    truth = torch.full((1, 2, 2), 9.0)
    whole = regions(["full"], (2, 2))

    def measured(depth: float) -> dict[str, float]:
        found = DEPTH.statistics(torch.full((1, 1, 1, 2, 2), depth), truth, whole)[0, 0, 0]
        return {m.name: float(m(found.numpy())) for m in DEPTH.measures}

    clipped = {"log10", "rms_log", "delta1", "delta2", "delta3"}
    for beyond, bound in ((20.0, 10.0), (-3.0, 0.001)):
        outside, inside = measured(beyond), measured(bound)
        same = {name for name in outside if outside[name] == inside[name]}
        assert same == clipped
    assert measured(20.0)["rms"] == pytest.approx(11.0)


def test_a_frame_without_ground_truth_has_no_measure() -> None:
    found = DEPTH.statistics(
        torch.full((1, 2, 1, 4, 4), 3.0),
        torch.stack([torch.zeros(4, 4), torch.full((4, 4), 2.0)]),
        regions(["full"], (4, 4)),
    )[0]
    assert not found[0].any()
    for measure in DEPTH.measures:
        assert np.isnan(measure(found[0, 0].numpy()))
        alone = measure(found[1, 0].numpy())
        for pooling in (PIXELS, IMAGES):
            assert pooled(found[:, 0].numpy(), measure, pooling) == alone


def test_a_diverged_output_is_no_good_output() -> None:
    found = DEPTH.statistics(
        torch.full((1, 1, 1, 4, 4), torch.nan), torch.ones(1, 4, 4), regions(["full"], (4, 4))
    )[0, 0, 0].numpy()
    for measure in DEPTH.measures:
        value = measure(found)
        assert np.isnan(value) if not measure.higher_is_better else not value > 0


def test_a_missing_pixel_is_in_no_count_whatever_the_output() -> None:
    truth = torch.tensor([[[2.0, 0.0, 3.0, 0.0]]])
    output = torch.tensor([2.0, torch.nan, 3.0, 5.0]).reshape(1, 1, 1, 1, 4)
    found = DEPTH.statistics(output, truth, regions(["full"], (1, 4)))[0, 0, 0]
    counts = dict(zip(DEPTH.statistic_names, found.tolist(), strict=True))
    assert [counts[name] for name in ("n", "delta1", "delta2", "delta3")] == [2, 2, 2, 2]


def joint_case(seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.5, 9.5, (2, 6, 7))
    output = truth[:, None] + rng.normal(0, 1, (2, 1, 6, 7))
    valid = rng.uniform(size=truth.shape) < 0.6
    return output, truth, valid


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_the_first_term_of_equation_1(dtype: torch.dtype) -> None:
    output, truth, valid = joint_case()
    expected = np.sum(((output[:, 0] - truth) ** 2 / truth)[valid]) / valid.sum()
    found = DEPTH.loss(
        torch.from_numpy(output).to(dtype),
        torch.from_numpy(truth).to(dtype),
        torch.from_numpy(valid),
    )
    assert found.dtype == dtype
    assert float(found) == pytest.approx(expected, rel=1e-12 if dtype.itemsize == 8 else 1e-6)


@pytest.mark.parametrize("junk", [0.0, -7.0, 1e30])
def test_the_loss_and_its_gradient_ignore_what_invalid_pixels_hold(junk: float) -> None:
    maps, truth, valid = joint_case()
    target = torch.from_numpy(np.where(valid, truth, junk)).float()
    output = torch.from_numpy(maps).float().requires_grad_()
    loss = DEPTH.loss(output, target, torch.from_numpy(valid))
    loss.backward()
    expected = 2 * (maps[:, 0] - truth) / truth * valid / valid.sum()
    assert output.grad is not None
    np.testing.assert_allclose(output.grad[:, 0].numpy(), expected, rtol=2e-5, atol=1e-7)
    clean = DEPTH.loss(output, torch.from_numpy(truth).float(), torch.from_numpy(valid))
    assert loss.item() == clean.item()


def test_a_bfloat16_output_is_compared_in_float32() -> None:
    output, truth, valid = joint_case()
    half = torch.from_numpy(output).bfloat16()
    arguments = torch.from_numpy(truth).float(), torch.from_numpy(valid)
    assert DEPTH.loss(half, *arguments).dtype == torch.float32
    assert DEPTH.loss(half, *arguments) == DEPTH.loss(half.float(), *arguments)


def test_refined_depth_stays_within_the_range() -> None:
    refined = DEPTH.refined(torch.tensor([-1.0, 0.0, 5.0, 11.0]).bfloat16())
    assert refined.tolist() == pytest.approx([0.001, 0.001, 5.0, 10.0])
    assert DEPTH.output_bias(torch.tensor(2.5)).tolist() == [2.5]


def test_everything_follows_the_range() -> None:
    street = Depth("depth", minimum=1.0, maximum=80.0)
    assert Modality.create("depth", "d", street.attributes).attributes == street.attributes
    truth = np.array([[[0.5, 5.0, 15.9, 16.0], [31.9, 32.0, 80.0, 0.0]]], np.float32)
    output = np.array([0.2, 4.0, 20.0, 90.0, 30.0, 32.0, 90.0, 7.0], np.float32)
    maps = torch.from_numpy(output.reshape(1, 1, 1, 2, 4))
    target = torch.from_numpy(truth)
    found = street.statistics(maps, target, regions(["full"], (2, 4)))[0, 0, 0].numpy()
    for name, expected in reference(output.reshape(1, 2, 4), truth, 1.0, 80.0).items():
        assert float(street.measure(name)(found)) == pytest.approx(expected, rel=1e-6)
    expected = np.clip(output, 1, 80)
    assert street.refined(maps[0]).flatten().tolist() == expected.tolist()
    assert street.single_task_prediction(maps[0].log()).flatten().numpy() == pytest.approx(expected)
    clipped, capped = street.under("capped", maps, target)
    assert clipped.flatten().tolist() == expected.tolist()
    assert capped.flatten().tolist() == [0, 5, *truth.flatten().tolist()[2:6], 0, 0]
    distances = next(iter(street.stratify(target).values()))
    assert distances.flatten().tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert street.check_target(truth[0]) is None
    assert "90 m (allowed: 0 to 80 m" in str(street.check_prediction(output.reshape(1, 2, 4)))
    assert street.clipped(output.reshape(1, 2, 4))[1] == 2
    assert street.zoomed(target, torch.tensor(0.5))[0, 0].tolist()[:2] == [1, 10]
    assert street.zoomed(target, torch.tensor(0.5))[0, 1, 2:].tolist() == [0, 0]
    same = street.draw(np.full((1, 1, 1), 40.0)), Depth("d").draw(np.full((1, 1, 1), 5.0))
    assert np.array_equal(*same)


@pytest.mark.parametrize("bounds", [(0, 10), (2, 1), (1, np.inf), (1, np.nan)])
def test_a_range_that_is_none_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"depth has the range .* Give two depths in metres"):
        Depth("depth", *bounds)


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.nan, "nan at (0, 1, 2)"), (np.inf, "inf"), (-0.25, "-0.25 m"), (10.5, "10.5 m")],
)
def test_wrong_depth_is_named(value: float, found: str) -> None:
    wrong = np.ones((1, 3, 4), np.float32)
    wrong[0, 1, 2] = value
    assert found in str(DEPTH.check_prediction(wrong))
    assert found.replace("(0, ", "(") in str(DEPTH.check_target(wrong[0]))


def test_right_depth_is_not() -> None:
    right = np.linspace(0, 10, 12, dtype=np.float16).reshape(1, 3, 4)
    assert DEPTH.check_prediction(right) is None
    assert DEPTH.check_target(right[0]) is None


def test_pictures_grey_out_what_is_missing() -> None:
    truth = np.array([[0.0, 2.0], [4.0, 8.0]], np.float32)
    assert (DEPTH.draw_target(truth)[0, 0] == 128).all()
    assert not (DEPTH.draw_target(truth)[0, 1] == 128).all()
    error = DEPTH.draw_error(np.array([[[9.0, 1.0], [4.0, 12.0]]]), truth)
    assert error.shape == (2, 2, 3)
    assert error.dtype == np.uint8
    assert (error[0, 0] == 128).all()
    red, blue = error[1, 1], error[0, 1]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert error[1, 0].min() > 240  # right: white


def test_the_single_task_loss_is_eigens_of_log_depth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 9.0, (2, 6, 8)).astype(np.float32)
    truth[0, :2] = 0
    output = rng.normal(0.8, 0.4, (2, 1, 6, 8)).astype(np.float32)
    kind = Depth("d")
    statistics = sum(kind.single_task_statistics(torch.from_numpy(t)) for t in truth)
    g = (output[:, 0] - np.log(np.where(truth > 0, truth, 1)))[truth > 0].astype(np.float64)
    expected = np.sqrt((g**2).mean() - 0.85 * g.mean() ** 2)
    loss = kind.single_task_loss(torch.from_numpy(output), torch.from_numpy(truth))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    bias = kind.single_task_bias(statistics)
    assert float(bias) == pytest.approx(np.log(truth[truth > 0]).mean(), rel=1e-5)
    metres = kind.single_task_prediction(torch.from_numpy(output))
    np.testing.assert_allclose(metres, np.exp(output).clip(0, 10), rtol=1e-6)


def test_the_single_task_loss_of_missing_depth_is_finite() -> None:
    output = torch.zeros(1, 1, 4, 4, requires_grad=True)
    kind = Depth("d")
    loss = kind.single_task_loss(output, torch.zeros(1, 4, 4))
    loss.backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_small_overshoots_are_taken_back() -> None:
    tidy, count = Depth("d").clipped(np.array([[9.9, 10.5, 12.5]], np.float32))
    assert (tidy.tolist(), count) == ([[pytest.approx(9.9), 10.0, 12.5]], 1)


# -- which pixels, under which convention ----------------------------------------------------------


def test_distances_and_edges_by_hand() -> None:
    depth = Depth("depth")
    assert depth.strata == ("near", "middle", "far", "depth_edge", "depth_inside")
    target = torch.full((1, 12, 20), 1.5)
    target[0, :, 8:] = 3.0  # an occlusion
    target[0, :, 15:] = torch.linspace(4.0, 4.3, 5)  # 3 m to 4 m, then a slope
    target[0, 5:7, 3:5] = 0.0
    distances, edges = depth.stratify(target).items()
    assert (*distances[0], *edges[0]) == depth.strata
    for y, x in np.ndindex(12, 20):
        d = float(target[0, y, x])
        assert distances[1][0, y, x] == (3 if d == 0 else 0 if d < 2 else 1 if d < 4 else 2)
        # Missing pixels are no edges; a window of one pixel to each side sees the neighbour.
        assert edges[1][0, y, x] == (2 if d == 0 else x not in (7, 8, 14, 15))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_output_that_is_not_finite_leaves_sums_that_are_not(value: float) -> None:
    truth = torch.rand(2, 6, 7) + 1
    truth[1, 3, 4] = 0  # where nothing is counted
    outputs = torch.rand(3, 2, 1, 6, 7)
    outputs[2, 1, 0, 3, 4] = value
    found = DEPTH.statistics(outputs, truth, regions(["full"], (6, 7)))
    broken = ~found.isfinite().all(-1)[..., 0]
    assert broken.nonzero().tolist() == [[2, 1]]


def test_conventions_clip_the_prediction_and_cap_the_truth() -> None:
    depth = Depth("depth")
    assert depth.conventions == ("clipped", "capped")
    outputs = torch.tensor([-1.0, 0.5, 5.0, 12.0]).view(1, 1, 1, 2, 2)
    target = torch.tensor([0.0, 0.001, 9.9, 10.0]).view(1, 2, 2)
    clipped, same = depth.under("clipped", outputs, target)
    assert clipped.flatten().tolist() == pytest.approx([0.001, 0.5, 5.0, 10.0])
    assert same.equal(target)
    _, capped = depth.under("capped", outputs, target)
    assert capped.flatten().tolist() == pytest.approx([0.0, 0.0, 9.9, 0.0])
    assert outputs.min() == -1  # left as they were
    assert target.max() == 10


def test_the_ideal_prediction_is_the_truth() -> None:
    target = torch.rand(2, 3, 4) * 9 + 0.1
    ideal = Depth("depth").ideal(target)
    assert ideal is not None
    assert ideal.shape == (2, 1, 3, 4)
    assert torch.equal(ideal[:, 0], target)
