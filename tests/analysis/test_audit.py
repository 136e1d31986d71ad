"""The audit against numbers worked out by hand from the paper's tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jrn_lightning.analysis.audit import BETTER, WITHIN, WORSE, Audit, audit, denominators
from jrn_lightning.analysis.summary import published, summarize
from tests.report import fakes

# arch: mIoU, ω depth → semantic, ⇒ mIoU with depth muted, rel(sqr), ω semantic → depth, ⇒ muted
DERIVED = {
    "cat60": (54.206, 0.94, 53.27, 0.124, 4.90, 0.173),
    "sum60": (54.184, 0.32, 53.86, 0.123, 1.11, 0.134),
    "cat10": (54.080, 0.39, 53.69, 0.125, 4.93, 0.174),
    "cat5": (54.120, 0.10, 54.02, 0.125, -0.24, 0.123),
    "cat1": (53.989, 7.59, 46.40, 0.126, -0.40, 0.122),
}


@pytest.fixture(scope="module")
def found() -> Audit:
    return audit(published())


@pytest.mark.parametrize("arch", DERIVED)
def test_the_muted_networks_of_figure_7(found: Audit, arch: str) -> None:
    miou, to_semantic, muted_miou, sq_rel, to_depth, muted_sq_rel = DERIVED[arch]
    rows = found.implied[found.implied["arch"] == arch].set_index("target")
    semantic, depth = rows.loc["semantic"], rows.loc["depth"]
    assert 100 * semantic["joint"] == pytest.approx(miou)
    assert semantic["omega"] == to_semantic
    assert 100 * semantic["muted"] == pytest.approx(muted_miou, abs=0.005)
    assert depth["joint"] == sq_rel
    assert depth["omega"] == to_depth
    assert depth["muted"] == pytest.approx(muted_sq_rel, abs=0.0005)


def test_what_is_worse_than_the_untouched_input_is_marked(found: Audit) -> None:
    verdicts = {(row["arch"], row["target"]): row["verdict"] for _, row in found.implied.iterrows()}
    worse = {key for key, verdict in verdicts.items() if verdict == WORSE}
    assert worse == {
        ("cat60", "depth"),
        ("sum60", "depth"),
        ("cat10", "depth"),
        ("cat1", "semantic"),
    }
    assert verdicts["cat60", "semantic"] == WITHIN  # 53.266 against 53.284
    assert verdicts["cat1", "depth"] == BETTER
    damage = found.implied.set_index(["arch", "target"])["damage"]
    assert damage["cat1", "semantic"] == pytest.approx((53.284 - 46.399) / 7.59)
    assert damage["cat60", "depth"] == pytest.approx((17.30 - 12.5) / 4.9)
    assert damage["cat10", "depth"] == pytest.approx(1.0)
    assert damage["cat5", "semantic"] == 0


def test_the_noise_floor(found: Audit) -> None:
    floors = found.noise.set_index("modality")
    assert floors.loc["semantic", "floor"] == pytest.approx(54.267 - 54.184)
    assert (
        "54.18 in Tables I, II, Figure 7 and 54.27 in Table III"
        in floors.loc["semantic", "evidence"]
    )
    assert floors.loc["depth", "floor"] == pytest.approx(0.1)  # 0.001 of rel(sqr)


def test_differences_within_the_noise_are_marked(found: Audit) -> None:
    table = found.differences.set_index(["modality", "first", "second"])
    assert len(table) == 2 * (5 + 10)
    best = table.loc[("semantic", "cat60", "sum60")]
    assert best["value"] == pytest.approx(54.206 - 54.184)
    assert best["verdict"] == WITHIN
    assert table.loc[("semantic", "cat60", "input"), "verdict"] == BETTER
    assert table.loc[("semantic", "cat60", "cat10"), "value"] == pytest.approx(0.126)
    assert table.loc[("semantic", "cat60", "cat10"), "verdict"] == BETTER
    # One unit of the last digit: rounding alone.
    assert table.loc[("depth", "sum60", "cat10"), "verdict"] == BETTER
    assert table.loc[("depth", "cat60", "sum60"), "verdict"] == WITHIN
    assert table.loc[("depth", "cat60", "input"), "verdict"] == WITHIN


def test_rel_sqr_is_divided_by_depth_and_not_by_its_square(found: Audit) -> None:
    table = found.denominators.set_index("arch")
    assert table.loc["input", "squared"] == pytest.approx(0.0488, abs=1e-4)
    assert list(table.index)[-2:] == ["Eigen et al.", "Joint HCRF"]
    assert table["ratio"].between(2.5, 3.1).all()


def test_the_misprint_check_tells_the_two_denominators_apart() -> None:
    """On maps with small relative errors, whose measures NumPy computes from the formulas."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 6, 20_000)
    depth = truth * (1 + 0.1 * rng.standard_normal(truth.shape))
    rows = {"arch": ["input"], "source": ["made up"]}
    rms_log = np.sqrt(np.mean((np.log(depth) - np.log(truth)) ** 2))
    for square, expected in ((False, float(truth.mean())), (True, 1.0)):
        sq_rel = np.mean((depth - truth) ** 2 / (truth**2 if square else truth))
        table = pd.DataFrame(
            {**rows, "depth/sq_rel": [str(sq_rel)], "depth/rms_log": [str(rms_log)]}
        )
        assert denominators(table)["ratio"][0] == pytest.approx(expected, rel=0.05)


def test_class_wise_figures_average_to_the_printed_mean(found: Audit) -> None:
    assert len(found.means) == 4
    ours = found.means.set_index("arch").loc["sum60"]
    assert ours["classes"] == pytest.approx((0.6787 + 0.68707 + 0.48166 + 0.3582 + 0.5077) / 5)
    assert (found.means["classes"] - found.means["printed"]).abs().max() < 1e-5


def test_our_figures_stand_beside_with_intervals(tmp_path: Path) -> None:
    found = audit(published(), summarize(fakes.comparison(tmp_path / "nyu"))).beside
    table = found.set_index(["arch", "quantity"])
    row = table.loc[("cat60", "ω depth → semantic")]
    assert (row["published"], row["value"]) == (0.94, 9.61)
    assert (row["low"], row["high"]) == pytest.approx((9.26, 9.96))
    assert not row["inside"]
    row = table.loc[("cat60", "semantic mIoU")]
    assert row["unit"] == "%"
    assert (row["published"], row["value"]) == pytest.approx((54.206, 65.31))
    row = table.loc[("cat60", "depth improvement")]
    assert row["published"] == pytest.approx(0.1)
    assert row["value"] == pytest.approx(0.23)
    assert row["inside"] == (row["low"] <= 0.1 <= row["high"])
    assert set(found["arch"]) == {"input", *DERIVED}
    assert "ω depth → semantic" not in table.loc["input"].index


def test_other_modalities_and_measures_are_not_compared(tmp_path: Path) -> None:
    jobs = fakes.comparison(tmp_path / "nyu")
    for job in jobs.jobs:
        if job.data:
            depth = {**fakes.MODALITIES["depth"], "primary": "abs_rel"}
            job.data = {**job.data, "modalities": {**fakes.MODALITIES, "depth": depth}}
    quantities = set(audit(published(), summarize(jobs)).beside["quantity"])
    assert "ω depth → semantic" in quantities
    assert "ω semantic → depth" not in quantities
    assert "depth rel" in quantities


def test_without_a_sweep_nothing_stands_beside(found: Audit) -> None:
    assert found.beside.empty
