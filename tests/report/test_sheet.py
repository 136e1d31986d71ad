"""Contact sheets: which frames, what is read, and the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jrn_lightning.cache import PredictionCache
from jrn_lightning.errors import CacheError
from jrn_lightning.report.sheet import PREDICTION, choose, draw_refined, find, read, write
from tests.caches import write_small_cache


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


def test_what_is_read_of_a_cache(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "one.h5", train=2, test=1, predict=1)
    with PredictionCache(path) as cache:
        split = cache.split("test")
        (one,) = read({"a": split, "b": split}, [0])
        assert (one.id, one.note) == (split.ids[0], "test_0")
        assert list(one.outputs) == ["a", "b"]
        assert one.outputs["a"]["semantic"].shape == (5, 48, 64)
        np.testing.assert_array_equal(one.target["depth"], split.target("depth", 0))
        assert one.image is not None
        np.testing.assert_array_equal(one.image, split.image(0))
        (other,) = read({"a": cache.split("predict")}, [0])
        assert not other.target


def test_the_files(small_cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sheet.png"
    with PredictionCache(small_cache) as cache:
        frames = list(read({PREDICTION: cache.split("test")}, [0, 2]))
        write(frames, cache.modalities, out, title="title")
        with pytest.raises(CacheError, match="cannot be written"):
            write(frames, cache.modalities, out / "below_a_file.png", title="")
        draw_refined(cache, cache, "predict", tmp_path / "frames")
        ids = cache.split("predict").ids
    assert sorted(p.stem for p in (tmp_path / "frames").iterdir()) == sorted(ids)
    for path in (out, *(tmp_path / "frames").iterdir()):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > picture.height > 100
