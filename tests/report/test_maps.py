"""The tiles of a frame, and what is laid out of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning.errors import ConfigError
from jrn_lightning.keys import UNTOUCHED
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.modalities.base import Modality
from jrn_lightning.report.maps import Frame, data_uri, panel, reduced, tiles
from tests.reflectance import Reflectance

CLASSES = ("floor", "wall", "thing")
MODALITIES: dict[str, Modality] = {
    "depth": Depth("depth"),
    "semantic": Semantic("semantic", CLASSES),
}


def frame(*, image: bool = True, target: bool = True, note: str = "") -> Frame:
    """Setups: the input is a tenth too far and right, cat60 is right and takes 0 for 1."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (24, 32)).astype(np.float32)
    label = rng.integers(0, 3, (24, 32)).astype(np.uint8)
    right = np.eye(3, dtype=np.float32)[label].transpose(2, 0, 1)
    return Frame(
        "0007",
        {"depth": depth, "semantic": label} if target else {},
        {
            UNTOUCHED: {"depth": 1.1 * depth[None], "semantic": right},
            "muted_depth": {"depth": depth[None], "semantic": right[[1, 0, 2]]},
        },
        np.full((24, 32, 3), 7, np.uint8) if image else None,
        note,
    )


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def pictures(figure: Figure) -> list[NDArray[Any]]:
    return [np.asarray(a.images[0].get_array()) for a in figure.axes if not a.axison]


def test_tiles_and_their_measures() -> None:
    given = frame()
    depth, semantic = (tiles(given, modality) for modality in MODALITIES.values())
    assert [tile.label for tile in depth] == [
        "ground truth",
        "untouched input",
        "depth muted",
        "error of untouched input",
        "error of depth muted",
    ]
    # Σ (0.1 d)² / d / n = 0.01 · mean depth
    expected = 0.01 * float(given.target["depth"].mean())
    assert float(depth[1].measure.split()[-1]) == pytest.approx(expected, abs=5e-4)
    assert depth[2].measure == "rel(sqr) 0.000"
    # Two of three classes are confused with each other.
    assert [tile.measure for tile in semantic] == ["", "mIoU 100.0 %", "mIoU 33.3 %", "", ""]
    assert len(tiles(given, MODALITIES["depth"], errors=[UNTOUCHED])) == 4
    without = tiles(frame(target=False), MODALITIES["depth"])
    assert [(tile.kind, tile.measure) for tile in without] == [("map", "")] * 2


def test_pictures_are_the_modalities_own() -> None:
    given, depth = frame(), MODALITIES["depth"]
    maps = given.outputs[UNTOUCHED]["depth"]
    expected = [
        given.image,
        depth.draw_target(given.target["depth"]),
        depth.draw(maps),
        depth.draw(given.outputs["muted_depth"]["depth"]),
        depth.draw_error(maps, given.target["depth"]),
    ]
    for found, own in zip(pictures(panel([given], {"depth": depth})), expected, strict=True):
        np.testing.assert_array_equal(found, own)


def test_a_row_for_each_modality_of_each_frame() -> None:
    figure = panel([frame(note="best"), frame()], MODALITIES)
    assert words(figure)[:5] == [
        "image",
        "ground truth",
        "untouched input",
        "depth muted",
        "error of untouched input",
    ]
    names = ["depth [m]", "semantic"]
    assert words(figure)[5:] == ["0007", "best", *names, "0007", *names]
    assert len(pictures(figure)) == 2 * (1 + 2 * 4)


def test_a_long_note_stays_in_the_picture() -> None:
    note = "largest gain of depth on semantic of 654 frames: +4.00"
    figure = panel([frame(note=note), frame()], MODALITIES)
    figure.draw_without_rendering()
    for text in figure.texts:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


def test_modalities_side_by_side() -> None:
    figure = panel([frame(), frame()], MODALITIES, wide=True, title="a.h5", subtitle="from x")
    said = words(figure)
    assert said[:3] == ["a.h5", "from x", "image"]
    assert said.count("ground truth") == said.count("error of untouched input") == 2
    assert said.count("depth [m]") == said.count("semantic") == 1
    drawn = [axes.get_position() for axes in figure.axes if not axes.axison]
    assert len(drawn) == 2 * 9
    assert len({round(box.y0, 4) for box in drawn}) == 2
    for i, a in enumerate(drawn):
        assert 0 <= a.x0 < a.x1 <= 1
        assert 0 <= a.y0 < a.y1 <= 1
        assert not any(a.overlaps(b.padded(-1e-6)) for b in drawn[:i])


def test_columns_are_those_that_any_frame_fills() -> None:
    figure = panel([frame(target=False, image=False), frame()], MODALITIES)
    assert "ground truth" in words(figure)
    assert "image" in words(figure)
    bare = panel([frame(target=False, image=False)], MODALITIES)
    assert words(bare)[:2] == ["untouched input", "depth muted"]
    assert not any("error" in axes.get_title(loc="left") for axes in bare.axes)


def test_colours_are_explained_by_the_modality_itself() -> None:
    semantic = MODALITIES["semantic"].key()
    assert [name for _, name in semantic.classes] == [*CLASSES, "no ground truth"]
    drawn = MODALITIES["semantic"].draw(np.eye(3)[:, None, :])[0]
    assert semantic.classes[1][0] == "#" + bytes(drawn[1]).hex()
    assert [ramp.ends for ramp in MODALITIES["depth"].key().ramps] == [(0, 10), (-50, 50)]
    assert len(MODALITIES["depth"].key(errors=False).ramps) == 1
    assert not Reflectance("albedo").key(errors=False).classes
    assert not Reflectance("albedo").key(errors=False).ramps
    figure = panel([frame()], MODALITIES)
    (legend,) = [artist for artist in figure.artists if hasattr(artist, "get_texts")]
    assert [text.get_text() for text in legend.get_texts()] == [*CLASSES, "no ground truth"]
    bars = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert bars["depth [m]"].get_xlim() == (0, 10)


def test_the_names_of_many_classes_stay_in_the_picture() -> None:
    many = Semantic("semantic", [f"a class of number {i}" for i in range(150)])
    maps = np.eye(150)[np.arange(300).reshape(15, 20) % 150].transpose(2, 0, 1)
    shown = Frame("0007", {}, {UNTOUCHED: {"semantic": maps, "depth": np.ones((1, 15, 20))}})
    figure = panel([shown], {"semantic": many, "depth": Depth("depth")})
    figure.draw_without_rendering()
    (legend,) = [artist for artist in figure.artists if hasattr(artist, "get_texts")]
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    others = [axes.get_tightbbox() for axes in figure.axes]
    assert len(legend.get_texts()) == 151
    assert all(b.y0 >= 0 and not box.overlaps(b) for b in [box, *others][1:])


def test_large_pictures_are_averaged_and_classes_kept() -> None:
    rng = np.random.default_rng(0)
    photograph = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    assert reduced(photograph).shape == (270, 360, 3)
    assert reduced(photograph).std() < 0.8 * photograph.std()
    flat = np.array([(230, 159, 0), (0, 158, 115)], np.uint8)[rng.integers(0, 2, (480, 640))]
    assert len(np.unique(reduced(flat).reshape(-1, 3), axis=0)) == 2
    assert reduced(flat[:30, :40]).shape == (30, 40, 3)


def test_pictures_of_a_page_are_exact_where_they_are_of_classes() -> None:
    def decoded(uri: str) -> NDArray[np.uint8]:
        head, _, data = uri.partition(",")
        assert head == "data:image/webp;base64"
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    rng = np.random.default_rng(0)
    flat = np.array([(230, 159, 0), (0, 158, 115)], np.uint8)[rng.integers(0, 2, (30, 40))]
    np.testing.assert_array_equal(decoded(data_uri(flat)), flat)
    smooth = np.linspace(0, 255, 40 * 30).reshape(30, 40, 1).repeat(3, 2).astype(np.uint8)
    assert np.abs(decoded(data_uri(smooth)).astype(int) - smooth).mean() < 4


def test_no_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one frame"):
        panel([], MODALITIES)
