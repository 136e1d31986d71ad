"""Multiple testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jrn_lightning.influence.bootstrap import Array

#: the p-value, corrected where there are several tests, below which an effect is significant
LEVEL = 0.05


def holm(p: ArrayLike) -> Array:
    """p-values ``(n,)`` corrected for the family-wise error rate by Holm's procedure (1979).

    The smallest is multiplied by n, the next one by n - 1, and
    so on; none may be less than one before it, or more than 1. NaN is no test and stays NaN.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(values.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
