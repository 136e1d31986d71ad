"""Two halves of the images that share no scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def halves(clusters: Sequence[str], seed: int = 0) -> NDArray[np.bool_]:
    """Which images belong to the first of two halves of about the same size: ``(N,)``.

    ω and A share A(f(X, Y)), so that across networks they correlate by construction; taken from
    different halves of the images they do not. Whole scenes go to one half, since images of a
    scene are alike.

    Args:
        clusters: N scene names; the halves depend on the names, not on their order.
        seed: of the order in which scenes are dealt, each to the half that has fewer images.
    """
    names, cluster, sizes = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    first = np.zeros(len(names), bool)
    lead = 0
    for scene in np.random.default_rng(seed).permutation(len(names)):
        first[scene] = lead <= 0
        lead += int(sizes[scene]) if first[scene] else -int(sizes[scene])
    return np.asarray(first[cluster])
