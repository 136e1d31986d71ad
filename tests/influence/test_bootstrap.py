"""The bootstrap against naive loops, SciPy, and what intervals promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from jrn_lightning.influence import Bootstrap, Sampled, interval
from jrn_lightning.modalities import Depth, Semantic

Array = NDArray[np.float64]

SCENES = tuple("ccabbbbedd")  # clusters of 2, 1, 4, 1 and 2 images, not in order
N = len(SCENES)
MEAN_IOU, ACCURACY = Semantic("s", ["x", "y", "z"]).measures[:2]
RMS = Depth("d").measure("rms")


def counts(n: int = N, seed: int = 0) -> Array:
    """Hits, predicted, true ``(n, 2 setups, 9)``, one image without ground truth."""
    hits, *wrong = np.random.default_rng(seed).integers(0, 50, (3, n, 2, 3)).astype(float)
    statistics = np.concatenate([hits, *(hits + w for w in wrong)], -1)
    statistics[3] = 0
    return statistics


def measured(
    statistics: Array,
    measure: Callable[[Array], Array],
    draw: Bootstrap,
    over_images: bool = False,
) -> Array:
    """A measure of one network on every resample."""
    return Sampled.of(statistics[None], measure, draw, over_images).resampled[0]


def images_of(draw: Bootstrap, resample: int) -> list[int]:
    """The images of a resample, scene after scene, as often as each was drawn."""
    names = sorted(set(SCENES))
    return [
        i
        for g, name in enumerate(names)
        for _ in range(int(draw.counts[resample, g]))
        for i in range(N)
        if SCENES[i] == name
    ]


def test_every_resample_draws_as_many_clusters_as_there_are() -> None:
    for g in (1, 2, 5, 327):
        draw = Bootstrap.draw([f"s{i}" for i in range(g)], 50, seed=0)
        assert draw.counts.shape == (50, g)
        assert (draw.counts.sum(1) == g).all()
        assert (draw.counts >= 0).all()
        assert (draw.counts == draw.counts.round()).all()


def test_draws_are_uniform_and_follow_the_seed() -> None:
    draw = Bootstrap.draw(list("abcde"), 20_000, seed=1)
    assert draw.counts.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    assert draw.counts.var(0) == pytest.approx(np.full(5, 0.8), abs=0.03)  # 5 · 1/5 · 4/5
    again = Bootstrap.draw(list("abcde"), 20_000, seed=1)
    assert (draw.counts == again.counts).all()
    assert (draw.counts != Bootstrap.draw(list("abcde"), 20_000, seed=2).counts).any()


@pytest.mark.parametrize(
    ("measure", "statistics"),
    [
        (MEAN_IOU, counts()),
        (RMS, np.random.default_rng(2).uniform(1, 9, (N, 2, 10))),
    ],
    ids=["mean_iou", "rms"],
)
def test_scenes_are_resampled_whole(measure: Callable[[Array], Array], statistics: Array) -> None:
    """Against the images themselves, put together anew and measured anew."""
    draw = Bootstrap.draw(SCENES, 40, seed=0)
    pixels, images = (measured(statistics, measure, draw, i) for i in (False, True))
    assert pixels.shape == images.shape == (40, 2)
    for r in range(40):
        rows = images_of(draw, r)
        np.testing.assert_allclose(pixels[r], measure(statistics[rows].sum(0)), rtol=1e-12)
        each = [measure(statistics[i]) for i in rows]
        with np.errstate(invalid="ignore"):
            expected = np.nanmean(each, axis=0)
        np.testing.assert_allclose(images[r], expected, rtol=1e-12)


@pytest.mark.parametrize("over_images", [False, True])
def test_in_blocks_or_at_once_nothing_differs(
    monkeypatch: pytest.MonkeyPatch, over_images: bool
) -> None:
    statistics, functions = counts(), [MEAN_IOU, ACCURACY]
    whole = Bootstrap.draw(SCENES, 40, seed=0)
    expected = whole.measures(statistics, functions, over_images)
    monkeypatch.setattr("jrn_lightning.influence.bootstrap._BLOCK", 70)
    blocks = Bootstrap.draw(SCENES, 40, seed=0)
    assert (blocks.counts == whole.counts).all()
    # As NumPy draws all at once.
    g = len(set(SCENES))
    drawn = np.random.default_rng(0).multinomial(g, np.full(g, 1 / g), size=40)
    assert (blocks.counts == drawn).all()
    for found, value in zip(
        blocks.measures(statistics, functions, over_images), expected, strict=True
    ):
        np.testing.assert_allclose(found, value, rtol=1e-12)


def test_the_order_of_the_images_does_not_matter() -> None:
    statistics = counts()
    order = np.random.default_rng(1).permutation(N)
    found = measured(statistics, MEAN_IOU, Bootstrap.draw(SCENES, 30, seed=0))
    shuffled = Bootstrap.draw([SCENES[i] for i in order], 30, seed=0)
    np.testing.assert_allclose(measured(statistics[order], MEAN_IOU, shuffled), found, rtol=1e-12)


def test_a_resample_without_ground_truth_has_no_value() -> None:
    statistics = np.array([[0.0] * 9, list(range(1, 10))])
    found = measured(statistics, MEAN_IOU, Bootstrap.draw(["a", "b"], 200, seed=0))
    assert 0.15 < np.isnan(found).mean() < 0.35  # a twice: a quarter
    low, high = interval(found)
    assert low == high == MEAN_IOU(statistics[1])
    low, high = interval(np.full((10, 2), np.nan))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_intervals_with_and_without_gaps_are_the_same() -> None:
    values = np.random.default_rng(0).normal(size=(1000, 3))
    gaps = values.copy()
    gaps[0, 1] = np.nan
    whole, partial = interval(values), interval(gaps)
    for w, p in zip(whole, partial, strict=True):
        assert w.tolist() == pytest.approx(p.tolist(), abs=0.02)
        assert w[[0, 2]].tolist() == p[[0, 2]].tolist()
    low, high = interval(values, level=0.8)
    assert low[0] == np.quantile(values[:, 0], 0.1)
    assert high[0] == np.quantile(values[:, 0], 0.9)


def test_a_plain_means_interval_is_scipys() -> None:
    values = np.random.default_rng(0).lognormal(size=80)
    draw = Bootstrap.draw([f"{i:03d}" for i in range(80)], 20_000, seed=1)
    low, high = interval(draw.means(values))
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = other.high - other.low
    assert float(low) == pytest.approx(other.low, abs=0.03 * width)
    assert float(high) == pytest.approx(other.high, abs=0.03 * width)


def test_pairing_pays_on_correlated_data() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, 120)
    ours, theirs = image + rng.normal(0.1, 0.1, 120), image + rng.normal(0, 0.1, 120)
    names = [f"{i:03d}" for i in range(120)]
    paired, other = Bootstrap.draw(names, 4000, seed=0), Bootstrap.draw(names, 4000, seed=1)

    def width(difference: Array) -> float:
        low, high = interval(difference)
        return float(high - low)

    together = width(paired.means(ours) - paired.means(theirs))
    apart = width(paired.means(ours) - other.means(theirs))
    assert together < apart / 5
    # What pairing should give: the spread of the mean of the differences.
    assert together == pytest.approx(2 * 1.96 * (ours - theirs).std() / np.sqrt(120), rel=0.1)


def test_intervals_cover_what_they_promise_when_scenes_are_kept_whole() -> None:
    """Frames of one scene are alike: taken as independent, they promise far too much."""
    rng = np.random.default_rng(1)
    scene = np.repeat(np.arange(40), 5)
    hits = {"scene": 0, "image": 0}
    trials = 400
    for trial in range(trials):
        if trial % 40 == 0:
            draws = {
                "scene": Bootstrap.draw([f"{s:02d}" for s in scene], 1000, seed=trial),
                "image": Bootstrap.draw([f"{i:03d}" for i in range(200)], 1000, seed=trial),
            }
        values = rng.normal(0, 1, 40)[scene] + rng.normal(0, 0.5, 200)
        for name, draw in draws.items():
            low, high = interval(draw.means(values))
            hits[name] += int(low <= 0 <= high)
    # Of 40 scenes a percentile interval covers 94 %: it knows nothing of Student's t.
    assert hits["scene"] / trials == pytest.approx(0.94, abs=0.03)
    assert hits["image"] / trials < 0.75
