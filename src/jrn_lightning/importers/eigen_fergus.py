"""The depth that Eigen and Fergus (ICCV 2015) published: ``predictions_depth_vgg.mat``.

``depths`` (240, 320, 654) is metric depth of the official test frames of NYU Depth v2, at half the
size of the frames. The network predicts their middle alone: ``predicted_region``, the 1-based
left, top, right and bottom pixel at that size (14, 12, 307, 229 of 218 × 294 pixels). Only that is
read. Beyond it the nearest predicted pixel holds, as beyond any grid: a measure that shall not see
that is taken under the protocol ``eigen_fergus``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import in_order
from jrn_lightning.importers.sources import Contents, PredictionSource, read_mat
from jrn_lightning.modalities import Depth

_KEYS: Final = ("depths", "predicted_region")
#: pixels of the frame a pixel of the maps, a side
_FACTOR: Final = 2


def open_eigen_fergus(
    path: Path, ids: Sequence[str], size: tuple[int, int]
) -> tuple[PredictionSource, str]:
    """The maps, and how they lie on the frame.

    Args:
        path: the file.
        ids: of the frames that it covers: all official test frames, with truth or without.
        size: (H, W) of the frame.

    Raises:
        CacheError: another file, or another number of frames.
    """
    variables = read_mat(path)
    if missing := [key for key in _KEYS if key not in variables]:
        raise CacheError(
            f"{path} lacks {', '.join(missing)}. Give predictions_depth_vgg.mat as Eigen and "
            "Fergus published it."
        )
    depths, region = variables["depths"], np.ravel(variables["predicted_region"]).astype(int)
    full = (size[0] // _FACTOR, size[1] // _FACTOR)
    if depths.ndim != 3 or depths.shape[:2] != full or region.size != 4:
        raise CacheError(
            f"{path}: depths of {depths.shape} and a region of {region.size} numbers, expected "
            f"({full[0]}, {full[1]}, frames) and 4. Copy it again."
        )
    if depths.shape[2] != len(ids):
        raise CacheError(
            f"{path} holds {depths.shape[2]} frames, the official test set has {len(ids)} here. "
            "Give the data set with all 654, those without truth among them."
        )
    left, top, right, bottom = region.tolist()
    if not (1 <= left <= right <= full[1] and 1 <= top <= bottom <= full[0]):
        raise CacheError(f"{path}: the region {region.tolist()} is not within {full}.")
    row = {frame: i for i, frame in enumerate(in_order(ids))}
    inside = depths[top - 1 : bottom, left - 1 : right]
    contents = Contents(list(row), lambda frame: inside[..., row[frame]], [path], True)
    offsets = (_FACTOR * (n - 1) + (_FACTOR - 1) / 2 for n in (top, left))
    grid = ",".join(f"{offset},{_FACTOR}" for offset in offsets)
    return PredictionSource(path, Depth("depth"), 1.0, contents), grid
