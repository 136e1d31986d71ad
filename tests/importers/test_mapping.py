from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import CLASSES, WANG5, space
from jrn_lightning.importers.mapping import _SPELLINGS, summation

ADE = space("ade150").classes


def test_nyu40_is_summed_as_its_labels_are() -> None:
    table, unmapped = summation(WANG5, space("nyu40").classes, CLASSES)
    np.testing.assert_array_equal(table.argmax(0), WANG5.from_nyu40()[1:41])
    assert unmapped == []


def test_ade_is_summed_however_a_network_spells_it() -> None:
    mapping = space("ade-to-wang5")
    table, unmapped = summation(mapping, ADE, CLASSES)
    assert {"sky", "sea", "mountain"} <= set(unmapped)
    assert len(unmapped) == 18
    # As maskformers have it, with synonyms.
    theirs = [f"{_SPELLINGS.get(name, name)} , any, kind" for name in ADE]
    np.testing.assert_array_equal(summation(mapping, theirs, CLASSES)[0], table)
    for name, label in (("floor", 0), ("rug", 0), ("wall", 1), ("windowpane", 4), ("bed", 3)):
        assert table[:, ADE.index(name)].tolist() == np.eye(5)[label].tolist()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("up: [lader]", r"up has the member 'lader', which the network does not.*Did you mean 'l"),
        ("left: [floor]", r"the class 'left', which is not predicted here. Known: up, down"),
        ("up: [floor]\ndown: [floor]", r"own: 'floor, flooring' is of 2 classes"),
        ("up: [7]", r"the member 7, which the network does not predict. Known: ladder, floor"),
    ],
)
def test_what_does_not_fit_is_named_with_the_choices(text: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(CacheError, match=error):
        summation(space(tmp_path / "own.yaml"), ["ladder ", "floor, flooring"], ["up", "down"])
