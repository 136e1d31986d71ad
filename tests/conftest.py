"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.caches import write_small_cache

# The first example pays for imports and the machine may be busy: no time limit an example.
settings.register_profile("jrn", deadline=None)
settings.load_profile("jrn")


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid cache of 12 train, 6 test and 3 predict frames of 48 × 64 pixels; read only."""
    return write_small_cache(tmp_path_factory.mktemp("cache") / "small.h5")


@pytest.fixture(scope="session")
def nyu_folder() -> Path:
    """NYU Depth v2 as a folder of frames: $JRN_NYU, or shared/data/nyu beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data" / "nyu"
    folder = Path(os.environ.get("JRN_NYU", beside))
    if not (folder / "train.txt").exists():
        pytest.skip(f"NYU Depth v2 is not in {folder}; set JRN_NYU to its folder")
    return folder
