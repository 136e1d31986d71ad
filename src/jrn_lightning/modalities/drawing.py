"""Arrays to pictures, shared by the modalities."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

GREY = 128


def colormap(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Colour ``values`` ``(H, W)`` in [0, 1] (clipped) with a matplotlib map: ``(H, W, 3)``."""
    table = (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    index = (np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return np.asarray(table[index])
