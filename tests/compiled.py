"""Tests of what is compiled when the package is installed."""

from __future__ import annotations

from typing import TypeVar

import pytest

T = TypeVar("T")


def needed(found: T | None) -> T:
    """``found``; where it was not compiled the test is skipped, and says so."""
    if found is None:
        pytest.skip("not compiled: there was no compiler when the package was installed")
    return found
