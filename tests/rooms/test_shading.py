from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.rooms.camera import Camera
from jrn_lightning.rooms.item import Item
from jrn_lightning.rooms.layout import Light, Room
from jrn_lightning.rooms.materials import Material
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.shading import Surfaces, radiance, reflectance
from jrn_lightning.rooms.view import label_of

GREY = Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0)
SIZE = (48, 64)


def looking_down(light: Light, *, plate: bool = False) -> np.ndarray:
    """The floor from 2 m above, x to the right: light of a room without ambient light, (H, W)."""
    items = [Item("floor")]
    items[0].box((20, 20, 1), (0, 0, -1), GREY, "floor")
    if plate:
        items.append(Item("box"))
        items[1].box((0.5, 0.5, 0.01), (1.5, 0, 1.0), GREY, "box")
    room = Room("test", (20, 20, 3), items, [light], ambient=0.0)
    scene = Scene(items, label_of)
    axes = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    camera = Camera(np.array([0, 0, 2.0]), axes, np.radians(58))
    rays = camera.rays(*SIZE)
    seen = Surfaces(scene, camera, scene.first(camera.at, rays), rays)
    colour = reflectance(scene, camera, seen, SIZE)
    assert (np.abs(colour / 0.5 - 1) <= 0.12 + 1e-6).all()  # grey, worn unevenly
    picture = radiance(scene, room, camera, seen, colour, SIZE, np.random.default_rng(0))
    assert picture.shape == (*SIZE, 3)
    return np.asarray(picture[..., 0] / picture[..., 0].max())


def lamp(at: tuple[float, float, float], half: float = 1e-3) -> Light:
    sides = np.array([[half, 0, 0], [0, half, 0]])
    return Light(np.array(at), sides, None, np.ones(3), 4.0)


def metres() -> tuple[np.ndarray, np.ndarray]:
    """x and y on the floor of each pixel."""
    scale = 2.0 * np.tan(np.radians(29)) / 32
    return np.meshgrid((np.arange(64) - 31.5) * scale, -(np.arange(48) - 23.5) * scale)


def test_light_falls_off_with_distance_and_angle() -> None:
    picture = looking_down(lamp((0, 0, 1.5)))
    x, y = metres()
    square = x**2 + y**2 + 1.5**2
    exact = 1.5 / np.sqrt(square) / (square + 0.05)
    # The surface itself is uneven by 12 %.
    np.testing.assert_allclose(picture, exact / exact.max(), atol=0.14)
    near, far = (x**2 + y**2 < 0.1), (x > 0.9)
    ratio = picture[far].mean() / picture[near].mean()
    assert ratio == pytest.approx(exact[far].mean() / exact[near].mean(), rel=0.08)


def test_a_plate_throws_its_shadow_away_from_the_lamp() -> None:
    # From (3, 0, 2) past a plate at height 1 and x 1.25 … 1.75: shadow at x -0.5 … 0.5.
    light = lamp((3, 0, 2))
    shadow = looking_down(light, plate=True) < 0.02
    x, y = metres()
    core = (np.abs(x) < 0.45) & (np.abs(y) < 0.45)
    outside = (np.abs(x) > 0.6) & (x < 1) | (np.abs(y) > 0.6)
    assert shadow[core].all()
    assert not shadow[outside].any()
    assert not (looking_down(light) < 0.02).any()


def test_a_large_lamp_has_a_soft_shadow() -> None:
    hard = looking_down(lamp((3, 0, 2)), plate=True)
    soft = looking_down(lamp((3, 0, 2), 0.4), plate=True)
    partial = [int(((p > 0.03) & (p < 0.6 * np.median(p))).sum()) for p in (hard, soft)]
    assert partial[1] > 2 * partial[0]
