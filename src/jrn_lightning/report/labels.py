"""Where to write names in a plot so that they cover nothing.

Boxes are arrays ``(n, 4)`` of left, bottom, right, top; all lengths are in points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]

_RADII = np.array([6.0, 8, 11, 16, 22, 30, 40, 52, 68])
_ANGLES = np.deg2rad(np.arange(24) * 15 + 45)
_FAR = 16.0
_COVER = 4.0  # what a square point that is covered costs, in points of distance
_DOUBT = 15.0  # and what it costs to lie as near to another marker
_ABOVE = 2.5  # gap between a line and its name


def beside(
    point: ArrayLike, size: ArrayLike, *, others: ArrayLike, taken: Boxes, frame: Boxes
) -> tuple[Boxes, bool]:
    """Box for a name of ``size`` (width, height) near ``point`` (x, y).

    Candidates lie on rings around the point. The one wins that covers least, and then is nearest.

    Args:
        point: ``(2,)``, what is named.
        size: ``(2,)``, of the name.
        others: ``(n, 2)``, further points that a name could be taken to belong to.
        taken: ``(m, 4)``, what not to cover.
        frame: ``(4,)``, where to stay.

    Returns:
        The box ``(4,)``, and whether it needs a line to tell whose name it is.
    """
    x, width = np.asarray(point, float), np.asarray(size, float)
    others = np.asarray(others, float).reshape(-1, 2)
    radius = np.repeat(_RADII, len(_ANGLES))
    angle = np.tile(_ANGLES, len(_RADII))
    direction = np.stack([np.cos(angle), np.sin(angle)], 1)
    boxes = around(x + direction * (radius[:, None] + width / 2), width)
    reach = 1.3 * distance(boxes, x[None]) + 2
    doubtful = np.any(distance(boxes, others) < reach, axis=1)
    cost = _COVER * hidden(boxes, taken, frame) + radius + _DOUBT * doubtful
    best = int(cost.argmin())
    return boxes[best], bool(doubtful[best] or radius[best] > _FAR)


def along(height: float, size: ArrayLike, *, taken: Boxes, frame: Boxes) -> Boxes:
    """Box ``(4,)`` for the name of the level line at ``height``: above or below, right first."""
    width = np.asarray(size, float)
    x = np.linspace(frame[2] - width[0] / 2, frame[0] + width[0] / 2, 21)
    gap = _ABOVE + width[1] / 2
    centres = np.stack([np.repeat(x, 2), np.tile([height + gap, height - gap], len(x))], 1)
    boxes = around(centres, width)
    return np.asarray(boxes[int(hidden(boxes, taken, frame).argmin())])


def around(centres: ArrayLike, size: ArrayLike) -> Boxes:
    """Boxes ``(n, 4)`` of ``size`` (width, height) around ``centres`` ``(n, 2)``."""
    middle, half = np.asarray(centres, float), np.asarray(size, float) / 2
    return np.concatenate([middle - half, middle + half], 1)


def hidden(boxes: Boxes, taken: Boxes, frame: Boxes) -> NDArray[np.float64]:
    """Area ``(n,)`` of each box that covers something taken, or lies outside the frame."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.asarray(overlap(boxes, taken).sum(1) + area - overlap(boxes, frame[None])[:, 0])


def overlap(boxes: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Area ``(n, m)`` that each box shares with each of the others."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(-1))


def distance(boxes: Boxes, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance ``(n, m)`` between each box and each point; 0 inside."""
    nearest = np.clip(points[None], boxes[:, None, :2], boxes[:, None, 2:])
    return np.asarray(np.linalg.norm(nearest - points[None], axis=-1))
