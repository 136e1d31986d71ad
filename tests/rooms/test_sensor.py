from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.rooms import sensor
from jrn_lightning.rooms.camera import Camera
from jrn_lightning.rooms.item import Item
from jrn_lightning.rooms.materials import Material
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.shading import Surfaces
from jrn_lightning.rooms.view import label_of

GREY = Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0)
PANE = Material("plain", ((0.5, 0.5, 0.5),) * 3, 1.0, absorbs=1.1)
SIZE = (48, 64)


def facing_a_wall(
    distance: float, *, post: bool = False, pane: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact depth, where there is no reading, and which item is seen."""
    wall = Item("wall")
    wall.box((1, 60, 60), (distance + 0.5, 0, -30), GREY)
    items = [wall]
    if post:
        items.append(Item("post"))
        items[-1].box((0.1, 0.2, 60), (1.0, 0, -30), GREY, "box")
    if pane:
        items.append(Item("pane"))
        items[-1].box((0.02, 1, 1), (distance - 0.05, 0, 0.8), PANE, "window")
    scene = Scene(items, label_of)
    camera = Camera.looking(np.array([0, 0, 1.3]), 0.0, 0.0, 0.0, np.radians(58))
    rays = camera.rays(*SIZE)
    hits = scene.first(camera.at, rays)
    depth = hits.distance.reshape(SIZE)
    seen = Surfaces(scene, camera, hits, rays)
    rng = np.random.default_rng(0)
    missing = sensor.unmeasured(scene, camera, seen, depth, rng)
    return depth, missing, scene.item[seen.part].reshape(SIZE)


def test_a_wall_straight_ahead_is_measured_everywhere() -> None:
    _, missing, _ = facing_a_wall(3.0)
    assert not missing.any()


@pytest.mark.parametrize("distance", [0.3, 10.5])
def test_nothing_is_measured_out_of_range(distance: float) -> None:
    _, missing, _ = facing_a_wall(distance)
    assert missing.all()


def test_the_projector_throws_a_shadow_to_the_left() -> None:
    depth, missing, item = facing_a_wall(3.0, post=True)
    # A point beside the post is dark where the line to the projector, 7.5 cm to the right of the
    # camera, passes the post: in pixels on the wall, f · baseline · (1/near - 1/far).
    focal = 32 / np.tan(np.radians(29))
    expected = focal * 0.075 * (1 / 0.95 - 1 / 3.0)
    row = missing[24] & (item[24] == 0)
    left = int(np.flatnonzero(item[24] == 1)[0])
    dark = row[:left].sum()
    assert dark == pytest.approx(expected, abs=1.5)
    assert row[left - 1]
    # To the right, at most the pixel at the edge itself.
    right = int(np.flatnonzero(item[24] == 1)[-1])
    assert row[right + 1 :].sum() <= 1
    # All other gaps lie at jumps of depth.
    assert not (missing & ~sensor.jumps(depth) & (np.arange(64) > left)).any()


def test_panes_give_no_reading() -> None:
    _, missing, item = facing_a_wall(3.0, pane=True)
    assert missing[item == 1].all()
    assert missing[item == 0].mean() < 0.1


def test_a_grazing_surface_is_lost() -> None:
    floor = Item("floor")
    floor.box((200, 200, 1), (0, 0, -1), GREY)
    scene = Scene([floor], label_of)
    camera = Camera.looking(np.array([0, 0, 0.45]), 0.0, 0.0, 0.0, np.radians(58))
    rays = camera.rays(*SIZE)[SIZE[1] * 26 :]  # rays below the horizon
    size = (22, 64)
    hits = scene.first(camera.at, rays)
    seen = Surfaces(scene, camera, hits, rays)
    depth = hits.distance.reshape(size)
    missing = sensor.unmeasured(scene, camera, seen, depth, np.random.default_rng(0))
    sine = 0.45 / seen.range.reshape(size)
    assert missing[sine < sensor.GRAZING].all()
    near = (sine > 0.2) & (depth < 9) & (depth > 0.45) & ~sensor.jumps(depth)
    assert near.any()
    assert not missing[near].any()


def test_jumps_are_on_both_sides_and_nowhere_else() -> None:
    depth = np.full((4, 6), 2.0, np.float32)
    depth[:, 3:] = 2.2
    expected = np.zeros((4, 6), bool)
    expected[:, 2:4] = True
    np.testing.assert_array_equal(sensor.jumps(depth), expected)
    depth[:, 3:] = 2.05
    assert not sensor.jumps(depth).any()


def test_depth_noise_grows_with_the_square() -> None:
    rng = np.random.default_rng(1)
    errors = []
    for metres in (1.0, 2.0, 4.0):
        exact = np.full((200, 200), metres, np.float32)
        found = sensor.measured(exact, np.zeros(exact.shape, bool), rng)
        assert found.dtype == np.float32
        errors.append(float((found - exact).std()))
    assert errors[1] / errors[0] == pytest.approx(4, rel=0.1)
    assert errors[2] / errors[1] == pytest.approx(4, rel=0.1)
    assert 0.0005 < errors[0] < 0.003


def test_missing_depth_is_zero_and_the_rest_in_range() -> None:
    exact = np.full((50, 50), 9.999, np.float32)
    missing = np.zeros(exact.shape, bool)
    missing[:10] = True
    found = sensor.measured(exact, missing, np.random.default_rng(0))
    assert (found[:10] == 0).all()
    assert (found[10:] > 9).all()
    assert found.max() <= 10


def test_gaps_of_the_annotation_follow_outlines() -> None:
    label = np.zeros((40, 60), np.uint8)
    item = np.zeros((40, 60), np.int64)
    label[10:30, 20:40], item[10:30, 20:40] = 3, 1
    found = sensor.annotated(label, item, 255, np.random.default_rng(0))
    changed = found != label
    assert set(found[changed].tolist()) == {255}
    near = np.zeros(label.shape, bool)
    near[8:32, 18:42] = True
    near[12:28, 22:38] = False
    assert changed.any()
    assert not (changed & ~near).any()


def test_a_photograph_is_exposed_whatever_the_light() -> None:
    rng = np.random.default_rng(0)
    scene = rng.uniform(0.2, 1.0, (48, 64, 3)).astype(np.float32)
    means = []
    for power in (0.01, 1.0, 100.0):
        image = sensor.photograph(scene * power, np.random.default_rng(2))
        assert image.dtype == np.uint8
        assert image.shape == (48, 64, 3)
        means.append(float(image.mean()))
    assert min(means) > 60
    assert max(means) < 190
    assert max(means) - min(means) < 3
