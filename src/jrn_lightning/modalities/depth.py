"""Depth: metres, one channel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities.base import (
    Array,
    Measure,
    Modality,
    at_least_float32,
)
from jrn_lightning.modalities.drawing import Key, Ramp, colormap, greyed
from jrn_lightning.modalities.regions import Regions, partition, spread

MISSING: float = 0.0
# Networks overshoot the end of the range a little: up to so many times the largest depth a
# predicted one is clipped to it. What is further beyond is refused, it is rather in other units.
_OVERSHOOT = 1.2
_LN_10 = math.log(10.0)
_LN_125 = math.log(1.25)

# Of the largest depth: 2 m and 4 m of 10 m.
_DISTANCES = {"near": (0.0, 0.2), "middle": (0.2, 0.4), "far": (0.4, math.inf)}
_EDGES = ("depth_edge", "depth_inside")

_NAMES = (
    "n",
    "abs_rel",
    "sq_rel",
    "sq_rel_squared",
    "square",
    "log_square",
    "abs_log10",
    "delta1",
    "delta2",
    "delta3",
)


def _mean(entry: str, root: bool = False) -> Any:
    """Σ entry / n, or its root: NaN where n = 0."""
    column = _NAMES.index(entry)

    def function(statistics: Array) -> Array:
        n = statistics[..., 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistics[..., column] / n
            return np.asarray(np.sqrt(value) if root else value)

    return function


class Depth(Modality):
    """Metric depth in metres, 0 where the sensor has none.

    Measures (Section IV-A), with d* the truth and d the prediction: ``abs_rel`` Σ|d-d*|/d*,
    ``sq_rel`` Σ(d-d*)²/d* (the paper prints d*² in the denominator, its numbers are these),
    ``sq_rel_squared`` Σ(d-d*)²/d*², ``log10``, ``rms`` (metres), ``rms_log`` and the δ accuracies.
    Prediction and truth are clipped to the range for the ratio and logarithm measures only.

    Args:
        name: key in every dictionary.
        minimum: smallest depth, metres.
        maximum: largest depth, metres: 10 indoors (Section III-C), 80 by custom on a street.

    Raises:
        ConfigError: no range of positive depths.

    >>> Depth("depth").attributes, Depth("depth", maximum=80.0).attributes
    ({}, {'maximum': 80.0})
    """

    kind: ClassVar[str] = "depth"
    unit: str = "m"
    primary: ClassVar[str] = "sq_rel"
    invalid: ClassVar[float] = MISSING
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)
    batch_dtype: ClassVar[torch.dtype] = torch.float32

    def __init__(self, name: str, minimum: float = 1e-3, maximum: float = 10.0) -> None:
        super().__init__(name)
        if not 0 < minimum < maximum < math.inf:
            raise ConfigError(
                f"{name} has the range {minimum:g} to {maximum:g} m. Give two depths in metres, "
                "the smaller one first, both greater than 0."
            )
        self.minimum, self.maximum = float(minimum), float(maximum)
        #: metres of the darkest and the brightest colour
        self.drawn = (0.0, self.maximum)

    @property
    def attributes(self) -> dict[str, Any]:
        """What differs from the defaults: caches without a range mean these."""
        given = {"minimum": (self.minimum, 1e-3), "maximum": (self.maximum, 10.0)}
        return {key: value for key, (value, usual) in given.items() if value != usual}

    def _clamped(self, depth: Tensor) -> Tensor:
        return depth.clamp(self.minimum, self.maximum)

    @property
    def channels(self) -> int:
        """One."""
        return 1

    def target_valid(self, target: Tensor) -> Tensor:
        """Where the depth is positive."""
        return target > MISSING

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """Finite, and from 0 to the largest depth."""
        if not np.isfinite(prediction).all():
            return f"holds {_first_not_finite(prediction)} (depth is finite, in metres)"
        return self._check_range(prediction)

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Depths up to 20 % beyond the largest one become it."""
        beyond = (prediction > self.maximum) & (prediction <= _OVERSHOOT * self.maximum)
        largest = prediction.dtype.type(self.maximum)
        return np.where(beyond, largest, prediction), int(beyond.sum())

    def check_target(self, target: NDArray[Any]) -> str | None:
        """As a prediction; 0 is a missing pixel."""
        if not np.isfinite(target).all():
            return f"holds {_first_not_finite(target)} (write missing depth as 0)"
        return self._check_range(target)

    def _check_range(self, values: NDArray[Any]) -> str | None:
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1.001 * self.maximum:  # float16 has steps of a thousandth
            found = low if low < 0 else high
            return (
                f"holds a depth of {found:g} m "
                f"(allowed: 0 to {self.maximum:g} m; are the units metres?)"
            )
        return None

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Mean of (D' - D*)² / D* over the valid pixels, the first term of equation 1."""
        # Invalid targets may be 0: divide by 1 there, then leave them out.
        truth = torch.where(valid, target, 1.0)
        error = torch.where(valid, (at_least_float32(output[:, 0]) - truth).square() / truth, 0.0)
        return error.sum() / valid.sum()

    def refined(self, output: Tensor) -> Tensor:
        """The head's output, kept within the range (Section III-C)."""
        return self._clamped(output.float())

    def output_bias(self, mean_target: Tensor) -> Tensor:
        """The mean training depth: the head starts at a plausible constant map."""
        return mean_target.reshape(1).float()

    # -- from an image --------------------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """Valid pixels and the sum of their log-depths."""
        known = target[self.target_valid(target)].double()
        return torch.stack([torch.tensor(known.numel(), dtype=torch.float64), known.log().sum()])

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """The mean log-depth."""
        return (statistics[1] / statistics[0]).reshape(1).float()

    def single_task_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scale-invariant error of log-depth (Eigen et al. 2014, Section 3.2), as a root.

        sqrt(mean g² - 0.85 (mean g)²) with g the difference of the logarithms: what is common to
        a whole batch counts less than its shape.
        """
        valid = self.target_valid(target)
        truth = torch.where(valid, target, 1.0).log()
        difference = torch.where(valid, output[:, 0].float() - truth, 0.0)
        n = valid.sum().clamp_min(1)
        mean = difference.sum() / n
        return (difference.square().sum() / n - 0.85 * mean.square()).clamp_min(1e-8).sqrt()

    def single_task_prediction(self, output: Tensor) -> Tensor:
        """Log-depth to metres within the range."""
        return self._clamped(output.float().exp())

    def zoomed(self, target: Tensor, factor: Tensor) -> Tensor:
        """Seen ``factor`` times as large, everything is that many times nearer."""
        nearer: Tensor = target / factor
        return torch.where(nearer <= self.maximum, nearer, MISSING)

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Pixel count, then the sums behind the measures."""
        return _NAMES

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = 10."""
        # Arithmetic throughout: masks, comparisons and torch.where take 5 to 40 times as long on a
        # CPU. What differs is exact: products with and sums of zeros and ones.
        known = self.target_valid(target).to(target.dtype)
        truth = (target * known).add_(1 - known)
        log_truth = self._clamped(truth).log_()
        bounds = self.minimum, self.maximum
        n = regions.sums(known)  # (B, P)
        # Written again and again, they stay in the processor's cache; fresh maps would not.
        difference, relative, log_difference, scratch = (torch.empty_like(truth) for _ in range(4))

        def errors() -> Iterator[Tensor]:
            yield relative
            yield torch.mul(difference, relative, out=scratch)
            yield torch.mul(relative, relative, out=scratch)
            yield torch.mul(difference, difference, out=scratch)
            yield torch.mul(log_difference, log_difference, out=scratch)
            yield log_difference
            # max(d/d*, d*/d) < 1.25^k is |ln d - ln d*| < k ln 1.25; never true of NaN, whose sign
            # is 0.
            for k in (1, 2, 3):
                below = torch.sub(log_difference, k * _LN_125, out=scratch).neg_()
                yield below.sign_().clamp_min_(0).mul_(known)

        setups = []
        for output in outputs:  # one at a time: its maps stay in the processor's cache
            depth = output[:, 0].float()
            # Every error is zero at a missing pixel.
            torch.sub(depth, truth, out=difference).abs_().mul_(known)
            torch.div(difference, truth, out=relative)
            torch.clamp(depth, *bounds, out=log_difference).log_().sub_(log_truth).abs_().mul_(
                known
            )
            sums = torch.cat([n[None], regions.sums_of(errors())])  # (D, B, P)
            sums[_NAMES.index("abs_log10")] /= _LN_10
            setups.append(sums.movedim(0, -1))
        return torch.stack(setups)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Table I's eight, and rel(sqr) with the denominator that the paper prints."""
        return (
            Measure("abs_rel", "rel", _mean("abs_rel"), False),
            Measure("sq_rel", "rel(sqr)", _mean("sq_rel"), False),
            Measure("log10", "log10", _mean("abs_log10"), False),
            Measure("rms", "rms [m]", _mean("square", root=True), False, scale=1.0),
            Measure("rms_log", "rms(log)", _mean("log_square", root=True), False),
            Measure("delta1", "δ<1.25", _mean("delta1"), True),
            Measure("delta2", "δ<1.25²", _mean("delta2"), True),
            Measure("delta3", "δ<1.25³", _mean("delta3"), True),
            Measure("sq_rel_squared", "rel(sqr)/d*²", _mean("sq_rel_squared"), False, 100.0, False),
        )

    @property
    def strata(self) -> tuple[str, ...]:
        """By distance, and at the edges of depth against away from them."""
        return (*_DISTANCES, *_EDGES)

    def stratify(self, target: Tensor) -> Mapping[tuple[str, ...], Tensor]:
        """Near is below a fifth of the largest depth (2 m of 10 m), far above two fifths.

        An edge is where depth changes by more than a tenth within a window of a 240th of the
        height to each side: occlusions do, a floor seen at a grazing angle does not.
        """
        valid = self.target_valid(target)
        distance = [
            (target >= low * self.maximum) & (target < high * self.maximum) & valid
            for low, high in _DISTANCES.values()
        ]
        logarithm = torch.where(valid, target, 1.0).log()
        edge = (spread(logarithm, valid) > math.log(1.1)) & valid
        return {tuple(_DISTANCES): partition(*distance), _EDGES: partition(edge, valid & ~edge)}

    @property
    def conventions(self) -> tuple[str, ...]:
        """Predictions within the range for every measure; or truth strictly between, too.

        The usual way clips for the ratio and logarithm measures only. ``capped`` is the mask of
        Eigen et al.'s evaluation.
        """
        return ("clipped", "capped")

    def under(self, convention: str, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`conventions`."""
        if convention == "capped":
            inside = (target > self.minimum) & (target < self.maximum)
            target = torch.where(inside, target, MISSING)
        return self._clamped(outputs), target

    def key(self, errors: bool = True) -> Key:
        """A ramp over what is drawn; of errors one over relative errors up to 50 %."""
        low, high = self.drawn
        spanned = f", {low:.3g} to {high:.3g}: 96 % of what is shown" if low > 0 else ""
        ramp = self.draw(np.linspace(low, high, 256)[None, None])
        ramps = [Ramp(ramp, self.drawn, f"{self.name} [{self.unit}]{spanned}")]
        if errors:
            truth = np.full((1, 256), self.maximum / 2)
            off = self.draw_error((truth * np.linspace(0.5, 1.5, 256))[None], truth)
            label = f"error of {self.name}, relative to the truth [%]"
            ramps.append(Ramp(off, (-50, 50), label))
        return Key(self.name, (), tuple(ramps))

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """Near is dark, the largest depth is bright."""
        low, high = self.drawn
        return colormap((prediction[0] - low) / (high - low), "viridis")

    def spanning(self, maps: Sequence[NDArray[Any]]) -> Depth:
        """Drawn over the middle 96 % of these depths, truth and predictions."""
        known = np.concatenate([x[x > MISSING] for x in (*maps, np.zeros(0))])
        ends = np.percentile(known, (2, 98)) if known.size else np.zeros(2)
        low, high = np.clip(ends, self.minimum, self.maximum).tolist()
        made = copy(self)
        if low < high:
            made.drawn = (low, high)
        return made

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """As :meth:`draw`, missing pixels grey."""
        return greyed(self.draw(target[None]), target <= MISSING)

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """Signed relative error: blue too near, red too far, saturated at ±50 %."""
        truth = np.where(target > MISSING, target, 1.0)
        picture = colormap((prediction[0] - truth) / truth + 0.5, "RdBu_r")
        return greyed(picture, target <= MISSING)


def _first_not_finite(values: NDArray[Any]) -> str:
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
    return f"{values[where]} at {where}"
