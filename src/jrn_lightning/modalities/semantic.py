"""Semantics: a probability distribution over K classes at each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.modalities.base import (
    Array,
    Measure,
    Modality,
    Regions,
    at_least_float32,
    smallest_integer,
    spread,
)
from jrn_lightning.modalities.drawing import GREY

VOID = 255
_SUM_TOLERANCE = 5e-3  # of probabilities stored as float16
# Below it a probability says no more than that the class is not there; its logarithm would drown
# what a refinement network adds.
_FLOOR = 1e-3

# The colours of Figure 5 in spirit, told apart by lightness too; repeated beyond ten classes.
_PALETTE = np.array(
    [
        (230, 159, 0),
        (86, 120, 200),
        (240, 228, 66),
        (0, 158, 115),
        (204, 60, 60),
        (150, 100, 180),
        (86, 180, 233),
        (120, 94, 60),
        (204, 121, 167),
        (60, 60, 60),
    ],
    np.uint8,
)


@cache
def _sums(k: int) -> Array:
    """Which entries of a flattened K × K confusion add up to what: ``(K K, 2 K + 1)``.

    True positives of each class, its union of truth and prediction, and all: as one matrix
    product, since sums over short axes of many resamples take ten times as long.
    """
    truth, predicted = np.divmod(np.arange(k * k)[:, None], k)
    classes = np.arange(k)
    hit = (truth == classes) & (predicted == classes)
    union = (truth == classes) | (predicted == classes)
    return np.concatenate([hit, union, np.ones_like(truth)], axis=1).astype(np.float64)


def _confusion(statistics: Array) -> tuple[Array, Array, Array]:
    """True positives, union (..., K) and total (...) of flattened confusions (..., K K)."""
    k = round(statistics.shape[-1] ** 0.5)
    sums = statistics @ _sums(k)
    return sums[..., :k], sums[..., k : 2 * k], sums[..., -1]


def _class_iou(statistics: Array) -> Array:
    hit, union, _ = _confusion(statistics)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hit / union)


def _mean_iou(statistics: Array) -> Array:
    """Mean over the classes that occur in truth or prediction; NaN where none does."""
    iou = _class_iou(statistics)
    present = np.isfinite(iou)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(present, iou, 0.0).sum(-1) / present.sum(-1))


def _pixel_accuracy(statistics: Array) -> Array:
    hit, _, total = _confusion(statistics)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hit.sum(-1) / total)


def _most_probable(scores: Tensor) -> Tensor:
    """Index of the largest channel of ``(B, K, H, W)``, the first of equals: ``(B, H, W)``.

    ``argmax`` over a strided dimension takes a hundred times as long on a CPU, ``masked_fill_`` and
    ``torch.where`` ten times.
    """
    best = scores[:, 0].clone()
    label, better = torch.zeros_like(best), torch.empty_like(best)
    for k in range(1, scores.shape[1]):
        # NaN, of inf - inf or NaN, has the sign 0.
        torch.sub(scores[:, k], best, out=better).sign_().mul_(k)
        torch.maximum(label, better, out=label)  # k grows: the last that was better
        torch.maximum(best, scores[:, k], out=best)
    return label.to(smallest_integer(scores.shape[1]))


def _iou_of(k: int) -> Any:
    return lambda statistics: _class_iou(statistics)[..., k]


class Semantic(Modality):
    """Class probabilities over ``classes``; label 255 is void and never counted.

    The statistics of an image are its K × K confusion, truth along the rows. ``mean_iou`` is of
    the *summed* confusion, not a mean over images; classes absent from truth and prediction are
    left out.

    Args:
        name: key in every dictionary.
        classes: names of the K classes.
        label_space: name of the mapping that the labels follow.

    >>> Semantic("semantic", classes=["floor", "wall"]).channels
    2
    """

    kind: ClassVar[str] = "semantic"
    unit: ClassVar[str] = "probability"
    primary: ClassVar[str] = "mean_iou"
    invalid: ClassVar[float] = VOID
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.uint8)
    batch_dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(self, name: str, classes: Sequence[str], label_space: str = "") -> None:
        super().__init__(name)
        self.classes = tuple(classes)
        self.label_space = label_space

    @property
    def channels(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def attributes(self) -> dict[str, Any]:
        """Class names and label space."""
        return {"classes": list(self.classes), "label_space": self.label_space}

    def target_valid(self, target: Tensor) -> Tensor:
        """Where the label is not void."""
        return target != VOID

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """Finite, not negative, and summing to 1 over the classes."""
        if not np.isfinite(prediction).all():
            return "holds NaN or infinite probabilities"
        if prediction.min() < 0:
            return f"holds a probability of {float(prediction.min()):g} (allowed: 0 to 1)"
        sums = prediction.astype(np.float64).sum(0)
        worst = float(sums.flat[np.abs(sums - 1).argmax()])
        if abs(worst - 1) > _SUM_TOLERANCE:
            return f"holds probabilities that sum to {worst:.4g} (expected 1; are they logits?)"
        return None

    def check_target(self, target: NDArray[Any]) -> str | None:
        """Every label is a class or void."""
        wrong = target[(target >= self.channels) & (target != VOID)]
        if wrong.size:
            return (
                f"holds the label {int(wrong.flat[0])} "
                f"(allowed: 0 to {self.channels - 1}, and {VOID} for void)"
            )
        return None

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Mean cross-entropy over the valid pixels, the second term of equation 1."""
        label = torch.where(valid, target.long(), VOID)
        # A sum over a count: "mean" of cross_entropy is the same, but slower with ignored pixels.
        total = F.cross_entropy(at_least_float32(output), label, ignore_index=VOID, reduction="sum")
        return total / valid.sum().clamp_min(1)

    def refined(self, output: Tensor) -> Tensor:
        """Softmax over the classes (Section III-C)."""
        return output.float().softmax(1)

    def to_output(self, prediction: Tensor) -> Tensor:
        """Logarithms of the probabilities, floored: the softmax undone."""
        return prediction.clamp_min(_FLOOR).log()

    # -- from an image --------------------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """Pixels of each class."""
        known = target[self.target_valid(target)].long()
        return torch.bincount(known, minlength=self.channels).double()

    def single_task_problem(self, statistics: Tensor) -> str | None:
        """A class that never occurs cannot be learned."""
        absent = [name for name, n in zip(self.classes, statistics.tolist(), strict=True) if n == 0]
        return f"no pixel of {', '.join(absent)}" if absent else None

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """Log-frequencies of the classes."""
        return (statistics / statistics.sum()).clamp_min(1e-6).log().float()

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """``truth>prediction`` for each pair of classes, truth first."""
        return tuple(f"{t}>{p}" for t in self.classes for p in self.classes)

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = K K, the flattened confusion.

        Probabilities and logits give the same: only the largest channel counts.
        """
        k = self.channels
        # Void is the largest label; its pixels get a truth row of their own, dropped in the end.
        truth = target.to(smallest_integer(max(VOID, (k + 1) * k))).clamp_max_(k).mul_(k)
        confusion = torch.stack(
            [regions.counts(truth + _most_probable(y), (k + 1) * k) for y in outputs]
        )
        return confusion[..., : k * k]

    def pixels(self, statistics: Array) -> Array:
        """All of the confusion."""
        return np.asarray(statistics.sum(-1))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Mean IoU and pixel accuracy, then the IoU of every class (Table III)."""
        return (
            Measure("mean_iou", "mIoU", _mean_iou, True),
            Measure("pixel_accuracy", "pix.acc.", _pixel_accuracy, True),
            *(
                Measure(f"iou_{name.lower()}", f"IoU {name}", _iou_of(k), True, 100.0, False)
                for k, name in enumerate(self.classes)
            ),
        )

    @property
    def strata(self) -> tuple[str, ...]:
        """By true class, and at the borders of labels against away from them."""
        return (*(f"class_{name.lower()}" for name in self.classes), "label_edge", "label_inside")

    @property
    def stratum_measures(self) -> dict[str, str]:
        """The IoU of each class (Table III)."""
        return {f"class_{name.lower()}": f"iou_{name.lower()}" for name in self.classes}

    def stratify(self, target: Tensor) -> Tensor:
        """An edge is where another label lies within a 240th of the height to any side."""
        valid = self.target_valid(target)
        classes = [target == k for k in range(self.channels)]
        edge = (spread(target, valid) > 0) & valid
        return torch.stack([*classes, edge, valid & ~edge])

    def ideal(self, target: Tensor) -> Tensor:
        """All probability on the label."""
        label = torch.where(self.target_valid(target), target, 0).long()
        return F.one_hot(label, self.channels).movedim(-1, 1).float()

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """The most probable class, as a colour."""
        return np.asarray(_PALETTE[prediction.argmax(0) % len(_PALETTE)])

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """The label as a colour, void grey."""
        picture = np.asarray(_PALETTE[target.astype(np.int64) % len(_PALETTE)])
        picture[target == VOID] = GREY
        return picture

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """Wrong pixels in the colour that they were given, right ones white, void grey."""
        label = prediction.argmax(0)
        picture = np.where((label != target)[..., None], self.draw(prediction), np.uint8(255))
        picture[target == VOID] = GREY
        return picture.astype(np.uint8)
