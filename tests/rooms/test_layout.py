"""Rooms that could be built: nothing floats, nothing is inside anything else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from jrn_lightning.rooms.camera import choose_views
from jrn_lightning.rooms.item import Item
from jrn_lightning.rooms.layout import Room, furnish
from jrn_lightning.rooms.scene import Scene
from jrn_lightning.rooms.view import label_of

ROOMS = range(6)
RUG = 0.008


@cache
def made(number: int) -> tuple[Room, Scene]:
    room = furnish(np.random.default_rng((3, number)))
    return room, Scene(room.items, label_of)


def highest_below(
    points: np.ndarray, owner: np.ndarray, triangles: np.ndarray, of_item: np.ndarray
) -> np.ndarray:
    """Height of the highest level face of another thing below each point, in exact arithmetic."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    area = np.cross(b - a, c - a)
    level = area[:, 2] > 0.999 * np.linalg.norm(area, axis=1)
    a, b, c, of_item = a[level], b[level], c[level], of_item[level]

    def side(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        edge, to = (q - p)[None, :, :2], points[:, None, :2] - p[None, :, :2]
        return edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]

    under = (side(a, b) >= -1e-9) & (side(b, c) >= -1e-9) & (side(c, a) >= -1e-9)
    under &= (of_item[None] != owner[:, None]) & (a[None, :, 2] < points[:, None, 2] + 0.01)
    return np.where(under, a[None, :, 2], -np.inf).max(1)


@pytest.mark.parametrize("number", ROOMS)
def test_what_stands_stands_on_something(number: int) -> None:
    room, scene = made(number)
    mesh, of_item = scene.mesh, scene.item[scene.part]
    feet, owner = [], []
    for k, item in enumerate(room.items):
        if item.rest == "stands":
            vertices = mesh.vertices[np.unique(mesh.faces[of_item == k])]
            feet.append(vertices[vertices[:, 2] < vertices[:, 2].min() + 0.002])
            owner += [k] * len(feet[-1])
    assert len(feet) >= 8
    below = highest_below(np.concatenate(feet), np.array(owner), mesh.triangles, of_item)
    drop = np.concatenate(feet)[:, 2] - below
    for k in np.unique(owner):
        of_this = drop[np.array(owner) == k]
        assert of_this.min() > -RUG - 1e-4, room.items[k].kind
        # A corner may stick out over an edge of what is below, but not all of them.
        assert of_this.min() < 0.003, f"{room.items[k].kind} floats by {of_this.min():.3f} m"
        assert np.median(of_this) < 0.003, f"{room.items[k].kind} is not held"


def boxes(item: Item) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Middle, axes as rows and half sides of each part's cell."""
    for part in item.parts:
        pose, vertices = item.pose @ part.pose, part.vertices
        low, high = vertices.min(0), vertices.max(0)
        yield pose[:3, :3] @ ((low + high) / 2) + pose[:3, 3], pose[:3, :3].T, (high - low) / 2


def penetration(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> float:
    """Separating axes of two boxes: the least shift that parts them, 0 where they are apart."""
    (middle_a, axes_a, half_a), (middle_b, axes_b, half_b) = a, b
    cross = np.cross(axes_a[:, None], axes_b[None]).reshape(-1, 3)
    axes = np.concatenate([axes_a, axes_b, cross])
    length = np.linalg.norm(axes, axis=1)
    axes = axes[length > 1e-6] / length[length > 1e-6, None]
    reach = np.abs(axes @ axes_a.T) @ half_a + np.abs(axes @ axes_b.T) @ half_b
    return max(0.0, float((reach - np.abs(axes @ (middle_b - middle_a))).min()))


def test_penetration_of_two_boxes() -> None:
    half = np.full(3, 0.5)
    for x, expected in ((0.9, 0.1), (1.1, 0.0)):
        other = (np.array([x, 0, 0]), np.eye(3), half)
        assert penetration((np.zeros(3), np.eye(3), half), other) == pytest.approx(expected)


@pytest.mark.parametrize("number", ROOMS)
def test_things_do_not_run_into_each_other(number: int) -> None:
    room, _ = made(number)
    parts = [
        (k, item.kind, box)
        for k, item in enumerate(room.items)
        if item.rest != "structure" or item.kind == "pier"
        for box in boxes(item)
    ]
    owner = np.array([k for k, _, _ in parts])
    reach = np.array([np.abs(axes.T) @ half for _, _, (_, axes, half) in parts])
    middle = np.array([box[0] for _, _, box in parts])
    low, high = middle - reach, middle + reach
    near = (low[:, None] < high[None] - 0.01).all(-1) & (low[None] < high[:, None] - 0.01).all(-1)
    for i, j in np.argwhere(near & (owner[:, None] < owner[None])):
        deep = penetration(parts[i][2], parts[j][2])
        assert deep < 0.03, f"{parts[i][1]} is {deep:.3f} m inside {parts[j][1]}"


@pytest.mark.parametrize("number", ROOMS)
def test_everything_is_within_the_walls(number: int) -> None:
    room, scene = made(number)
    for item, (low, high) in zip(room.items, scene.bounds_of_items(), strict=True):
        if item.rest != "structure":
            assert (low > -1e-6).all(), item.kind
            assert (high < np.array(room.size) + 1e-6).all(), item.kind


@pytest.mark.parametrize("number", ROOMS)
def test_cameras_are_held_in_free_air_and_see_the_room(number: int) -> None:
    room, scene = made(number)
    cameras = choose_views(scene, room, np.random.default_rng(number), 3)
    assert len(cameras) == 3
    bounds = scene.bounds_of_items()
    for camera in cameras:
        assert 1.2 <= camera.at[2] <= 1.6
        assert (camera.at[:2] > 0.2).all()
        assert (camera.at[:2] < np.array(room.size[:2]) - 0.2).all()
        np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
        assert np.degrees(camera.hfov) == pytest.approx(58.5, abs=1.5)
        assert -4.01 <= np.degrees(np.arcsin(-camera.axes[2, 2])) <= 25.01
        for item, (low, high) in zip(room.items, bounds, strict=True):
            inside = ((camera.at > low) & (camera.at < high)).all()
            assert item.rest == "structure" or not inside, item.kind
        rays = camera.rays(24, 32)
        hits = scene.first(camera.at, rays)
        assert (hits.face >= 0).all(), "a gap in the room"
        assert np.median(hits.distance) > 1.0


def test_a_room_is_a_function_of_its_generator() -> None:
    first, second = made(0)[1].mesh, Scene(furnish(np.random.default_rng((3, 0))).items, label_of)
    np.testing.assert_array_equal(first.vertices, second.mesh.vertices)
    other = furnish(np.random.default_rng((3, 1)))
    assert other.size != made(0)[0].size


def test_every_class_and_many_kinds_occur() -> None:
    labels = set(np.concatenate([made(n)[1].label for n in ROOMS]).tolist())
    assert labels == {0, 1, 2, 3, 4, 255}
    kinds = {item.kind for n in ROOMS for item in made(n)[0].items}
    assert len(kinds) > 30
