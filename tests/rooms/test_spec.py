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


def test_the_default_has_enough_frames() -> None:
    spec = RoomsSpec()
    assert spec.train_rooms * spec.views >= 200
    assert spec.test_rooms * spec.views >= 80
    assert len(set(spec.rooms)) * spec.views == spec.frames


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("train_rooms", 0),
        ("test_rooms", 0),
        ("views", 0),
        ("height", 8),
        ("width", 31),
        ("views", 2.0),
        ("seed", True),
        ("height", "240"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{field} of the rooms is {value!r}.*Give a whole"):
        RoomsSpec(**{field: value})
