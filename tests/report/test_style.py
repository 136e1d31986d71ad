from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from jrn_lightning.report.style import canvas, looks, marked, scale_of, stretch


@pytest.mark.parametrize(
    ("values", "linear"),
    [
        ([50.0, 60, 110, 130], None),
        ([0.3, 0.4, 90, 110], 0.1),
        ([-0.02, 4, -500], 0.01),
        ([0.0, 0.0, 7.0], None),  # too few to bunch
        ([float("nan"), 1, 2, 3], None),
    ],
)
def test_only_a_large_spread_is_stretched(values: list[float], linear: float | None) -> None:
    assert scale_of(values) == (None if linear is None else pytest.approx(linear))
    axes = canvas(3, 3)[1][0, 0]
    assert bool(stretch(axes, "x", values)) == (linear is not None)
    assert axes.get_xscale() == ("linear" if linear is None else "symlog")


def test_architectures_of_one_computation_differ_in_their_markers() -> None:
    table = pd.DataFrame(
        {"arch": list("abcab"), "computation": ["loose", "loose", "coupled", "loose", "loose"]}
    )
    found = looks(table)
    assert found["a"].colour == found["b"].colour != found["c"].colour
    assert found["a"].marker != found["b"].marker
    assert list(found) == ["a", "b", "c"]


def test_every_part_of_an_error_bar_is_marked() -> None:
    from jrn_lightning.report.style import mark

    figure, grid = canvas(3, 3)
    assert isinstance(figure, Figure)
    drawn = grid[0, 0].errorbar([1], [2], xerr=[[0.5], [0.5]], fmt="o", capsize=2)
    mark(drawn, "cat60", "ω |+1| <b>")
    parts = np.hstack([drawn[0], *drawn[1], *drawn[2]])
    assert len(parts) == 4  # the marker, two caps, the bar
    assert {marked(part.get_gid()) for part in parts} == {("cat60", "ω |+1| <b>")}
