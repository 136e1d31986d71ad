"""Findings from records: by hand from the statistics, pairing, what is missing, what is foreign."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.records import MODALITIES, VALUES, write_job, write_sweep
from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.findings import COLUMNS, Findings
from jrn_lightning.analysis.summary import summarize
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.evaluation.evaluator import GRID, LADDER, MAIN, MUTE_VALUES, RUNGS, STRATA
from jrn_lightning.influence import halves
from jrn_lightning.records.record import RESULTS, plan

IMAGES = 30
DIRECTIONS = (("depth", "semantic"), ("semantic", "depth"))


def found(sweep: Path, pooling: str = "pixels", **options: Any) -> Findings:
    comparison = collect(sweep)
    return analyse(comparison, summarize(comparison, pooling=pooling), resamples=200, **options)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "gain"
    return write_sweep(folder, architectures=("cat60", "cat5"), seeds=3, images=IMAGES)


@pytest.fixture(scope="module")
def findings(sweep: Path) -> Findings:
    return found(sweep)


@pytest.fixture
def copy(sweep: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sweep, tmp_path / "gain")


def performance(
    sweep: Path, name: str, target: str, setup: str, protocol: str = "full", part: str = MAIN
) -> float:
    """A of one network, from the file and the formulas."""
    table = StatisticsTable.load(sweep / name / f"{part}.h5")
    total = table.of(target, setup, protocol).sum(0)
    if target == "depth":
        return float(-100 * total[2] / total[0])
    hits, predicted, true = total.reshape(3, 5)
    return float(100 * np.mean(hits / (predicted + true - hits)))


def seeds(value: Callable[[int], float]) -> float:
    return float(np.mean([value(k) for k in range(3)]))


def only(frame: pd.DataFrame, **key: str) -> pd.Series:
    rows = frame.loc[np.logical_and.reduce([frame[k] == v for k, v in key.items()])]
    assert len(rows) == 1, rows
    return rows.iloc[0]


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_effects_by_hand(sweep: Path, findings: Findings, source: str, target: str) -> None:
    def a(name: str, setup: str) -> float:
        return seeds(lambda k: performance(sweep, f"{name}/seed{k}", target, setup))

    for arch in ("cat60", "cat5"):
        key = {"arch": arch, "source": source, "target": target}
        rows = {e: only(findings.effects, effect=e, **key) for e in ("omega", "gain", "breakage")}
        control = a(f"{arch},recipe.muted=[{source}]", "joint")
        expected = {
            "omega": a(arch, "joint") - a(arch, f"muted_{source}"),
            "gain": a(arch, "joint") - control,
            "breakage": control - a(arch, f"muted_{source}"),
        }
        for effect, row in rows.items():
            assert row["value"] == pytest.approx(expected[effect], rel=1e-9)
            assert row["low"] < row["value"] < row["high"]
            assert row["seeds"] == 3
            assert row["computation"] == ("loose" if arch == "cat60" else "coupled")
        total = rows["gain"]["value"] + rows["breakage"]["value"]
        assert rows["omega"]["value"] == pytest.approx(total, rel=1e-12)
        better = only(findings.effects, arch=arch, effect="improvement", target=target)
        assert better["value"] == pytest.approx(a(arch, "joint") - a(arch, "input"), rel=1e-9)
        assert better["source"] == ""


def test_omega_is_that_of_the_comparison(sweep: Path) -> None:
    comparison = collect(sweep)
    summary = summarize(comparison)
    effects = analyse(comparison, summary).effects
    for source, target in DIRECTIONS:
        for arch in ("cat60", "cat5"):
            row = only(effects, arch=arch, effect="omega", source=source, target=target)
            means = summary.architectures.set_index("arch").loc[arch]
            for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                column = f"omega/{source}->{target}{suffix}"
                assert row[end] == pytest.approx(means[column], rel=1e-9)


def test_differences_are_paired_by_seed(sweep: Path, findings: Findings) -> None:
    row = only(findings.differences, effect="performance", target="depth")
    expected = seeds(
        lambda k: (
            performance(sweep, f"{row['first']}/seed{k}", "depth", "joint")
            - performance(sweep, f"{row['second']}/seed{k}", "depth", "joint")
        )
    )
    assert row["value"] == pytest.approx(expected, rel=1e-9)
    rank = 2 * min(row["probability"], 1 - row["probability"])
    assert row["p"] == pytest.approx(rank, abs=1e-9) if row["p"] > 0.02 else rank < 0.02
    assert set(findings.differences["effect"]) == {"performance", "omega", "gain", "breakage"}


@pytest.mark.parametrize("name", ["effects", "differences"])
def test_p_values_are_corrected_within_an_effect(findings: Findings, name: str) -> None:
    for _, family in getattr(findings, name).groupby("effect"):
        ordered = family.sort_values("p")
        steps = [p * (len(ordered) - i) for i, p in enumerate(ordered["p"])]
        assert ordered["p_holm"].tolist() == pytest.approx(
            np.minimum(np.maximum.accumulate(steps), 1).tolist()
        )
        excluded = (family["low"] > 0) | (family["high"] < 0)
        assert ((family["p"] < 0.05) == excluded).all()


def test_mute_values_by_hand(sweep: Path, findings: Findings) -> None:
    assert set(findings.mute_values["mute_value"]) == set(VALUES)
    for source, target in DIRECTIONS:
        key = {"arch": "cat60", "source": source, "target": target, "mute_value": "noise"}
        row = only(findings.mute_values, **key)
        muted = seeds(
            lambda k, s=source, t=target: performance(
                sweep, f"cat60/seed{k}", t, f"muted_{s}:noise", part=MUTE_VALUES
            )
        )
        joint = seeds(lambda k, t=target: performance(sweep, f"cat60/seed{k}", t, "joint"))
        assert row["performance"] == pytest.approx(muted, rel=1e-9)
        assert row["value"] == pytest.approx(joint - muted, rel=1e-9)


def test_ladder_by_hand(sweep: Path, findings: Findings) -> None:
    for source, target in DIRECTIONS:
        rows = findings.ladder[
            (findings.ladder["arch"] == "cat5") & (findings.ladder["source"] == source)
        ].set_index("rung")
        assert list(rows.index) == list(RUNGS)
        assert rows["share"].to_dict() == dict(RUNGS)
        a = {
            name: seeds(
                lambda k, n=name, s=source, t=target: performance(
                    sweep, f"cat5/seed{k}", t, f"{s}:{n}", part=LADDER
                )
            )
            for name in ("truth", "nothing")
        }
        assert rows.loc["truth", "performance"] == pytest.approx(a["truth"], rel=1e-9)
        assert rows.loc["truth", "value"] == pytest.approx(a["truth"] - a["nothing"], rel=1e-9)
        assert rows.loc["nothing", "value"] == rows.loc["nothing", "high"] == 0
        assert (rows["performance_low"] < rows["performance_high"]).all()


def test_strata_by_hand(sweep: Path, findings: Findings) -> None:
    for source, target in DIRECTIONS:
        for stratum, of in (("far", "depth"), ("label_edge", "semantic")):
            key = {"arch": "cat60", "source": source, "target": target, "stratum": stratum}

            def a(name: str, setup: str, target: str = target, stratum: str = stratum) -> float:
                return seeds(
                    lambda k: performance(sweep, f"{name}/seed{k}", target, setup, stratum, STRATA)
                )

            omega = only(findings.strata, effect="omega", **key)
            gain = only(findings.strata, effect="gain", **key)
            joint = a("cat60", "joint")
            assert omega["of"] == gain["of"] == of
            assert omega["value"] == pytest.approx(joint - a("cat60", f"muted_{source}"), rel=1e-9)
            control = a(f"cat60,recipe.muted=[{source}]", "joint")
            assert gain["value"] == pytest.approx(joint - control, rel=1e-9)
            table = StatisticsTable.load(sweep / "cat60/seed0" / f"{STRATA}.h5")
            main = StatisticsTable.load(sweep / "cat60/seed0" / f"{MAIN}.h5")
            entries = [0] if target == "depth" else list(range(10, 15))
            pixels = table.of(target, "joint", stratum)[:, entries].sum()
            whole = main.of(target, "joint", "full")[:, entries].sum()
            assert omega["share"] == pytest.approx(pixels / whole, rel=1e-12)


def test_a_class_is_measured_by_its_iou_over_the_whole_frame(
    sweep: Path, findings: Findings
) -> None:
    """The mean IoU of a class's pixels alone would not count what is wrongly taken for it."""

    def iou(name: str, setup: str, k: int) -> float:
        table = StatisticsTable.load(sweep / name / f"seed{k}" / f"{MAIN}.h5")
        hits, predicted, true = table.of("semantic", setup, "full").sum(0).reshape(3, 5)[:, 2]
        return float(100 * hits / (predicted + true - hits))

    stratum = MODALITIES["semantic"].strata[2]
    key = {"arch": "cat60", "source": "depth", "target": "semantic", "stratum": stratum}
    joint = seeds(lambda k: iou("cat60", "joint", k))
    muted = seeds(lambda k: iou("cat60", "muted_depth", k))
    control = seeds(lambda k: iou("cat60,recipe.muted=[depth]", "joint", k))
    omega = only(findings.strata, effect="omega", **key)
    gain = only(findings.strata, effect="gain", **key)
    assert omega["value"] == pytest.approx(joint - muted, rel=1e-9)
    assert gain["value"] == pytest.approx(joint - control, rel=1e-9)
    assert omega["low"] < omega["value"] < omega["high"]


def test_images_by_hand(sweep: Path, findings: Findings) -> None:
    assert len(findings.images) == 2 * 2 * IMAGES
    key = {"arch": "cat60", "source": "semantic", "target": "depth", "id": "0007"}
    row = only(findings.images, **key)

    def a(name: str, setup: str) -> float:
        def of(k: int) -> float:
            table = StatisticsTable.load(sweep / name / f"seed{k}" / f"{MAIN}.h5")
            sums = table.of("depth", setup, "full")[7]
            return float(-100 * sums[2] / sums[0])

        return seeds(of)

    assert row["scene"] == "scene2"
    assert row["performance"] == pytest.approx(a("cat60", "joint"))
    assert row["omega"] == pytest.approx(a("cat60", "joint") - a("cat60", "muted_semantic"))
    alone = a("cat60,recipe.muted=[semantic]", "joint")
    assert row["gain"] == pytest.approx(a("cat60", "joint") - alone)


def test_protocols_by_hand(sweep: Path, findings: Findings) -> None:
    frame = findings.protocols
    assert set(frame["arch"]) == {"input", "cat60", "cat5"}
    assert set(frame.loc[frame["modality"] == "semantic", "convention"]) == {"usual"}
    assert set(frame.loc[frame["modality"] == "depth", "convention"]) == {
        *("usual", "clipped", "capped")
    }
    key = {"measure": "sq_rel", "crop": "eigen", "convention": "capped", "pooling": "pixels"}
    for arch, setup in (("input", "input"), ("cat5", "joint")):
        row = only(frame, arch=arch, setup=setup, **key)
        name = "cat60/seed0" if arch == "input" else "cat5/seed{}"
        expected = seeds(
            lambda k, name=name, setup=setup: performance(
                sweep, name.format(k), "depth", setup, "eigen/capped", GRID
            )
        )
        assert row["value"] == pytest.approx(expected / -100, rel=1e-9)
        assert row["label"] == "rel(sqr)"
    assert not frame.duplicated(
        ["arch", "modality", "measure", "crop", "convention", "pooling"]
    ).any()


def test_protocols_by_hand_with_two_ground_truths(sweep: Path, tmp_path: Path) -> None:
    """Depth is measured by two; semantics has none of that name, and keeps its rows once."""
    copy = shutil.copytree(sweep / "cat5", tmp_path / "two" / "cat5").parent
    for folder in copy.glob("*/seed*"):
        table = StatisticsTable.load(folder / f"{GRID}.h5")
        protocols = (*table.protocols, *(f"{p}/raw" for p in table.protocols))
        values = {m: np.concatenate([v, 2 * v], 2) for m, v in table.values.items()}
        values["depth"][:, :, len(table.protocols) :, 0] /= 4
        replace(table, protocols=protocols, values=values).save(folder / f"{GRID}.h5")
        record = json.loads((folder / "results.json").read_text())
        record["modalities"]["depth"]["truths"] = ["filled", "raw"]
        (folder / "results.json").write_text(json.dumps(record))
    frame = found(copy, frames=["protocols"]).protocols
    assert set(frame.loc[frame["modality"] == "semantic", "truth"]) == {"truth"}
    key = {"arch": "cat5", "measure": "sq_rel", "crop": "eigen", "convention": "capped"}
    job = "cat5/seed{}"
    expected = seeds(
        lambda k: performance(sweep, job.format(k), "depth", "joint", "eigen/capped", GRID)
    )
    for name, factor in (("filled", 1), ("raw", 4)):
        row = only(frame, **key, pooling="pixels", truth=name)
        assert row["value"] == pytest.approx(factor * expected / -100, rel=1e-9)
    one = found(sweep, frames=["protocols"]).protocols
    assert set(one["truth"]) == {"truth"}
    depth = frame[(frame["modality"] == "depth") & (frame["arch"] == "cat5")]
    assert len(depth) == 2 * len(one[(one["modality"] == "depth") & (one["arch"] == "cat5")])
    assert not frame.duplicated(
        ["arch", "modality", "measure", "crop", "convention", "truth", "pooling"]
    ).any()


def test_the_points_of_figure_8_share_no_image(sweep: Path, findings: Findings) -> None:
    assert len(findings.points) == 2 * 3 * 2
    row = findings.points[
        (findings.points["arch"] == "cat5")
        & (findings.points["seed"] == 2)
        & (findings.points["target"] == "depth")
    ].iloc[0]
    table = StatisticsTable.load(sweep / "cat5/seed2" / f"{MAIN}.h5")
    first = halves(table.scenes, 0)

    def a(setup: str, half: np.ndarray) -> float:
        sums = table.of("depth", setup, "full")[half].sum(0)
        return float(-100 * sums[2] / sums[0])

    assert row["performance"] == pytest.approx(a("joint", first))
    assert row["omega"] == pytest.approx(a("joint", ~first) - a("muted_semantic", ~first))
    assert len(findings.peaks) == 2
    assert not len(findings.envelope)  # two architectures say nothing, and the verdict says why
    assert findings.peaks["omega"].isna().all()
    assert findings.peaks["verdict"].str.len().min() > 10


def test_all_frames_have_their_columns(findings: Findings, sweep: Path, tmp_path: Path) -> None:
    for name, columns in COLUMNS.items():
        assert tuple(getattr(findings, name).columns) == columns
    assert findings.problems == ()
    write_sweep(
        tmp_path, architectures=("cat60",), seeds=1, images=IMAGES, controls=False, parts=(MAIN,)
    )
    little = found(tmp_path)
    for name, columns in COLUMNS.items():
        assert tuple(getattr(little, name).columns) == columns
    for name in ("differences", "mute_values", "strata", "ladder", "envelope"):
        assert not len(getattr(little, name)), name
    assert set(little.effects["effect"]) == {"improvement", "omega"}
    assert little.images["gain"].isna().all()
    assert set(little.protocols["convention"]) == {"usual"}  # of the main part
    assert little.problems == ()


def test_only_what_is_asked_for_is_computed(sweep: Path, findings: Findings) -> None:
    some = found(sweep, frames=["strata", "peaks"])
    pd.testing.assert_frame_equal(some.strata, findings.strata)
    assert len(some.peaks) == 2
    assert not len(some.effects)
    assert not len(some.points)
    with pytest.raises(ValueError, match=r"\['stratum'\].*mute_values"):
        found(sweep, frames=["stratum"])


def test_pooling_over_images(sweep: Path) -> None:
    omega = found(sweep, pooling="images", frames=["effects", "images"])
    for source, target in DIRECTIONS:
        key = {"arch": "cat60", "source": source, "target": target}
        rows = omega.images
        each = rows[(rows["arch"] == "cat60") & (rows["target"] == target)]
        assert only(omega.effects, effect="omega", **key)["value"] == pytest.approx(
            each["omega"].mean()
        )


def test_collected_one_by_one_or_at_once_nothing_differs(
    sweep: Path, findings: Findings, tmp_path: Path
) -> None:
    """To the last digit, though seeds and controls end in another order."""
    architectures = list(dict.fromkeys(findings.effects["arch"]))
    jobs = sorted(
        (p.parent.relative_to(sweep) for p in sweep.glob(f"*/*/{RESULTS}")),
        key=lambda job: (-int(job.name[-1]), architectures.index(job.parts[0].partition(",")[0])),
    )
    grown = tmp_path / "gain"
    for job in jobs:
        plan(grown, [str(job)])
        shutil.copytree(sweep / job, grown / job)
        if "recipe" not in str(job):
            last = found(grown, frames=["effects"]).effects
    assert len(last) == len(findings.effects)
    again = found(grown)
    for name, columns in COLUMNS.items():
        keys = [c for c in columns if c in ("arch", "effect", "source", "target", "seed", "id")]
        if name in ("effects", "points", "images"):  # rows in the order of the jobs
            a, b = (
                getattr(f, name).sort_values(keys, kind="stable").reset_index(drop=True)
                for f in (findings, again)
            )
        else:
            a, b = getattr(findings, name), getattr(again, name)
        pd.testing.assert_frame_equal(a, b, check_exact=True)


# -- what is missing, damaged or foreign ---------------------------------------------------------


def test_only_seeds_on_both_sides_are_paired(copy: Path, sweep: Path) -> None:
    shutil.rmtree(copy / "cat60,recipe.muted=[depth]" / "seed1")
    shutil.rmtree(copy / "cat5" / "seed0")
    findings = found(copy, frames=["effects", "differences", "images"])
    key = {"arch": "cat60", "source": "depth", "target": "semantic"}
    gain = only(findings.effects, effect="gain", **key)
    assert gain["seeds"] == 2
    assert only(findings.effects, effect="omega", **key)["seeds"] == 3
    expected = np.mean(
        [
            performance(sweep, f"cat60/seed{k}", "semantic", "joint")
            - performance(sweep, f"cat60,recipe.muted=[depth]/seed{k}", "semantic", "joint")
            for k in (0, 2)
        ]
    )
    assert gain["value"] == pytest.approx(expected, rel=1e-9)
    row = only(findings.differences, effect="performance", target="depth")
    between = np.mean(
        [
            performance(sweep, f"{row['first']}/seed{k}", "depth", "joint")
            - performance(sweep, f"{row['second']}/seed{k}", "depth", "joint")
            for k in (1, 2)
        ]
    )
    assert row["value"] == pytest.approx(between, rel=1e-9)


def test_a_part_that_a_job_lacks_is_said(copy: Path) -> None:
    (copy / "cat60" / "seed1" / f"{LADDER}.h5").unlink()
    (copy / "cat5,recipe.muted=[depth]" / "seed0" / f"{STRATA}.h5").unlink()
    findings = found(copy)
    assert set(findings.ladder.loc[findings.ladder["arch"] == "cat60", "seeds"]) == {2}
    rows = findings.strata[findings.strata["arch"] == "cat5"]
    assert set(rows.loc[rows["effect"] == "omega", "seeds"]) == {3}
    depth = rows[(rows["effect"] == "gain") & (rows["source"] == "depth")]
    # A class is measured from the main part.
    assert set(depth.loc[depth["stratum"].str.startswith("class"), "seeds"]) == {3}
    assert set(depth.loc[~depth["stratum"].str.startswith("class"), "seeds"]) == {2}
    assert sorted(p.split("gain/")[1] for p in findings.problems) == [
        "cat5,recipe.muted=[depth]/seed0: left out of the strata: it holds none",
        "cat60/seed1: left out of the ladder: it holds none",
    ]


def test_a_part_that_is_damaged_or_foreign_is_named_and_left_out(
    copy: Path, tmp_path: Path
) -> None:
    damaged = copy / "cat60" / "seed0" / f"{MUTE_VALUES}.h5"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    other = write_job(tmp_path / "other", "cat60", 0, images=IMAGES + 3)
    shutil.copy(other / f"{GRID}.h5", copy / "cat5" / "seed2" / f"{GRID}.h5")
    shutil.copy(copy / "cat5/seed1" / f"{MAIN}.h5", copy / "cat5/seed1" / f"{STRATA}.h5")
    findings = found(copy)
    text = "\n".join(findings.problems)
    assert len(findings.problems) == 3
    assert "cat60/seed0: left out of the mute_values" in text
    assert "cat5/seed2: left out of the protocols: protocols.h5 is of other frames" in text
    assert "cat5/seed1: left out of the strata: strata.h5 holds other setups or protocols" in text
    values = findings.mute_values
    assert set(values.loc[values["arch"] == "cat60", "seeds"]) == {2}


def edit(folder: Path, **changes: Any) -> None:
    path = folder / RESULTS
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_foreign_control_is_named_and_left_out(copy: Path) -> None:
    controls = copy / "cat60,recipe.muted=[depth]"
    edit(controls / "seed0", cache_hash="another")
    config = {"recipe.epochs": 7, "recipe.muted": ["depth"]}
    edit(controls / "seed1", config=config)
    findings = found(copy, frames=["effects"])
    key = {"arch": "cat60", "source": "depth", "effect": "gain"}
    assert only(findings.effects, **key)["seeds"] == 1
    assert "seed0: left out: made from another cache" in findings.problems[0]
    assert "seed1: left out: trained unlike" in findings.problems[1]
    assert "in recipe.epochs" in findings.problems[1]


def test_nothing_finished_finds_nothing(tmp_path: Path) -> None:
    plan(tmp_path, ["cat60/seed0"])
    findings = found(tmp_path)
    assert not any(len(getattr(findings, name)) for name in COLUMNS)


def test_a_control_in_another_precision_is_none(copy: Path) -> None:
    """Its difference would be of the arithmetic too."""
    path = copy / "cat60,recipe.muted=[depth]" / "seed1" / "results.json"
    record = json.loads(path.read_text())
    record["config"]["trainer.precision"] = "bfloat16"
    path.write_text(json.dumps(record))
    findings = found(copy)
    gain = findings.effects.query("effect == 'gain' and source == 'depth' and arch == 'cat60'")
    assert set(gain["seeds"].astype(int)) == {2}
    assert [p for p in findings.problems if "is no control" in p and "bfloat16" in p]
