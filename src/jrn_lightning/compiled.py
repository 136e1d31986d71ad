"""Libraries in C that come with the package where installing it could compile them.

They ask for a compiler that has GCC's vectors (GCC, Clang). Without one the package installs as
well, and does the same in another way.
"""

from __future__ import annotations

import ctypes
import importlib.util

__all__ = ["library"]


def library(module: str) -> ctypes.CDLL | None:
    """The library ``module`` of the package, or None where there is none that this machine runs."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    try:
        return ctypes.CDLL(found.origin)
    except OSError:
        return None
