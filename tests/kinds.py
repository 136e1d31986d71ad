"""Modalities for tests of networks, by the channels of their maps."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from jrn_lightning.modalities import Depth, Semantic


def kinds(channels: Mapping[str, int]) -> dict[str, Any]:
    """Depth, semantics of so many classes, and for other names a map that is added as it is."""
    known = {
        "depth": lambda c: Depth("depth"),
        "semantic": lambda c: Semantic("semantic", "abcdefghij"[:c]),
    }
    return {
        m: known[m](c)
        if m in known
        else SimpleNamespace(channels=c, to_output=lambda prediction: prediction)
        for m, c in channels.items()
    }
