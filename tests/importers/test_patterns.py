from __future__ import annotations

from pathlib import Path

import pytest

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.patterns import Pattern


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_and_fields(tmp_path: Path) -> None:
    touch(tmp_path, "a/ulm/ulm_1_rgb.png", "a/ulm/other_1_rgb.png", "a/ulm/ulm_1_x.png", "b/c")
    found = list(Pattern("a/{city}/{city}_{id}_rgb.*", "image").find(tmp_path))
    assert found == [({"city": "ulm", "id": "1"}, tmp_path / "a/ulm/ulm_1_rgb.png")]


def test_a_field_may_span_folders(tmp_path: Path) -> None:
    touch(tmp_path, "x/a/b/1.png", "x/2.png", "y/3.png")
    found = [fields["id"] for fields, _ in Pattern("x/{id:path}.png", "image").find(tmp_path)]
    assert found == ["2", "a/b/1"]
    truth = Pattern("x/{id}.png", "depth")
    assert truth.path(tmp_path, {"id": "a/b/1"}) == tmp_path / "x/a/b/1.png"
    assert truth.path(tmp_path, {"id": "a/b/2"}) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("leftImg/{id}.png", r"has no 'leftImg', nearest is 'leftImg8bit'"),
        ("leftImg8bit/{s}/{id}.jpg", r"train has no '{id}.jpg', nearest is '1.png'"),
        ("leftImg8bit/trian/{id}.png", r"leftImg8bit has no 'trian', nearest is 'train'"),
        ("none/{id}.png", "nearest is"),
    ],
)
def test_what_is_there_instead(tmp_path: Path, pattern: str, message: str) -> None:
    touch(tmp_path, "leftImg8bit/train/1.png")
    with pytest.raises(CacheError, match=rf"image: no file matches '{pattern}'.*{message}"):
        list(Pattern(pattern, "image").find(tmp_path))


def test_faulty_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "d/1.png", "d/1.npy")
    with pytest.raises(CacheError, match=r"maps.depth: two files for one frame.*1\.npy and 1\.png"):
        Pattern("d/{id}.*", "maps.depth").path(tmp_path, {"id": "1"})
    with pytest.raises(CacheError, match=r"the field 'city', which .* lacks. It has: id"):
        Pattern("d/{city}.png", "maps.depth").path(tmp_path, {"id": "1"})
    with pytest.raises(CacheError, match="has a brace alone"):
        Pattern("d/{id.png", "image")
