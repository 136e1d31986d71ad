"""Solids that furniture is built of, each in a cell of width, depth and height 1.

A cell is centred on the z axis and stands on z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import trimesh
from numpy.typing import NDArray

# Faces that meet at less are shaded as one smooth surface, radians.
_CREASE = np.radians(50)


@dataclass(frozen=True)
class Shape:
    """A mesh.

    Attributes:
        vertices: ``(V, 3)``.
        faces: ``(F, 3)``, counterclockwise from outside.
        normals: ``(F, 3, 3)`` unit normal at each corner of each face.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    normals: NDArray[np.float64]


@cache
def shape(name: str) -> Shape:
    """A solid by name.

    >>> shape("box").vertices.min(0).tolist(), shape("box").vertices.max(0).tolist()
    ([-0.5, -0.5, 0.0], [0.5, 0.5, 1.0])
    """
    mesh = _MAKERS[name]()
    low, high = mesh.bounds
    vertices = (mesh.vertices - low) / np.where(high > low, high - low, 1.0) - (0.5, 0.5, 0)
    fitted = trimesh.Trimesh(vertices, mesh.faces, process=False)
    faces = np.asarray(fitted.faces, np.int64)
    return Shape(np.asarray(fitted.vertices, np.float64), faces, _corner_normals(fitted))


def _corner_normals(mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    around = mesh.vertex_faces  # (V, most faces of a vertex), padded with -1
    neighbours = around[mesh.faces]  # (F, 3, most)
    normals = np.asarray(mesh.face_normals)
    weighted = normals * np.asarray(mesh.area_faces)[:, None]
    close = np.einsum("fcmi,fi->fcm", normals[neighbours], normals) > np.cos(_CREASE)
    keep = close & (neighbours >= 0)
    total = (weighted[neighbours] * keep[..., None]).sum(2)
    length = np.linalg.norm(total, axis=-1, keepdims=True)
    return np.where(length > 0, total / np.maximum(length, 1e-12), normals[:, None])


def _turned(*profile: tuple[float, float]) -> trimesh.Trimesh:
    """A profile of (radius, height) turned about the z axis."""
    return trimesh.creation.revolve(np.array(profile), sections=20)


def _superellipsoid(power: float) -> trimesh.Trimesh:
    """A cushion: between a sphere (2) and a box (large power)."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    points = np.asarray(mesh.vertices)
    radius = (np.abs(points) ** power).sum(1) ** (-1 / power)
    return trimesh.Trimesh(points * radius[:, None], mesh.faces, process=False)


def _pillow() -> trimesh.Trimesh:
    """Thick in the middle, thin at the corners."""
    mesh = _superellipsoid(5)
    points = np.array(mesh.vertices)
    points[:, 2] *= 1 - 0.65 * np.clip(np.abs(points[:, :2]).prod(1), 0, 1)
    return trimesh.Trimesh(points, mesh.faces, process=False)


def _drapery() -> trimesh.Trimesh:
    """A hanging cloth with folds, wider at its foot."""
    columns, rows = 49, 5
    x, z = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    deep = 0.5 * np.sin(x * 7 * 2 * np.pi + 0.8 * (1 - z)) * (1 - 0.35 * z)
    front = np.stack([x, deep, z], -1).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    half = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    # Seen from both sides: a second layer behind the first.
    back = front + np.array([0, 0.02, 0])
    faces = np.concatenate([half, half[:, ::-1] + len(front)])
    return trimesh.Trimesh(np.concatenate([front, back]), faces, process=False)


def _leaf() -> trimesh.Trimesh:
    """A blade along x that bends down, drawn from both sides."""
    t = np.linspace(0, 1, 7)
    width = 0.5 * np.sin(np.pi * np.clip(t, 0.04, 0.97)) ** 0.8
    ridge = np.stack([t, np.zeros_like(t), 1.2 * t - t**2], 1)
    sides = [ridge + np.stack([0 * t, s * width, -0.06 * (width > 0.1)], 1) for s in (-1, 1)]
    left, right = np.arange(7), np.arange(7) + 7
    a, b, c, d = left[:-1], right[:-1], right[1:], left[1:]
    half = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    top = np.concatenate(sides)
    faces = np.concatenate([half[:, ::-1], half + len(top)])
    return trimesh.Trimesh(np.concatenate([top, top - (0, 0, 0.01)]), faces, process=False)


_MAKERS = {
    "box": lambda: trimesh.creation.box(extents=(1, 1, 1)),
    "cylinder": lambda: trimesh.creation.cylinder(radius=0.5, height=1, sections=20),
    "sphere": lambda: trimesh.creation.icosphere(subdivisions=2),
    "cushion": lambda: _superellipsoid(6),
    "pillow": _pillow,
    "shade": lambda: _turned((0, 0), (0.5, 0), (0.3, 1), (0, 1)),
    "pot": lambda: _turned((0, 0), (0.35, 0), (0.5, 1), (0.44, 1), (0.42, 0.85), (0, 0.85)),
    "vase": lambda: _turned(
        (0, 0), (0.3, 0), (0.5, 0.35), (0.42, 0.6), (0.2, 0.85), (0.26, 1), (0, 1)
    ),
    "bottle": lambda: _turned((0, 0), (0.5, 0), (0.5, 0.6), (0.18, 0.78), (0.18, 1), (0, 1)),
    "bowl": lambda: _turned((0, 0), (0.25, 0), (0.5, 1), (0.46, 1), (0.22, 0.15), (0, 0.15)),
    "drapery": _drapery,
    "leaf": _leaf,
}
