from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from jrn_lightning.analysis.summary import MeasureColumn, published, summarize, value_of
from tests.report import fakes


def test_columns_print_accuracies_in_percent_and_errors_as_they_are() -> None:
    iou = MeasureColumn("semantic", "mean_iou", "mIoU", higher_is_better=True)
    rel = MeasureColumn("depth", "sq_rel", "rel(sqr)", higher_is_better=False)
    rms = MeasureColumn("depth", "rms", "rms [m]", higher_is_better=False, scale=1.0)
    assert [c.header for c in (iou, rel, rms)] == [
        ("mIoU", "[%] ↑"),
        ("rel(sqr)", "↓"),
        ("rms [m]", "↓"),
    ]
    assert iou.printed(0.5) == 50
    assert rel.printed(0.5) == 0.5
    # The performance function of equations 2 and 3: larger is better.
    assert iou.performance(0.54206) == pytest.approx(54.206)
    assert rel.performance(0.124) == pytest.approx(-12.4)
    assert rms.performance(0.678) == pytest.approx(-0.678)
    assert rel.performance_label == "−100 · rel(sqr)"


def test_architectures_keep_the_order_of_the_plan_with_the_input_first(tmp_path: Path) -> None:
    summary = summarize(fakes.comparison(tmp_path))
    assert list(summary.architectures["arch"]) == ["input", *fakes.ARCHITECTURES]
    assert list(summary.architectures["state"][1:]) == [
        "3",
        "3",
        "2 of 3, 1 failed",
        "3",
        "2 of 3, 1 missing",
    ]
    assert summary.finished == 13
    assert summary.directions == [("depth", "semantic"), ("semantic", "depth")]


def test_problems_and_warnings_are_named(tmp_path: Path) -> None:
    summary = summarize(fakes.comparison(tmp_path))
    assert summary.problems == (
        ("cat10/seed1", "failed", "Traceback … RuntimeError: out of memory"),
        ("cat1/seed2", "missing", "no results.json"),
    )
    assert summary.warnings == (("cat1/seed0", fakes.WARNING),)


def test_an_architecture_without_a_finished_job_has_a_row(tmp_path: Path) -> None:
    unfinished = {f"cat5/seed{k}": "failed" for k in range(fakes.SEEDS)}
    summary = summarize(fakes.comparison(tmp_path, unfinished))
    row = summary.architectures.set_index("arch").loc["cat5"]
    assert row["state"] == "0 of 3, 3 failed"
    assert row["computation"] == "coupled"
    assert not value_of(row, "depth/sq_rel").known


def test_protocol_and_pooling_reach_the_collected_sweep(tmp_path: Path) -> None:
    comparison = fakes.comparison(tmp_path)
    summary = summarize(comparison, protocol="eigen", pooling="images")
    assert comparison.asked == [("eigen", "images")] * 2
    assert (summary.protocol, summary.pooling) == ("eigen", "images")


def test_published_rows_come_with_nyu_only(tmp_path: Path) -> None:
    comparison = fakes.comparison(tmp_path)
    assert len(summarize(comparison).published)
    assert summarize(comparison, with_published=False).published.empty
    for job in comparison.jobs:
        if job.data:
            job.data["data"] = "rooms"
    assert summarize(comparison).published.empty
    assert len(summarize(comparison, with_published=True).published)


def _row(arch: str, source: str = "") -> pd.Series:
    rows = published()
    found = rows[(rows["arch"] == arch) & rows["source"].str.contains(source)]
    return found.iloc[0]


@pytest.mark.parametrize(
    ("arch", "source", "column", "value"),
    [
        ("input", "", "depth/sq_rel", 0.125),
        ("input", "", "semantic/mean_iou", 0.53284),
        ("input", "", "semantic/iou_furniture", 0.3571),
        ("cat60", "", "depth/log10", 0.0686),
        ("cat60", "", "omega/depth->semantic", 0.94),
        ("cat60", "", "omega/semantic->depth", 4.9),
        ("cat10", "", "omega/semantic->depth", 4.93),
        ("cat5", "", "omega/semantic->depth", -0.24),
        ("sum60", "Figure 7", "semantic/pixel_accuracy", 0.72967),
        ("sum60", "Figure 7", "omega/semantic->depth", 1.11),
        ("cat1", "", "omega/depth->semantic", 7.59),
        ("cat1", "", "depth/rms", 0.669),
        ("sum60", "Table III", "semantic/mean_iou", 0.54267),
        ("sum60", "Table III", "semantic/iou_object", 0.5077),
        ("Eigen et al.", "", "depth/rms", 0.907),
        ("Liu et al.", "", "depth/delta3", 0.976),
        ("Joint HCRF", "", "semantic/mean_iou", 0.442),
        ("Semantic HCRF", "", "semantic/iou_ceiling", 0.15977),
    ],
)
def test_published_numbers(arch: str, source: str, column: str, value: float) -> None:
    assert value_of(_row(arch, source), column).value == pytest.approx(value)


def test_muting_in_the_paper_follows_from_its_own_numbers() -> None:
    """A(joint) less ω is A with the source muted: 0.173 and 0.174 of Cat60 and Cat10."""
    for arch, muted in (("cat60", 0.173), ("cat10", 0.174)):
        row = _row(arch)
        omega = value_of(row, "omega/semantic->depth").value
        assert value_of(row, "depth/sq_rel").value + omega / 100 == pytest.approx(muted, abs=6e-4)


def test_what_the_paper_does_not_give_is_unknown() -> None:
    assert not value_of(_row("Liu et al."), "depth/sq_rel").known
    assert not value_of(_row("input"), "omega/depth->semantic").known
