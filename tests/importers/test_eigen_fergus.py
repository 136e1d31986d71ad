from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from jrn_lightning.cache.grid import Grid, resample
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.eigen_fergus import open_eigen_fergus
from jrn_lightning.modalities import Depth

SIZE = (48, 64)
IDS = ["0009", "0010", "0002"]  # the splits of a data set, one after the other


def write(path: Path, **changes: Any) -> Path:
    """Column, row and frame can be told from a depth; 9 where nothing was predicted."""
    depths = np.full((24, 32, 3), 9.0, np.float32)
    rows, columns, frames = np.mgrid[2:20, 3:29, :3]  # the published region, in small
    depths[2:20, 3:29] = 1 + rows / 24 + columns / 320 + frames
    content = {"depths": depths, "predicted_region": [[4], [3], [29], [20]]}
    scipy.io.savemat(path, content | changes)
    return path


def test_the_region_lies_where_the_file_says(tmp_path: Path) -> None:
    source, grid = open_eigen_fergus(write(tmp_path / "p.mat"), IDS, SIZE)
    assert source.shape == (1, 18, 26)
    assert source.ids == ["0002", "0009", "0010"]  # the official order
    for frame, id in enumerate(source.ids):
        maps = torch.from_numpy(source.read(id).copy())
        full = resample(maps, Grid.parse(grid, (18, 26), SIZE)[0], SIZE, SIZE)[0].numpy()
        # A half-size pixel's depth at the middle of its four, in pixels of the frame.
        rows, columns = np.mgrid[:48, :64] / 2 - 0.25
        inside = (slice(5, 39), slice(7, 57))
        expected = 1 + rows / 24 + columns / 320 + frame
        np.testing.assert_allclose(full[inside], expected[inside], atol=1e-5)
        np.testing.assert_allclose(full[0, 20], full[4, 20])  # beyond it the nearest holds
        assert Depth("depth").check_prediction(full[None]) is None
        assert full.max() < 5


def test_the_published_numbers_are_the_middle_of_a_frame() -> None:
    """218 × 294 of 240 × 320: 436 × 588 of the frame, the same margin on both sides."""
    left, top, right, bottom = 14, 12, 307, 229
    assert (bottom - top + 1, right - left + 1) == (218, 294)
    assert (top - 1, left - 1) == (240 - bottom, 320 - right)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.mat"
    scipy.io.savemat(path, {"depths": np.ones((24, 32, 3))})
    with pytest.raises(CacheError, match=r"p\.mat lacks predicted_region"):
        open_eigen_fergus(path, IDS, SIZE)
    with pytest.raises(CacheError, match=r"3 frames, the official test set has 2 here"):
        open_eigen_fergus(write(path), IDS[:2], SIZE)
    with pytest.raises(CacheError, match=r"the region \[4, 3, 40, 20\] is not within"):
        open_eigen_fergus(write(path, predicted_region=[4, 3, 40, 20]), IDS, SIZE)
    with pytest.raises(CacheError, match=r"expected \(240, 320, frames\)"):
        open_eigen_fergus(write(path), IDS, (480, 640))
