from __future__ import annotations

import pandas as pd

from jrn_lightning.report.gallery import negative_influence, picks


def images(values: dict[str, dict[str, tuple[float, float, float]]]) -> pd.DataFrame:
    """One direction; arch -> id -> A, ω, gain."""
    return pd.DataFrame(
        [
            {"arch": arch, "id": name, "scene": "s", "source": "a", "target": "b"}
            | dict(zip(("performance", "omega", "gain"), numbers, strict=True))
            for arch, frames in values.items()
            for name, numbers in frames.items()
        ]
    )


NAN = float("nan")


def test_best_worst_and_median_by_gain() -> None:
    table = images({"x": {f"{k}": (1.0, -k, float(k)) for k in (3, 0, 4, 1, 2)}})
    found = picks(table)
    assert [p.id for p in found] == ["4", "0", "2"]
    assert found[0].note == "largest gain of a on b of 5 frames: +4.00"
    assert found[1].note.startswith("smallest gain")


def test_without_a_control_frames_are_ranked_by_omega() -> None:
    table = images({"x": {f"{k}": (1.0, float(k), NAN) for k in range(3)}})
    assert [p.id for p in picks(table)] == ["2", "0", "1"]
    assert "ω of a on b" in picks(table)[0].note


def test_a_frame_without_truth_is_never_picked() -> None:
    table = images({"x": {"none": (NAN, NAN, NAN), "one": (1.0, 2.0, 3.0)}})
    assert {p.id for p in picks(table)} == {"one"}


def test_negative_influence_is_the_clearest_pair() -> None:
    table = images(
        {
            "x": {"0": (50.0, 9.0, 0.0), "1": (40.0, 8.0, 0.0)},
            "y": {"0": (51.0, 1.0, 0.0), "1": (60.0, 2.0, 0.0)},
            "z": {"0": (20.0, -5.0, 0.0), "1": (70.0, -1.0, 0.0)},
        }
    )
    # Products of the differences in ω and in A: frame 0: (9 - 1)(51 - 50) = 8; frame 1:
    # x, y: 6 · 20 = 120; x, z: 9 · 30 = 270; y, z: 3 · 10 = 30.
    found = negative_influence(table)
    assert found is not None
    assert (found.id, found.archs) == ("1", ("x", "z"))
    assert "+8.00 in x and −1.00 in z" in found.note
    assert picks(table)[0].id == "1"


def test_no_negative_influence_where_more_influence_is_better() -> None:
    table = images({"x": {"0": (5.0, 2.0, 0.0)}, "y": {"0": (4.0, 1.0, 0.0)}})
    assert negative_influence(table) is None
    # A negative ω is no influence that could mislead.
    table = images({"x": {"0": (3.0, -1.0, 0.0)}, "y": {"0": (4.0, -2.0, 0.0)}})
    assert negative_influence(table) is None


def test_the_limit_and_frames_picked_twice() -> None:
    table = images({"x": {"0": (1.0, 1.0, 1.0)}})
    (only,) = picks(table)
    assert only.note.count(";") == 2
    many = images({"x": {f"{k}": (1.0, 1.0, float(k)) for k in range(9)}})
    assert len(picks(many, limit=2)) == 2
