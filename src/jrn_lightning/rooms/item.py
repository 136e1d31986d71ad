"""Things in a room: parts in the thing's own frame, and where the thing stands.

In its own frame a thing stands on z = 0, its back toward -y, its front toward +y, metres.
Parts are named as NYU Depth v2 names them, so that their class follows from a label space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from trimesh import transformations

from jrn_lightning.rooms.materials import Material
from jrn_lightning.rooms.shapes import shape

Vector = tuple[float, float, float]
Matrix = NDArray[np.float64]

#: what a thing is held by: it stands on something, hangs on a wall or the ceiling, or is the room
Rest = Literal["stands", "wall", "ceiling", "structure"]

#: name of parts that nobody labelled
UNLABELLED: Final = ""


@dataclass(frozen=True)
class Part:
    """One solid.

    Attributes:
        name: raw NYU class, or ``UNLABELLED``.
        shape: see :func:`shapes.shape`.
        size: metres that its cell of width, depth and height 1 becomes.
        at: where the middle of the cell's foot is, in the frame ``pose``.
        pose: ``(4, 4)`` from the frame of the part's texture into the thing's.
        material: its surface.
    """

    name: str
    shape: str
    size: Vector
    at: Vector
    pose: Matrix
    material: Material

    @property
    def vertices(self) -> Matrix:
        """``(V, 3)`` in the frame of the texture."""
        return shape(self.shape).vertices * self.size + self.at


@dataclass(frozen=True)
class Top:
    """A level rectangle on which things may stand, in the frame of what it belongs to.

    Attributes:
        low: smallest x and y.
        high: largest x and y.
        z: its height.
        headroom: metres above it that are free.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    z: float
    headroom: float = 1.0


@dataclass
class Item:
    """A thing of several parts.

    Attributes:
        kind: what it is, for messages and tests.
        rest: what holds it.
        parts: its solids.
        tops: where things may stand on it.
        pose: ``(4, 4)`` from its frame into the room's.
        name: raw NYU class of its parts, but for those that have their own; else its kind.
    """

    kind: str
    rest: Rest = "stands"
    parts: list[Part] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    pose: Matrix = field(default_factory=lambda: np.eye(4))
    name: str | None = None
    _bounds: tuple[int, Matrix] | None = field(default=None, repr=False)

    def add(
        self,
        form: str,
        size: Vector,
        at: Vector,
        material: Material,
        turn: Matrix | None = None,
        name: str | None = None,
    ) -> Item:
        """Add a solid; gives back the thing itself.

        Args:
            form: see :func:`shapes.shape`.
            size: width, depth and height.
            at: the middle of its foot.
            material: its surface.
            turn: ``(4, 4)`` rotation about that point.
            name: raw NYU class; the thing's where None.
        """
        if name is None:
            name = self.name or self.kind
        if turn is None:
            # In the thing's own frame, a grain runs on from one part to the next.
            self.parts.append(Part(name, form, size, at, np.eye(4), material))
        else:
            self.parts.append(Part(name, form, size, (0.0, 0.0, 0.0), shift(at) @ turn, material))
        return self

    def box(self, size: Vector, at: Vector, material: Material, name: str | None = None) -> Item:
        """Add an upright cuboid, see :meth:`add`."""
        return self.add("box", size, at, material, name=name)

    def top(self, size: tuple[float, float], z: float, headroom: float = 1.0) -> Item:
        """Let things stand on a centred rectangle; gives back the thing itself."""
        x, y = size[0] / 2, size[1] / 2
        self.tops.append(Top((-x, -y), (x, y), z, headroom))
        return self

    def bounds(self) -> Matrix:
        """Smallest and largest coordinates ``(2, 3)`` in its own frame."""
        if self._bounds is None or self._bounds[0] != len(self.parts):
            corners = np.concatenate([moved(part.vertices, part.pose) for part in self.parts])
            # Asked for at every try to place it.
            self._bounds = (len(self.parts), np.array([corners.min(0), corners.max(0)]))
        return self._bounds[1]

    def place(self, at: Vector, yaw: float = 0.0) -> Item:
        """Set its pose: its frame's origin and the angle about the vertical, radians."""
        self.pose = shift(at) @ tilt(yaw, (0, 0, 1))
        return self


def tilt(angle: float, axis: Vector) -> Matrix:
    """Rotation ``(4, 4)`` by ``angle`` radians."""
    return np.asarray(transformations.rotation_matrix(angle, axis))  # type: ignore[no-untyped-call]


def shift(by: Vector) -> Matrix:
    """Translation ``(4, 4)``."""
    return np.asarray(transformations.translation_matrix(by))  # type: ignore[no-untyped-call]


def spread(count: int, step: float) -> list[float]:
    """Places so far apart, about 0.

    >>> spread(3, 2.0)
    [-2.0, 0.0, 2.0]
    """
    return [(k - (count - 1) / 2) * step for k in range(count)]


def moved(points: Matrix, pose: Matrix) -> Matrix:
    """Points ``(N, 3)`` in the frame that ``pose`` leads into."""
    return points @ pose[:3, :3].T + pose[:3, 3]
