"""One room, drawn: images, depth and labels of its views."""

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
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.shading import Surfaces, radiance

SPACE = WANG5


class View(NamedTuple):
    """What one view gives.

    Attributes:
        image: ``(H, W, 3)`` uint8.
        depth: ``(H, W)`` float32 metres along the optical axis, 0 where missing.
        label: ``(H, W)`` uint8 of the label space, 255 where void.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    label: NDArray[np.uint8]


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
    image = sensor.photograph(radiance(scene, room, camera, seen, size, rng), rng)
    depth = hits.distance.reshape(size)
    missing = sensor.unmeasured(scene, camera, seen, depth, rng)
    label, item = scene.label[seen.part].reshape(size), scene.item[seen.part].reshape(size)
    measured = sensor.measured(depth, missing, rng)
    return View(image, measured, sensor.annotated(label, item, VOID, rng))


@cache
def label_of(name: str) -> int:
    """Label of a part by its raw NYU name."""
    return VOID if name == UNLABELLED else int(SPACE.from_raw([name])[1])
