"""Intervals over seeds and scenes: they cover what they promise, where the naive ones do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from jrn_lightning.influence import Bootstrap, Distribution, Sampled, holm, interval
from tests.influence.test_results import ACCURACY

Array = NDArray[np.float64]
#: shares of the variance of the mean: of seeds, of scenes, of what is left
MIXES = {
    "scenes": (0.0, 1.0, 0.0),
    "seeds": (1.0, 0.0, 0.0),
    "both": (0.3, 0.5, 0.2),
    "mostly scenes": (0.1, 0.7, 0.2),
    "mostly seeds": (0.7, 0.25, 0.05),
}


def trials(
    seeds: int, scenes: int, mix: tuple[float, float, float], count: int, rng: np.random.Generator
) -> Array:
    """Crossed random effects ``(seeds, scenes, count)``, the truth is 0, a mean's variance 1."""
    sizes = np.sqrt(np.array(mix) * [seeds, scenes, seeds * scenes])
    effects = (
        rng.normal(size=(seeds, 1, count)),
        rng.normal(size=(1, scenes, count)),
        rng.normal(size=(seeds, scenes, count)),
    )
    return np.asarray(sum(s * e for s, e in zip(sizes, effects, strict=True)))


def resampled(values: Array, draw: Bootstrap) -> Sampled:
    """Means over the scenes of ``values`` ``(seeds, scenes, ...)``."""
    return Sampled(values.mean(1), np.stack([draw.means(v) for v in values]), values.shape[1])


def two_levels(sampled: Sampled) -> tuple[Array, Array]:
    return sampled.over_seeds(0).interval()


def naive(sampled: Sampled) -> tuple[Array, Array]:
    """Percentiles of means over seeds drawn with replacement, as of the scenes."""
    k, r = sampled.resampled.shape[:2]
    draws = np.random.default_rng(0).multinomial(k, np.full(k, 1 / k), size=r) / k
    return interval(np.einsum("rk,kr...->r...", draws, sampled.resampled))


def coverage(
    method: Callable[[Sampled], tuple[Array, Array]],
    seeds: int,
    scenes: int,
    mix: tuple[float, float, float],
    count: int,
    resamples: int = 1000,
) -> float:
    """How often the interval holds the truth, in percent."""
    hits, size = 0, 500
    for chunk in range(count // size):
        rng = np.random.default_rng((seeds, scenes, chunk))
        values = trials(seeds, scenes, mix, size, rng)
        names = [f"{i:03d}" for i in range(scenes)]
        draw = Bootstrap.draw(names, resamples, seed=chunk)
        low, high = method(resampled(values, draw))
        hits += int(((low <= 0) & (high >= 0)).sum())
    return 100 * hits / count


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(("seeds", "scenes"), [(3, 60), (3, 120), (5, 80)])
def test_intervals_cover_what_they_promise(seeds: int, scenes: int, mix: str) -> None:
    assert 93 <= coverage(two_levels, seeds, scenes, MIXES[mix], 2000) <= 97


def test_one_seeds_interval_covers_what_it_promises() -> None:
    assert 93 <= coverage(two_levels, 1, 120, (0, 0.5, 0.5), 2000) <= 97


@pytest.mark.parametrize("mix", ["seeds", "mostly seeds"])
def test_percentiles_over_few_seeds_do_not(mix: str) -> None:
    """What the widening is for: without it, this is what three seeds give."""
    assert coverage(naive, 3, 60, MIXES[mix], 1000) < 91


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("scenes", [60, 200])
def test_coverage_over_the_whole_triangle(seeds: int, scenes: int) -> None:
    """Every mix in steps of a quarter: the extremes are as docs/decisions/0008 says.

    Less is promised where seeds differ and networks share nothing of a scene.
    """
    found = {}
    for i in range(5):
        for j in range(5 - i):
            mix = (i / 4, j / 4, (4 - i - j) / 4)
            found[mix] = coverage(two_levels, seeds, scenes, mix, 4000)
    assert 94 <= np.mean(list(found.values())) <= 96.5, found
    low, high = (91, 99.5) if seeds == 2 else (93, 98)
    lowest = {2: 86, 3: 89.5, 5: 91, 10: 93}[seeds]
    for (of_seeds, of_scenes, _), covered in found.items():
        apart = of_seeds > 0 and of_scenes == 0
        assert (lowest if apart else low) <= covered <= high, found


def crossed(seeds: int, resamples: int = 40_000) -> tuple[Array, Sampled]:
    scenes = 40
    values = trials(seeds, scenes, MIXES["mostly seeds"], 1, np.random.default_rng(seeds))[..., 0]
    draw = Bootstrap.draw([f"{i:03d}" for i in range(scenes)], resamples, seed=0)
    return values, resampled(values, draw)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_the_interval_is_that_of_an_analysis_of_variance(seeds: int) -> None:
    """By hand, from the table of seeds × scenes that these means are taken of."""
    table, sampled = crossed(seeds)
    scenes = table.shape[1]
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    of_rest = (rest**2).sum() / (seeds - 1) / scenes**2
    of_seeds = np.sqrt(max(0, table.mean(1).var(ddof=1) - of_rest) / seeds)
    of_scenes = np.sqrt(table.mean(0).var() / scenes)
    rng = np.random.default_rng(9)
    both = of_scenes * rng.normal(size=400_000) + of_seeds * rng.standard_t(seeds - 1, 400_000)
    half = np.quantile(both, 0.975)
    found = sampled.over_seeds(1)
    assert of_seeds > 0
    assert float(found.value) == pytest.approx(table.mean())
    low, high = found.interval()
    assert float(high - low) == pytest.approx(2 * half, rel=0.03)
    assert float(found.value - low) == pytest.approx(half, rel=0.1)  # percentiles, not symmetric


def test_one_network_has_the_plain_interval_of_its_scenes() -> None:
    _, sampled = crossed(1, 1000)
    found = sampled.over_seeds(3)
    assert (found.samples == sampled.resampled[0]).all()
    low, high = found.interval()
    assert np.allclose([low, high], np.quantile(sampled.resampled[0], [0.025, 0.975]), rtol=1e-12)


def test_equal_networks_have_the_interval_of_one() -> None:
    _, sampled = crossed(1)
    three = Sampled(np.repeat(sampled.value, 3), np.repeat(sampled.resampled, 3, axis=0), 40)
    assert np.allclose(three.over_seeds(0).interval(), sampled.over_seeds(0).interval())


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_a_p_value_says_what_the_interval_says(seeds: int) -> None:
    """Up to a level of 98 %: the interval of level 1 - p ends at zero."""
    for shift in np.linspace(0.2, 3, 8):
        _, sampled = crossed(seeds, 4000)
        moved = Sampled(
            sampled.value - sampled.value.mean() + shift,
            sampled.resampled - sampled.value.mean() + shift,
            40,
        ).over_seeds(0)
        p = float(moved.p_value())
        low, high = moved.interval()
        assert (p < 0.05) == (low > 0 or high < 0)
        if p > 0.02:
            assert float(moved.probability()) == pytest.approx(1 - p / 2, abs=1e-3)
            assert min(abs(end) for end in moved.interval(1 - p)) == pytest.approx(0, abs=1e-9)


def test_the_p_value_of_one_network_is_a_count() -> None:
    samples = np.arange(-2.0, 19.0)  # 21 of them, 0 the third
    found = Sampled(np.array([8.0]), samples[None], 9).over_seeds(0)
    assert float(found.p_value()) == pytest.approx(2 * 2 / 20)
    assert float(found.probability()) == pytest.approx(0.9)
    certain = Sampled(np.array([8.0]), samples[None] + 5, 9).over_seeds(0)
    assert float(certain.probability()) == 1
    constant = Sampled(np.ones(1), np.ones((1, 21)), 1).over_seeds(0)  # of a single scene
    assert float(constant.p_value()) == pytest.approx(2 / 22)  # no less can be said of 21


def moved(sampled: Sampled, shifts: Array) -> Distribution:
    """A quantity of mean 0, moved away from it."""
    value, samples = sampled.value[:, None], sampled.resampled[..., None]
    centre = value.mean()
    return Sampled(value - centre + shifts, samples - centre + shifts, sampled.scenes).over_seeds(0)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_tail_of_p_goes_on_where_the_samples_end(seeds: int) -> None:
    _, sampled = crossed(seeds, 2000)
    low, high = (float(end[0]) for end in moved(sampled, np.zeros(1)).interval(0.98))
    edge = -low * np.array([0.9, 0.95, 1 - 1e-9, 1 + 1e-9, 1.05, 1.1])
    p = moved(sampled, edge).p_value()
    assert (np.diff(p) < 0).all()
    assert p[2:4] == pytest.approx(0.02, abs=1e-6)  # no step where the tail begins
    for far in (20 * high, -20 * high):
        assert 0 < moved(sampled, np.array([far])).p_value()[0] < 2 / 2001 / 3


def family_wise(seeds: int, scenes: int, families: Array) -> float:
    """How often any of the null effects of a family is significant after Holm's correction.

    Args:
        seeds: K.
        scenes: G.
        families: ``(K, G, families, tests)`` effects, each of mean 0.
    """
    wrong = []
    for i in range(families.shape[2]):
        draw = Bootstrap.draw([f"{g:03d}" for g in range(scenes)], 1000, seed=i)
        p = resampled(families[:, :, i], draw).over_seeds(i).p_value()
        wrong.append(holm(p).min() < 0.05)
    return float(np.mean(wrong))


TESTS = 60  # of a family: more than 1000 samples can count


def mixed(seeds: int, scenes: int, mix: str, count: int) -> Array:
    rng = np.random.default_rng((seeds, scenes))
    effects = trials(seeds, scenes, MIXES[mix], count * TESTS, rng)
    return effects.reshape(seeds, scenes, count, TESTS)


def squared_errors(scenes: int, count: int) -> Array:
    """Differences of two networks' squared errors, equally distributed but very skewed."""
    rng = np.random.default_rng(scenes)
    frame = rng.normal(0, 1, (1, scenes, count, TESTS))
    return np.asarray(
        np.exp(frame + rng.normal(0, 0.7, frame.shape))
        - np.exp(frame + rng.normal(0, 0.7, frame.shape))
    )


@pytest.mark.parametrize(
    ("seeds", "scenes", "mix"),
    [(1, 20, "scenes"), (1, 100, "scenes"), (3, 60, "both"), (5, 60, "mostly seeds")],
)
def test_a_family_of_null_effects_keeps_its_level(seeds: int, scenes: int, mix: str) -> None:
    assert family_wise(seeds, scenes, mixed(seeds, scenes, mix, 120)) <= 0.1


def test_a_family_of_skewed_null_effects_keeps_its_level() -> None:
    assert family_wise(1, 60, squared_errors(60, 120)) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("scenes", [20, 100])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_family_wise_level_over_seeds_and_scenes(seeds: int, scenes: int, mix: str) -> None:
    """The levels that docs/decisions/0008 states."""
    assert family_wise(seeds, scenes, mixed(seeds, scenes, mix, 300)) <= 0.13


@pytest.mark.parametrize("seeds", [1, 3])
def test_nothing_against_nothing(seeds: int) -> None:
    found = Sampled(np.zeros(seeds), np.zeros((seeds, 100)), 9).over_seeds(0)
    assert found.interval() == (0, 0)
    assert (float(found.p_value()), float(found.probability())) == (1, 0.5)


def test_what_has_no_value_is_left_out() -> None:
    _, sampled = crossed(3)
    few = Sampled(sampled.value, sampled.resampled[:, :4000].copy(), 40)
    gaps = Sampled(sampled.value, few.resampled.copy(), 40)
    gaps.resampled[1, :40] = np.nan
    for a, b in zip(few.over_seeds(0).interval(), gaps.over_seeds(0).interval(), strict=True):
        assert float(a) == pytest.approx(float(b), abs=0.05)
    none = Sampled(np.full(3, np.nan), np.full((3, 10), np.nan), 9).over_seeds(0)
    assert np.isnan([*none.interval(), none.p_value(), none.probability()]).all()


def test_quantities_side_by_side_are_what_they_are_alone() -> None:
    rng = np.random.default_rng(0)
    statistics = rng.uniform(1, 2, (3, 12, 2, 2))
    draw = Bootstrap.draw(list("aabbccddeeff"), 300, seed=0)
    for over_images in (False, True):
        both = Sampled.of(statistics, ACCURACY, draw, over_images)
        alone = Sampled.of(statistics[:, :, 1], ACCURACY, draw, over_images)
        expected = alone.over_seeds(5).interval()
        assert np.allclose(both[1].over_seeds(5).interval(), expected, rtol=1e-12)
        pair = both.networks([2, 0])[1]
        assert np.allclose(pair.value, alone.value[[2, 0]], rtol=1e-12)
        difference = both[0] - both[1]
        assert (difference.resampled == both.resampled[..., 0] - both.resampled[..., 1]).all()
