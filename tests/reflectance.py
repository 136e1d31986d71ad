"""A made-up third modality, as a plug-in would define one: this file is all there is of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.modalities import Array, Measure, Modality, Regions


def _mean_error(statistics: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(statistics[..., 1] / statistics[..., 0])


def _psnr(statistics: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(-10 * np.log10(statistics[..., 2] / statistics[..., 0]))


class Reflectance(Modality):
    """Albedo between 0 and ``brightest`` with its uncertainty, two channels; -1 is missing."""

    kind: ClassVar[str] = "reflectance"
    primary: ClassVar[str] = "psnr"
    invalid: ClassVar[float] = -1.0
    target_dtype: ClassVar[np.dtype[Any]] = np.dtype(np.float32)
    batch_dtype: ClassVar[torch.dtype] = torch.float32

    def __init__(self, name: str, brightest: float = 1.0) -> None:
        super().__init__(name)
        self.brightest = brightest

    @property
    def channels(self) -> int:
        return 2

    @property
    def attributes(self) -> dict[str, Any]:
        return {"brightest": self.brightest}

    def target_valid(self, target: Tensor) -> Tensor:
        return target >= 0

    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        return None if np.isfinite(prediction).all() else "holds NaN"

    def check_target(self, target: NDArray[Any]) -> str | None:
        return None if target.max() <= self.brightest else f"holds {target.max():g}"

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        error = torch.where(valid, output[:, 0].float() - target, 0.0)
        return error.square().sum() / valid.sum()

    def refined(self, output: Tensor) -> Tensor:
        return output.float().clamp(0, self.brightest)

    @property
    def statistic_names(self) -> tuple[str, ...]:
        return ("n", "error", "square")

    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        known = self.target_valid(target)
        error = torch.where(known, outputs[:, :, 0].float() - target, 0.0)
        n = regions.sums(known.float()).expand(len(outputs), -1, -1)
        return torch.stack([n, regions.sums(error.abs()), regions.sums(error.square())], -1)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (
            Measure("error", "error", _mean_error, False),
            Measure("psnr", "PSNR [dB]", _psnr, True, scale=1.0),
        )

    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        grey = np.clip(prediction[0] / self.brightest, 0, 1) * 255
        return np.repeat(grey[..., None], 3, -1).astype(np.uint8)

    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        return self.draw(target[None])

    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        return self.draw(np.abs(prediction[:1] - target))
