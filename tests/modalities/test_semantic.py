"""The semantic loss and measures against scikit-learn, torchmetrics and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import IMAGES, PIXELS, pooled, regions
from jrn_lightning.modalities import Semantic
from jrn_lightning.modalities.drawing import GREY, palette

CLASSES = ("Ground", "Vertical", "Ceiling", "Furniture", "Object")
K = len(CLASSES)
SEMANTIC = Semantic("semantic", CLASSES, "wang5")
PROTOCOLS = ("full", "eigen", "eigen_fergus")
CROPS = {
    "full": (slice(0, 480), slice(0, 640)),
    "eigen": (slice(44, 471), slice(40, 601)),
    "eigen_fergus": (slice(23, 459), slice(27, 615)),
}

Case = tuple[NDArray[Any], NDArray[Any]]


def scores(size: tuple[int, ...], seed: int = 0, classes: int = K) -> NDArray[Any]:
    """Logits ``(B, K, H, W)``."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (size[0], classes, *size[1:])).astype(np.float32)


def labels(
    size: tuple[int, ...], seed: int = 1, classes: int = K, void: float = 0.2
) -> NDArray[Any]:
    """Ground truth ``(B, H, W)`` with void pixels, blocky so that images differ."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, classes, (size[0], size[1], 1))
    label = np.where(rng.uniform(size=size) < 0.5, rows, rng.integers(0, classes, size))
    return np.where(rng.uniform(size=size) < void, 255, label).astype(np.int64)


@pytest.fixture(scope="module")
def frames() -> Case:
    return scores((2, 480, 640)), labels((2, 480, 640))


@pytest.fixture(scope="module")
def statistics(frames: Case) -> NDArray[np.float64]:
    """``(N, P, D)``."""
    found = SEMANTIC.statistics(
        torch.from_numpy(frames[0])[None],
        torch.from_numpy(frames[1]),
        regions(PROTOCOLS, (480, 640)),
    )
    assert found.dtype == torch.float64
    assert found.shape == (1, 2, len(PROTOCOLS), 3 * K)
    return found[0].numpy()


def counted(truth: NDArray[Any], guess: NDArray[Any], classes: int = K) -> list[float]:
    """Hits, predicted and true pixels of each class by scikit-learn, void left out."""
    known = truth != 255
    confusion = confusion_matrix(truth[known], guess[known], labels=range(classes))
    return [*np.diag(confusion), *confusion.sum(0), *confusion.sum(1)]


def value(modality: Semantic, statistics: NDArray[np.float64], name: str) -> float:
    return float(modality.measure(name)(statistics))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_measures_are_those_of_scikit_learn(
    frames: Case, statistics: NDArray[np.float64], protocol: str
) -> None:
    crop = (slice(None), *CROPS[protocol])
    truth, guess = frames[1][crop], frames[0].argmax(1)[crop]
    found = statistics[:, PROTOCOLS.index(protocol)].sum(0)
    assert found.tolist() == counted(truth, guess)
    known = truth != 255
    truth, guess = truth[known], guess[known]
    assert value(SEMANTIC, found, "pixel_accuracy") == pytest.approx(accuracy_score(truth, guess))
    assert value(SEMANTIC, found, "mean_iou") == pytest.approx(
        jaccard_score(truth, guess, average="macro")
    )
    for name, iou in zip(CLASSES, jaccard_score(truth, guess, average=None), strict=True):
        assert value(SEMANTIC, found, f"iou_{name.lower()}") == pytest.approx(iou)


def test_mean_iou_is_that_of_torchmetrics(frames: Case, statistics: NDArray[np.float64]) -> None:
    other = MulticlassJaccardIndex(K, average="macro", ignore_index=255)
    for output, truth in zip(*map(torch.from_numpy, frames), strict=True):
        other.update(output[None], truth[None])
    assert value(SEMANTIC, statistics[:, 0].sum(0), "mean_iou") == pytest.approx(
        float(other.compute()), rel=1e-6
    )


def test_averaging_over_images_is_another_thing(
    frames: Case, statistics: NDArray[np.float64]
) -> None:
    truth = frames[1].copy()
    truth[0, 100:] = 255  # one image counts for much less when pixels are pooled
    found = SEMANTIC.statistics(
        torch.from_numpy(frames[0])[None], torch.from_numpy(truth), regions(["full"], (480, 640))
    )[0, :, 0].numpy()
    mean_iou = SEMANTIC.measure("mean_iou")
    known = truth != 255
    guess = frames[0].argmax(1)
    each = [
        jaccard_score(t[k], g[k], average="macro")
        for t, g, k in zip(truth, guess, known, strict=True)
    ]
    assert pooled(found, mean_iou, IMAGES) == pytest.approx(np.mean(each))
    whole = jaccard_score(truth[known], guess[known], average="macro")
    assert pooled(found, mean_iou, PIXELS) == pytest.approx(whole)
    assert whole != pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("absent", [0, 2, 4])
def test_classes_absent_from_truth_and_prediction_are_left_out(absent: int) -> None:
    output, truth = scores((3, 20, 30)), labels((3, 20, 30))
    output[:, absent] = -50
    truth[truth == absent] = 255
    found = SEMANTIC.statistics(
        torch.from_numpy(output)[None], torch.from_numpy(truth), regions(["full"], (20, 30))
    )[0, :, 0].sum(0)
    known = truth != 255
    guess = output.argmax(1)
    # scikit-learn's default labels are those that occur in either.
    assert value(SEMANTIC, found.numpy(), "mean_iou") == pytest.approx(
        jaccard_score(truth[known], guess[known], average="macro")
    )
    other = MulticlassJaccardIndex(K, average="macro", ignore_index=255)
    assert value(SEMANTIC, found.numpy(), "mean_iou") == pytest.approx(
        float(other(torch.from_numpy(output), torch.from_numpy(truth))), rel=1e-6
    )
    assert np.isnan(value(SEMANTIC, found.numpy(), f"iou_{CLASSES[absent].lower()}"))


def test_a_class_that_is_only_predicted_counts_as_a_zero() -> None:
    output, truth = scores((2, 20, 30)), labels((2, 20, 30))
    truth[truth == 3] = 1
    found = SEMANTIC.statistics(
        torch.from_numpy(output)[None], torch.from_numpy(truth), regions(["full"], (20, 30))
    )[0, :, 0].sum(0)
    known = truth != 255
    assert value(SEMANTIC, found.numpy(), "iou_furniture") == 0
    assert value(SEMANTIC, found.numpy(), "mean_iou") == pytest.approx(
        jaccard_score(truth[known], output.argmax(1)[known], average="macro", labels=range(K))
    )


def test_frames_of_void_have_no_measure() -> None:
    truth = np.stack([np.full((8, 8), 255), labels((1, 8, 8))[0]])
    found = SEMANTIC.statistics(
        torch.from_numpy(scores((2, 8, 8)))[None],
        torch.from_numpy(truth),
        regions(["full"], (8, 8)),
    )[0, :, 0].numpy()
    assert not found[0].any()
    for measure in SEMANTIC.measures:
        assert np.isnan(measure(found[0]))
        for pooling in (PIXELS, IMAGES):
            assert pooled(found, measure, pooling) == measure(found[1])


def test_logits_and_probabilities_give_the_same_counts() -> None:
    logits, truth = torch.from_numpy(scores((4, 20, 30))), torch.from_numpy(labels((4, 20, 30)))
    outputs = torch.stack([logits, SEMANTIC.refined(logits), 3 * logits - 7])
    found = SEMANTIC.statistics(outputs, truth, regions(["full"], (20, 30)))
    assert (found == found[0]).all()


def test_of_equal_scores_the_first_class_wins_as_in_numpy() -> None:
    rng = np.random.default_rng(0)
    values = np.array([-1e30, -1e-40, 0, 1, 1e30], np.float32)
    output = values[rng.integers(0, 5, (1, K, 20, 30))]
    truth = labels((1, 20, 30), void=0)
    found = SEMANTIC.statistics(
        torch.from_numpy(output)[None], torch.from_numpy(truth), regions(["full"], (20, 30))
    )[0, 0, 0]
    assert found.tolist() == counted(truth, output.argmax(1))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_score_that_is_not_finite_leaves_no_count_of_its_image(value: float) -> None:
    """There is a largest of any scores: a diverged network would pass for a poor one."""
    outputs = torch.from_numpy(scores((2, 20, 30)))[None].repeat(3, 1, 1, 1, 1)
    truth = torch.from_numpy(labels((2, 20, 30)))
    whole = regions(["full"], (20, 30))
    clean = SEMANTIC.statistics(outputs, truth, whole)
    truth[1, 3, 4] = 255  # where nothing is counted
    outputs[2, 1, 2, 3, 4] = value
    found = SEMANTIC.statistics(outputs, truth, whole)
    assert found[2, 1].isnan().all()
    found[2, 1] = clean[2, 1]
    assert found[:, 0].equal(clean[:, 0])
    assert found.isfinite().all()


@pytest.mark.parametrize("classes", [2, 40, 127, 128, 254])
def test_any_number_of_classes(classes: int) -> None:
    many = Semantic("many", [f"c{i}" for i in range(classes)])
    output, truth = scores((2, 40, 50), classes=classes), labels((2, 40, 50), classes=classes)
    found = many.statistics(
        torch.from_numpy(output)[None], torch.from_numpy(truth), regions(["full"], (40, 50))
    )[0, :, 0].sum(0)
    assert found.tolist() == counted(truth, output.argmax(1), classes)
    assert len(many.statistic_names) == 3 * classes
    last = many.statistic_names[classes - 1 :: classes]
    assert last == tuple(f"{x}_c{classes - 1}" for x in ("hits", "predicted", "true"))


def test_every_class_has_a_colour_of_its_own() -> None:
    few, many = palette(5), palette(254)
    assert (many[:5] == few).all()
    meanings = np.concatenate([many, [[GREY] * 3, [255] * 3]]).astype(int)
    apart = np.abs(meanings[:, None] - meanings).max(-1) + 256 * np.eye(256, dtype=int)
    assert apart.min() > 8
    name, key = "semantic", Semantic("semantic", [f"c{i}" for i in range(254)]).key()
    assert key.name.startswith(name)
    assert len({colour for colour, _ in key.classes}) == 255


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([f"c{i}" for i in range(255)], r"has 255 classes\. Give 1 to 254"),
        ([], "has 0 classes"),
        (["Wall", "sky", "wall"], "two classes 'wall'"),
    ],
)
def test_classes_that_no_label_can_tell_apart_are_refused(classes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Semantic("semantic", classes)


def equation_1(logits: NDArray[Any], truth: NDArray[Any], valid: NDArray[np.bool_]) -> float:
    """Second term, in float64: minus the mean of log S' at the true class."""
    z = logits.astype(np.float64)
    probability = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    total = 0.0
    for b, y, x in np.argwhere(valid):
        total -= np.log(probability[b, truth[b, y, x], y, x])
    return total / valid.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_the_second_term_of_equation_1(dtype: torch.dtype) -> None:
    logits, truth = scores((2, 6, 7)), labels((2, 6, 7), void=0)
    valid = np.random.default_rng(5).uniform(size=truth.shape) < 0.6
    found = SEMANTIC.loss(
        torch.from_numpy(logits).to(dtype), torch.from_numpy(truth), torch.from_numpy(valid)
    )
    assert found.dtype == dtype
    assert float(found) == pytest.approx(
        equation_1(logits, truth, valid), rel=1e-12 if dtype.itemsize == 8 else 1e-6
    )


@pytest.mark.parametrize("junk", [0, 4, 255])
def test_the_loss_and_its_gradient_ignore_what_invalid_pixels_hold(junk: int) -> None:
    logits, truth = torch.from_numpy(scores((2, 6, 7))), labels((2, 6, 7), void=0)
    valid = np.random.default_rng(5).uniform(size=truth.shape) < 0.6
    output = logits.clone().requires_grad_()
    target = torch.from_numpy(np.where(valid, truth, junk))
    loss = SEMANTIC.loss(output, target, torch.from_numpy(valid))
    loss.backward()
    assert loss.item() == pytest.approx(equation_1(logits.numpy(), truth, valid), rel=1e-6)
    expected = (logits.softmax(1) - torch.eye(K)[torch.from_numpy(truth)].movedim(-1, 1)).numpy()
    expected *= valid[:, None] / valid.sum()
    assert output.grad is not None
    np.testing.assert_allclose(output.grad.numpy(), expected, atol=1e-7)


def test_a_bfloat16_output_is_compared_in_float32() -> None:
    half, truth = torch.from_numpy(scores((1, 6, 7))).bfloat16(), labels((1, 6, 7), void=0)
    arguments = torch.from_numpy(truth), torch.from_numpy(truth) >= 0
    assert SEMANTIC.loss(half, *arguments).dtype == torch.float32
    assert SEMANTIC.loss(half, *arguments) == SEMANTIC.loss(half.float(), *arguments)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda p: p.__setitem__((0, 1, 2), np.nan), "NaN"),
        (lambda p: p.__setitem__((1, 1, 2), -0.25), "probability of -0.25"),
        (lambda p: p.__setitem__((slice(None), 1, 2), 0.3), "sum to 1.5"),
    ],
)
def test_wrong_probabilities_are_named(change: Any, found: str) -> None:
    wrong = np.full((K, 3, 4), 1 / K, np.float16)
    assert SEMANTIC.check_prediction(wrong) is None
    change(wrong)
    assert found in str(SEMANTIC.check_prediction(wrong))


def test_wrong_labels_are_named() -> None:
    right = np.array([[0, 4], [255, 2]], np.uint8)
    assert SEMANTIC.check_target(right) is None
    wrong = np.array([[0, 5]], np.uint8)
    assert "label 5 (allowed: 0 to 4, and 255 for void)" in str(SEMANTIC.check_target(wrong))


def test_pictures_tell_right_from_wrong_from_void() -> None:
    truth = np.array([[0, 1], [255, 3]], np.uint8)
    output = np.eye(K)[np.array([[0, 2], [1, 4]])].transpose(2, 0, 1)
    drawn, error = SEMANTIC.draw(output), SEMANTIC.draw_error(output, truth)
    assert (error[0, 0] == 255).all()  # right
    assert (error[0, 1] == drawn[0, 1]).all()  # wrong, in the colour that it was given
    assert (error[1, 0] == 128).all()  # void
    assert (SEMANTIC.draw_target(truth)[1, 0] == 128).all()
    assert (SEMANTIC.draw_target(truth)[0, 0] == drawn[0, 0]).all()
    assert len({tuple(c) for c in SEMANTIC.draw(np.eye(K)[:, None]).reshape(-1, 3)}) == K


def test_the_single_task_loss_is_the_cross_entropy_of_equation_1() -> None:
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 255], p=[0.7, 0.2, 0.05, 0.05], size=(2, 12, 16)).astype(np.uint8)
    output = rng.normal(0, 1.5, (2, 3, 12, 16)).astype(np.float32)
    kind = Semantic("s", list("abc"))
    statistics = sum(kind.single_task_statistics(torch.from_numpy(x)) for x in label)
    counts = np.bincount(label[label != 255], minlength=3)
    np.testing.assert_array_equal(statistics, counts)
    log_p = np.moveaxis(output - np.log(np.exp(output).sum(1, keepdims=True)), 1, -1)[label != 255]
    expected = -log_p[np.arange(len(log_p)), label[label != 255]].mean()
    loss = kind.single_task_loss(torch.from_numpy(output), torch.from_numpy(label))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(
        kind.single_task_bias(statistics), np.log(counts / counts.sum()), rtol=1e-5
    )
    nothing = torch.full((1, 2, 2), 255)
    assert float(kind.single_task_loss(torch.zeros(1, 3, 2, 2), nothing)) == 0


def test_an_absent_class_is_a_problem_to_learn() -> None:
    kind = Semantic("s", list("abc"))
    assert kind.single_task_problem(torch.tensor([3.0, 0.0, 0.0])) == "no pixel of b, c"
    assert kind.single_task_problem(torch.tensor([3.0, 1.0, 1.0])) is None


# -- which pixels ----------------------------------------------------------------------------------


def test_classes_and_label_edges_by_hand() -> None:
    semantic = Semantic("semantic", ["Floor", "Wall", "Thing"])
    assert semantic.strata == (
        "class_floor", "class_wall", "class_thing", "label_edge", "label_inside",
    )  # fmt: skip
    target = torch.zeros(1, 9, 14, dtype=torch.int64)
    target[0, :, 6:] = 2
    target[0, 4, 10:] = 255  # void is no label: what lies beside it is no edge
    classes, edges = semantic.stratify(target).items()
    assert (*classes[0], *edges[0]) == semantic.strata
    for y, x in np.ndindex(9, 14):
        label = int(target[0, y, x])
        assert classes[1][0, y, x] == min(label, 3)
        assert edges[1][0, y, x] == (2 if label == 255 else x not in (5, 6))
    # A class is measured over all pixels; the truth alone says how many are its.
    assert semantic.stratum_measures == {
        f"class_{c}": f"iou_{c}" for c in ("floor", "wall", "thing")
    }
    assert semantic.pixels(np.arange(18.0).reshape(2, 9)).tolist() == [6 + 7 + 8, 15 + 16 + 17]
    assert semantic.pixels(np.arange(9.0), "class_wall") == 7


def test_the_ideal_prediction_is_sure_of_the_label() -> None:
    semantic = Semantic("semantic", ["a", "b", "c"])
    target = torch.tensor([[[0, 2], [1, 255]]])
    ideal = semantic.ideal(target)
    assert ideal.shape == (1, 3, 2, 2)
    known = target != 255
    assert torch.equal(ideal.argmax(1)[known], target[known])
    assert torch.equal(ideal.sum(1), torch.ones(1, 2, 2))
    assert ideal.max() == 1


def test_semantics_has_one_convention() -> None:
    semantic = Semantic("semantic", ["a", "b"])
    outputs, target = torch.rand(1, 1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64)
    assert semantic.conventions == ()
    under = semantic.under("clipped", outputs, target)
    assert under[0] is outputs
    assert under[1] is target
