from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.records import write_job, write_sweep
from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.summary import summarize, value_of
from jrn_lightning.errors import RecordError
from jrn_lightning.records import record
from jrn_lightning.records.record import Status, plan
from tests.caches import write_small_cache
from tests.jobs import job


@pytest.fixture(scope="module")
def sweep(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    for seed in (0, 1):
        where = folder / "cat1" / f"seed{seed}"
        job(small_cache, where, "arch=cat1", "recipe.epochs=1", f"seed={seed}")
    return folder


def test_jobs_and_architectures(sweep: Path) -> None:
    comparison = collect(sweep)
    jobs = comparison.table()
    assert list(jobs["arch"]) == ["input", "cat1", "cat1"]
    assert list(jobs["seed"][1:]) == [0, 1]
    means = comparison.by_architecture()
    assert list(means["arch"]) == ["input", "cat1"]
    assert means["seeds"][1] == 2
    for column in ("depth/sq_rel", "semantic/mean_iou", "omega/depth->semantic"):
        pair = jobs[column][1:]
        assert means[column][1] == pytest.approx(pair.mean())
        assert means[f"{column}_low"][1] <= pair.max()
        assert means[f"{column}_high"][1] >= pair.min()


def test_collected_one_by_one_or_at_once_the_tables_are_the_same(
    sweep: Path, tmp_path: Path
) -> None:
    grown = tmp_path / "small"
    for seed in (0, 1):
        shutil.copytree(sweep / "cat1" / f"seed{seed}", grown / "cat1" / f"seed{seed}")
        last = collect(grown)
    assert last.table().equals(collect(sweep).table())
    assert last.by_architecture().equals(collect(sweep).by_architecture())


def test_missing_and_failed_jobs_are_shown_as_such(sweep: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep, tmp_path / "small")
    plan(copy, ["cat1/seed0", "cat1/seed1", "cat1/seed2", "sum60/seed0"])
    results = copy / "cat1" / "seed1" / record.RESULTS
    data = json.loads(results.read_text()) | {"status": "failed", "error": "it broke"}
    results.write_text(json.dumps(data))
    comparison = collect(copy)
    status = {(r["arch"], r["seed"]): r["status"] for _, r in comparison.table().iterrows()}
    assert status[("cat1", 1)] == "failed"
    assert status[("cat1", 2)] == "missing"
    assert status[("sum60", 0)] == "missing"
    means = comparison.by_architecture().set_index("arch")
    assert means.loc["cat1", "seeds"] == 1
    assert means.loc["sum60", "seeds"] == 0


def test_a_job_of_another_cache_is_named_and_left_out(sweep: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep, tmp_path / "small")
    other = write_small_cache(tmp_path / "other.h5", seed=5)
    job(other, copy / "cat5" / "seed0", "arch=cat5", "recipe.epochs=1")
    comparison = collect(copy)
    assert [j.folder.parent.name for j in comparison.finished] == ["cat1", "cat1"]
    assert len(comparison.problems) == 1
    assert "cat5" in comparison.problems[0]
    assert "another cache" in comparison.problems[0]


@pytest.mark.parametrize("damage", ["truncated", "absent", "flipped"])
def test_damaged_statistics_are_named_and_left_out(
    sweep: Path, tmp_path: Path, damage: str
) -> None:
    copy = shutil.copytree(sweep, tmp_path / "small")
    path = copy / "cat1" / "seed0" / f"{record.MAIN}.h5"
    data = bytearray(path.read_bytes())
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[-50] ^= 1
        for i in range(len(data) // 2, len(data) // 2 + 64):
            data[i] ^= 0xFF
        path.write_bytes(data)
    comparison = collect(copy)
    assert comparison.jobs[0].status is Status.DAMAGED
    assert len(comparison.finished) == 1
    assert "statistics.h5" in comparison.problems[0]


def test_controls_are_no_rows_and_are_matched_by_architecture_seed_and_what_they_miss(
    tmp_path: Path,
) -> None:
    sweep = write_sweep(tmp_path, architectures=("cat5",), seeds=2, images=6, parts=(record.MAIN,))
    plan(sweep, ["cat5/seed0", "cat5,recipe.muted=[depth]/seed2"])
    comparison = collect(sweep)
    assert list(comparison.table()["arch"]) == ["input", "cat5", "cat5"]
    assert list(comparison.by_architecture()["arch"]) == ["input", "cat5"]
    assert not comparison.problems
    assert {(c.arch, c.muted) for c in comparison.controls} == {
        ("cat5", ("depth",)),
        ("cat5", ("semantic",)),
    }
    second = comparison.groups["cat5"][1]
    control = comparison.control(second, ["semantic"])
    assert control is not None
    assert control.folder == sweep / "cat5,recipe.muted=[semantic]" / "seed1"
    assert comparison.control(second, ["depth", "semantic"]) is None
    shutil.rmtree(control.folder)
    assert collect(sweep).control(second, ["semantic"]) is None


def test_a_foreign_job_that_comes_first_does_not_turn_the_others_out(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path, architectures=("cat5",), seeds=3, images=6, controls=False, parts=(record.MAIN,)
    )
    write_job(sweep, "cat1", 0, images=7, parts=(record.MAIN,))
    comparison = collect(sweep)
    assert [job.arch for job in comparison.jobs] == ["cat1", "cat5", "cat5", "cat5"]
    assert [job.arch for job in comparison.finished] == ["cat5"] * 3
    assert "cat1/seed0: left out: made from another cache" in comparison.problems[0]


def test_a_network_counts_once(tmp_path: Path) -> None:
    sweep = write_sweep(
        tmp_path, architectures=("cat5",), seeds=1, images=6, controls=False, parts=(record.MAIN,)
    )
    shutil.copytree(sweep / "cat5", sweep / "cat5,recipe.muted=[]")
    comparison = collect(sweep)
    assert len(comparison.finished) == 1
    assert "the same network as" in comparison.problems[0]


def test_seeds_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    for seed in (2, 10, 0):
        write_job(tmp_path, "cat5", seed, images=6, parts=(record.MAIN,))
    assert [job.seed for job in collect(tmp_path).groups["cat5"]] == [0, 2, 10]


def test_a_plan_is_kept_when_more_is_planned(tmp_path: Path) -> None:
    plan(tmp_path, ["a/seed0"])
    plan(tmp_path, ["b/seed0", "a/seed0"])
    assert [str(j.folder.relative_to(tmp_path)) for j in collect(tmp_path).jobs] == [
        "a/seed0",
        "b/seed0",
    ]


def test_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such folder"):
        collect(tmp_path / "nowhere")
    with pytest.raises(RecordError, match="holds no job"):
        collect(tmp_path)


def test_an_unknown_protocol_lists_the_known(sweep: Path) -> None:
    with pytest.raises(RecordError, match="It has: full"):
        collect(sweep).table(protocol="eigen")


def test_an_interval_of_one_seed_is_that_of_the_effects(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "one", architectures=("cat60",), seeds=1, images=24)
    comparison = collect(sweep)
    summary = summarize(comparison)
    effects = analyse(comparison, summary, frames=["effects"]).effects
    row = effects[(effects["effect"] == "omega") & (effects["target"] == "depth")].iloc[0]
    ours = value_of(summary.architectures.iloc[1], "omega/semantic->depth")
    assert tuple(ours) == pytest.approx((row["value"], row["low"], row["high"]), rel=1e-9)
