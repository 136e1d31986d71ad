"""The things of a room as one mesh, and rays cast into it by Embree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh  # type: ignore[import-untyped]
from embreex.rtcore_scene import EmbreeScene  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jrn_lightning.rooms.item import Item, moved
from jrn_lightning.rooms.materials import Float, MaterialTable
from jrn_lightning.rooms.shapes import shape

Index = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Hits:
    """What N rays meet first.

    Attributes:
        face: ``(N,)`` face of the mesh, -1 where a ray meets nothing.
        distance: ``(N,)`` in lengths of the ray's direction.
        weights: ``(N, 3)`` barycentric coordinates in the face.
    """

    face: Index
    distance: Float
    weights: Float


class Scene:
    """Things, ready for rays.

    Args:
        items: the things.
        label_of: a part's raw NYU name -> its label.

    Attributes:
        mesh: all parts in the room's frame.
        part: ``(F,)`` part of each face; the parts of all items are counted through.
        item: ``(P,)`` item of each part.
        label: ``(P,)`` label of each part.
        materials: ``P`` rows.
        to_part: ``(P, 3, 4)`` from the room's frame to that of a part's texture.
        normals: ``(F, 3, 3)`` unit normal at each corner of each face.
    """

    def __init__(self, items: Sequence[Item], label_of: Callable[[str], int]) -> None:
        vertices, faces, normals, to_part, owner, label, materials = [], [], [], [], [], [], []
        for k, item in enumerate(items):
            for part in item.parts:
                form = shape(part.shape)
                pose = item.pose @ part.pose
                vertices.append(moved(part.vertices, pose))
                faces.append(form.faces)
                # Normals shrink where the solid is stretched.
                turned = (form.normals / part.size) @ pose[:3, :3].T
                normals.append(turned / np.linalg.norm(turned, axis=-1, keepdims=True))
                to_part.append(np.linalg.inv(pose)[:3])
                owner.append(k)
                label.append(label_of(part.name))
                materials.append(part.material)
        stacked = trimesh.util.append_faces(vertices, faces)
        self.mesh = trimesh.Trimesh(*stacked, process=False, validate=False)
        self.part: Index = np.repeat(np.arange(len(faces)), [len(f) for f in faces])
        self.item = np.array(owner, np.int64)
        self.label = np.array(label, np.uint8)
        self.materials = MaterialTable(materials)
        self.to_part = np.array(to_part, np.float32)
        self.normals = np.concatenate(normals).astype(np.float32)
        self.face_normals = np.asarray(self.mesh.face_normals, np.float32)
        # trimesh's own ray interface neither tells distances nor stops at one.
        self._embree = EmbreeScene()
        TriangleMesh(
            self._embree,
            np.asarray(self.mesh.vertices, np.float32),
            np.asarray(self.mesh.faces, np.int32),
        )

    def first(self, origins: NDArray[Any], directions: NDArray[Any]) -> Hits:
        """What rays meet, from ``(3,)`` or ``(N, 3)`` along ``(N, 3)`` of any length."""
        origins = np.broadcast_to(origins, directions.shape)
        found = self._embree.run(_single(origins), _single(directions), output=1)
        u, v = found["u"], found["v"]
        weights = np.stack([1 - u - v, u, v], -1)
        return Hits(found["primID"].astype(np.int64), found["tfar"], weights)

    def blocked(self, origins: NDArray[Any], directions: NDArray[Any], reach: NDArray[Any]) -> Bool:
        """Whether rays ``(N, 3)`` meet anything within ``reach`` ``(N,)`` lengths of theirs."""
        found = self._embree.run(
            _single(origins), _single(directions), dists=_single(reach), query="OCCLUDED"
        )
        return np.asarray(found >= 0)

    def bounds_of_items(self) -> NDArray[np.float64]:
        """Smallest and largest coordinates of each item, ``(items, 2, 3)``."""
        corners = self.mesh.triangles
        of_item = self.item[self.part]
        # Faces lie in the order of the items.
        starts = np.searchsorted(of_item, np.arange(self.item.max() + 1))
        low, high = corners.min(1), corners.max(1)
        return np.stack([np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)], 1)


def _single(values: NDArray[Any]) -> Float:
    return np.ascontiguousarray(values, np.float32)
