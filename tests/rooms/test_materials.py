from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jrn_lightning.rooms.materials import PATTERNS, Material, MaterialTable, Palette, noise

PLAIN = Material("plain", ((0.2, 0.3, 0.4), (0.8, 0.1, 0.1), (0.1, 0.1, 0.9)), 0.1)


def on_a_wall(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 3, (count, 3)).astype(np.float32)
    return at, np.tile(np.array([[0, 1, 0]], np.float32), (count, 1))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_shows_close_by_and_fades_with_distance(pattern: str) -> None:
    at, normal = on_a_wall()
    table = MaterialTable([replace(PLAIN, pattern=pattern)])
    row = np.zeros(len(at), np.intp)
    near = table.albedo(row, at, normal, np.full(len(at), 1e-4, np.float32))
    far = table.albedo(row, at, normal, np.full(len(at), 1.0, np.float32))
    assert near.shape == (len(at), 3)
    assert near.min() > 0
    assert near.max() < 1
    # Hue does not change on a plain surface, nor on any that is far.
    hue = far[:, 0] / far[:, 2]
    assert hue.std() < 1e-4
    assert ((near[:, 0] / near[:, 2]).std() > 0.1) == (pattern != "plain")


def test_only_the_plane_that_a_face_lies_in_matters() -> None:
    at, normal = on_a_wall()
    table = MaterialTable([replace(PLAIN, pattern="checks")])
    row, fine = np.zeros(len(at), np.intp), np.full(len(at), 1e-4, np.float32)
    deeper = at + np.array([0, 0.7, 0], np.float32)
    higher = at + np.array([0, 0, 0.07], np.float32)
    first = table.albedo(row, at, normal, fine)
    np.testing.assert_allclose(first, table.albedo(row, deeper, normal, fine), rtol=1e-6)
    assert np.abs(first - table.albedo(row, higher, normal, fine)).max() > 0.1


def test_noise_is_smooth_and_spread() -> None:
    u = np.linspace(-20, 20, 8001, dtype=np.float32)
    value = noise(u, 0.37 * u)
    assert value.min() >= 0
    assert value.max() <= 1
    assert value.std() > 0.15
    assert np.abs(np.diff(value)).max() < 0.02


def test_all_kinds_of_surfaces_share_the_palette() -> None:
    palette = Palette(np.random.default_rng(5))
    colours = palette.colours.clip(0.03, 0.85)
    for patterns in (("plain",), ("planks", "tiles")):
        for _ in range(20):
            base = palette.material(patterns).colours[0]
            assert np.abs(colours - base).max(1).min() < 1e-9
