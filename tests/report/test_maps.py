from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.report.maps import Frame, panel

MODALITIES = {"depth": Depth("depth"), "semantic": Semantic("semantic", ["floor", "wall", "thing"])}
SETUPS = ("input", "joint", "muted_depth", "muted_semantic")


def frame(*, image: bool = True, target: bool = True, note: str = "") -> Frame:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (1, 24, 32)).astype(np.float32)
    probability = rng.dirichlet(np.ones(3), (24, 32)).transpose(2, 0, 1).astype(np.float32)
    targets = {"depth": depth[0], "semantic": rng.integers(0, 3, (24, 32)).astype(np.uint8)}
    return Frame(
        "0007",
        targets if target else {},
        {setup: {"depth": depth, "semantic": probability} for setup in SETUPS},
        np.full((24, 32, 3), 7, np.uint8) if image else None,
        note,
    )


def titles(figure: object) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]  # type: ignore[attr-defined]


def words(figure: object) -> list[str]:
    return [text.get_text() for text in figure.texts]  # type: ignore[attr-defined]


def test_columns_rows_and_units() -> None:
    figure = panel([frame(note="best"), frame()], MODALITIES)
    assert titles(figure)[:8] == [
        "image",
        "ground truth",
        "input",
        "joint",
        "depth muted",
        "semantic muted",
        "error of input",
        "error of joint",
    ]
    assert words(figure) == ["0007: best", "depth [m]", "semantic", "0007", "depth [m]", "semantic"]
    # two frames of two modalities and seven columns, two images, two colour bars
    assert len(figure.axes) == 2 * 2 * 7 + 2 + 2


def test_pictures_are_the_modalities_own() -> None:
    given = frame()
    figure = panel([given], MODALITIES)
    image, truth, first = (axes.images[0].get_array() for axes in figure.axes[:3])
    np.testing.assert_array_equal(image, given.image)
    np.testing.assert_array_equal(truth, MODALITIES["depth"].draw_target(given.target["depth"]))
    np.testing.assert_array_equal(first, MODALITIES["depth"].draw(given.outputs["input"]["depth"]))
    error = figure.axes[6].images[0].get_array()
    expected = MODALITIES["depth"].draw_error(
        given.outputs["input"]["depth"], given.target["depth"]
    )
    np.testing.assert_array_equal(error, expected)


def test_colours_are_explained() -> None:
    figure = panel([frame()], MODALITIES)
    (legend,) = [artist for artist in figure.artists if hasattr(artist, "get_texts")]
    assert [text.get_text() for text in legend.get_texts()] == [
        "floor",
        "wall",
        "thing",
        "no ground truth",
    ]
    colours = [tuple(patch.get_facecolor()[:3]) for patch in legend.get_patches()]
    drawn = MODALITIES["semantic"].draw(np.eye(3)[:, None, :])[0] / 255
    np.testing.assert_allclose(colours[:3], drawn)
    bars = {axes.get_title(loc="left"): axes for axes in figure.axes[-2:]}
    assert bars["depth [m]"].get_xlim() == (0, 10)
    assert "error of depth, relative to the truth [%]" in bars


def test_frames_without_truth_or_image() -> None:
    figure = panel([frame(image=False, target=False)], MODALITIES)
    assert titles(figure)[:4] == ["input", "joint", "depth muted", "semantic muted"]
    assert not any("error" in axes.get_title(loc="left") for axes in figure.axes)


def test_a_large_map_is_thinned() -> None:
    depth = np.ones((1, 480, 640), np.float32)
    given = Frame("a", {"depth": depth[0]}, {"joint": {"depth": depth}})
    figure = panel([given], {"depth": MODALITIES["depth"]})
    assert figure.axes[0].images[0].get_array().shape == (240, 320, 3)


def test_no_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one frame"):
        panel([], MODALITIES)
