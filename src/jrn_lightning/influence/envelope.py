"""Performance against influence (Figure 8): its upper envelope, and whether it has a summit.

The paper expects the best network between too little influence and too much. Points of many
networks can show that; five never can, however they lie.

n points, G groups, M grid, R resamples, K pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linprog
from scipy.stats import rankdata

from jrn_lightning.influence.bootstrap import Bootstrap, interval
from jrn_lightning.influence.distribution import LEVEL, Estimate

Array = NDArray[np.float64]

#: the envelope has this share of the points below it
QUANTILE = 0.9
#: groups (architectures) below which nothing is said
MINIMUM_GROUPS = 10

_SIDE = 5  # groups on each side of a summit, at least
_SUMMITS = 25  # places at which one is looked for, at most
_PIECES = 8  # of the envelope, at most
_FENCE = 3.0  # interquartile ranges beyond the quartiles: Tukey's outer fences
_TOGETHER = 100  # resamples that share a linear program: one each costs three times as much


@dataclass(frozen=True)
class Envelope:
    """The upper concave envelope of points (ω, A), and what it says.

    Args:
        omega: ``(M,)`` grid; like the curves ``(0,)`` where there are too few points.
        value: ``(M,)`` the envelope.
        low: ``(M,)`` lower end of its 95 % band.
        high: ``(M,)`` upper end.
        peak: ω at which the envelope is highest, with its interval; NaN without an envelope.
        p: of no interior maximum; NaN without an envelope.
        verdict: the same in words.
    """

    omega: Array
    value: Array
    low: Array
    high: Array
    peak: Estimate
    p: float
    verdict: str


def envelope(
    omega: ArrayLike,
    performance: ArrayLike,
    groups: Sequence[str],
    *,
    grid: int = 50,
    resamples: int = 1000,
    seed: int = 0,
) -> Envelope:
    """The upper concave envelope of A over ω, its bootstrap band, and a test for a summit.

    The envelope is the concave, piecewise linear quantile regression of A on ω at 0.9: unlike a
    hull it does not hang on a few lucky networks, and its band has an upper side. The band comes
    from resampling whole groups, as networks of one architecture are alike.

    The test asks whether A rises and then falls. T is the largest, over the places s where it could
    turn, of the smaller of two trends of the groups' means: the rise on the left of s and the fall
    on the right, each a Spearman correlation times the root of its groups less one. Under a
    relation that does not fall, T exceeds a value no more often than the largest falling trend of
    groups in random order does; by symmetry the same holds for one that does not rise, and
    permutations give the distribution. So p is valid for every monotone relation of independent
    groups, like the two lines of Simonsohn (2018) and unlike a parabola, which takes saturation for
    a summit (Lind and Mehlum 2010): of monotone relations simulated with 16 and 32 groups, at most
    3 % had p < 0.05.

    Points whose ω lies beyond Tukey's outer fences (three interquartile ranges from the quartiles)
    and points without a value are left out; the verdict counts them.

    Args:
        omega: ``(n,)`` influence.
        performance: ``(n,)`` A; best of other images than ω, which contains A otherwise.
        groups: n names, of the architectures.
        grid: M, points from the smallest to the largest ω.
        resamples: R, of the bootstrap and of the permutations.
        seed: of both.

    Raises:
        ValueError: arrays of different lengths.

    >>> import numpy as np
    >>> omega = np.linspace(0, 10, 40)
    >>> found = envelope(omega, -((omega - 4) ** 2), [f"net {i // 2}" for i in range(40)])
    >>> round(found.peak.value), found.p < 0.05
    (4, True)
    >>> envelope([1, 2, 3, 4, 5], [1, 2, 3, 2, 1], list("abcde")).verdict
    'too few points: 5 architectures, at least 10 are needed'
    """
    x, y = np.asarray(omega, np.float64), np.asarray(performance, np.float64)
    if not x.shape == y.shape == (len(groups),):
        raise ValueError(f"omega {x.shape}, performance {y.shape} and {len(groups)} groups differ")
    kept = np.isfinite(x) & np.isfinite(y)
    kept[kept] = _within_fences(x[kept])
    x, y, names = x[kept], y[kept], np.asarray(groups)[kept]
    _, group = np.unique(names, return_inverse=True)
    count = int(group.max()) + 1 if len(group) else 0
    left_out = f"; {n} left out (no value, or far off)" if (n := int((~kept).sum())) else ""
    if count < MINIMUM_GROUPS or np.ptp(x) == 0:
        few = f"{count} architectures, at least {MINIMUM_GROUPS} are needed"
        verdict = f"too few points: {few if count < MINIMUM_GROUPS else 'all have the same ω'}"
        none = Estimate(np.nan, np.nan, np.nan)
        x = np.empty(0)
        return Envelope(x, x, x, x, none, np.nan, verdict + left_out)

    at = np.linspace(x.min(), x.max(), grid)
    curves = _resampled_curves(x, y, names.tolist(), at, resamples, seed)
    low, high = interval(curves[1:])
    summits = at[np.nanargmax(curves, axis=1)]
    peak = Estimate(float(summits[0]), *(float(end) for end in interval(summits[1:])))
    sizes = np.bincount(group)
    p = _no_summit(
        np.bincount(group, x) / sizes, np.bincount(group, y) / sizes, resamples, seed + 1
    )
    of = f"{len(x)} networks of {count} architectures{left_out}"
    if p < LEVEL:
        where = f"at ω = {peak.value:.3g} [{peak.low:.3g}, {peak.high:.3g}]"
        verdict = f"A rises and then falls with ω, the envelope is highest {where} "
    else:
        verdict = "no significant interior maximum "
    return Envelope(at, curves[0], low, high, peak, p, f"{verdict}(p = {p:.2g}, {of})")


def _resampled_curves(
    x: Array, y: Array, groups: Sequence[str], at: Array, resamples: int, seed: int
) -> Array:
    """The envelope at ``at`` ``(M,)``, then those of the resamples of groups: ``(1 + R, M)``.

    NaN beyond the points of a resample.
    """
    draw = Bootstrap.draw(groups, resamples, seed)
    weights = np.vstack([np.ones(len(x)), draw.counts[:, draw.cluster]])
    curves = _concave_quantiles(x, y, weights, at)
    first = np.where(weights > 0, x, np.inf).min(1)[:, None]
    last = np.where(weights > 0, x, -np.inf).max(1)[:, None]
    curves[(at < first) | (at > last)] = np.nan
    return curves


def _within_fences(x: Array) -> NDArray[np.bool_]:
    """Where ``x`` ``(n,)`` lies within Tukey's outer fences."""
    if not len(x):
        return np.ones(0, bool)
    q1, q3 = np.quantile(x, [0.25, 0.75])
    reach = _FENCE * (q3 - q1)
    return np.asarray((x >= q1 - reach) & (x <= q3 + reach))


def _concave_quantiles(x: Array, y: Array, weights: Array, at: Array) -> Array:
    """Concave piecewise linear quantile regressions of ``y`` on ``x``, one a row of weights.

    f(x) = a + b x - Σ c_k (x - t_k)₊ with c_k ≥ 0 and knots t_k at quantiles of ``x`` minimises
    Σ w (τ r₊ + (1 - τ) r₋) of the residuals r. Its dual (Koenker and Bassett 1978) has one bounded
    variable a point and one row a coefficient: max d·y, (τ - 1) w ≤ d ≤ τ w, with d·1 = d·x = 0
    and d·(x - t_k)₊ ≥ 0; the coefficients are the prices of its rows.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
        weights: ``(R, n)``, not negative.
        at: ``(M,)`` where to evaluate.

    Returns:
        ``(R, M)``.
    """
    pieces = int(np.clip(len(np.unique(x)) // _SIDE, 2, _PIECES))
    knots = np.unique(np.quantile(x, np.arange(1, pieces) / pieces))
    middle, scale = x.mean(), x.std()
    level, height = np.median(y), np.std(y) or 1.0

    def basis(values: Array) -> Array:
        hinges = np.maximum(values[:, None] - knots, 0) / scale
        return np.column_stack([np.ones_like(values), (values - middle) / scale, -hinges])

    rows = basis(x).T
    coefficients = []
    for part in np.split(weights, range(_TOGETHER, len(weights), _TOGETHER)):
        copies = sparse.identity(len(part))
        slopes = sparse.kron(copies, rows[2:], "csr")
        solved = linprog(
            -np.tile((y - level) / height, len(part)),
            A_eq=sparse.kron(copies, rows[:2], "csr"),  # type: ignore[call-overload]
            b_eq=np.zeros(2 * len(part)),
            A_ub=slopes,
            b_ub=np.zeros(slopes.shape[0]),
            bounds=np.column_stack([(QUANTILE - 1) * part.ravel(), QUANTILE * part.ravel()]),
            method="highs-ds",
        )
        line = -solved.eqlin.marginals.reshape(len(part), 2)
        bends = -solved.ineqlin.marginals.reshape(len(part), len(knots))
        coefficients.append(np.hstack([line, bends]))
    return np.asarray(np.vstack(coefficients) @ basis(at).T * height + level)


def _no_summit(x: Array, y: Array, permutations: int, seed: int) -> float:
    """The p of no interior maximum of ``y`` ``(G,)`` over ``x`` ``(G,)``, see :func:`envelope`."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    places = np.unique(
        np.linspace(_SIDE, len(x) - _SIDE, min(_SUMMITS, len(x) - 2 * _SIDE + 1)).astype(int)
    )
    rises = np.stack([_trend(x[:s], y[None, :s]) for s in places])
    falls = np.stack([_trend(x[s:], -y[None, s:]) for s in places])
    found = np.minimum(rises, falls).max()
    shuffled = np.random.default_rng(seed).permuted(np.tile(y, (permutations, 1)), axis=1)
    level = np.max([_trend(x[:s], shuffled[:, :s]) for s in places], axis=0)
    return float((1 + (level >= found - 1e-9).sum()) / (1 + permutations))


def _trend(x: Array, y: Array) -> Array:
    """Spearman's correlation of ``x`` ``(m,)`` and ``y`` ``(R, m)``, times √(m - 1): ``(R,)``.

    Its deviation is then 1 without a relation, for any m.
    """
    a = rankdata(x) - (len(x) + 1) / 2
    b = rankdata(y, axis=1) - (len(x) + 1) / 2
    norm = np.sqrt((a**2).sum() * (b**2).sum(1))
    products = (b * a).sum(1)
    correlation = np.divide(products, norm, out=np.zeros_like(products), where=norm > 0)
    return np.asarray(correlation * np.sqrt(len(x) - 1))
