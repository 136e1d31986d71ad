from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from jrn_lightning.errors import CacheError
from jrn_lightning.importers.labels import (
    CLASSES,
    STRUCTURAL5,
    WANG5,
    LabelSpace,
    names,
    nyu40_of_raw,
    space,
)

VOID = 255


@pytest.mark.parametrize("space", [WANG5, STRUCTURAL5], ids=lambda space: space.name)
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
    for labels, expected in ((WANG5, wang5), (STRUCTURAL5, structural5)):
        table = labels.from_raw(["unknown", raw])
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
    assert len({space(name).hash for name in names()}) == len(names())
    # Written into caches: they must not change.
    assert WANG5.hash.startswith("2beea6d8d83aeade")
    assert STRUCTURAL5.hash.startswith("d7b79fa9ddc240fa")


@pytest.mark.parametrize(
    ("name", "ids", "count", "some"),
    [
        # Of each: an id as it lies in files, and the class that its publishers give it.
        ("nyu40", "nyu40", 40, {1: "wall", 40: "otherprop", 24: "refridgerator"}),
        (
            "nyu13",
            "nyu40",
            13,
            {1: "Wall", 4: "Bed", 22: "Ceiling", 39: "Furniture", 40: "Objects"},
        ),
        ("nyu13", "nyu13", 13, {1: "Bed", 13: "Window"}),
        ("cityscapes19", "cityscapes", 19, {7: "road", 11: "building", 33: "bicycle", 9: None}),
        ("cityscapes19", "cityscapes19", 19, {0: "road", 18: "bicycle"}),
        ("cityscapes7", "cityscapes", 7, {9: "flat", 17: "object", 29: "vehicle", 4: None}),
        ("ade150", "ade150", 150, {1: "wall", 90: "television receiver", 150: "flag"}),
        ("pascal21", "pascal21", 21, {0: "background", 15: "person", 20: "tvmonitor"}),
        ("sunrgbd37", "sunrgbd37", 37, {37: "bag"}),
    ],
)
def test_packaged_spaces(name: str, ids: str, count: int, some: dict[int, str | None]) -> None:
    found = space(name)
    assert len(found.classes) == len(set(found.classes)) == count
    labels = found.labels_of(ids)
    assert {label for label in labels.values() if label != VOID} == set(range(count))
    for id, expected in some.items():
        assert labels[id] == VOID if expected is None else found.classes[labels[id]] == expected


def test_ids_that_count_the_classes_are_asked_for() -> None:
    with pytest.raises(CacheError, match="or ids: cityscapes19 where they count its own classes f"):
        space("cityscapes19").labels_of(None)


def test_nyu13_is_the_published_mapping() -> None:
    # class13Mapping.mat of nyuv2-meta-data, of the ids 1 … 40, counted from 1
    published = [12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5]
    published += [7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7]
    labels = space("nyu13").labels_of("nyu40")
    assert [labels[id] + 1 for id in range(1, 41)] == published


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".yaml", ".csv"])
def test_a_space_of_ones_own_merges_by_name_and_id(
    tmp_path: Path, suffix: str, encoding: str
) -> None:
    file = tmp_path / f"mine{suffix}"
    text = "flat: [road, 8]\ncar: car\n"
    if suffix == ".csv":
        text = "class,member\nflat,road\nflat,8\ncar,car\n"
    file.write_text(text, encoding)
    mine = space(file, of="cityscapes")
    assert (mine.name, mine.classes) == ("mine", ("flat", "car"))
    labels = mine.labels_of("cityscapes")
    assert {id: k for id, k in labels.items() if k != VOID} == {7: 0, 8: 0, 26: 1}
    assert len(mine.hash) == 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flat: [rode]", r"mine: flat has the member 'rode', which cityscapes lacks. Did you mean"),
        ("flat: [99]", r"member 99, which cityscapes lacks"),
        ("a: [7]\nb: [road]", r"'road' is of b and of a"),
        ("classes: {a: [7]}\nfrist: 1", r"unknown key 'frist'. Did you mean 'first'"),
        ("- 7", "holds list, no mapping"),
        ("a: [", "cannot be read"),
        ("classes: {}", "0 classes. Give 1 to 255"),
    ],
)
def test_a_faulty_space_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(CacheError, match=message):
        space(file, of="cityscapes").labels_of("cityscapes")


def test_a_space_of_other_ids_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(CacheError, match=r"wang5 is of the ids of nyu40, the files hold ade150"):
        WANG5.labels_of("ade150")
    with pytest.raises(CacheError, match=r"'wang6' is unknown. Did you mean 'wang5'"):
        space("wang6")


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
