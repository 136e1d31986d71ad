"""Any map of numbers in a known range: reflectance, shading, saliency, a heat map."""

from __future__ import annotations

from collections.abc import Callable
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
from jrn_lightning.modalities.regions import Regions

_MOST_CHANNELS = 4
_ROUNDING = 1e-3  # of the range: steps of float16
_OVERSHOOT = 0.2  # of the range, that is clipped
_HALF = 0.5  # of the range: errors beyond it are drawn alike


def _mean(column: int) -> Callable[[Array], Array]:
    """Σ of a column / n: NaN where n = 0."""

    def function(statistics: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(statistics[..., column] / statistics[..., 0])

    return function


class Continuous(Modality):
    """A map of 1 to 4 channels whose numbers have a known range.

    A ground truth is ``(H, W)`` of one channel, ``(C, H, W)`` of several; a pixel with NaN in any
    channel is missing: any number may be a value. Measures are over pixels and channels: ``mae``,
    ``rmse``, and ``psnr``, 20 log₁₀ of the range over ``rmse``, in decibels.

    Args:
        name: key in every dictionary.
        channels: C.
        minimum: smallest value.
        maximum: largest value.
        unit: of the values.

    Raises:
        ConfigError: other channels, or no range.

    >>> Continuous("reflectance", channels=3).target_shape((480, 640))
    (3, 480, 640)
    """

    kind: ClassVar[str] = "continuous"
    primary: ClassVar[str] = "mae"
    invalid: ClassVar[float] = float("nan")
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)
    batch_dtype: ClassVar[torch.dtype] = torch.float32

    def __init__(
        self,
        name: str,
        channels: int = 1,
        minimum: float = 0.0,
        maximum: float = 1.0,
        unit: str = "",
    ) -> None:
        super().__init__(name)
        if channels not in range(1, _MOST_CHANNELS + 1):
            raise ConfigError(f"{name} has {channels} channels. Give 1 to {_MOST_CHANNELS}.")
        if not -np.inf < minimum < maximum < np.inf:
            raise ConfigError(
                f"{name} has the range {minimum:g} to {maximum:g}. Give two numbers, the smaller "
                "one first."
            )
        self._channels = int(channels)
        self.minimum, self.maximum = float(minimum), float(maximum)
        self.unit = unit or self.unit  # a subclass may have one of its own

    @property
    def channels(self) -> int:
        """C."""
        return self._channels

    @property
    def target_channels(self) -> int:
        """C, or none for one."""
        return self._channels if self._channels > 1 else 0

    @property
    def attributes(self) -> dict[str, Any]:
        """Channels, range and unit."""
        return {
            "channels": self._channels,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "unit": self.unit,
        }

    @property
    def _range(self) -> float:
        return self.maximum - self.minimum

    def target_valid(self, target: Tensor) -> Tensor:
        """Where no channel is NaN."""
        known = ~target.isnan()
        return known.all(-3) if self.target_channels else known

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """Finite, and within the range."""
        if not np.isfinite(prediction).all():
            return "holds NaN or infinite values"
        return self._check_range(prediction)

    def check_target(self, target: NDArray[Any]) -> str | None:
        """Within the range, or NaN for missing."""
        return self._check_range(target[~np.isnan(target)])

    def _check_range(self, values: NDArray[Any]) -> str | None:
        slack = _ROUNDING * self._range
        wrong = values[(values < self.minimum - slack) | (values > self.maximum + slack)]
        if not wrong.size:
            return None
        return f"holds {float(wrong.flat[0]):g} (allowed: {self.minimum:g} to {self.maximum:g})"

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Values up to 20 % of the range beyond it become its ends."""
        beyond = np.maximum(self.minimum - prediction, prediction - self.maximum)
        slight = (beyond > 0) & (beyond <= _OVERSHOOT * self._range)
        ends = prediction.clip(self.minimum, self.maximum)
        return np.where(slight, ends, prediction).astype(prediction.dtype), int(slight.sum())

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Mean absolute error over the valid pixels and the channels, in parts of the range."""
        valid = valid[:, None]
        truth = torch.where(valid, self.as_map(target), 0.0)
        error = torch.where(valid, (at_least_float32(output) - truth).abs(), 0.0)
        return error.sum() / (valid.sum().clamp_min(1) * self.channels * self._range)

    def refined(self, output: Tensor) -> Tensor:
        """The head's output, kept within the range."""
        return output.float().clamp(self.minimum, self.maximum)

    def output_bias(self, mean_target: Tensor) -> Tensor:
        """The mean training value of each channel."""
        return mean_target.reshape(-1).float()

    # -- from an image --------------------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """Valid pixels, and for each channel the sum of its values above the minimum."""
        known = self.known(target).double().reshape(-1, self.channels)
        count = torch.tensor([len(known)], dtype=torch.float64)
        return torch.cat([count, (known - self.minimum).sum(0)])

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """The mean of each channel."""
        return (statistics[1:] / statistics[0] + self.minimum).float()

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Pixel count, and sums of the error and its square, each the mean over the channels."""
        return ("n", "absolute", "square")

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """See :meth:`Modality.statistics`; D = 3."""
        known = self.target_valid(target)
        truth = torch.where(known[:, None], self.as_map(target), 0.0)
        n = regions.sums(known.float())
        rows = []
        for output in outputs:
            # Not by where: a number that is not finite has to show in the sums, wherever it is.
            error = (output.float() - truth) * known[:, None]
            maps = torch.stack([error.abs().mean(1), error.square().mean(1)])
            rows.append(torch.stack([n, *regions.sums(maps)], -1))
        return torch.stack(rows)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """MAE, RMSE and PSNR; A is in percent of the range, or in decibels."""
        percent = 100.0 / self._range
        unit = f" [{self.unit}]" if self.unit else ""

        def rmse(statistics: Array) -> Array:
            return np.asarray(np.sqrt(_mean(2)(statistics)))

        def psnr(statistics: Array) -> Array:
            with np.errstate(divide="ignore"):
                return np.asarray(20 * np.log10(self._range / rmse(statistics)))

        return (
            Measure("mae", f"MAE{unit}", _mean(1), False, scale=percent),
            Measure("rmse", f"RMSE{unit}", rmse, False, scale=percent),
            Measure("psnr", "PSNR [dB]", psnr, True, scale=1.0),
        )

    # -- drawing --------------------------------------------------------------------------------

    def key(self, errors: bool = True) -> Key:
        """A ramp over the range of one channel; of errors one over half of it."""
        unit = f" [{self.unit}]" if self.unit else ""
        ramps = []
        if self.channels == 1:
            values = np.linspace(self.minimum, self.maximum, 256)[None, None]
            ends = self.minimum, self.maximum
            ramps.append(Ramp(self.draw(values), ends, f"{self.name}{unit}"))
        if errors:
            off = colormap(np.linspace(0, 1, 256)[None], "inferno")
            largest = _HALF * self._range
            ramps.append(Ramp(off, (0, largest), f"error of {self.name}{unit}"))
        return Key(self.name, (), tuple(ramps))

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours of one channel (of two the first), else the first three as red, green, blue."""
        share = ((np.asarray(prediction) - self.minimum) / self._range).clip(0, 1)
        if self.channels < 3:
            return colormap(share[0], "viridis")
        shown = np.nan_to_num(np.moveaxis(share[:3], 0, -1))
        return np.asarray(np.rint(255 * shown), np.uint8)

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """As :meth:`draw`, missing pixels grey."""
        maps = target.reshape(self.channels, *target.shape[-2:])
        return greyed(self.draw(maps), np.isnan(maps).any(0))

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """The mean absolute error over the channels, up to half of the range."""
        maps = target.reshape(self.channels, *target.shape[-2:])
        error = np.abs(prediction - maps).mean(0) / (_HALF * self._range)
        return greyed(colormap(error, "inferno"), np.isnan(maps).any(0))
