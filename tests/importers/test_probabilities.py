from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import STRUCTURAL5, WANG5
from jrn_lightning.importers.nyu import modalities
from jrn_lightning.importers.sources import open_source

SEMANTIC = modalities(WANG5)["semantic"]
N, K, H, W = 3, 5, 4, 6
FRAMES = ["1", "2", "3"]
LOGITS = np.random.default_rng(0).normal(0, 2, (N, 40, H, W))
ODDS = softmax(LOGITS[:, :K], 1)
IDS = ODDS.argmax(1)
Maps = np.ndarray[Any, np.dtype[Any]]


def opened(folder: Path, maps: Maps, **more: Any) -> Any:
    np.savez(folder / "a.npz", maps=maps, **more)
    return open_source(folder / "a.npz", SEMANTIC, ids=FRAMES)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("axis", [None, 1, 3])
def test_class_ids_become_certain(tmp_path: Path, dtype: type, axis: int | None) -> None:
    ids = IDS.astype(dtype)
    source = opened(tmp_path, ids if axis is None else np.expand_dims(ids, axis))
    assert "one-hot" in source.conversion
    for i in range(N):
        found = source.read(str(i + 1))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.sum(0), 1)
        np.testing.assert_array_equal(found.argmax(0), IDS[i])


def test_class_ids_in_a_folder_of_pictures(tmp_path: Path) -> None:
    for i, ids in enumerate(IDS):
        Image.fromarray(ids.astype(np.uint8)).save(tmp_path / f"{i + 1}.png")
    source = open_source(tmp_path, SEMANTIC, ids=FRAMES)
    np.testing.assert_array_equal(source.read("2").argmax(0), IDS[1])


@pytest.mark.parametrize(
    ("maps", "unit", "note"),
    [
        (ODDS * 100, 100, "percentages"),
        (np.round(ODDS * 100), 100, "percentages"),
        (np.round(ODDS * 255).astype(np.uint8), 255, "8-bit probabilities"),
        (np.round(ODDS * 65535).astype(np.uint16), 65535, "16-bit probabilities"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_counts_of_a_whole_are_divided_by_it(
    tmp_path: Path, maps: Maps, unit: int, note: str, last: bool
) -> None:
    source = opened(tmp_path, np.moveaxis(maps, 1, 3) if last else maps)
    assert source.conversion.startswith(note)
    for i in range(N):
        np.testing.assert_allclose(source.read(str(i + 1)).sum(0), 1, rtol=1e-6)
        np.testing.assert_allclose(source.read(str(i + 1)), ODDS[i], atol=3 / unit)


def test_the_40_classes_are_summed_into_those_of_the_label_space(tmp_path: Path) -> None:
    odds = softmax(LOGITS, 1)
    for maps in (odds, np.moveaxis(odds, 1, 3), odds * 100):
        source = opened(tmp_path, maps)
        assert "wang5" in source.conversion
        # Ground is 2 and 20, the only id of Ceiling is 22.
        np.testing.assert_allclose(source.read("1")[0], odds[0, 1] + odds[0, 19], rtol=1e-5)
        np.testing.assert_allclose(source.read("1")[2], odds[0, 21], rtol=1e-5)
        np.testing.assert_allclose(source.read("1").sum(0), 1, rtol=1e-5)
    np.savez(tmp_path / "a.npz", maps=odds)
    other = modalities(STRUCTURAL5)["semantic"]
    found = open_source(tmp_path / "a.npz", other, ids=FRAMES).read("1")
    np.testing.assert_allclose(found[0], odds[0, 1], rtol=1e-5)


def test_names_of_classes_in_another_case_are_the_same(tmp_path: Path) -> None:
    names = ["ground", "VERTICAL", "Ceiling ", "furniture", "object"]
    assert opened(tmp_path, ODDS, classes=names).classes == WANG5.classes


def test_probabilities_are_left_as_they_are(tmp_path: Path) -> None:
    source = opened(tmp_path, ODDS.astype(np.float16))
    assert (source.conversion, source.dtype) == ("", np.float16)
    np.testing.assert_array_equal(source.read("1"), ODDS[0].astype(np.float16))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (LOGITS[:, :K], "seem to be logits. Give their softmax"),
        (np.log(ODDS), "seem to be log-probabilities. Give their exp"),
        (IDS + 1, r"class ids from 1 to 5.* 0 to 4 \(Ground"),
        (IDS * 9, r"class ids from 0 to 36.* 0 to 4 \(Ground.*Map them"),
        (IDS + 0.5, "one channel with fractions.*probabilities of all classes"),
        (np.full((N, K, H, W), 7), "integers that sum to 35"),
        (np.ones((N, 41, H, W)), "40"),
    ],
)
def test_what_cannot_be_known_is_refused_with_what_to_do(
    tmp_path: Path, maps: Maps, message: str
) -> None:
    with pytest.raises(CacheError, match=message) as caught:
        opened(tmp_path, maps)
    assert "a.npz" in str(caught.value)
    assert "--depth-scale" not in str(caught.value)


def test_a_later_map_that_sums_to_something_else_is_refused(tmp_path: Path) -> None:
    maps = ODDS * 100
    maps[1, 0, 0, 0] += 20
    with pytest.raises(CacheError, match=r"percentages that sum to 120 at a pixel"):
        opened(tmp_path, maps).read("2")
