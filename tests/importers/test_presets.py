"""Every preset reads a miniature of its data set as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jrn_lightning.errors import CacheError
from jrn_lightning.importers import layout
from jrn_lightning.importers.folder import Folder, survey
from tests.importers.miniatures import PRESETS, SIZE, edges_of, normals_of


def test_every_preset_has_a_miniature_and_says_where_it_is_from() -> None:
    assert layout.presets() == sorted(PRESETS)
    for name in layout.presets():
        given = layout.preset(name)
        assert given.source.startswith("https://") or given.source.startswith("http://")
        assert given.notes
    with pytest.raises(CacheError, match=r"'cityscape' is unknown. Did you mean 'cityscapes'"):
        layout.preset("cityscape")


def test_maps_may_be_left_out(tmp_path: Path) -> None:
    hypersim, _ = PRESETS["hypersim"]
    hypersim(tmp_path)
    for file in tmp_path.rglob("*normal_cam.hdf5"):
        file.unlink()
    whole = layout.preset("hypersim")
    with pytest.raises(CacheError, match=r"Without normals: --modality depth --modality sem"):
        Folder(tmp_path, replace(whole, size=SIZE))
    two = layout.only(whole, ["depth", "semantic"])
    assert list(Folder(tmp_path, replace(two, size=SIZE)).modalities) == ["depth", "semantic"]
    with pytest.raises(CacheError, match="Did you mean 'normals'"):
        layout.only(whole, ["normal"])


@pytest.mark.parametrize("name", PRESETS)
def test_a_miniature_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    write, tested = PRESETS[name]
    written = write(tmp_path)
    # Miniatures have the layout and the encodings, not the size.
    given = layout.preset(name)
    data = Folder(tmp_path, replace(given, size=SIZE) if given.size else given)
    assert data.size == SIZE
    assert len(data.splits["test"]) == tested
    assert {f for ids in data.splits.values() for f in ids} == set(written)
    survey(data)
    for id, made in written.items():
        frame = data.read(id)
        assert frame.image is not None
        assert frame.targets is not None
        assert frame.image.shape == (*SIZE, 3)
        depth = frame.targets["depth"]
        np.testing.assert_array_equal(depth == 0, made.depth == 0)
        # Steps of the 16-bit disparities and depths: at most 2 % here.
        np.testing.assert_allclose(depth, made.depth, rtol=0.02)
        if "semantic" in frame.targets:
            np.testing.assert_array_equal(frame.targets["semantic"], made.label)
        if "normals" in frame.targets:
            normals = np.moveaxis(frame.targets["normals"], 0, 2)
            np.testing.assert_allclose(normals, normals_of(made), atol=0.01)
        if "edges" in frame.targets:
            np.testing.assert_array_equal(frame.targets["edges"], edges_of(made))
        for m, kind in data.modalities.items():
            assert kind.check_target(frame.targets[m]) is None
