from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from jrn_lightning.analysis.findings import Findings, frame
from jrn_lightning.analysis.summary import summarize
from jrn_lightning.report.answer import answer, terminal
from tests.report import fakes

# What the source really adds; intervals reach 0.3 to either side.
TO_SEMANTIC = {"cat60": 0.6, "sum60": 0.9, "cat10": 0.5, "cat5": 0.2, "cat1": 0.1}
TO_DEPTH = {"cat60": 0.1, "sum60": 0.2, "cat10": 0.3, "cat5": -0.7, "cat1": 0.0}
PARTS = ("effects", "differences", "mute_values", "peaks")


def estimate(value: float, half: float = 0.3) -> dict[str, float]:
    """The value with an interval, and a p that agrees with it."""
    p = 0.001 if abs(value) > half else 0.6
    return {"value": value, "low": value - half, "high": value + half, "p": p, "p_holm": p}


def put(frame: pd.DataFrame, value: float, **where: str) -> None:
    """Give the rows that ``where`` describes this value."""
    chosen = pd.Series(True, index=frame.index)
    for column, wanted in where.items():
        chosen &= frame[column] == wanted
    assert chosen.any()
    known = {key: number for key, number in estimate(value).items() if key in frame}
    frame.loc[chosen, list(known)] = list(known.values())


def findings(folder: Path, *, controls: bool = True, mute_values: bool = True) -> Findings:
    """The made-up sweep, with numbers that are easily recognised."""
    found = fakes.findings(folder, without=() if mute_values else ("mute_values",))
    effects = found.effects
    for source, target, gains in (
        ("depth", "semantic", TO_SEMANTIC),
        ("semantic", "depth", TO_DEPTH),
    ):
        for arch, gain in gains.items():
            way = {"arch": arch, "source": source, "target": target}
            whole = fakes.ARCHITECTURES[arch][f"omega/{source}->{target}"]
            for effect, value in (("omega", whole), ("gain", gain), ("breakage", whole - gain)):
                put(effects, value, **way, effect=effect)
    means = {}
    for target in found.summary.primary:
        rows = effects[(effects["effect"] == "improvement") & (effects["target"] == target)]
        means[target] = dict(zip(rows["arch"], rows["value"], strict=True))
        for arch, value in means[target].items():
            put(effects, value, arch=arch, target=target, effect="improvement")
    pairs = found.differences[found.differences["effect"] == "performance"]
    for index, row in pairs.iterrows():
        value = means[row["target"]][row["first"]] - means[row["target"]][row["second"]]
        found.differences.loc[index, list(estimate(value))] = list(estimate(value).values())
    if not controls:
        effects = effects[effects["effect"].isin(["improvement", "omega"])].copy()
    peaks = found.peaks.assign(p=float("nan"), verdict="too few points")
    return replace(found, effects=effects, peaks=peaks)


@pytest.fixture
def found(tmp_path: Path) -> Findings:
    return findings(tmp_path / "nyu")


def line(sentences: list[str], start: str) -> str:
    (sentence,) = [s for s in sentences if s.startswith(start)]
    return sentence


def test_six_sentences_answer_for_two_modalities(found: Findings) -> None:
    sentences = answer(found)
    assert len(sentences) == 6
    assert all(s.endswith(".") and "nan" not in s and "\n" not in s for s in sentences)


def test_the_first_sentence_says_whether_the_predictions_become_better(found: Findings) -> None:
    effects = found.effects
    rows = (effects["effect"] == "improvement") & (effects["target"] == "semantic")
    for arch, value in zip(fakes.ARCHITECTURES, (0.9, 0.5, 0.1, -0.2, -0.8), strict=True):
        put(effects, value, arch=arch, target="semantic", effect="improvement")
    first = answer(found)[0]
    assert first.startswith("Does refining them together help? depth: not shown, ")
    assert "semantic: partly, significantly better under 2 of 5 architectures, worse un" in first
    best = next(iter(fakes.ARCHITECTURES))
    table = found.summary.architectures.set_index("arch")["semantic/mean_iou"]
    changed = f"mIoU {100 * table['input']:.2f} → {100 * table[best]:.2f} %"
    assert f"({best}: {changed}, +0.90 [+0.60, +1.20] points of mIoU)" in first
    assert rows.sum() == 5
    means = found.summary.architectures
    row = means["arch"] == best
    means.loc[row, ["improvement/semantic/pixel_accuracy_high"]] = -0.1
    assert "points of mIoU; worse in pix.acc.)" in answer(found)[0]


def test_who_helps_is_told_by_the_gain_where_controls_exist(found: Findings) -> None:
    sentences = answer(found)
    helped = line(sentences, "Does depth help semantic? It helps significantly under 3 of 5 arch")
    assert "most under sum60: +0.90 [+0.60, +1.20] points of mIoU" in helped
    assert "trained without depth" in helped
    # One of five does not speak for the others.
    most = line(sentences, "Does semantic help depth? No significant gain under 4 of 5 arch")
    assert "it hurts significantly under 1 of 5 architectures" in most
    assert "most under cat5: -0.70 [-1.00, -0.40] in −100 · rel(sqr)" in most


def test_a_gain_that_is_not_significant_is_not_called_help(found: Findings) -> None:
    effects = found.effects
    small = effects["effect"] == "gain"
    # Significant but for the correction.
    effects.loc[small, ["value", "low", "high", "p", "p_holm"]] = [0.2, 0.1, 0.3, 0.01, 0.2]
    told = line(answer(found), "Does depth help semantic?")
    assert "No significant gain under 5 of 5 architectures, at most +0.20 [+0.10, +0.30] " in told
    assert "points of mIoU, p = 0.2" in told  # or the interval would speak against the words
    assert "helps" not in told


def test_help_and_harm_of_one_source_are_both_told(found: Findings) -> None:
    effects = found.effects
    row = (effects["effect"] == "gain") & (effects["target"] == "semantic")
    effects.loc[row & (effects["arch"] == "cat1"), list(estimate(-2))] = list(estimate(-2).values())
    told = line(answer(found), "Does depth help semantic?")
    assert "It helps significantly under 3 of 5 architectures, most under sum60" in told
    assert "and it hurts significantly under 1 of 5 architectures, most under cat1: -2.00" in told


def test_without_p_the_interval_decides(found: Findings) -> None:
    found.effects[["p", "p_holm"]] = float("nan")
    assert "It helps significantly" in line(answer(found), "Does depth help semantic?")


def test_without_controls_omega_comes_with_the_gentlest_mute_value(tmp_path: Path) -> None:
    sentences = answer(findings(tmp_path / "nyu", controls=False))
    told = line(sentences, "Does depth help semantic? Gain not measured; ")
    assert "depth is used" in told
    assert "ω is +9.61 [+9.31, +9.91] points of mIoU (cat60, best at semantic)" in told
    # 0.45 of it, and an interval of a tenth
    assert f"+{0.45 * 9.61:.2f} [+3.36, +5.29] with the gentlest mute value, mean_map" in told
    assert "may be damage" in told
    assert "helps" not in told
    assert "experiment=gain" in line(sentences, "Next steps")


def test_a_single_architecture_is_best_at_nothing(tmp_path: Path) -> None:
    found = findings(tmp_path / "nyu", controls=False)
    alone = replace(found, effects=found.effects[found.effects["arch"] == "cat60"])
    told = answer(alone)
    assert "points of mIoU (cat60)" in line(told, "Does depth help semantic?")
    assert not any(sentence.startswith("Which architecture") for sentence in told)


def test_use_that_a_gentle_mute_value_does_not_show_is_doubtful(tmp_path: Path) -> None:
    found = findings(tmp_path / "nyu", controls=False)
    put(found.mute_values, 0.1, mute_value="mean_map")
    assert "depth is not significantly used" in line(answer(found), "Does depth help semantic?")


def test_damage_is_breakage_as_a_share_of_omega(found: Findings) -> None:
    told = line(answer(found), "How much of ω is damage")
    gain = sum((0.6, 0.9, 0.5, 0.2, 0.1)) / 5
    whole = sum(v["omega/depth->semantic"] for v in fakes.ARCHITECTURES.values()) / 5
    share = 100 * (whole - gain) / whole
    assert f"depth → semantic {share:.0f} % of ω (+{whole - gain:.2f} of +{whole:.2f})" in told
    # No damage, and damage where ω itself is below 0, of which it is no share.
    for omega, breakage, said in (
        (0.1, -0.2, "none of ω (-0.20 of +0.10)"),
        (-0.1, 0.2, "(+0.20 "),
    ):
        put(found.effects, omega, effect="omega", target="semantic")
        put(found.effects, breakage, effect="breakage", target="semantic")
        assert f"depth → semantic {said}" in line(answer(found), "How much of ω is damage")


def test_without_controls_damage_is_what_falls_below_the_untouched_input(tmp_path: Path) -> None:
    found = findings(tmp_path / "nyu", controls=False)
    told = line(answer(found), "How much of ω is damage done by muting? Muted networks are")
    # cat1: A(joint) - A(input) = 63.91 - 63.73, ω = 21.5
    assert f"depth → semantic in 5 of 5 architectures, by up to {21.5 - 0.18:.2f} (cat1)" in told
    put(found.effects, -5, effect="omega")
    assert "No muted network is worse" in line(answer(found), "How much of ω")


def test_the_best_architecture_and_better_than_which(found: Findings) -> None:
    told = line(answer(found), "Which architecture is best?")
    assert "depth: cat60, not significantly better than sum60, cat10, cat5 and cat1" in told
    assert "semantic: cat60, significantly better than cat5 and cat1, not than sum60 and ca" in told


def test_one_seed_compares_networks_not_architectures(found: Findings) -> None:
    table = found.summary.architectures.assign(seeds=1)
    one = replace(found, summary=replace(found.summary, architectures=table))
    told = line(answer(one), "Which architecture")
    assert "better than cat5 and cat1, not than sum60 and cat10 (one seed each)" in told
    assert "one seed" not in line(answer(found), "Which architecture")


def test_a_peak_is_told_where_it_was_tested(found: Findings) -> None:
    assert not any("too few points" in s for s in answer(found))
    found.peaks.loc[0, ["p", "verdict"]] = [0.01, "an optimum in between, at ω = 1.2."]
    told = line(answer(found), "Is there a best influence?")
    assert told.endswith("an optimum in between, at ω = 1.2.")


def test_what_to_run_next(tmp_path: Path) -> None:
    found = findings(tmp_path / "a", controls=False, mute_values=False)
    found = replace(found, summary=replace(found.summary, scenes=5))
    few = line(answer(found), "Next steps")
    for step in (
        "2 of 15 jobs",
        "at least 10 test scenes, not 5",
        "at least 5 seeds, not 2",
        "experiment=gain",
        "=mute-values",
    ):
        assert step in few
    complete = findings(tmp_path / "b")
    complete.effects["seeds"] = 5
    summary = replace(complete.summary, jobs=complete.summary.jobs.query("status == 'finished'"))
    assert not any(s.startswith("Next") for s in answer(replace(complete, summary=summary)))


def test_missing_parts_leave_their_sentences_out(found: Findings) -> None:
    nothing = replace(found, **{name: frame(name) for name in PARTS})  # type: ignore[arg-type]
    assert [s.split(":")[0] for s in answer(nothing)] == ["Next steps"]
    alone = replace(found, differences=frame("differences"))
    assert " than " not in line(answer(alone), "Which architecture")


def test_no_finished_job_is_no_answer(tmp_path: Path) -> None:
    jobs = fakes.comparison(tmp_path / "nyu")
    for job in jobs.jobs:
        job.status = "missing"
    jobs.rows["status"] = "missing"
    assert list(answer(Findings(summarize(jobs)))) == [
        "No job has finished yet: there is no answer."
    ]


def test_three_modalities(tmp_path: Path) -> None:
    found = fakes.findings(tmp_path / "nyu", third=True)
    put(found.effects, 0.0, effect="gain")
    put(found.effects, 2.0, effect="gain", source=fakes.THIRD)
    sentences = answer(found)
    line(sentences, "Does semantic help depth? No significant gain")
    told = line(
        sentences, "Does albedo help depth? It helps significantly under 5 of 5 architectures"
    )
    assert "most under cat60: +2.00 [+1.70, +2.30] in −100" in told
    line(sentences, "Does depth help albedo? No significant gain")
    assert len([s for s in sentences if " help " in s.split("?")[0]]) == 6


def test_a_value_without_an_interval_has_no_brackets(found: Findings) -> None:
    found.effects[["low", "high", "p", "p_holm"]] = float("nan")
    assert pd.isna(found.effects["low"]).all()
    told = line(answer(found), "Does depth help semantic?")
    assert "+0.90 points" in told
    assert "[" not in told


def test_the_terminal_shows_every_sentence_as_it_is(found: Findings) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    sentences = answer(found)
    console.print(terminal(sentences))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.replace("•", " ").split())
    for sentence in sentences:
        assert sentence in words
    assert "p < 0.05" in words


def test_many_architectures_are_counted_not_listed(found: Findings) -> None:
    extra = [
        {**row, "first": row["first"], "second": f"cat,arch.fusion_channels={k}", "p_holm": 0.9}
        for k in range(4)
        for row in found.differences.to_dict("records")
        if row["effect"] == "performance" and row["first"] == "cat60" and row["second"] == "sum60"
    ]
    told = line(answer(replace(found, differences=pd.DataFrame(extra))), "Which architecture")
    assert "not significantly better than cat (fusion_channels=0), cat (fusion_channels=1)" in told
    more = pd.DataFrame([*extra, *({**row, "second": row["second"] + "0"} for row in extra[:2])])
    assert "not significantly better than 5 others" in line(
        answer(replace(found, differences=more)), "Which architecture"
    )
