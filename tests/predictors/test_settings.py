from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from jrn_lightning.errors import ConfigError
from jrn_lightning.predictors import settings as settings_module
from jrn_lightning.predictors.settings import SETTINGS, named
from tests.frames import tiny_settings


def test_named_settings_are_sound_and_hydra_knows_them() -> None:
    for name, settings in SETTINGS.items():
        settings.check()
        assert settings.name == name
        assert OmegaConf.structured(settings).encoder == settings.encoder


def test_overrides_make_a_copy() -> None:
    changed = named("small", {"epochs": 3, "image": [64, 96]})
    assert (changed.epochs, changed.size, changed.grid) == (3, (64, 96), (16, 24))
    assert SETTINGS["small"].epochs != 3
    assert changed.hash != SETTINGS["small"].hash


def test_any_timm_encoder_has_settings() -> None:
    assert named("timm:resnet18").encoder == "timm:resnet18"


def test_networks_of_another_version_are_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_settings().hash
    monkeypatch.setattr(settings_module, "NETWORKS_VERSION", settings_module.NETWORKS_VERSION + 1)
    assert tiny_settings().hash != before


def test_the_name_does_not_change_what_comes_out() -> None:
    assert tiny_settings().hash != tiny_settings(seed=1).hash
    same = tiny_settings()
    same.name = "other"
    assert same.hash == tiny_settings().hash


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("tiny", {}, "'tiny' are unknown. Choose from: small, efficientnet_lite0, timm:NAME"),
        ("small", {"epoch": 3}, "no epoch. Choose from: .*epochs"),
        ("small", {"epochs": 0}, "single_task.epochs is 0: give a number of at least 1"),
        ("small", {"folds": 1}, "single_task.folds is 1: give a number of at least 2"),
        ("small", {"learning_rate": 0}, "single_task.learning_rate is 0"),
        ("small", {"image": [121, 160]}, "divisible by the stride 4"),
        ("small", {"image": [120]}, "give height and width"),
        ("small", {"image": [16, 160]}, "at least 32 pixels"),
        ("small", {"zoom": 0.5}, "single_task.zoom is 0.5"),
        ("small", {"epochs": "abc"}, "single_task.epochs is 'abc': give a whole number"),
        ("small", {"learning_rate": "x"}, "single_task.learning_rate is 'x': give a number"),
        ("small", {"image": 100}, "single_task.image is 100: give two whole numbers"),
        ("small", {"image": [64, "b"]}, "single_task.image is .*: give two whole numbers"),
        ("small", {"mirror": 1}, "single_task.mirror is 1: give true or false"),
    ],
)
def test_what_cannot_work_is_refused_by_name(name: str, changes: dict, told: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ConfigError, match=told):
        named(name, changes)
