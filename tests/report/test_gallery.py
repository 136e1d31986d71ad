from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.report.gallery import encode, exhibit, key, negative_influence, picks
from jrn_lightning.report.maps import Frame
from tests.reflectance import Reflectance

CLASSES = ("floor", "wall", "thing")


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


def decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_classes_are_kept_exactly_and_photographs_nearly() -> None:
    rng = np.random.default_rng(0)
    flat = np.array([(230, 159, 0), (0, 158, 115)], np.uint8)[rng.integers(0, 2, (30, 40))]
    np.testing.assert_array_equal(decoded(encode(flat)), flat)
    smooth = np.linspace(0, 255, 40 * 30).reshape(30, 40, 1).repeat(3, 2).astype(np.uint8)
    assert np.abs(decoded(encode(smooth)).astype(int) - smooth).mean() < 4


@pytest.fixture
def frame() -> Frame:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (480, 640)).astype(np.float32)
    label = rng.integers(0, 3, (480, 640)).astype(np.uint8)
    right = np.eye(3, dtype=np.float32)[label].transpose(2, 0, 1)
    outputs = {
        UNTOUCHED: {"depth": 1.1 * depth[None], "semantic": right},
        "cat60": {"depth": depth[None], "semantic": right[[1, 0, 2]]},
    }
    return Frame("0007", {"depth": depth, "semantic": label}, outputs, None, "why")


def test_an_exhibit_measures_every_map(frame: Frame) -> None:
    kinds = {"depth": Depth("depth"), "semantic": Semantic("semantic", CLASSES)}
    shown = exhibit(frame, kinds)
    assert shown.image is None
    (depth_name, depth), (_, semantic) = shown.rows
    assert depth_name == "depth [m]"
    assert [(p.kind, p.arch) for p in depth] == [
        ("truth", ""),
        ("map", ""),
        ("error", ""),
        ("map", "cat60"),
        ("error", "cat60"),
    ]
    # Σ (0.1 d)² / d / n = 0.01 · mean depth
    expected = 0.01 * float(frame.target["depth"].mean())
    assert float(depth[1].measure.split()[-1]) == pytest.approx(expected, abs=5e-4)
    assert depth[3].measure == "rel(sqr) 0.000"
    assert semantic[1].measure == "mIoU 100.0 %"
    # Two of three classes are confused with each other.
    assert semantic[3].measure == "mIoU 33.3 %"
    assert all(decoded(p.src).shape[1] <= 360 for p in (*depth, *semantic))


def test_keys_ask_the_modality() -> None:
    semantic = key(Semantic("semantic", CLASSES))
    assert [name for _, name in semantic.classes] == list(CLASSES)
    drawn = Semantic("semantic", CLASSES).draw(np.eye(3)[:, None, :])[0]
    assert semantic.classes[1][0] == "#" + bytes(drawn[1]).hex()
    depth = key(Depth("depth"))
    assert [ramp.high for ramp in depth.ramps] == ["10", "+50 %"]
    nothing = key(Reflectance("albedo"))
    assert not nothing.classes
    assert not nothing.ramps
