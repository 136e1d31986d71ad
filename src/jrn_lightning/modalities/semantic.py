"""Semantics: a probability distribution over K classes at each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities.base import (
    Array,
    Measure,
    Modality,
    Reading,
    at_least_float32,
)
from jrn_lightning.modalities.drawing import GREY, Key, greyed, named, palette
from jrn_lightning.modalities.regions import Regions, partition, smallest_integer, spread

VOID = 255
_SUM_TOLERANCE = 5e-3  # of probabilities stored as float16
_ROUNDING = 0.5 / 255  # of a probability that was stored in 8 bits
# Below it a probability says no more than that the class is not there; its logarithm would drown
# what a refinement network adds.
_FLOOR = 1e-3

_EDGES = ("label_edge", "label_inside")


def _iou(hits: Array, predicted: Array, true: Array) -> Array:
    """Intersection over union: NaN for a class that occurs neither in truth nor in prediction."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits / (predicted + true - hits))


def _mean_iou(statistics: Array) -> Array:
    """Mean over the classes that occur in truth or prediction; NaN where none does."""
    iou = _iou(*np.split(statistics, 3, -1))
    present = np.isfinite(iou)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(present, iou, 0.0).sum(-1) / present.sum(-1))


def _pixel_accuracy(statistics: Array) -> Array:
    """Σ hits / Σ true."""
    hits, _, true = np.split(statistics, 3, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits.sum(-1) / true.sum(-1))


def _iou_of(k: int) -> Any:
    return lambda statistics: _iou(*(x[..., k] for x in np.split(statistics, 3, -1)))


def _most_probable(scores: Tensor) -> Tensor:
    """Index of the largest channel of ``(B, K, H, W)``, the first of equals: ``(B, H, W)``.

    On a CPU ``argmax`` over a strided dimension takes fifty times as long of 5 classes and five
    times as long of 150, as does bringing the classes together first; ``masked_fill_`` and
    ``torch.where`` take ten times as long.
    """
    best = scores[:, 0].clone()
    label, better = torch.zeros_like(best), torch.empty_like(best)
    for k in range(1, scores.shape[1]):
        # NaN, of inf - inf or NaN, has the sign 0.
        torch.sub(scores[:, k], best, out=better).sign_().mul_(k)
        torch.maximum(label, better, out=label)  # k grows: the last that was better
        torch.maximum(best, scores[:, k], out=best)
    return label.to(smallest_integer(scores.shape[1]))


class Semantic(Modality):
    """Class probabilities over ``classes``; label 255 is void and never counted.

    The statistics of an image are three counts of pixels a class: hits, those predicted, those of
    the truth. ``mean_iou`` is of the *summed* counts, not a mean over images; classes absent from
    truth and prediction are left out.

    Args:
        name: key in every dictionary.
        classes: names of the K classes.
        label_space: name of the mapping that the labels follow.

    Raises:
        ConfigError: more classes than a byte holds beside void, none, or two of one name.

    >>> Semantic("semantic", classes=["floor", "wall"]).channels
    2
    """

    kind: ClassVar[str] = "semantic"
    unit: str = "probability"
    primary: ClassVar[str] = "mean_iou"
    correction: ClassVar[str] = "renormalised"
    invalid: ClassVar[float] = VOID
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.uint8)
    batch_dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(self, name: str, classes: Sequence[str], label_space: str = "") -> None:
        super().__init__(name)
        self.classes = tuple(classes)
        if not 1 <= len(self.classes) < VOID:
            raise ConfigError(
                f"{name} has {len(self.classes)} classes. Give 1 to {VOID - 1}: labels are bytes, "
                f"and {VOID} is void."
            )
        lower = [c.lower() for c in self.classes]
        if twice := sorted({c for c in lower if lower.count(c) > 1}):
            raise ConfigError(
                f"{name} has two classes {twice[0]!r}. Give names that differ, in lower case too."
            )
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
            return (
                f"holds a probability of {float(prediction.min()):g} (allowed: 0 to 1; of logits "
                "give the softmax)"
            )
        sums = prediction.astype(np.float64).sum(0)
        worst = float(sums.flat[np.abs(sums - 1).argmax()])
        if abs(worst - 1) > _SUM_TOLERANCE:
            return (
                f"holds probabilities that sum to {worst:.4g} (expected 1; of logits give the "
                "softmax)"
            )
        return None

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Classes of a pixel whose sum 8-bit rounding moved from 1 are divided by it."""
        total = prediction.sum(0, dtype=np.float64)
        error = np.abs(total - 1)
        rounded = error > _SUM_TOLERANCE
        if not rounded.any() or not (error <= self.channels * _ROUNDING + _SUM_TOLERANCE).all():
            return prediction, 0  # nothing to do, or refused
        divided = prediction / np.where(rounded, total, 1.0)
        return divided.astype(prediction.dtype), int(rounded.sum())

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
        """``hits_<class>`` of each class, then ``predicted_<class>``, then ``true_<class>``."""
        return tuple(f"{x}_{name}" for x in ("hits", "predicted", "true") for name in self.classes)

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = 3 K, counts of pixels that are not void.

        Probabilities and logits give the same: only the largest channel counts.
        """
        k = self.channels
        # Void, the largest label, is one more class in truth and prediction, dropped in the end.
        truth = target.clamp_max(k).to(smallest_integer(2 * k + 1))
        void = (truth == k).to(truth.dtype) * k
        true = regions.counts(truth, k + 1)[..., :k]
        rows = []
        for output in outputs:
            label = torch.maximum(_most_probable(output), void)
            # Wrong and right pixels of each predicted class, in one histogram.
            counts = regions.counts(2 * label + (label == truth), 2 * (k + 1))
            wrong, hits = counts.unflatten(-1, (k + 1, 2))[..., :k, :].unbind(-1)
            rows.append(torch.cat([hits, wrong + hits, true], -1))
        # A largest channel there is among any scores: without this a diverged network has results.
        broken = ~outputs.sum((-3, -2, -1)).isfinite()
        return torch.stack(rows).masked_fill_(broken[..., None, None], torch.nan)

    def pixels(self, statistics: Array, stratum: str | None = None) -> Array:
        """All of the truth, or those of one class."""
        true = statistics[..., 2 * self.channels :]
        if stratum is None:
            return np.asarray(true.sum(-1))
        return np.asarray(true[..., self.strata.index(stratum)])

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
        return (*(f"class_{name.lower()}" for name in self.classes), *_EDGES)

    @property
    def stratum_measures(self) -> dict[str, str]:
        """The IoU of each class (Table III)."""
        return {f"class_{name.lower()}": f"iou_{name.lower()}" for name in self.classes}

    def stratify(self, target: Tensor) -> Mapping[tuple[str, ...], Tensor]:
        """An edge is where another label lies within a 240th of the height to any side."""
        valid = self.target_valid(target)
        edge = (spread(target, valid) > 0) & valid
        return {
            self.strata[: self.channels]: target.clamp_max(self.channels),
            _EDGES: partition(edge, valid & ~edge),
        }

    def ideal(self, target: Tensor) -> Tensor:
        """All probability on the label."""
        label = torch.where(self.target_valid(target), target, 0).long()
        return F.one_hot(label, self.channels).movedim(-1, 1).float()

    def key(self, errors: bool = True) -> Key:
        """The colour of every class."""
        note = "; in error maps right pixels are white" if errors else ""
        colours = [*named(palette(self.channels)), *named(np.full((1, 3), GREY, np.uint8))]
        names = [*map(str, self.classes), "no ground truth"]
        return Key(self.name + note, tuple(zip(colours, names, strict=True)))

    def readings(self, outputs: Tensor, target: Tensor) -> Iterator[Reading]:
        """The channels may be those of other classes: in the order of the largest IoU."""
        k, valid = self.channels, self.target_valid(target)
        codes = k * _most_probable(outputs)[valid].long() + target[valid]
        hits = torch.bincount(codes, minlength=k * k).view(k, k).double()  # [channel, class]
        iou = hits / (hits.sum(0) + hits.sum(1)[:, None] - hits).clamp_min(1)
        # Where nothing tells, a channel stays where it is.
        _, order = linear_sum_assignment(iou + 1e-9 * torch.eye(k), maximize=True)
        if (order == np.arange(k)).all():
            return
        names = ", ".join(self.classes[c] for c in order)
        what = f"have their classes in another order, probably {names}"
        for by in (-1, 1):
            if (order == (np.arange(k) + by) % k).all():
                what = f"have their classes shifted by {-by:+d}: they are {names}"
        changed = outputs[:, torch.from_numpy(order).argsort()]
        yield Reading(what, f"Give the channels as {', '.join(self.classes)}.", changed)

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """The most probable class, as a colour."""
        return np.asarray(palette(self.channels)[prediction.argmax(0)])

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """The label as a colour, void grey."""
        known = np.where(target == VOID, 0, target).astype(np.int64)
        return greyed(palette(self.channels)[known], target == VOID)

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """Wrong pixels in the colour that they were given, right ones white, void grey."""
        label = prediction.argmax(0)
        picture = np.where((label != target)[..., None], self.draw(prediction), np.uint8(255))
        return greyed(picture.astype(np.uint8), target == VOID)
