"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.caches import write_small_cache


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid cache of 12 train, 6 test and 3 predict frames of 48 × 64 pixels; read only."""
    return write_small_cache(tmp_path_factory.mktemp("cache") / "small.h5")
