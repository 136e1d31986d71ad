from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.influence import holm


def step_down(p: list[float], level: float) -> list[bool]:
    """Holm (1979) as he wrote it: reject the smallest while it is below level / what is left."""
    rejected = [False] * len(p)
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] > level / (len(p) - step):
            break
        rejected[i] = True
    return rejected


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_it_rejects_what_the_step_down_test_rejects(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        p = rng.beta(0.3, 4, n).tolist()
        for level in (0.01, 0.05, 0.2):
            assert (holm(p) <= level).tolist() == step_down(p, level)


def test_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_is_no_test_does_not_count() -> None:
    found = holm([0.02, float("nan"), 0.5])
    assert found[[0, 2]].tolist() == [0.04, 0.5]
    assert np.isnan(found[1])
    assert holm([]).shape == (0,)
    assert holm([0.9, 0.8]).tolist() == [1, 1]
