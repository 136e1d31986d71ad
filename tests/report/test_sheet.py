"""Contact sheets: which frames, what is drawn where, and the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning.cache import PredictionCache
from jrn_lightning.errors import CacheError
from jrn_lightning.evaluation import evaluate_inputs
from jrn_lightning.modalities import Depth, Semantic
from jrn_lightning.report.sheet import SheetFrame, choose, find, read, save, sheet
from tests.caches import write_small_cache

MODALITIES = {"depth": Depth("depth"), "semantic": Semantic("semantic", ["floor", "wall", "thing"])}


def frame(name: str = "0007", *, image: bool = True, target: bool = True) -> SheetFrame:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (1, 24, 32)).astype(np.float32)
    probability = rng.dirichlet(np.ones(3), (24, 32)).transpose(2, 0, 1).astype(np.float32)
    labels = rng.integers(0, 3, (24, 32)).astype(np.uint8)
    return SheetFrame(
        name,
        "kitchen_0001",
        rng.integers(0, 256, (24, 32, 3), np.uint8) if image else None,
        {"depth": depth, "semantic": probability},
        {"depth": depth[0] + 1, "semantic": labels} if target else {},
        {"depth": "rel(sqr) 0.123", "semantic": "mIoU 0.456"} if target else {},
    )


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def pictures(figure: Figure) -> list[NDArray[np.uint8]]:
    return [np.asarray(image.get_array()) for image in figure.images]  # type: ignore[attr-defined]


def enlarged(picture: NDArray[np.uint8], like: NDArray[Any]) -> NDArray[np.uint8]:
    size = (like.shape[1], like.shape[0])
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


# -- which frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_frames_are_spread_over_scenes(seed: int) -> None:
    scenes = ["a"] * 7 + ["b"] * 2 + ["c", "d"]
    for count in range(1, 12):
        rows = choose(scenes, count, seed)
        assert rows == sorted(set(rows))
        assert len(rows) == count
        taken = Counter(scenes[i] for i in rows)
        for scene, size in Counter(scenes).items():
            # None has one more than another, unless the other has no more to give.
            assert taken[scene] >= min(size, max(taken.values()) - 1)
    assert choose(scenes, 50, seed) == list(range(11))


def test_the_seed_decides() -> None:
    scenes = [f"s{i // 3}" for i in range(60)]
    assert choose(scenes, 8, 1) == choose(scenes, 8, 1)
    assert len({tuple(choose(scenes, 8, seed)) for seed in range(10)}) == 10


def test_frames_by_name(small_cache: Path) -> None:
    with PredictionCache(small_cache) as cache:
        split = cache.split("test")
        assert find(split, [split.ids[4], split.ids[1]]) == [4, 1]
        with pytest.raises(CacheError, match="'test' has no frame '001'") as caught:
            find(split, [split.ids[0], "001"])
        assert any(name in str(caught.value) for name in split.ids)
        with pytest.raises(CacheError, match=f"such as {split.ids[0]}, {split.ids[1]}"):
            find(split, ["xyz"])


# -- what is read ----------------------------------------------------------------------------------


def test_what_is_read_of_a_cache(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "one.h5", train=2, test=1, predict=1)
    with PredictionCache(path) as cache:
        (one,) = read(cache.split("test"), [0])
        assert one.id == cache.split("test").ids[0]
        assert one.scene == "test_0"
        assert one.prediction["semantic"].shape == (5, 48, 64)
        np.testing.assert_array_equal(one.target["depth"], cache.split("test").target("depth", 0))
        assert one.image is not None
        np.testing.assert_array_equal(one.image, cache.split("test").image(0))
        # Of one frame, the pooled measure is the frame's own.
        pooled = evaluate_inputs(cache, "test")
        assert one.measure == {
            "depth": f"rel(sqr) {pooled['depth']['sq_rel']:.3f}",
            "semantic": f"mIoU {pooled['semantic']['mean_iou']:.3f}",
        }
        (other,) = read(cache.split("predict"), [0])
        assert not other.target
        assert not other.measure


# -- what is drawn ---------------------------------------------------------------------------------


def test_columns_titles_and_measures() -> None:
    figure = sheet([frame("0007"), frame("0042")], MODALITIES, title="a.h5", subtitle="from x")
    said = words(figure)
    assert said[:2] == ["a.h5", "from x"]
    heads = [w for w in said if w in ("image", "truth", "prediction", "error")]
    assert heads == ["image", *["truth", "prediction", "error"] * 2]
    assert [w for w in said if w in ("depth [m]", "semantic")] == ["depth [m]", "semantic"]
    assert said.count("rel(sqr) 0.123") == said.count("mIoU 0.456") == 2
    assert {"0007", "0042"} <= set(said)
    assert len(pictures(figure)) == 2 * 7


def test_pictures_are_the_modalities_own() -> None:
    given = frame()
    found = pictures(sheet([given], MODALITIES, title=""))
    assert given.image is not None
    expected = [given.image]
    for name, kind in MODALITIES.items():
        prediction, target = given.prediction[name], given.target[name]
        expected += [kind.draw_target(target), kind.draw(prediction)]
        expected.append(kind.draw_error(prediction, target))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, enlarged(b, a))


def test_pictures_stand_in_columns_and_do_not_overlap() -> None:
    figure = sheet([frame(), frame()], MODALITIES, title="")
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [
        (im.ox, im.oy, im.ox + im.get_array().shape[1], im.oy + im.get_array().shape[0])
        for im in figure.images  # type: ignore[attr-defined]
    ]
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        for a0, b0, a1, b1 in boxes[:i]:
            assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0
    assert len({x0 for x0, *_ in boxes}) == 7
    assert len({y0 for _, y0, *_ in boxes}) == 2


def test_colours_are_explained_below_the_maps() -> None:
    figure = sheet([frame()], MODALITIES, title="")
    (legend,) = [artist for artist in figure.artists if hasattr(artist, "get_texts")]
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["floor", "wall", "thing", "no ground truth"]
    bars = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert bars["depth [m]"].get_xlim() == (0, 10)
    lowest = min(im.oy for im in figure.images)  # type: ignore[attr-defined]
    for axes in figure.axes:
        assert axes.get_position().y1 * figure.get_size_inches()[1] * figure.dpi < lowest


def test_without_truth_or_image() -> None:
    figure = sheet([frame(image=False, target=False)], MODALITIES, title="")
    said = words(figure)
    assert "image" not in said
    assert "truth" not in said
    assert "error" not in said
    assert said.count("prediction") == 2
    assert len(pictures(figure)) == 2
    assert not any("error" in axes.get_title(loc="left") for axes in figure.axes)


def test_one_modality_of_any_kind() -> None:
    given = frame()
    one = SheetFrame(
        given.id, given.scene, None, {"depth": given.prediction["depth"]}, given.target, {}
    )
    figure = sheet([one], {"depth": MODALITIES["depth"]}, title="")
    assert len(pictures(figure)) == 3
    assert "semantic" not in words(figure)


def test_a_shrunken_picture_is_averaged() -> None:
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[:, ::2] = 255
    given = frame()
    maps = {"depth": torch.zeros(1, 480, 640).numpy()}
    one = SheetFrame(given.id, given.scene, stripes, maps, {}, {})
    shown = pictures(sheet([one], {"depth": MODALITIES["depth"]}, title=""))[0]
    assert shown.shape[1] < 640
    assert abs(float(shown.mean()) - 127.5) < 3
    assert shown.min() > 60
    assert shown.max() < 200


def test_the_file_is_a_png_of_the_sheets_pixels(tmp_path: Path) -> None:
    given = frame()
    figure = sheet([given], MODALITIES, title="title")
    out = tmp_path / "new" / "sheet.png"
    save(figure, out)
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    image = figure.images[0]  # type: ignore[attr-defined]
    expected = np.asarray(image.get_array())
    top = pixels.shape[0] - image.oy - expected.shape[0]
    found = pixels[top : top + expected.shape[0], image.ox : image.ox + expected.shape[1]]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(CacheError, match="cannot be written"):
        save(figure, out / "below_a_file.png")
