from __future__ import annotations

import numpy as np
import pytest
import trimesh

from jrn_lightning.rooms.shapes import _MAKERS, shape

SHEETS = {"drapery", "leaf"}  # two layers that face away from one another


@pytest.mark.parametrize("name", _MAKERS)
def test_a_shape_fills_its_cell(name: str) -> None:
    form = shape(name)
    np.testing.assert_allclose(form.vertices.min(0), (-0.5, -0.5, 0), atol=1e-12)
    np.testing.assert_allclose(form.vertices.max(0), (0.5, 0.5, 1), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(form.normals, axis=-1), 1, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(_MAKERS) - SHEETS))
def test_a_solid_is_closed_and_faces_outward(name: str) -> None:
    form = shape(name)
    mesh = trimesh.Trimesh(form.vertices, form.faces, process=True)
    assert mesh.is_watertight
    assert 0.1 < mesh.volume <= 1 + 1e-9
    # Smooth normals stay on the side of their face.
    flat = trimesh.Trimesh(form.vertices, form.faces, process=False).face_normals
    assert (np.einsum("fci,fi->fc", form.normals, flat) > 0.5).all()


def test_edges_of_a_box_stay_sharp_and_a_sphere_is_smooth() -> None:
    box, sphere = shape("box"), shape("sphere")
    assert set(np.abs(box.normals).max(-1).ravel().round(9)) == {1.0}
    corners = sphere.vertices[sphere.faces] - (0, 0, 0.5)
    outward = corners / np.linalg.norm(corners, axis=-1, keepdims=True)
    assert (np.einsum("fci,fci->fc", sphere.normals, outward) > 0.995).all()
