"""A small sweep with controls and mute values that every notebook is executed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import job


@pytest.fixture(scope="session")
def sweep(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two architectures, one of them also trained without either modality; read only."""
    folder = tmp_path_factory.mktemp("notebooks") / "rooms"
    for name, *overrides in (
        ("cat5", "arch=cat5"),
        ("cat5,recipe.muted=[depth]", "arch=cat5", "recipe.muted=[depth]"),
        ("cat5,recipe.muted=[semantic]", "arch=cat5", "recipe.muted=[semantic]"),
        ("cat1", "arch=cat1"),
    ):
        small = ("recipe.epochs=1", "evaluation.mute_values=[zero,mean_map]")
        job(small_cache, folder / name / "seed0", *small, *overrides)
    return folder
