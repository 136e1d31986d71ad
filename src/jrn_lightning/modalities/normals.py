"""Surface normals: unit vectors in the camera's axes, three channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.modalities.base import (
    Array,
    Measure,
    Modality,
    at_least_float32,
)
from jrn_lightning.modalities.drawing import Key, Ramp, colormap, greyed, named
from jrn_lightning.modalities.regions import Regions, partition, spread

# A length that is this far from 1 comes of float16 or of rounding; up to the second, of averaging.
_ROUNDED, _AVERAGED = 1e-2, 0.5
# Outputs much shorter than this have a small gradient's worth of direction: the loss of one at
# zero has a finite slope.
_SHORT = 1e-2

# Degrees. Bins of the histogram, fine below 45: 11.25, 22.5 and 30 are edges of some.
_FINE, _COARSE, _CHANGE = 0.75, 5.0, 45.0
_EDGES = np.concatenate(
    [np.arange(0.0, _CHANGE, _FINE), np.arange(_CHANGE, 180 + _COARSE, _COARSE)]
)
_BINS = len(_EDGES) - 1
_WITHIN = {"within_11": 11.25, "within_22": 22.5, "within_30": 30.0}
_LARGEST_DRAWN = 60.0  # degrees of error beyond which the colours of error maps do not change

_WAYS = ("upward", "downward", "sideways")
_BORDERS = ("normal_edge", "normal_inside")
_UPRIGHT = math.cos(math.radians(45))
_BEND = 2 * math.sin(math.radians(20) / 2)  # chord of 20 degrees

_DIRECTIONS = {
    "faces right": (1.0, 0.0, 0.0),
    "left": (-1.0, 0.0, 0.0),
    "up": (0.0, -1.0, 0.0),
    "down": (0.0, 1.0, 0.0),
    "the camera": (0.0, 0.0, -1.0),
}


def _mean(column: int, root: bool = False) -> Callable[[Array], Array]:
    """Σ of a column / n, or its root: NaN where n = 0."""

    def function(statistics: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistics[..., column] / statistics[..., 0]
            return np.asarray(np.sqrt(value) if root else value)

    return function


def _within(angle: float) -> Callable[[Array], Array]:
    below = int(np.searchsorted(_EDGES, angle))

    def function(statistics: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(statistics[..., 3 : 3 + below].sum(-1) / statistics[..., 0])

    return function


def _median(statistics: Array) -> Array:
    """Of the histogram, linear within a bin; NaN where n = 0."""
    counts = np.moveaxis(np.asarray(statistics)[..., 3:], -1, 0)
    total = np.cumsum(counts, 0)
    half = total[-1] / 2
    place = np.minimum((total < half).sum(0), _BINS - 1)[None]  # of NaN the first
    own, upto = (np.take_along_axis(x, place, 0)[0] for x in (counts, total))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = 1 - (upto - half) / own
    low, high = _EDGES[place[0]], _EDGES[place[0] + 1]
    return np.asarray(low + share * (high - low))


def _unit(vectors: Tensor) -> Tensor:
    """``(B, 3, H, W)`` at length 1; zero vectors stay."""
    length = vectors.square().sum(-3, keepdim=True).sqrt()
    return vectors / length.clamp_min(torch.finfo(vectors.dtype).tiny)


class Normals(Modality):
    """Unit normals of what is seen, the zero vector where there is none.

    The axes are the camera's: x to the right, y down, z forward; what is seen faces the camera,
    z < 0. Measures are of the angle between prediction and truth in degrees: its mean, root mean
    square and median, and the share of pixels below 11.25, 22.5 and 30 degrees (Fouhey et al.,
    Data-Driven 3D Primitives for Single Image Understanding, ICCV 2013). The median is of a
    histogram, so that it can be summed: linear within bins of 0.75 degrees below 45, of 5 beyond.
    A prediction of length zero, as a muted map is, has no direction and counts as 90 degrees off.

    >>> Normals("normals").target_shape((480, 640))
    (3, 480, 640)
    """

    kind: ClassVar[str] = "normals"
    primary: ClassVar[str] = "mean_angle"
    correction: ClassVar[str] = "renormalised"
    invalid: ClassVar[float] = 0.0
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)
    batch_dtype: ClassVar[torch.dtype] = torch.float32

    @property
    def channels(self) -> int:
        """Three."""
        return 3

    @property
    def target_channels(self) -> int:
        """Three."""
        return 3

    def target_valid(self, target: Tensor) -> Tensor:
        """Where the normal is not the zero vector."""
        return (target != 0).any(-3)

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """Finite, and of length 1 or 0."""
        if not np.isfinite(prediction).all():
            return "holds NaN or infinite normals"
        length = np.linalg.norm(prediction.astype(np.float64), axis=0)
        wrong = length[(np.abs(length - 1) > _ROUNDED) & (length > 0)]
        if wrong.size:
            return (
                f"holds a normal of length {wrong.flat[0]:.3g} (expected 1, or 0 for none; of a "
                "picture: 2 v / 255 - 1)"
            )
        return None

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Normals that averaging has shortened, down to half their length, get length 1."""
        length = np.linalg.norm(prediction.astype(np.float64), axis=0)
        short = (length >= _AVERAGED) & (length < 1 - _ROUNDED)
        tidy = prediction / np.where(short, length, 1.0)
        return tidy.astype(prediction.dtype), int(short.sum())

    def check_target(self, target: NDArray[Any]) -> str | None:
        """As a prediction; the zero vector is a missing pixel."""
        return self.check_prediction(target)

    def mirrored(self, maps: Tensor) -> Tensor:
        """Right and left change places."""
        return torch.cat([-maps[..., :1, :, :], maps[..., 1:, :, :]], -3)

    def mixed(self, predictions: Tensor) -> Tensor:
        """At length 1."""
        return _unit(predictions)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Mean of 1 - cos of the angle over the valid pixels.

        The length of an output counts as √(|n|² + 0.01²), so that one of zero has a slope.
        """
        output = at_least_float32(output)
        length = (output.square().sum(1) + _SHORT**2).sqrt()
        cosine = (output * target).sum(1) / length
        return torch.where(valid, 1 - cosine, 0.0).sum() / valid.sum().clamp_min(1)

    def refined(self, output: Tensor) -> Tensor:
        """The head's output at length 1."""
        return _unit(output.float())

    def output_bias(self, mean_target: Tensor) -> Tensor:
        """The mean training normal."""
        return mean_target.float()

    # -- from an image --------------------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """Valid pixels, and the sums of their coordinates plus 1."""
        known = self.known(target).double()
        return torch.cat([torch.tensor([len(known)], dtype=torch.float64), (known + 1).sum(0)])

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """The mean normal."""
        return (statistics[1:] / statistics[0] - 1).float()

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Pixel count, sums of the angle and its square, and the histogram by lower edges."""
        return ("n", "angle", "square", *(f"from_{low:g}" for low in _EDGES[:-1]))

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = 90."""
        valid = self.target_valid(target)
        n = regions.sums(valid.float())
        edges = torch.from_numpy(_EDGES[1:-1]).to(target)
        rows = []
        for output in outputs:
            x = output.float()
            cosine = (x * target).sum(1)
            # Of the cosine alone small angles could not be told from 0.
            sine = torch.linalg.cross(x, target, dim=1).square().sum(1).sqrt()
            angle = torch.rad2deg(torch.atan2(sine, cosine))
            angle = torch.where((x == 0).all(1), 90.0, angle)
            bins = torch.bucketize(angle, edges, right=True, out_int32=True)
            histogram = regions.counts(torch.where(valid, bins, _BINS), _BINS + 1)[..., :_BINS]
            angle = torch.where(valid, angle, 0.0)
            sums = [n, regions.sums(angle), regions.sums(angle.square())]
            rows.append(torch.cat([torch.stack(sums, -1), histogram], -1))
        broken = ~outputs.sum((-3, -2, -1)).isfinite()
        return torch.stack(rows).masked_fill_(broken[..., None, None], torch.nan)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Mean, median and root mean square in degrees, then shares of pixels."""
        return (
            Measure("mean_angle", "mean angle [°]", _mean(1), False, scale=1.0),
            Measure("median_angle", "median angle [°]", _median, False, scale=1.0),
            Measure("rms_angle", "rms angle [°]", _mean(2, root=True), False, scale=1.0),
            *(Measure(name, f"<{at:g}°", _within(at), True) for name, at in _WITHIN.items()),
        )

    @property
    def strata(self) -> tuple[str, ...]:
        """By direction, and where the truth bends against where it does not."""
        return (*_WAYS, *_BORDERS)

    def stratify(self, target: Tensor) -> Mapping[tuple[str, ...], Tensor]:
        """Upward and downward are within 45 degrees of the camera's own up and down.

        An edge is where a coordinate of the truth changes by more than the chord of 20 degrees
        within a 240th of the height to any side.
        """
        valid = self.target_valid(target)
        up, down = target[:, 1] < -_UPRIGHT, target[:, 1] > _UPRIGHT
        bend = torch.stack([spread(target[:, k], valid) for k in range(3)]).amax(0)
        edge = (bend > _BEND) & valid
        return {
            _WAYS: partition(up, down, valid & ~up & ~down),
            _BORDERS: partition(edge, valid & ~edge),
        }

    # -- drawing --------------------------------------------------------------------------------

    def key(self, errors: bool = True) -> Key:
        """The colours of five directions; of errors a ramp in degrees."""
        names = [*_DIRECTIONS, "no ground truth"]
        vectors = np.array([*_DIRECTIONS.values(), (0.0, 0.0, 0.0)])
        colours = named(self.draw(vectors.T[:, None])[0])
        angle = np.radians(np.linspace(0, _LARGEST_DRAWN, 256))[None]
        zero = np.zeros_like(angle)
        truth = np.stack([zero, zero, zero - 1])
        off = self.draw_error(np.stack([np.sin(angle), zero, -np.cos(angle)]), truth)
        ramp = Ramp(off, (0, _LARGEST_DRAWN), f"error of {self.name} [°]")
        return Key(self.name, tuple(zip(colours, names, strict=True)), (ramp,) if errors else ())

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """Right is red, up is green, toward the camera is blue; none is grey."""
        shown = np.moveaxis(np.asarray(prediction, np.float32), 0, -1) * (1, -1, -1)
        return np.rint(127.5 + 127.5 * shown.clip(-1, 1)).astype(np.uint8)

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """As :meth:`draw`."""
        return greyed(self.draw(target), np.asarray(~target.any(0)))

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """The angle, from dark at 0 to bright at 60 degrees and more."""
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (prediction * target).sum(0) / np.linalg.norm(prediction, axis=0)
        angle = np.degrees(np.arccos(np.nan_to_num(cosine).clip(-1, 1)))
        return greyed(colormap(angle / _LARGEST_DRAWN, "inferno"), np.asarray(~target.any(0)))
