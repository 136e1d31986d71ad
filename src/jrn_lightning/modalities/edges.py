"""Edges: the probability of an edge at each pixel, one channel."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    at_least_float32,
)
from jrn_lightning.modalities.drawing import Key, Ramp, colormap, greyed, named
from jrn_lightning.modalities.regions import Regions

MISSING = 255
_NAMES = ("n", "hits_predicted", "predicted", "hits_true", "true")
_THRESHOLD = 0.5
_TOLERANCE = 0.0075  # of the frame's diagonal
_FLOOR, _SLOPE = 1e-3, 4.0  # of probabilities; of the logistic function at its middle: 1 / 4
# Right, found where there is none, missed.
_COLOURS = np.array([(0, 158, 115), (204, 60, 60), (86, 120, 200)], np.uint8)
_ERRORS = ("right", "no edge there", "missed")


def _share(hits: str, all_: str) -> Callable[[Array], Array]:
    """Σ hits / Σ all: NaN where there is none."""
    above, below = _NAMES.index(hits), _NAMES.index(all_)

    def function(statistics: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(statistics[..., above] / statistics[..., below])

    return function


_PRECISION = _share("hits_predicted", "predicted")
_RECALL = _share("hits_true", "true")


def _f_measure(statistics: Array) -> Array:
    """2 P R / (P + R): 0 where there are edges and no hit, NaN where there is no edge at all."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p, r = np.nan_to_num(_PRECISION(statistics)), np.nan_to_num(_RECALL(statistics))
        value = np.where(p + r > 0, 2 * p * r / (p + r), 0.0)
        edges = statistics[..., _NAMES.index("predicted")] + statistics[..., _NAMES.index("true")]
        return np.where(edges > 0, value, np.nan)


def _log_odds(output: Tensor) -> Tensor:
    return _SLOPE * (output - _THRESHOLD)


def _widened(edges: Tensor) -> Tensor:
    """Bool ``(B, H, W)``: within the tolerance of an edge of ``edges`` ``(B, H, W)``."""
    radius = _TOLERANCE * math.hypot(*edges.shape[-2:])
    reach = int(radius)
    y, x = torch.meshgrid(
        *[torch.arange(-reach, reach + 1, device=edges.device)] * 2, indexing="ij"
    )
    disc = (y.square() + x.square() <= radius**2).float()
    return F.conv2d(edges[:, None].float(), disc[None, None], padding=reach)[:, 0] > 0.5


class Edges(Modality):
    """Probability of an edge; truth is 1 on edges, 0 beside them, 255 where nobody says.

    ``f_measure`` is of precision and recall at the fixed threshold 0.5. An edge pixel is hit where
    one of the other map lies within 0.0075 of the frame's diagonal, 6 pixels of 480 × 640, the
    tolerance of the Berkeley segmentation benchmark (Martin et al., PAMI 2004). Unlike there the
    maps are not thinned and pixels not matched one to one: counts stay additive. A muted input, of
    zeros, says that there is no edge.

    A head's output is 1/2 + log-odds / 4, which is on the same side of 1/2 as its probability:
    both are measured alike.

    >>> Edges("edges").channels
    1
    """

    kind: ClassVar[str] = "edges"
    unit: str = "probability"
    primary: ClassVar[str] = "f_measure"
    invalid: ClassVar[float] = MISSING
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.uint8)
    batch_dtype: ClassVar[torch.dtype] = torch.int64

    @property
    def channels(self) -> int:
        """One."""
        return 1

    def target_valid(self, target: Tensor) -> Tensor:
        """Where the truth is not 255."""
        return target != MISSING

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """Finite, from 0 to 1."""
        if not np.isfinite(prediction).all():
            return "holds NaN or infinite probabilities"
        wrong = prediction[(prediction < 0) | (prediction > 1)]
        if wrong.size:
            return f"holds a probability of {float(wrong.flat[0]):g} (allowed: 0 to 1)"
        return None

    def check_target(self, target: NDArray[Any]) -> str | None:
        """0, 1, or 255 for missing."""
        wrong = target[(target > 1) & (target != MISSING)]
        if wrong.size:
            return f"holds {int(wrong.flat[0])} (allowed: 0, 1 for an edge, {MISSING} for missing)"
        return None

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Cross-entropy, balanced: edges and the rest weigh alike (Xie and Tu, HED, ICCV 2015).

        The sum of -β log p over the edges and -(1 - β) log (1 - p) over the rest, over the number
        of valid pixels, with β the share of the rest; 0 where either is missing.
        """
        edge = (valid & (target == 1)).to(at_least_float32(output).dtype)
        known = valid.to(edge.dtype)
        n = known.sum().clamp_min(1)
        rest = (known - edge).sum() / n
        weight = edge * rest + (known - edge) * (1 - rest)
        scores = _log_odds(at_least_float32(output[:, 0]))
        return F.binary_cross_entropy_with_logits(scores, edge, weight, reduction="sum") / n

    def refined(self, output: Tensor) -> Tensor:
        """The probability that the output means."""
        return _log_odds(output.float()).sigmoid()

    def to_output(self, prediction: Tensor) -> Tensor:
        """The output that means a probability, floored."""
        return prediction.clamp(_FLOOR, 1 - _FLOOR).logit() / _SLOPE + _THRESHOLD

    def output_bias(self, mean_target: Tensor) -> Tensor:
        """Even odds."""
        return torch.full((1,), _THRESHOLD)

    # -- from an image --------------------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """Pixels beside edges, and on them."""
        known = self.known(target)
        return torch.stack([(known == k).sum() for k in (0, 1)]).double()

    def single_task_problem(self, statistics: Tensor) -> str | None:
        """Without any edge, or without anything else, there is nothing to learn."""
        absent = [name for name, n in zip(("rest", "edge"), statistics, strict=True) if n == 0]
        return f"no pixel of {', '.join(absent)}" if absent else None

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """Even odds: what the balanced loss makes of edges as frequent as they are."""
        return torch.full((1,), _THRESHOLD)

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Pixels; edges predicted that are hit, and all; those of the truth, likewise."""
        return _NAMES

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = 5."""
        valid, true = self.target_valid(target), target == 1
        near_true = _widened(true)
        rows = []
        for output in outputs:
            predicted = (output[:, 0] > _THRESHOLD) & valid
            found = (valid, predicted & near_true, predicted, true & _widened(predicted), true)
            rows.append(regions.sums(torch.stack(found).float()).movedim(0, -1))
        broken = ~outputs.sum((-3, -2, -1)).isfinite()
        return torch.stack(rows).masked_fill_(broken[..., None, None], torch.nan)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """F-measure, precision and recall."""
        return (
            Measure("f_measure", "F", _f_measure, True),
            Measure("precision", "precision", _PRECISION, True),
            Measure("recall", "recall", _RECALL, True),
        )

    # -- drawing --------------------------------------------------------------------------------

    def key(self, errors: bool = True) -> Key:
        """A ramp of probabilities; of errors the three colours."""
        ramp = Ramp(self.draw(np.linspace(0, 1, 256)[None, None]), (0, 1), f"{self.name} [p]")
        found = tuple(zip(named(_COLOURS), _ERRORS, strict=True)) if errors else ()
        return Key(self.name, found, (ramp,))

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """Edges are dark."""
        return colormap(prediction[0], "gray_r")

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """As :meth:`draw`, missing pixels grey."""
        return greyed(self.draw((target == 1)[None]), target == MISSING)

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """Right edges green, those where there is none red, missed ones blue."""
        true, predicted = target == 1, (prediction[0] > _THRESHOLD) & (target != MISSING)
        near = [_widened(torch.from_numpy(x)[None])[0].numpy() for x in (true, predicted)]
        picture = np.full((*target.shape, 3), 255, np.uint8)
        for mask, colour in zip(
            (predicted & near[0], predicted & ~near[0], true & ~near[1]), _COLOURS, strict=True
        ):
            picture[mask] = colour
        return greyed(picture, target == MISSING)
