"""One room, drawn: images and ground truth of its views."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.importers.labels import WANG5
from jrn_lightning.modalities.semantic import VOID
from jrn_lightning.rooms import sensor
from jrn_lightning.rooms.camera import Camera, choose_views
from jrn_lightning.rooms.item import UNLABELLED
from jrn_lightning.rooms.layout import Room, furnish
from jrn_lightning.rooms.materials import Float
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.shading import Surfaces, radiance, reflectance

SPACE = WANG5


class View(NamedTuple):
    """What one view gives.

    Attributes:
        image: ``(H, W, 3)`` uint8.
        depth: ``(H, W)`` float32 metres along the optical axis, 0 where missing.
        label: ``(H, W)`` uint8 of the label space, 255 where void.
        normals: ``(3, H, W)`` float32 unit vectors in the camera's axes: x to the right, y down, z
            forward; all face the camera. Those of the smooth surface that light falls on.
        reflectance: ``(3, H, W)`` float32 in [0, 1], linear red, green and blue.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    label: NDArray[np.uint8]
    normals: NDArray[np.float32]
    reflectance: NDArray[np.float32]


def draw_room(
    seed: int,
    number: int,
    views: int,
    size: tuple[int, int],
    advance: Callable[[], object] = lambda: None,
) -> list[View]:
    """All views of a room, each of ``size`` (H, W).

    The seed of the data set and the number of the room determine everything.
    """
    rng = np.random.default_rng((seed, number))
    room = furnish(rng)
    scene = Scene(room.items, label_of)
    drawn = []
    for camera in choose_views(scene, room, rng, views):
        drawn.append(draw(scene, room, camera, size, rng))
        advance()
    return drawn


def draw(
    scene: Scene, room: Room, camera: Camera, size: tuple[int, int], rng: np.random.Generator
) -> View:
    """One view."""
    rays = camera.rays(*size)
    hits = scene.first(camera.at, rays)
    seen = Surfaces(scene, camera, hits, rays)
    colour = reflectance(scene, camera, seen, size)
    image = sensor.photograph(radiance(scene, room, camera, seen, colour, size, rng), rng)
    depth = hits.distance.reshape(size)
    missing = sensor.unmeasured(scene, camera, seen, depth, rng)
    label, item = scene.label[seen.part].reshape(size), scene.item[seen.part].reshape(size)
    measured = sensor.measured(depth, missing, rng)
    labelled = sensor.annotated(label, item, VOID, rng)
    normals = (seen.normal @ camera.axes.T).astype(np.float32)
    return View(image, measured, labelled, _upright(normals, size), _upright(colour, size))


def _upright(values: Float, size: tuple[int, int]) -> Float:
    """``(H · W, 3)`` as ``(3, H, W)``."""
    return np.ascontiguousarray(values.T.reshape(3, *size))


@cache
def label_of(name: str) -> int:
    """Label of a part by its raw NYU name."""
    return VOID if name == UNLABELLED else int(SPACE.from_raw([name])[1])
