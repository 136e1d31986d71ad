"""A hand-held camera, and views of a room that show something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from jrn_lightning.rooms.layout import Room
from jrn_lightning.rooms.materials import Float
from jrn_lightning.rooms.scene import Scene

_CANDIDATES: Final = 60
_LOOK: Final = (18, 24)  # pixels of a candidate's view
_CLEARANCE: Final = 0.25  # metres around the camera
_NEAREST: Final = 0.5
# Who photographs a room steps back from what is in it: the sensor measures from 0.8 m on only.
_CLOSE: Final = 1.5
# What people photograph: about NYU Depth v2's shares of the five classes of wang5.
_SHARES: Final = np.array([0.12, 0.41, 0.08, 0.28, 0.11])
_WEIGHTS: Final = np.array([1.0, 1.0, 4.0, 3.0, 1.2])  # ceilings and furniture are few


@dataclass(frozen=True)
class Camera:
    """A pinhole.

    Attributes:
        at: ``(3,)`` metres.
        axes: ``(3, 3)`` its right, down and forward as rows, in the room's frame.
        hfov: horizontal field of view, radians.
    """

    at: NDArray[np.float64]
    axes: NDArray[np.float64]
    hfov: float

    @classmethod
    def looking(
        cls, at: NDArray[np.float64], yaw: float, pitch: float, roll: float, hfov: float
    ) -> Camera:
        """By angles in radians.

        Args:
            at: where it is.
            yaw: of the view's direction, from x toward y.
            pitch: downward.
            roll: clockwise, as the photographer sees it.
            hfov: horizontal field of view.
        """
        ahead = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        forward = np.cos(pitch) * ahead - np.sin(pitch) * np.array([0, 0, 1.0])
        down = np.cross(forward, right)
        rolled = np.cos(roll) * right + np.sin(roll) * down
        return cls(at, np.stack([rolled, np.cross(forward, rolled), forward]), hfov)

    def focal(self, width: int) -> float:
        """Focal length in pixels of an image so wide."""
        return float(width / 2 / np.tan(self.hfov / 2))

    def rays(self, height: int, width: int) -> Float:
        """Directions ``(H · W, 3)`` through the pixels' middles, of length 1 along the axis.

        A distance in lengths of these is the depth along the optical axis, not along the ray.
        """
        x = (np.arange(width) + 0.5 - width / 2) / self.focal(width)
        y = (np.arange(height) + 0.5 - height / 2) / self.focal(width)
        right, down, forward = self.axes
        rays = forward + x[None, :, None] * right + y[:, None, None] * down
        return np.asarray(rays.reshape(-1, 3), np.float32)


def choose_views(scene: Scene, room: Room, rng: Generator, count: int) -> list[Camera]:
    """``count`` views that keep away from things and show several of them, unlike one another."""
    obstacles = scene.bounds_of_items()[
        [k for k, item in enumerate(room.items) if item.rest != "structure" or item.kind == "pier"]
    ]
    cameras: list[Camera] = []
    scores = []
    margin = _CLEARANCE
    while len(cameras) < max(_CANDIDATES, 3 * count):
        for _ in range(1000):
            camera = _candidate(room, rng)
            if _is_clear(camera.at, obstacles, margin):
                break
        else:
            margin /= 2  # a crowded room
            continue
        cameras.append(camera)
        scores.append(_score(scene, room, camera) + rng.uniform(0, 0.35))
    ways = np.array([camera.axes[2] for camera in cameras])
    places = np.array([camera.at for camera in cameras])
    chosen = []
    left = np.array(scores)
    for _ in range(count):
        best = int(left.argmax())
        chosen.append(cameras[best])
        same_way = np.maximum(ways @ ways[best] - 0.3, 0)
        left -= same_way * (0.4 + np.exp(-np.linalg.norm(places - places[best], axis=1)))
        left[best] = -np.inf
    return chosen


def _candidate(room: Room, rng: Generator) -> Camera:
    x, y, _ = room.size
    at = np.array([rng.uniform(0.3, x - 0.3), rng.uniform(0.3, y - 0.3), rng.uniform(1.2, 1.6)])
    # Toward the far side of the room more often than not.
    toward = np.array([x * rng.uniform(0.1, 0.9), y * rng.uniform(0.1, 0.9)]) - at[:2]
    yaw = float(np.arctan2(toward[1], toward[0]) + rng.normal(0, 0.3))
    pitch = np.radians(rng.triangular(-4, 1, 25))
    roll = np.radians(np.clip(rng.normal(0, 1.8), -5, 5))
    return Camera.looking(at, yaw, pitch, roll, np.radians(rng.uniform(57, 60)))


def _is_clear(at: NDArray[np.float64], bounds: NDArray[np.float64], margin: float) -> bool:
    inside = (at > bounds[:, 0] - margin) & (at < bounds[:, 1] + margin)
    return not inside.all(1).any()


def _score(scene: Scene, room: Room, camera: Camera) -> float:
    rays = camera.rays(*_LOOK)
    hits = scene.first(camera.at, rays)
    depth = hits.distance
    part = scene.part[hits.face]
    shares = np.bincount(scene.label[part], minlength=256)[:5] / len(part)
    unlike = float(_WEIGHTS @ np.abs(shares - _SHARES))
    per_item = np.bincount(scene.item[part], minlength=len(room.items))
    things = np.array([thing.rest != "structure" for thing in room.items])
    seen = float((per_item[things] > 1).sum())
    largest = float(per_item.max()) / len(part)
    score = 0.05 * min(seen, 12.0) - 1.5 * unlike
    score -= 2.0 * max(0.0, largest - 0.4)
    score -= 20.0 * float((depth < _NEAREST).mean())
    score -= 6.0 * float((depth < _CLOSE).mean())
    return score - 1.5 * max(0.0, 1.7 - float(np.median(depth)))
