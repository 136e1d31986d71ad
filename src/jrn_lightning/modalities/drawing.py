"""Arrays to pictures, and what their colours mean, shared by the modalities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

GREY: Final = 128

# The colours of Figure 5 in spirit, told apart by lightness too.
_FIRST: Final = np.array(
    [
        (230, 159, 0),
        (86, 120, 200),
        (240, 228, 66),
        (0, 158, 115),
        (204, 60, 60),
        (150, 100, 180),
        (86, 180, 233),
        (120, 94, 60),
        (204, 121, 167),
        (60, 60, 60),
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Ramp:
    """A range of colours ``(1, N, 3)``, its ends, and what it is of."""

    colours: NDArray[np.uint8]
    ends: tuple[float, float]
    label: str


@dataclass(frozen=True)
class Key:
    """What the colours of a modality mean: (colour, name) of its classes, or ramps, or nothing."""

    name: str
    classes: tuple[tuple[str, str], ...] = ()
    ramps: tuple[Ramp, ...] = ()


def named(colours: NDArray[np.uint8]) -> list[str]:
    """Colours ``(N, 3)`` as ``#rrggbb``."""
    return [to_hex(colour / 255) for colour in colours]


def greyed(picture: NDArray[np.uint8], missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture ``(H, W, 3)``, grey where ``missing`` ``(H, W)``."""
    return np.where(missing[..., None], np.uint8(GREY), picture)


def colormap(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Colour ``values`` ``(H, W)`` in [0, 1] (clipped) with a matplotlib map: ``(H, W, 3)``."""
    table = (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    index = (np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return np.asarray(table[index])


@cache
def palette(count: int) -> NDArray[np.uint8]:
    """``(count, 3)`` colours: ten chosen ones, then each as unlike all before it as can be.

    Unlike also grey and white, which mean missing and right; by the distance in CIELAB.
    """
    chosen = [*_FIRST[:count]]
    if count > len(_FIRST):
        steps = np.arange(0, 256, 17)
        free = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3).astype(np.uint8)
        places = _lab(free)
        taken = _lab(np.concatenate([_FIRST, np.array([[GREY] * 3, [255] * 3], np.uint8)]))
        distance = np.linalg.norm(places[:, None] - taken, axis=-1).min(1)
        for _ in range(count - len(_FIRST)):
            best = int(distance.argmax())
            chosen.append(free[best])
            distance = np.minimum(distance, np.linalg.norm(places - places[best], axis=-1))
    return np.array(chosen, np.uint8)


def _lab(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """SRGB ``(N, 3)`` in CIELAB, whose distances are those that are seen; white of D65."""
    x = colours / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ratio = linear @ np.transpose(to_xyz) / (0.9505, 1.0, 1.089)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)
