from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import (
    CLASSES,
    LABEL_SPACES,
    STRUCTURAL5,
    WANG5,
    LabelSpace,
    nyu40_of_raw,
)

VOID = 255


@pytest.mark.parametrize("space", LABEL_SPACES.values(), ids=lambda space: space.name)
def test_every_id_has_one_class_and_0_none(space: LabelSpace) -> None:
    assert space.classes == CLASSES
    assert sorted(i for ids in space.members.values() for i in ids) == list(range(1, 41))
    table = space.from_nyu40()
    assert table[0] == VOID
    assert (table[1:41] < 5).all()
    assert (table[41:] == VOID).all()


@pytest.mark.parametrize(
    ("raw", "wang5", "structural5"),
    [
        ("floor", "Ground", "Ground"),
        ("floor mat", "Ground", "Object"),
        ("wall", "Vertical", "Vertical"),
        ("cabinet", "Vertical", "Furniture"),
        ("window", "Object", "Vertical"),
        ("ceiling", "Ceiling", "Ceiling"),
        ("bed", "Furniture", "Furniture"),
        ("chair", "Object", "Furniture"),
        ("book", "Object", "Object"),
        # unlike their parents in wang5
        ("wardrobe", "Vertical", "Furniture"),
        ("garage door", "Vertical", "Vertical"),
        ("mattress", "Furniture", "Furniture"),
        ("wall decoration", "Vertical", "Object"),
    ],
)
def test_raw_names(raw: str, wang5: str, structural5: str) -> None:
    for space, expected in ((WANG5, wang5), (STRUCTURAL5, structural5)):
        table = space.from_raw(["unknown", raw])
        assert table[0] == VOID
        assert CLASSES[table[2]] == expected


def test_every_exception_is_one_of_the_894_and_differs_from_its_parent() -> None:
    raw = list(nyu40_of_raw())
    assert len(raw) == 894
    table, parent = WANG5.from_raw(raw)[1:], WANG5.from_nyu40()
    differing = {n for n, c in zip(raw, table, strict=True) if c != parent[nyu40_of_raw()[n]]}
    assert differing == {name for names in WANG5.exceptions.values() for name in names}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(CacheError, match=r"\['spaceship'\].*nyu_depth_v2_labeled"):
        WANG5.from_raw(["wall", "spaceship"])


def test_the_hashes_differ() -> None:
    assert len({space.hash for space in LABEL_SPACES.values()}) == 2
    assert len(WANG5.hash) == 64


@pytest.mark.real_data
def test_the_packaged_names_are_the_published_ones(nyu_folder: Path) -> None:
    published = scipy.io.loadmat(nyu_folder / "classMapping40.mat")
    names = [str(name[0]) for name in published["allClassName"].ravel()]
    assert dict(zip(names, published["mapClass"].ravel().tolist(), strict=True)) == nyu40_of_raw()
    # The four superclasses, structural5 without its ceiling.
    official = published["mapToNYUSuperClass"].ravel()
    superclasses = ["Ground", "Vertical", "Furniture", "Object"]
    ours = STRUCTURAL5.from_nyu40()[1:41]
    merged = np.where(ours == CLASSES.index("Ceiling"), CLASSES.index("Vertical"), ours)
    assert [superclasses.index(CLASSES[c]) + 1 for c in merged] == official.tolist()
