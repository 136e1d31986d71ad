"""Measures, improvement and ω from statistics that can be reckoned by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jrn_lightning.influence import Results, compute_results
from jrn_lightning.modalities import Measure

Array = NDArray[np.float64]

SETUPS = ("input", "joint", "muted_x", "muted_y")
PROTOCOLS = ("full", "crop")
SCENES = tuple("aabbbcddee")
N = len(SCENES)


def _ratio(statistics: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(statistics[..., 1] / statistics[..., 0])


ACCURACY = Measure("accuracy", "acc", _ratio, higher_is_better=True)
ERROR = Measure("error", "err", lambda s: np.sqrt(_ratio(s)), higher_is_better=False, scale=1.0)
MEASURES = {"x": (ACCURACY,), "y": (ERROR, ACCURACY)}
SIGNS: dict[str, Callable[[float], float]] = {
    "accuracy": lambda v: 100 * v,  # percent
    "error": lambda v: -v,  # lower is better
}


def statistics(seed: int = 0, seeds: int | None = None) -> dict[str, Array]:
    """``([seeds,] N, S, P, 2)``: a count, and a sum that depends on setup, image and seed."""
    rng = np.random.default_rng(seed)
    shape = (seeds or 1, N, len(SETUPS), len(PROTOCOLS))
    found = {}
    for m in MEASURES:
        count = np.broadcast_to(rng.integers(50, 100, (1, N, 1, len(PROTOCOLS))), shape)
        share = rng.uniform(0.2, 0.9, shape)
        found[m] = np.stack([count, np.round(count * share)], -1).astype(float)
    return found if seeds else {m: v[0] for m, v in found.items()}


def pick(rows: list[dict[str, Any]], **key: str) -> dict[str, Any]:
    (row,) = [r for r in rows if all(r[k] == v for k, v in key.items())]
    return row


def by_hand(array: Array, measure: str, setup: str, protocol: str, pooling: str) -> float:
    """A measure of ``(N, S, P, 2)``."""
    s, p = SETUPS.index(setup), PROTOCOLS.index(protocol)
    count, total = array[:, s, p, 0], array[:, s, p, 1]
    if pooling == "pixels":
        value = total.sum() / count.sum()
        return float(value**0.5 if measure == "error" else value)
    values = total / count
    return float(np.mean(values**0.5 if measure == "error" else values))


@pytest.fixture(scope="module")
def summary() -> Results:
    return compute_results(statistics(), MEASURES, SETUPS, PROTOCOLS, SCENES, resamples=300)


def test_every_row_is_there_once(summary: Results) -> None:
    def distinct(rows: list[dict[str, Any]]) -> int:
        names = [tuple(v for v in r.values() if isinstance(v, str)) for r in rows]
        assert len(names) == len(set(names))
        return len(names)

    settings = len(PROTOCOLS) * 2  # poolings
    assert distinct(summary.metrics) == settings * len(SETUPS) * 3
    assert distinct(summary.improvement) == settings * 3
    assert distinct(summary.influence) == settings * 3  # one direction each for two modalities
    for rows in (summary.metrics, summary.improvement, summary.influence):
        for row in rows:
            assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize("pooling", ["pixels", "images"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_by_hand(summary: Results, protocol: str, pooling: str) -> None:
    arrays = statistics()
    place = {"protocol": protocol, "pooling": pooling}
    for target, source in (("x", "y"), ("y", "x")):
        for measure in (m.name for m in MEASURES[target]):
            value = {s: by_hand(arrays[target], measure, s, protocol, pooling) for s in SETUPS}
            a = {s: SIGNS[measure](v) for s, v in value.items()}
            key = {**place, "measure": measure}
            for setup in SETUPS:
                row = pick(summary.metrics, setup=setup, modality=target, **key)
                assert row["value"] == pytest.approx(value[setup], rel=1e-12)
            row = pick(summary.improvement, modality=target, **key)
            assert row["value"] == pytest.approx(a["joint"] - a["input"], rel=1e-12)
            # Equations 2 and 3: the other modality is the one that is muted.
            row = pick(summary.influence, source=source, target=target, **key)
            assert row["value"] == pytest.approx(a["joint"] - a[f"muted_{source}"], rel=1e-12)


@pytest.mark.parametrize(("better", "sign"), [(0.9, 1), (0.1, -1)])
def test_influence_is_positive_where_the_source_helps(better: float, sign: int) -> None:
    """Of a measure that grows with quality and one that shrinks."""
    array = np.ones((N, len(SETUPS), 1, 2))
    array[:, :, 0, 1] = 0.5
    array[:, SETUPS.index("joint"), 0, 1] = better
    found = compute_results(
        {"x": array, "y": array}, MEASURES, SETUPS, ["full"], SCENES, resamples=20
    ).influence
    accuracy = pick(found, source="y", target="x", pooling="pixels")
    assert accuracy["value"] == pytest.approx(sign * 40)
    error = pick(found, source="x", target="y", pooling="pixels", measure="error")
    assert error["value"] == pytest.approx(0.5**0.5 - better**0.5)
    assert np.sign(error["value"]) == -sign


def naive(array: Array, measure: str, resamples: int) -> Array:
    """Bootstrap of ``A(joint) - A(muted_x)``: draw scenes, measure."""
    rng = np.random.default_rng(99)
    names = sorted(set(SCENES))
    members = {n: [i for i in range(N) if SCENES[i] == n] for n in names}
    differences = []
    for _ in range(resamples):
        drawn = rng.choice(names, len(names))
        rows = [i for n in drawn for i in members[n]]
        a = {
            s: SIGNS[measure](by_hand(array[rows], measure, s, "crop", "pixels"))
            for s in ("joint", "muted_x")
        }
        differences.append(a["joint"] - a["muted_x"])
    return np.array(differences)


def test_intervals_of_one_network_are_those_of_a_naive_loop() -> None:
    arrays = statistics(1)
    found = compute_results(arrays, MEASURES, SETUPS, PROTOCOLS, SCENES, resamples=6000)
    row = pick(
        found.influence, source="x", target="y", protocol="crop", pooling="pixels", measure="error"
    )
    resampled = naive(arrays["y"], "error", 2500)
    low, high = np.quantile(resampled, [0.025, 0.975])
    width = high - low
    assert row["low"] == pytest.approx(low, abs=0.08 * width)
    assert row["high"] == pytest.approx(high, abs=0.08 * width)


def test_values_are_means_over_seeds() -> None:
    arrays = statistics(2, seeds=3)
    together = compute_results(arrays, MEASURES, SETUPS, PROTOCOLS, SCENES, resamples=10)
    each = [
        compute_results(
            {m: v[k] for m, v in arrays.items()}, MEASURES, SETUPS, PROTOCOLS, SCENES, resamples=10
        )
        for k in range(3)
    ]
    for part in ("metrics", "improvement", "influence"):
        for i, row in enumerate(getattr(together, part)):
            values = [getattr(e, part)[i]["value"] for e in each]
            assert row["value"] == pytest.approx(np.mean(values), rel=1e-12)


def test_the_same_seed_gives_the_same_intervals(summary: Results) -> None:
    arguments = (statistics(), MEASURES, SETUPS, PROTOCOLS, SCENES)
    assert compute_results(*arguments, resamples=300) == summary
    other = compute_results(*arguments, resamples=300, seed=7)
    assert other != summary
    assert [r["value"] for r in other.metrics] == [r["value"] for r in summary.metrics]


def test_an_image_without_ground_truth_counts_for_nothing() -> None:
    arrays = {m: v.copy() for m, v in statistics().items()}
    arrays["x"][4] = 0
    found = compute_results(arrays, MEASURES, SETUPS, PROTOCOLS, SCENES, resamples=100)
    rest = [i for i in range(N) if i != 4]
    for pooling in ("pixels", "images"):
        row = pick(found.metrics, setup="joint", protocol="full", pooling=pooling, modality="x")
        expected = by_hand(arrays["x"][rest], "accuracy", "joint", "full", pooling)
        assert row["value"] == pytest.approx(expected, rel=1e-12)
        assert row["low"] < expected < row["high"]


def test_setups_that_were_not_run_have_no_rows() -> None:
    arrays = statistics()
    without = compute_results(
        {m: v[:, 1:3] for m, v in arrays.items()},
        MEASURES,
        SETUPS[1:3],
        PROTOCOLS,
        SCENES,
        resamples=10,
        poolings=("pixels",),
    )
    assert not without.improvement
    assert {(r["source"], r["target"]) for r in without.influence} == {("x", "y")}
    only_input = compute_results(
        {m: v[:, :1] for m, v in arrays.items()}, MEASURES, SETUPS[:1], PROTOCOLS, SCENES,
        resamples=10,
    )  # fmt: skip
    assert not only_input.influence
    assert {r["setup"] for r in only_input.metrics} == {"input"}


def test_three_modalities_have_six_directions() -> None:
    setups = ("joint", "muted_x", "muted_y", "muted_z")
    rng = np.random.default_rng(0)
    arrays = {m: rng.uniform(1, 2, (N, 4, 1, 2)) for m in "xyz"}
    found = compute_results(
        arrays, dict.fromkeys("xyz", (ACCURACY,)), setups, ["full"], SCENES,
        resamples=10, poolings=["pixels"],
    )  # fmt: skip
    assert len(found.influence) == 6
    for row in found.influence:
        array = arrays[row["target"]].sum(0)[:, 0]
        a = 100 * array[:, 1] / array[:, 0]
        assert row["value"] == pytest.approx(a[0] - a[setups.index(f"muted_{row['source']}")])
