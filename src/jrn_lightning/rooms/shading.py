"""Light on what the camera sees."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from jrn_lightning.rooms.camera import Camera
from jrn_lightning.rooms.layout import Light, Room
from jrn_lightning.rooms.materials import Float
from jrn_lightning.rooms.scene import Hits, Scene

_TILE: Final = 4  # the 16 pixels of a tile take 16 samples of a light, then share them
_OFF: Final = 2e-3  # metres off a surface where its rays start
_CORNER: Final = 0.7  # metres within which things darken each other
_LIGHTS: Final = 4


class Surfaces:
    """The seen points, N of them, as needed by light and by the depth sensor.

    Args:
        scene: the room's mesh.
        camera: the view.
        hits: what its rays met.
        rays: those rays ``(N, 3)``, see :meth:`Camera.rays`.

    Attributes:
        part: ``(N,)``.
        at: ``(N, 3)`` metres.
        flat: ``(N, 3)`` normal of the face, toward the camera.
        normal: ``(N, 3)`` smooth normal, toward the camera.
        view: ``(N, 3)`` unit vector to the camera.
        off: ``(N, 3)`` just off the surface, where rays to other places start.
        range: ``(N,)`` metres along the ray.
    """

    def __init__(self, scene: Scene, camera: Camera, hits: Hits, rays: Float) -> None:
        self.part = scene.part[hits.face]
        self.at = camera.at.astype(np.float32) + hits.distance[:, None] * rays
        length = np.sqrt(_dot(rays, rays))
        self.range = hits.distance * length
        self.view = -rays / length[:, None]
        self.flat = _toward(scene.face_normals[hits.face], self.view)
        self.off = self.at + np.float32(_OFF) * self.flat
        corners = scene.normals[hits.face]
        smooth = np.einsum("nc,nci->ni", hits.weights, corners)
        smooth /= np.sqrt(_dot(smooth, smooth))[:, None] + 1e-9
        # Where the outline of a smooth surface is rough the face itself decides.
        facing = _dot(_toward(smooth, self.flat), self.view)[:, None] > 0.02
        self.normal = np.where(facing, _toward(smooth, self.flat), self.flat)


def reflectance(scene: Scene, camera: Camera, seen: Surfaces, size: tuple[int, int]) -> Float:
    """Linear RGB ``(H · W, 3)`` in [0, 1] of the points that the camera sees."""
    row = seen.part
    to_part = scene.to_part[row]
    local = np.einsum("nij,nj->ni", to_part[:, :, :3], seen.at) + to_part[:, :, 3]
    facing = np.einsum("nij,nj->ni", to_part[:, :, :3], seen.flat)
    cosine = np.maximum(_dot(seen.flat, seen.view), 0.1)
    footprint = seen.range / camera.focal(size[1]) / np.sqrt(cosine)
    return scene.materials.albedo(row, local, facing, footprint)


def radiance(
    scene: Scene,
    room: Room,
    camera: Camera,
    seen: Surfaces,
    albedo: Float,
    size: tuple[int, int],
    rng: Generator,
) -> Float:
    """Linear RGB ``(H, W, 3)`` of a view, in units that only exposure gives a meaning.

    ``seen`` are the H · W points that the camera sees, ``albedo`` their :func:`reflectance`,
    ``size`` is (H, W).
    """
    row = seen.part
    samples = _tiled(size, rng)
    direct = np.zeros_like(albedo)
    shine = np.zeros_like(albedo)
    gloss = scene.materials.gloss[row]
    for light in _strongest(room, camera):
        _add_light(scene, light, seen, samples, gloss, direct, shine)
    typical = float(direct.mean()) + 1e-3
    sky = 0.5 + 0.5 * seen.normal[:, 2:]
    ambient = (1 - sky) * room.bounce[0] + sky * room.bounce[1]
    ambient = (room.ambient * typical * ambient).astype(np.float32) * _open(scene, seen, samples)
    shared = np.concatenate([direct + ambient, shine], -1)
    shared = _share(shared.reshape(*size, 6), seen, size).reshape(-1, 6)
    glow = scene.materials.glow[row][:, None] * typical * (1 + room.ambient)
    lit = albedo * (shared[:, :3] + glow) + shared[:, 3:]
    return np.asarray(lit.reshape(*size, 3), np.float32)


def _dot(a: Float, b: Float) -> Float:
    return np.asarray(np.einsum("ni,ni->n", a, b))


def _toward(normal: Float, direction: Float) -> Float:
    return np.where(_dot(normal, direction)[:, None] < 0, -normal, normal)


def _tiled(size: tuple[int, int], rng: Generator) -> Float:
    """Points of the unit square ``(N, 2)``: a jittered grid, one cell to each pixel of a tile."""
    cells = rng.permutation(_TILE * _TILE)
    grid = np.stack([cells // _TILE, cells % _TILE], -1) + rng.random((_TILE * _TILE, 2))
    tile = (grid / _TILE).reshape(_TILE, _TILE, 2).astype(np.float32)
    repeats = (-(-size[0] // _TILE), -(-size[1] // _TILE), 1)
    return np.tile(tile, repeats)[: size[0], : size[1]].reshape(-1, 2)


def _strongest(room: Room, camera: Camera) -> list[Light]:
    """The few lights that matter for a view."""
    middle = camera.at + 2 * camera.axes[2]
    worth = [light.power / (1 + float(((light.at - middle) ** 2).sum())) for light in room.lights]
    return [room.lights[k] for k in np.argsort(worth)[::-1][:_LIGHTS]]


def _add_light(
    scene: Scene,
    light: Light,
    seen: Surfaces,
    samples: Float,
    gloss: Float,
    direct: Float,
    shine: Float,
) -> None:
    """Add a light's irradiance to ``direct`` and its reflection to ``shine``, both ``(N, 3)``."""
    half, middle = light.half.astype(np.float32), light.at.astype(np.float32)
    # Only what turns toward the light needs a ray.
    lit = np.flatnonzero(seen.flat @ middle > _dot(seen.flat, seen.off))
    normal, start = seen.normal[lit], seen.off[lit]
    to = (2 * samples[lit] - 1) @ half + middle - start
    square = _dot(to, to)
    to_unit = to / np.sqrt(square)[:, None]
    strength = np.maximum(_dot(normal, to_unit), 0) / (square + 0.05)
    if light.normal is not None:
        strength *= np.maximum(-(to_unit @ light.normal.astype(np.float32)), 0)
    strength[scene.blocked(start, to, np.full(len(lit), 0.995, np.float32))] = 0
    colour = (light.power * light.colour).astype(np.float32)
    direct[lit] += strength[:, None] * colour
    glossy = np.flatnonzero((gloss[lit] > 0) & (strength > 0))
    lit = lit[glossy]
    mirrored = to_unit[glossy] + seen.view[lit]
    mirrored /= np.sqrt(_dot(mirrored, mirrored))[:, None] + 1e-6
    peak = np.maximum(_dot(mirrored, normal[glossy]), 0) ** 60
    shine[lit] += (gloss[lit] * 1.5 * peak * strength[glossy])[:, None] * colour


def _open(scene: Scene, seen: Surfaces, samples: Float) -> Float:
    """``(N, 1)``: 1 where the next surroundings are free, less in corners and under things."""
    radius, angle = np.sqrt(samples[:, 0]), 2 * np.pi * samples[:, 1]
    normal = seen.normal
    # A frame about the normal (Duff et al., Building an Orthonormal Basis, Revisited, 2017).
    sign = np.where(normal[:, 2] < 0, -1, 1).astype(np.float32)
    a = -1 / (sign + normal[:, 2])
    b = normal[:, 0] * normal[:, 1] * a
    one = np.stack([1 + sign * normal[:, 0] ** 2 * a, sign * b, -sign * normal[:, 0]], -1)
    two = np.stack([b, sign + normal[:, 1] ** 2 * a, -normal[:, 1]], -1)
    ray = (radius * np.cos(angle))[:, None] * one + (radius * np.sin(angle))[:, None] * two
    ray += np.sqrt(np.maximum(1 - samples[:, :1], 0)) * normal
    closed = scene.blocked(seen.off, ray, np.full(len(ray), _CORNER, np.float32))
    return np.where(closed, 0.3, 1.0).astype(np.float32)[:, None]


def _share(values: Float, seen: Surfaces, size: tuple[int, int]) -> Float:
    """Mean over a tile's height and width, among neighbours on the same smooth surface."""
    part, normal = seen.part.reshape(size), seen.normal.reshape(*size, 3)
    for _ in range(2):
        total = values.copy()
        count = np.ones(part.shape, np.float32)
        for step in (-2, -1, 1):
            here = slice(max(0, -step), len(part) - max(0, step))
            there = slice(max(0, step), len(part) + min(0, step))
            same = part[here] == part[there]
            same &= np.einsum("hwi,hwi->hw", normal[here], normal[there]) > 0.9
            total[here] += same[..., None] * values[there]
            count[here] += same
        values = (total / count[..., None]).swapaxes(0, 1)
        part, normal = part.T, normal.swapaxes(0, 1)
    return values
