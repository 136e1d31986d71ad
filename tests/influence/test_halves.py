from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.influence import halves


@pytest.mark.parametrize("seed", range(5))
def test_halves_share_no_scene_and_are_of_about_the_same_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [f"s{i}" for i in range(60) for _ in range(int(rng.integers(1, 6)))]
    first = halves(scenes, seed)
    inside = {s for s, half in zip(scenes, first, strict=True) if half}
    outside = {s for s, half in zip(scenes, first, strict=True) if not half}
    assert not inside & outside
    assert abs(2 * int(first.sum()) - len(scenes)) <= 5


def test_they_depend_on_names_and_not_on_their_order() -> None:
    scenes = np.array(["a", "b", "b", "c", "d", "d", "e", "f"])
    order = np.random.default_rng(0).permutation(len(scenes))
    assert (halves(scenes[order].tolist(), 3) == halves(scenes.tolist(), 3)[order]).all()
    assert any((halves(scenes.tolist(), s) != halves(scenes.tolist(), 3)).any() for s in range(9))
