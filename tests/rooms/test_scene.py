"""Rays against scenes whose depth and labels follow from a formula."""

from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.rooms.camera import Camera
from jrn_lightning.rooms.item import UNLABELLED, Item, tilt
from jrn_lightning.rooms.materials import Material
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.view import label_of

GREY = Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0)
SIZE = (48, 64)


def ahead(pitch: float = 0.0, roll: float = 0.0, yaw: float = 0.0) -> Camera:
    return Camera.looking(np.array([0.0, 0.0, 1.3]), yaw, pitch, roll, np.radians(58))


def slab(name: str, size: tuple[float, float, float], at: tuple[float, float, float]) -> Item:
    item = Item(name)
    item.box(size, at, GREY)
    return item


def seen(scene: Scene, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    rays = camera.rays(*SIZE)
    hits = scene.first(camera.at, rays)
    label = np.where(hits.face >= 0, scene.label[scene.part[hits.face]], 99)
    return hits.distance.reshape(SIZE), label.reshape(SIZE)


def pixel_rays(camera: Camera) -> np.ndarray:
    """Unit vectors through the pixels, by trigonometry: (H, W, 3) as right, down, forward."""
    half = np.tan(camera.hfov / 2)
    x = ((np.arange(64) + 0.5) / 32 - 1) * half
    y = ((np.arange(48) + 0.5) - 24) / 32 * half
    grid = np.stack(np.broadcast_arrays(x[None], y[:, None], np.ones((48, 64))), -1)
    return grid / np.linalg.norm(grid, axis=-1, keepdims=True)


def test_a_wall_straight_ahead_has_one_depth() -> None:
    # z-depth is the same all over it; the ray is longer in the corners.
    depth, _ = seen(Scene([slab("wall", (1, 40, 40), (3.5, 0, -20))], label_of), ahead())
    np.testing.assert_allclose(depth, 3.0, rtol=1e-5)


@pytest.mark.parametrize("pitch", [0.1, 0.35])
@pytest.mark.parametrize("roll", [0.0, 0.08])
def test_depth_of_the_floor_follows_from_the_angle(pitch: float, roll: float) -> None:
    camera = ahead(pitch, roll, yaw=0.7)
    depth, label = seen(Scene([slab("floor", (90, 90, 1), (0, 0, -1))], label_of), camera)
    right, down, forward = np.moveaxis(pixel_rays(camera), -1, 0)
    # Undo the roll, then the pitch: how fast a ray sinks.
    level_down = np.sin(roll) * right + np.cos(roll) * down
    sinks = np.cos(pitch) * level_down + np.sin(pitch) * forward
    exact = 1.3 / sinks * forward
    on_floor = (sinks > 0) & (1.3 / np.maximum(sinks, 1e-9) < 40)
    assert on_floor.mean() > 0.4
    np.testing.assert_allclose(depth[on_floor], exact[on_floor], rtol=1e-4)
    assert (label[on_floor] == 0).all()
    assert (label[sinks < 0] == 99).all()


def test_the_image_is_not_mirrored_or_upside_down() -> None:
    # Looking along x, y is to the left.
    items = [
        slab("bed", (0.5, 1, 1), (3, 1, 0.3)),  # left, below the middle
        slab("door", (0.5, 1, 1), (3, -1, 0.3)),
        slab("ceiling", (9, 9, 1), (0, 0, 2.2)),
    ]
    _, label = seen(Scene(items, label_of), ahead())
    rows, columns = np.nonzero(label == 3)
    assert columns.max() < 32
    assert rows.mean() > 24
    assert np.nonzero(label == 1)[1].min() > 32
    assert np.nonzero(label == 2)[0].max() < 24


def test_positive_roll_lowers_the_right_of_a_level_line() -> None:
    # The photographer tips the camera clockwise, the picture tips the other way.
    scene = Scene([slab("floor", (90, 90, 1), (0, 0, -1))], label_of)
    _, label = seen(scene, ahead(roll=0.2))
    floor = label == 0
    assert floor[:, 60].sum() > floor[:, 3].sum()


def test_a_tilted_and_placed_part_is_where_its_matrices_say() -> None:
    item = Item("box")
    item.add("box", (0.4, 0.2, 0.6), (0.3, 0.0, 0.1), GREY, tilt(0.5, (1, 0, 0)))
    item.place((2.0, 1.0, 0.0), yaw=np.pi / 2)
    bounds = Scene([item], label_of).bounds_of_items()[0]
    # By hand: y and z of the tilted box, then x -> y and y -> -x.
    y, z = np.array([-0.1, 0.1, -0.1, 0.1]), np.array([0, 0, 0.6, 0.6])
    tilted_y, tilted_z = np.cos(0.5) * y - np.sin(0.5) * z, np.sin(0.5) * y + np.cos(0.5) * z
    np.testing.assert_allclose(bounds[0], (2 - tilted_y.max(), 1.1, 0.1 + tilted_z.min()))
    np.testing.assert_allclose(bounds[1], (2 - tilted_y.min(), 1.5, 0.1 + tilted_z.max()))


def test_blocked_stops_at_its_reach() -> None:
    scene = Scene([slab("wall", (1, 9, 9), (3.5, 0, -2))], label_of)
    start, ray = np.zeros((2, 3)), np.array([[2.0, 0, 0], [-2.0, 0, 0]])
    assert scene.blocked(start, ray, np.array([1.6, 1.6])).tolist() == [True, False]
    assert scene.blocked(start, ray, np.array([1.4, 1.4])).tolist() == [False, False]


WANG = {
    0: ("floor", "floor mat"),
    1: ("wall", "door", "door frame", "blinds", "cabinet", "bookshelf", "wardrobe", "mirror"),
    2: ("ceiling",),
    3: ("bed", "sofa", "table", "coffee table", "desk"),
    4: ("chair", "window", "curtain", "picture", "light", "book"),
    255: (UNLABELLED,),
}


@pytest.mark.parametrize("label", WANG)
def test_names_have_the_classes_of_wang(label: int) -> None:
    assert {label_of(name) for name in WANG[label]} == {label}
