"""How the samples of a prediction lie on the frame, and resampling that respects it.

Frame coordinates are those of pixel centres: the first pixel of a row is 0, the last W - 1.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from jrn_lightning.errors import CacheError

AREA: Final = "area"
CORNERS: Final = "corners"
EXPLICIT: Final = "explicit"


@dataclass(frozen=True)
class Grid:
    """Sample ``(r, c)`` sits at row ``offset_y + step_y r``, column ``offset_x + step_x c``.

    Raises:
        CacheError: a value that is not finite, or a step that is not positive.
    """

    offset_y: float
    step_y: float
    offset_x: float
    step_x: float

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, astuple(self))) and self.step_y > 0 and self.step_x > 0):
            raise CacheError(
                f"grid {astuple(self)} (offset_y, step_y, offset_x, step_x) is not usable: give "
                "finite offsets and positive steps, in pixels of the frame."
            )

    @classmethod
    def area(cls, grid: tuple[int, int], frame: tuple[int, int]) -> Grid:
        """Samples at the centres of equal cells: bilinear with ``align_corners=False``.

        >>> Grid.area((48, 64), (480, 640))
        Grid(offset_y=4.5, step_y=10.0, offset_x=4.5, step_x=10.0)
        """
        return cls(*_area(grid[0], frame[0]), *_area(grid[1], frame[1]))

    @classmethod
    def corners(cls, grid: tuple[int, int], frame: tuple[int, int]) -> Grid:
        """First and last samples on the corner pixels: bilinear with ``align_corners=True``.

        >>> Grid.corners((7, 9), (481, 641))
        Grid(offset_y=0.0, step_y=80.0, offset_x=0.0, step_x=80.0)
        """
        return cls(*_corners(grid[0], frame[0]), *_corners(grid[1], frame[1]))

    @classmethod
    def parse(cls, text: str, grid: tuple[int, int], frame: tuple[int, int]) -> tuple[Grid, str]:
        """The grid that ``area``, ``corners`` or ``OY,SY,OX,SX`` means, and its alignment.

        Raises:
            CacheError: any other text.

        >>> Grid.parse("4.5,10,4.5,10", (48, 64), (480, 640))[1]
        'explicit'
        """
        if text == AREA:
            return cls.area(grid, frame), AREA
        if text == CORNERS:
            return cls.corners(grid, frame), CORNERS
        try:
            offset_y, step_y, offset_x, step_x = map(float, text.split(","))
        except ValueError:
            raise CacheError(
                f"grid {text!r} is unknown. Give {AREA}, {CORNERS}, or four numbers "
                "OFFSET_Y,STEP_Y,OFFSET_X,STEP_X in pixels of the frame."
            ) from None
        return cls(offset_y, step_y, offset_x, step_x), EXPLICIT


def _area(samples: int, pixels: int) -> tuple[float, float]:
    step = pixels / samples
    return step / 2 - 0.5, step


def _corners(samples: int, pixels: int) -> tuple[float, float]:
    if samples == 1 or pixels == 1:  # no two corners to lie on
        return _area(samples, pixels)
    return 0.0, (pixels - 1) / (samples - 1)


def resampling_matrix(
    out_size: int,
    in_size: int,
    *,
    frame: int,
    offset: float,
    step: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Bilinear resampling of one axis, from any grid to equal cells, as a matrix.

    Output cell i is centred at frame pixel ``(i + 0.5) frame / out_size - 0.5``. Where the output
    is coarser than the input, the triangle is widened to the output step (antialiasing). Beyond
    the outermost samples the nearest one holds. The same numbers as
    ``torch.nn.functional.interpolate(mode="bilinear", antialias=True)`` for the grids that it
    knows.

    Args:
        out_size: cells of the result.
        in_size: samples of the input.
        frame: pixels of the frame along this axis.
        offset: frame pixel of the first sample.
        step: frame pixels from one sample to the next.
        dtype: of the result ``(out_size, in_size)``; computed in float64.
    """
    cell = frame / out_size
    centre = (torch.arange(out_size, dtype=torch.float64) + 0.5) * cell - 0.5
    position = ((centre - offset) / step).clamp(0, in_size - 1)  # in samples
    width = max(cell / step, 1.0)
    distance = position[:, None] - torch.arange(in_size, dtype=torch.float64)
    weight = (1 - distance.abs() / width).clamp(min=0)
    return (weight / weight.sum(1, keepdim=True)).to(dtype)


@lru_cache(maxsize=64)
def _matrices(
    grid: Grid,
    samples: tuple[int, int],
    frame: tuple[int, int],
    size: tuple[int, int],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Row matrix ``(H', h)`` and transposed column matrix ``(w, W')``."""
    axes = ((grid.offset_y, grid.step_y), (grid.offset_x, grid.step_x))
    rows, columns = (
        resampling_matrix(size[i], samples[i], frame=frame[i], offset=offset, step=step)
        for i, (offset, step) in enumerate(axes)
    )
    return rows.to(device), columns.T.contiguous().to(device)


def resample(
    maps: Tensor,
    grid: Grid,
    frame: tuple[int, int],
    size: tuple[int, int],
    channels_last: bool = False,
) -> Tensor:
    """Resample maps from ``grid`` to equal cells over the frame.

    Two matrix products; a probability map stays one, because every weight is positive and the
    weights of a cell sum to 1.

    Args:
        maps: ``(..., h, w)`` of any floating dtype.
        grid: where the samples sit.
        frame: pixels (H, W) of the frame.
        size: cells (H', W') of the float32 result ``(..., H', W')``.
        channels_last: give ``(B, C, H', W')`` in that memory format, at no cost; to convert it
            would take longer than the resampling.
    """
    rows, columns = _matrices(
        grid,
        (maps.shape[-2], maps.shape[-1]),
        (frame[0], frame[1]),  # hashable, even when a configuration gives lists
        (size[0], size[1]),
        maps.device,
    )
    wide = maps.float() @ columns
    if not channels_last:
        return rows @ wide
    # The same product with the channels of a column side by side, as they shall lie.
    batch, channels, height, width = wide.shape
    wide = wide.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    return (rows @ wide).view(batch, size[0], size[1], channels).permute(0, 3, 1, 2)
