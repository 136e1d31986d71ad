"""The envelope against another linear program, the test of a summit against its promises."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import spearmanr

from jrn_lightning.influence import envelope as module
from jrn_lightning.influence.envelope import MINIMUM_GROUPS, QUANTILE, Envelope, envelope

Array = NDArray[np.float64]


def networks(
    relation: Callable[[Array], Array], rng: np.random.Generator, groups: int = 32, seeds: int = 2
) -> tuple[Array, Array, list[str]]:
    """ω, A and the names of architectures that share a deviation of their own."""
    group = np.repeat(np.arange(groups), seeds)
    omega = rng.uniform(0, 1, groups)[group] + rng.normal(0, 0.05, len(group))
    noise = rng.normal(0, 0.3, groups)[group] + rng.normal(0, 0.3, len(group))
    return omega, relation(omega) + noise, [f"net {g}" for g in group]


def hump(omega: Array) -> Array:
    return -8 * (omega - 0.5) ** 2


@pytest.fixture(scope="module")
def points() -> tuple[Array, Array, list[str]]:
    return networks(hump, np.random.default_rng(3))


@pytest.fixture(scope="module")
def found(points: tuple[Array, Array, list[str]]) -> Envelope:
    return envelope(*points, resamples=300)


# -- the envelope ----------------------------------------------------------------------------------


def _pinball(residual: Array, weights: Array) -> float:
    return float((weights * np.maximum(QUANTILE * residual, (QUANTILE - 1) * residual)).sum())


def _reference_loss(x: Array, y: Array, weights: Array, corners: Array) -> float:
    """Least loss of a concave function that is linear between ``corners``, by its heights there."""
    n, k = len(x), len(corners)
    interpolation = np.stack([np.interp(x, corners, unit) for unit in np.eye(k)], 1)
    slopes = np.diff(np.eye(k), axis=0) / np.diff(corners)[:, None]
    solved = linprog(
        np.concatenate([np.zeros(k), QUANTILE * weights, (1 - QUANTILE) * weights]),
        A_eq=np.hstack([interpolation, np.eye(n), -np.eye(n)]),
        b_eq=y,
        A_ub=np.hstack([np.diff(slopes, axis=0), np.zeros((k - 2, 2 * n))]),
        b_ub=np.zeros(k - 2),
        bounds=[(None, None)] * k + [(0, None)] * (2 * n),
    )
    return float(solved.fun)


def test_the_envelope_is_the_best_concave_function(points: tuple[Array, Array, list[str]]) -> None:
    x, y, _ = points
    rng = np.random.default_rng(0)
    weights = np.vstack([np.ones(len(x)), rng.integers(0, 3, (5, len(x))).astype(float)])
    curves = module._concave_quantiles(x, y, weights, x)
    pieces = module._PIECES
    corners = np.quantile(x, np.arange(pieces + 1) / pieces)
    for curve, weight in zip(curves, weights, strict=True):
        expected = _reference_loss(x, y, weight, corners)
        assert _pinball(y - curve, weight) == pytest.approx(expected, rel=1e-7)


def test_it_is_concave_and_has_nine_tenths_below(
    points: tuple[Array, Array, list[str]], found: Envelope
) -> None:
    x, y, _ = points
    assert (np.diff(found.value, 2) <= 1e-9).all()
    below = (y <= np.interp(x, found.omega, found.value) + 1e-9).mean()
    assert QUANTILE - 0.01 <= below <= QUANTILE + 0.15
    assert found.omega[[0, -1]].tolist() == [x.min(), x.max()]
    inner = slice(3, -3)
    assert (found.low[inner] <= found.value[inner] + 1e-9).all()
    assert (found.value[inner] <= found.high[inner] + 1e-9).all()
    assert (found.low[inner] < found.high[inner]).all()


def test_units_do_not_matter(points: tuple[Array, Array, list[str]], found: Envelope) -> None:
    x, y, names = points
    scaled = envelope(1e3 * x - 5, 1e-3 * y + 70, names, resamples=300)
    np.testing.assert_allclose(scaled.value, 1e-3 * found.value + 70, rtol=1e-9)
    assert scaled.peak.value == pytest.approx(1e3 * found.peak.value - 5)
    assert scaled.p == found.p


def test_the_band_is_wider_when_a_group_s_networks_are_alike() -> None:
    """Four copies of each network say no more than one of each, where the names tell so."""
    rng = np.random.default_rng(1)
    x, y, names = networks(hump, rng, seeds=1)
    copies = (np.tile(x, 4), np.tile(y, 4))
    told = envelope(*copies, names * 4, resamples=200)
    untold = envelope(*copies, [f"{i}" for i in range(len(x) * 4)], resamples=200)
    width, narrow = (np.nanmean(e.high - e.low) for e in (told, untold))
    assert narrow < 0.75 * width
    np.testing.assert_allclose(told.value, untold.value)


# -- what it says ----------------------------------------------------------------------------------


def test_a_clear_hump_is_found_where_it_is(found: Envelope) -> None:
    assert found.peak.low <= 0.5 + 0.1
    assert found.peak.high >= 0.5 - 0.1
    assert found.peak.low <= found.peak.value <= found.peak.high
    assert found.p < 0.05
    assert "rises and then falls" in found.verdict
    assert "64 networks of 32 architectures" in found.verdict


def test_the_same_seed_says_the_same(
    points: tuple[Array, Array, list[str]], found: Envelope
) -> None:
    again = envelope(*points, resamples=300)
    assert (again.p, again.peak) == (found.p, found.peak)
    np.testing.assert_array_equal(again.low, found.low)
    assert (envelope(*points, resamples=300, seed=1).low != found.low).any()


@pytest.mark.parametrize("number", [0, 1, 5, MINIMUM_GROUPS - 1])
def test_too_few_architectures_say_nothing_whatever_the_seeds(number: int) -> None:
    x, y, names = networks(hump, np.random.default_rng(0), groups=number, seeds=20)
    few = envelope(x, y, names)
    assert few.omega.size == few.value.size == few.low.size == few.high.size == 0
    assert np.isnan([few.p, few.peak.value, few.peak.low, few.peak.high]).all()
    assert "too few points" in few.verdict
    assert f"{number} architectures" in few.verdict


def test_networks_of_one_influence_say_nothing() -> None:
    y = np.random.default_rng(0).normal(size=30)
    assert "same ω" in envelope(np.ones(30), y, [str(i) for i in range(30)]).verdict


def test_missing_values_and_absurd_influences_are_left_out_and_counted(
    points: tuple[Array, Array, list[str]], found: Envelope
) -> None:
    x, y, names = points
    extra = envelope(
        [*x, np.nan, 0.4, 100.0, -90.0, np.inf],
        [*y, 1.0, np.nan, 50.0, -50.0, 0.0],
        [*names, "a", "b", "c", "d", "e"],
        resamples=300,
    )
    np.testing.assert_array_equal(extra.value, found.value)
    assert (extra.p, extra.peak) == (found.p, found.peak)
    assert "5 left out" in extra.verdict


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="3 groups"):
        envelope([1.0, 2.0], [1.0, 2.0], ["a", "b", "c"])


# -- the test of a summit --------------------------------------------------------------------------


def test_a_trend_is_spearman_s(points: tuple[Array, Array, list[str]]) -> None:
    x, y, _ = points
    y = np.round(y, 1)  # ties
    expected = spearmanr(x, y).statistic * np.sqrt(len(x) - 1)
    assert module._trend(x, np.stack([y, -y])) == pytest.approx([expected, -expected])
    assert module._trend(x, np.ones((1, len(x)))).tolist() == [0.0]


MONOTONE: dict[str, Callable[[Array], Array]] = {
    "level": lambda x: 0 * x,
    "rising": lambda x: 2 * x,
    "falling": lambda x: -2 * x,
    "steep": lambda x: 20 * x,
    # Where a parabola would see a summit.
    "saturating": lambda x: 3 * (1 - np.exp(-8 * x)),
    "kinked": lambda x: -3 * np.maximum(x - 0.6, 0),
    "a step": lambda x: 3.0 * (x > 0.5),
}


def _rejected(relation: Callable[[Array], Array], groups: int, times: int) -> float:
    rng = np.random.default_rng(0)

    def p(seed: int) -> float:
        x, y, names = networks(relation, rng, groups)
        _, group = np.unique(names, return_inverse=True)
        means = (np.bincount(group, v) / np.bincount(group) for v in (x, y))
        return module._no_summit(*means, 200, seed)

    return float(np.mean([p(seed) < 0.05 for seed in range(times)]))


@pytest.mark.parametrize("name", MONOTONE)
def test_a_monotone_relation_is_seldom_taken_for_a_summit(name: str) -> None:
    # At most 5 %: then no more than 10 of 100 draws in 99 of 100 cases.
    assert _rejected(MONOTONE[name], 16, 100) <= 0.1


def test_a_summit_is_found() -> None:
    assert _rejected(hump, 32, 30) >= 0.8


def test_a_clear_summit_is_found_by_few() -> None:
    assert _rejected(lambda x: 5 * hump(x), 16, 40) >= 0.8


@pytest.mark.slow
def test_a_thousand_resamples_take_seconds(points: tuple[Array, Array, list[str]]) -> None:
    start = time.process_time()
    envelope(*points, resamples=1000)
    assert time.process_time() - start < 3
