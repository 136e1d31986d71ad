from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jrn_lightning.errors import ConfigError
from jrn_lightning.rooms import RoomsSpec


def test_every_field_changes_the_hash() -> None:
    spec = RoomsSpec()
    changed = {
        replace(spec, **{name: value + 1}).hash
        for name, value in vars(spec).items()
        if isinstance(value, int)
    }
    assert len(changed | {spec.hash}) == 7
    assert RoomsSpec().hash == spec.hash


def test_the_usual_modalities_are_those_of_rooms_rendered_before() -> None:
    spec = RoomsSpec()
    assert spec.hash == "9a4278be083f9e5cb1a520c23f123d77b694dc167eba9b886ef126448cf3639b"
    assert RoomsSpec(modalities=("semantic", "depth")) == spec
    more = RoomsSpec(modalities=("normals", "semantic", "depth"))
    assert more.modalities == ("depth", "semantic", "normals")
    assert more.hash != spec.hash
    with pytest.raises(
        ConfigError, match=r"no modality touch\. Choose from: depth, semantic, norm"
    ):
        RoomsSpec(modalities=("depth", "touch"))


def test_the_default_has_enough_frames() -> None:
    spec = RoomsSpec()
    assert spec.train_rooms * spec.views >= 200
    assert spec.test_rooms * spec.views >= 80
    assert len(set(spec.rooms)) * spec.views == spec.frames


WRONG: list[dict[str, Any]] = [
    *({"seed": value} for value in (-1, True)),
    *({name: 0} for name in ("train_rooms", "test_rooms", "views")),
    *({"height": 8}, {"width": 31}, {"views": 2.0}, {"height": "240"}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_is_named(wrong: dict[str, Any]) -> None:
    ((field, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"{field} of the rooms is {value!r}.*Give a whole"):
        RoomsSpec(**wrong)
