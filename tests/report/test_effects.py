from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jrn_lightning.analysis.findings import BREAKAGE, GAIN, OMEGA, Findings
from jrn_lightning.report import effects as draw
from jrn_lightning.report.style import marked
from tests.report import fakes

WAY = ("semantic", "depth")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return fakes.findings(tmp_path_factory.mktemp("sweep"))


def effect(findings: Findings, arch: str, name: str) -> float:
    frame = findings.effects
    rows = frame[(frame["arch"] == arch) & (frame["effect"] == name)]
    rows = rows[(rows["source"] == WAY[0]) & (rows["target"] == WAY[1])]
    return float(rows["value"].iloc[0])


def bars(axes: Axes) -> list[tuple[str, float, float]]:
    """What each bar is said to be, where it starts and where it ends."""
    found = []
    for patch in axes.patches:
        known = marked(patch.get_gid() or "")
        if known is not None:
            arch, text = known
            left = patch.get_x()
            found.append((f"{arch} {text.split()[0]}", left, left + patch.get_width()))
    return found


def test_gain_and_breakage_stand_end_to_end_and_sum_to_omega(findings: Findings) -> None:
    figure = draw.decomposition(findings.effects, *WAY, findings.summary.primary["depth"])
    found = {name: (start, end) for name, start, end in bars(figure.axes[0])}
    assert len(found) == 2 * len(fakes.ARCHITECTURES)
    assert figure.get_suptitle() == "What semantic gives depth: gain and breakage"
    for arch in fakes.ARCHITECTURES:
        gain, total = effect(findings, arch, GAIN), effect(findings, arch, OMEGA)
        assert found[f"{arch} gain"] == pytest.approx((0, gain))
        assert found[f"{arch} breakage"] == pytest.approx((gain, total))


def test_a_negative_part_goes_to_the_other_side(findings: Findings) -> None:
    frame = findings.effects.copy()
    one = (frame["arch"] == "cat60") & (frame["source"] == WAY[0])
    for name, value in ((GAIN, -0.4), (BREAKAGE, 2.0), (OMEGA, 1.6)):
        frame.loc[one & (frame["effect"] == name), ["value", "low", "high"]] = value
    figure = draw.decomposition(frame, *WAY, findings.summary.primary["depth"])
    found = {name: (start, end) for name, start, end in bars(figure.axes[0])}
    assert found["cat60 gain"] == pytest.approx((0, -0.4))
    assert found["cat60 breakage"] == pytest.approx((0, 2.0))


def test_without_controls_there_is_omega_alone(findings: Findings) -> None:
    frame = findings.effects
    frame = frame[~frame["effect"].isin([GAIN, BREAKAGE])]
    figure = draw.decomposition(frame, *WAY, findings.summary.primary["depth"])
    assert figure.get_suptitle() == "Influence of semantic on depth"
    assert len(figure.axes) == 1
    assert bars(figure.axes[0]) == []
    assert len(figure.axes[0].containers) == len(fakes.ARCHITECTURES)


def dots(axes: Axes) -> dict[str, tuple[float, float]]:
    """Words of every marker, and where it is."""
    found = {}
    for line in axes.lines:
        known = marked(line.get_gid() or "")
        if known and known[1] and line.get_marker() not in ("None", "|", "_", ""):
            found[" ".join(known)] = (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
    return found


@pytest.mark.parametrize("name", [GAIN, OMEGA])
def test_who_helps_whom_has_a_panel_for_each_that_is_predicted(
    findings: Findings, name: str
) -> None:
    frame = findings.effects
    if name == OMEGA:
        frame = frame[~frame["effect"].isin([GAIN, BREAKAGE])]
    third = frame[frame["source"] == WAY[0]].assign(source="normals", value=0.25)
    primary = findings.summary.primary
    primary = {**primary, "normals": primary["depth"]}
    figure = draw.helps(pd.concat([frame, third]), primary)
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["→ depth", "→ semantic"]
    depth = panels["→ depth"]
    assert [t.get_text() for t in depth.get_yticklabels()] == ["semantic →", "normals →"]
    found = sorted(at for at, _ in dots(depth).values())
    expected = [effect(findings, arch, name) for arch in fakes.ARCHITECTURES]
    assert found == pytest.approx(sorted([*expected, *(0.25 for _ in fakes.ARCHITECTURES)]))


def test_every_mute_value_of_every_architecture_is_a_dot(findings: Findings) -> None:
    figure = draw.mute_values(findings.mute_values, *WAY, findings.summary.primary["depth"])
    found = dots(figure.axes[0])
    assert len(found) == len(fakes.MUTE_VALUES) * len(fakes.ARCHITECTURES)
    mean = next(x for words, (x, _) in found.items() if words.startswith("cat60 muted by mean map"))
    assert mean == pytest.approx(0.45 * fakes.ARCHITECTURES["cat60"]["omega/semantic->depth"])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(fakes.ARCHITECTURES)


def test_influences_a_hundred_times_apart_do_not_bunch(findings: Findings) -> None:
    frame = findings.mute_values.copy()
    frame.loc[frame["arch"].isin(["cat5", "cat1"]), ["value", "low", "high"]] = 900.0
    column = findings.summary.primary["depth"]
    assert draw.mute_values(frame, *WAY, column).axes[0].get_xscale() == "symlog"
    assert draw.mute_values(findings.mute_values, *WAY, column).axes[0].get_xscale() == "linear"


def test_of_many_kinds_of_pixels_the_largest_are_drawn(findings: Findings) -> None:
    rows = findings.strata
    one = rows[rows["of"] == rows["of"].iloc[0]]
    one = one[one["stratum"] == one["stratum"].iloc[0]]
    many = [one.assign(stratum=f"class_{i}", share=0.001 * i) for i in range(150)]
    figure = draw.strata(pd.concat(many), *WAY, findings.summary.primary["depth"])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[0].endswith(", the 20 largest of 150")
    assert len(names) == 21
    assert figure.get_size_inches()[1] < 12


def test_strata_have_a_panel_an_effect_and_a_line_a_kind(findings: Findings) -> None:
    figure = draw.strata(findings.strata, *WAY, findings.summary.primary["depth"])
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == [GAIN, "ω"]
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels[:3] == ["by depth", "by semantic", "near  34 %"]
    assert "ground  20 %" in labels
    kinds = sum(map(len, fakes.STRATA.values()))
    assert len(labels) == 2 + kinds
    for axes in figure.axes:
        assert len(dots(axes)) == kinds * len(fakes.ARCHITECTURES)


def test_the_ladder_goes_from_truth_to_nothing(findings: Findings) -> None:
    column = findings.summary.primary["depth"]
    figure = draw.ladder(findings.ladder, *WAY, column, untouched=-12.07)
    shown = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert (shown[0], shown[2], shown[-1]) == ("truth", "prediction", "nothing")
    rows = findings.ladder
    rows = rows[(rows["arch"] == "cat5") & (rows["source"] == WAY[0]) & (rows["rung"] == "truth")]
    (truth,) = [
        y for words, (_, y) in dots(figure.axes[0]).items() if "cat5 semantic is truth" in words
    ]
    assert truth == pytest.approx(float(rows["performance"].iloc[0]))
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert any(line.get_ydata()[0] == -12.07 for line in dashed)


def test_what_there_is_to_win_has_a_panel_where_it_would_be_squeezed(findings: Findings) -> None:
    frame, column = findings.ladder.copy(), findings.summary.primary["depth"]
    frame.loc[frame["rung"] == "nothing", "performance"] = -900.0
    zoomed = draw.ladder(frame, *WAY, column).axes[1]
    assert [t.get_text() for t in zoomed.get_xticklabels()] == ["truth", "half truth", "prediction"]


def test_the_envelope_its_points_and_its_best_influence(findings: Findings) -> None:
    column = findings.summary.primary["depth"]
    axes = draw.envelope(findings.points, findings.envelope, findings.peaks, *WAY, column).axes[0]
    assert len(dots(axes)) == 50
    assert any(np.array_equal(line.get_xdata(), np.linspace(0, 12, 40)) for line in axes.lines)
    assert any(list(line.get_xdata()) == [6.0, 6.0] for line in axes.lines)
    bare = draw.envelope(
        findings.points, findings.envelope.iloc[:0], findings.peaks.iloc[:0], *WAY, column
    ).axes[0]
    assert len(bare.collections) == 0


def test_a_matrix_says_both_sides_of_every_pair(findings: Findings) -> None:
    figure = draw.matrix(findings.differences, OMEGA, *WAY)
    texts = {t.get_text() for t in figure.axes[0].texts}
    assert {"0.60\n+0.40", "0.40\n−0.40", "0.90\n+1.60", "0.10\n−1.60"} <= texts
    assert len(figure.axes[0].texts) == 5 * 4
    assert "row is above the column" in figure.axes[0].get_xlabel()


def test_a_sure_difference_is_bold(findings: Findings) -> None:
    frame = findings.differences.copy()
    sure = (frame["first"] == "cat60") & (frame["second"] == "cat1")
    frame.loc[sure, "p_holm"] = 0.01
    texts = draw.matrix(frame, OMEGA, *WAY).axes[0].texts
    assert sum(t.get_fontweight() == "bold" for t in texts) == 2


def test_one_direction_of_three_modalities(tmp_path: Path) -> None:
    findings = fakes.findings(tmp_path, third=True)
    column = findings.summary.primary["depth"]
    figure: Figure = draw.mute_values(findings.mute_values, fakes.THIRD, "depth", column)
    rows: pd.DataFrame = findings.mute_values
    mine = rows[(rows["source"] == fakes.THIRD) & (rows["target"] == "depth")]
    assert len(dots(figure.axes[0])) == len(mine) == 25
