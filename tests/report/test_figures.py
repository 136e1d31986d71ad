from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from jrn_lightning.analysis.summary import Summary, summarize
from jrn_lightning.report.figures import influence_figures, influence_vs_performance
from tests.report import fakes

RED, GREEN = "#d55e00", "#009e73"


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    return summarize(fakes.comparison(tmp_path))


def draw(summary: Summary, source: str, target: str, **changes: object) -> Figure:
    arguments = {
        "table": summary.architectures,
        "jobs": summary.jobs,
        "published": summary.published,
        **changes,
    }
    return influence_vs_performance(
        source=source,
        target=target,
        column=summary.primary[target],
        **arguments,  # type: ignore[arg-type]
    )


def errorbars(axes: Axes) -> list[ErrorbarContainer]:
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def test_points_and_crosses_of_depth_on_semantic(summary: Summary) -> None:
    ours, theirs = draw(summary, "depth", "semantic").axes
    bars = errorbars(ours)
    assert [tuple(np.concatenate(bar.lines[0].get_data())) for bar in bars] == [
        pytest.approx((arch["omega/depth->semantic"], 100 * arch["semantic/mean_iou"]))
        for arch in fakes.ARCHITECTURES.values()
    ]
    across, upright = (c.get_segments()[0] for c in bars[0].lines[2])
    # ω 9.61 ± 0.35; A is 65.31, its improvement over the input 1.58 ± 0.3
    assert across[:, 0] == pytest.approx([9.26, 9.96])
    assert upright[:, 1] == pytest.approx([65.01, 65.61])
    published = [np.concatenate(bar.lines[0].get_data()).astype(float) for bar in errorbars(theirs)]
    np.testing.assert_allclose(
        published,
        [(0.94, 54.206), (0.32, 54.184), (0.39, 54.080), (0.10, 54.120), (7.59, 53.989)],
    )


def test_performance_on_depth_is_minus_a_hundred_times_the_error(summary: Summary) -> None:
    ours, theirs = draw(summary, "semantic", "depth").axes
    assert errorbars(ours)[0].lines[0].get_data()[1] == pytest.approx([-11.84])
    assert errorbars(theirs)[0].lines[0].get_data()[1] == pytest.approx([-12.4])
    assert "100" in ours.get_ylabel()
    assert "semantic on depth" in ours.get_xlabel()


def test_the_untouched_input_is_a_dashed_line(summary: Summary) -> None:
    for axes, level in zip(draw(summary, "depth", "semantic").axes, (63.73, 53.284), strict=True):
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_ydata()[0] for line in dashed] == pytest.approx([level])


def test_loose_is_red_coupled_is_green_and_the_published_are_hollow(summary: Summary) -> None:
    ours, theirs = draw(summary, "depth", "semantic").axes
    for axes, hollow in ((ours, False), (theirs, True)):
        for bar, arch in zip(errorbars(axes), fakes.ARCHITECTURES.values(), strict=True):
            loose = arch["computation"] == "loose"
            marker = bar.lines[0]
            colour = marker.get_markeredgecolor() if hollow else marker.get_markerfacecolor()
            assert to_hex(colour) == (RED if loose else GREEN)
            assert (to_hex(marker.get_markerfacecolor()) == "#ffffff") == hollow


def test_seeds_are_dots(summary: Summary) -> None:
    ours = draw(summary, "depth", "semantic").axes[0]
    dots = [line for line in ours.lines if line.get_markersize() == pytest.approx(3.2)]
    finished = summary.jobs[summary.jobs["status"] == "finished"]
    found = [(float(d.get_xdata()[0]), float(d.get_ydata()[0])) for d in dots]
    assert found == [
        pytest.approx((row["omega/depth->semantic"], 100 * row["semantic/mean_iou"]))
        for _, row in finished.iterrows()
    ]


def test_the_legend_names_every_architecture_by_its_own_look(summary: Summary) -> None:
    figure = draw(summary, "semantic", "depth")
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    for name, arch in fakes.ARCHITECTURES.items():
        assert said.count(f"{name} ({arch['computation']} computation)") == 1
    assert said[5:] == ["untouched input", "single seed", "95 % interval"]
    handles = figure.legends[0].legend_handles[:5]
    looks = [(h.get_color(), h.get_marker()) for h in handles]
    assert len(set(looks)) == 5
    for axes in figure.axes:
        drawn = [bar.lines[0] for bar in errorbars(axes)]
        assert [(line.get_color(), line.get_marker()) for line in drawn] == looks


def test_without_seeds_published_rows_or_intervals(summary: Summary) -> None:
    bare = summary.architectures[["arch", "semantic/mean_iou", "omega/depth->semantic"]]
    figure = draw(summary, "depth", "semantic", table=bare, jobs=None, published=None)
    (axes,) = figure.axes
    assert len(errorbars(axes)) == 5
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said[0] == "cat60 (other computation)"
    assert said[5:] == ["untouched input"]


def test_a_single_architecture(summary: Summary) -> None:
    one = summary.architectures[:2]
    figure = draw(summary, "depth", "semantic", table=one, jobs=None, published=None)
    low, high = figure.axes[0].get_xlim()
    assert low < 9.26
    assert high > 9.96


def test_there_is_a_figure_for_each_direction_and_no_pyplot(summary: Summary) -> None:
    before = "matplotlib.pyplot" in sys.modules
    figures = influence_figures(summary)
    assert list(figures) == [("depth", "semantic"), ("semantic", "depth")]
    assert ("matplotlib.pyplot" in sys.modules) == before
    buffer = io.BytesIO()
    figures["depth", "semantic"].savefig(buffer, format="png")
    assert Image.open(buffer).size == (1350, 750)
