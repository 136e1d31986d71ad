from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from jrn_lightning.cache.grid import Grid, resample, resampling_matrix
from jrn_lightning.errors import CacheError

sizes = st.integers(1, 40)


def matrix(out_size: int, in_size: int, frame: int, axis: tuple[float, float]) -> torch.Tensor:
    return resampling_matrix(
        out_size, in_size, frame=frame, offset=axis[0], step=axis[1], dtype=torch.float64
    )


def area(samples: int, pixels: int) -> tuple[float, float]:
    grid = Grid.area((samples, samples), (pixels, pixels))
    return grid.offset_y, grid.step_y


def corners(samples: int, pixels: int) -> tuple[float, float]:
    grid = Grid.corners((samples, samples), (pixels, pixels))
    return grid.offset_x, grid.step_x


@given(out_size=sizes, in_size=sizes, frame=sizes)
def test_area_grids_are_interpolated_as_torch_does(out_size: int, in_size: int, frame: int) -> None:
    eye = torch.eye(in_size, dtype=torch.float64)[None, None]
    expected = F.interpolate(eye, (out_size, in_size), mode="bilinear", antialias=True)[0, 0]
    torch.testing.assert_close(matrix(out_size, in_size, frame, area(in_size, frame)), expected)


@given(in_size=sizes, extra=sizes)
def test_corner_grids_are_interpolated_as_torch_does_at_the_frame_size(
    in_size: int, extra: int
) -> None:
    frame = in_size + extra
    eye = torch.eye(in_size, dtype=torch.float64)[None, None]
    expected = F.interpolate(eye, (frame, in_size), mode="bilinear", align_corners=True)[0, 0]
    if in_size > 1:
        found = matrix(frame, in_size, frame, corners(in_size, frame))
        torch.testing.assert_close(found, expected)


@given(
    out_size=sizes,
    in_size=sizes,
    frame=sizes,
    offset=st.floats(-50, 50),
    step=st.floats(0.1, 20),
)
def test_every_cell_is_a_weighted_mean(
    out_size: int, in_size: int, frame: int, offset: float, step: float
) -> None:
    weights = matrix(out_size, in_size, frame, (offset, step))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(out_size, dtype=torch.float64))


def test_a_map_of_pixel_coordinates_stays_one_wherever_its_samples_sit() -> None:
    frame, grid = (480, 640), Grid(0.0, 8 * 479 / 383, 0.0, 8 * 639 / 512)
    y = grid.offset_y + grid.step_y * torch.arange(49)
    x = grid.offset_x + grid.step_x * torch.arange(65)
    maps = torch.stack((y[:, None].expand(49, 65), x.expand(49, 65)))
    for cell in (1, 2, 4):
        size = (480 // cell, 640 // cell)
        rows, columns = resample(maps, grid, frame, size)
        centre = (torch.arange(size[0]) + 0.5) * cell - 0.5
        torch.testing.assert_close(rows[:, 0], centre, atol=1e-3, rtol=0)
        centre = (torch.arange(size[1]) + 0.5) * cell - 0.5
        # The last half cell lies beyond the last column of samples, where its value holds.
        torch.testing.assert_close(columns[0, :-1], centre[:-1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(12, 16), (48, 64), (7, 50)])
def test_resample_equals_interpolate(size: tuple[int, int]) -> None:
    maps = torch.rand(3, 2, 24, 32, generator=torch.Generator().manual_seed(0))
    found = resample(maps.half(), Grid.area((24, 32), (48, 64)), (48, 64), size)
    expected = F.interpolate(maps.half().float(), size, mode="bilinear", antialias=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("channels", [1, 5])
def test_resample_gives_the_memory_format_asked_for(channels: int) -> None:
    maps = torch.rand(2, channels, 24, 32, generator=torch.Generator().manual_seed(0))
    arguments = maps, Grid(3.0, 1.9, 2.0, 1.7), (48, 64), (20, 30)
    found = resample(*arguments, channels_last=True)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, resample(*arguments))


def test_a_grid_over_part_of_the_frame_is_continued_by_its_border() -> None:
    weights = matrix(10, 3, 10, (4.0, 1.0))
    np.testing.assert_array_equal(weights.argmax(1), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2])


def test_parse() -> None:
    assert Grid.parse("area", (4, 4), (8, 8)) == (Grid(0.5, 2, 0.5, 2), "area")
    assert Grid.parse("corners", (3, 5), (9, 9)) == (Grid(0, 4, 0, 2), "corners")
    assert Grid.parse("1,2,3,4.5", (4, 4), (8, 8)) == (Grid(1, 2, 3, 4.5), "explicit")


@pytest.mark.parametrize("text", ["centre", "1,2,3", "1,0,1,1", "nan,1,1,1", "1,1,1,-2"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(CacheError, match="grid"):
        Grid.parse(text, (4, 4), (8, 8))
