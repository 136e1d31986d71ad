from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from filelock import FileLock
from torch.nn import functional as F

from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.summary import summarize
from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.dataset import CachedFrames
from jrn_lightning.errors import CheckpointError, ConfigError, JRNError, RecordError
from jrn_lightning.evaluation import StatisticsTable, evaluate_inputs
from jrn_lightning.importers.build import build
from jrn_lightning.importers.labels import WANG5
from jrn_lightning.importers.nyu import LabeledMat
from jrn_lightning.networks import JRN
from jrn_lightning.networks.checkpoint import load_network
from jrn_lightning.predictors.refine import refine
from jrn_lightning.records import record
from jrn_lightning.records.record import JobRecord, Status
from jrn_lightning.training import job as jobs
from tests.caches import write_small_cache
from tests.importers.test_nyu import (
    TEST,
    TRAIN,
    open_all,
    write_mat,
    write_predictions,
    write_splits,
)
from tests.jobs import command, job, run

EPOCHS = "recipe.epochs=3"


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / record.CHECKPOINT, weights_only=True)["state_dict"]
    return {k: v for k, v in state.items() if k.startswith("network.")}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def finished(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of three epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("sweep") / "cat5" / "seed0"
    job(small_cache, folder, "arch=cat5", EPOCHS, "logger=csv")
    return folder


def test_a_job_leaves_a_whole_record(finished: Path) -> None:
    known = JobRecord.read(finished)
    assert known.status is Status.FINISHED
    assert known.data is not None
    data = known.data
    assert data["setups"] == ["input", "joint", "muted_depth", "muted_semantic"]
    assert data["frames"]["test"] == 6
    assert data["arch"]["computation"] == "coupled"
    pairs = {(r["source"], r["target"]) for r in data["influence"]}
    assert pairs == {("depth", "semantic"), ("semantic", "depth")}
    table = known.statistics()
    assert table.values["depth"].shape == (6, 4, 1, 10)
    assert table.values["semantic"].shape == (6, 4, 1, 15)
    for row in data["metrics"]:
        assert row["low"] <= row["value"] <= row["high"]


def test_losses_fall_and_are_logged(finished: Path) -> None:
    import pandas as pd

    losses = pd.read_csv(finished / "csv" / "metrics.csv")["val/loss"].dropna()
    assert len(losses) == 3
    assert losses.iloc[-1] < losses.iloc[0]


def test_one_seed_gives_the_same_weights_and_another_does_not(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    job(small_cache, tmp_path / "again", "arch=cat5", EPOCHS)
    assert _same(_weights(finished), _weights(tmp_path / "again"))
    job(small_cache, tmp_path / "other", "arch=cat5", EPOCHS, "seed=1")
    assert not _same(_weights(finished), _weights(tmp_path / "other"))


def test_a_finished_job_is_not_run_again(finished: Path, small_cache: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    job(small_cache, finished, "arch=cat5", EPOCHS)
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()} == before


def test_the_record_says_where_and_in_which_precision(
    finished: Path, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` is another thing elsewhere: a job is never gone on with in another precision."""
    data = JobRecord.read(finished).data
    assert data is not None
    config = data["config"]
    assert (config["trainer.accelerator"], config["trainer.precision"]) == ("cpu", "float32")
    options = ("arch=cat5", EPOCHS, "logger=csv", "trainer.precision=auto")
    monkeypatch.setattr(jobs, "use_bfloat16", lambda precision, _: precision == "auto")
    with pytest.raises(RecordError, match=r"trainer.precision: 'float32' → 'bfloat16'"):
        job(small_cache, finished, *options)


def test_a_job_that_is_tested_again_keeps_what_its_training_has_said(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cat5" / "seed0"
    shutil.copytree(finished, folder)
    known = json.loads((folder / record.RESULTS).read_text())
    known["warnings"], known["seconds"]["fit"] = ["stem depth is dead"], 1000.0
    (folder / record.RESULTS).write_text(json.dumps(known))
    options = ("arch=cat5", EPOCHS, "logger=csv", "evaluation.mute_value=constant")
    again = job(small_cache, folder, *options)
    assert again["warnings"] == ["stem depth is dead"]
    assert again["seconds"]["fit"] >= 1000
    logged = "csv/metrics.csv"
    assert (folder / logged).read_bytes() == (finished / logged).read_bytes()


def test_only_the_main_process_throws_away(
    finished: Path, small_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further process of a distributed run would remove what the main one has just written."""
    monkeypatch.setattr(record, "is_main_process", lambda: False)
    job(small_cache, finished, "arch=cat5", EPOCHS, "logger=csv", "overwrite=true")
    assert JobRecord.read(finished).status is Status.FINISHED


def test_a_mistake_throws_nothing_away_and_binds_nobody(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    options = ("arch=cat5", EPOCHS, "logger=csv", "overwrite=true")
    with pytest.raises(ConfigError, match="names sound"):
        job(small_cache, finished, *options, "data.modalities=[depth,sound]")
    assert JobRecord.read(finished).status is Status.FINISHED
    assert (finished / record.CHECKPOINT).exists()
    with pytest.raises(ConfigError, match="no argument wrong"):
        job(small_cache, tmp_path / "job", "arch=cat5", EPOCHS, "+arch.wrong=1")
    again = job(small_cache, tmp_path / "job", "arch=cat5", "recipe.epochs=1")
    assert again["status"] == "finished"


def test_threads_are_shared_with_the_jobs_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "processors", lambda: 8)
    assert (jobs._threads(), jobs._threads(4)) == (8, 2)
    monkeypatch.setattr(jobs.HydraConfig, "initialized", lambda: True)
    for given, threads in ((3, 2), (-1, 1), (None, 8), (20, 1)):
        launcher = {"n_jobs": given}
        monkeypatch.setattr(
            jobs.HydraConfig, "get", lambda launcher=launcher: SimpleNamespace(launcher=launcher)
        )
        assert jobs._threads() == threads


def test_another_configuration_or_cache_is_refused_unless_told_to_overwrite(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=r"recipe\.epochs: 3 → 2"):
        job(small_cache, finished, "arch=cat5", "recipe.epochs=2")
    other = write_small_cache(tmp_path / "other.h5", seed=1)
    with pytest.raises(RecordError, match="cache has other contents"):
        job(other, finished, "arch=cat5", EPOCHS)
    assert JobRecord.read(finished).status is Status.FINISHED
    folder = tmp_path / "cat5" / "seed0"
    job(small_cache, folder, "arch=cat5", "recipe.epochs=1")
    job(small_cache, folder, "arch=cat5", "recipe.epochs=2", "overwrite=true")
    data = JobRecord.read(folder).data
    assert data is not None
    assert data["config"]["recipe.epochs"] == 2


class _Stop(BaseException):
    """Not an Exception: like a kill, nothing catches it."""


def _stopped(
    monkeypatch: pytest.MonkeyPatch, epoch: int, cache: Path, folder: Path, *overrides: str
) -> None:
    """Stopped in the middle of an epoch, where the next checkpoint is not yet written."""
    original = jobs.JointRefinement.training_step

    def stopping(self: jobs.JointRefinement, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == epoch and batch_idx == 5:
            raise _Stop
        return original(self, batch, batch_idx)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(jobs.JointRefinement, "training_step", stopping)
        with pytest.raises(_Stop):
            job(cache, folder, *overrides)
    assert JobRecord.read(folder).status is Status.INTERRUPTED


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_job_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    finished: Path,
    small_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
) -> None:
    _stopped(monkeypatch, epoch, small_cache, tmp_path, "arch=cat5", EPOCHS)
    job(small_cache, tmp_path, "arch=cat5", EPOCHS)
    assert _same(_weights(finished), _weights(tmp_path))
    ours, theirs = JobRecord.read(tmp_path).data, JobRecord.read(finished).data
    assert ours is not None
    assert theirs is not None
    assert ours["metrics"] == theirs["metrics"]


def test_modality_dropout_changes_the_training_is_repeatable_and_survives_a_stop(
    finished: Path, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("arch=cat5", EPOCHS, "recipe.modality_dropout=0.25")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    job(small_cache, whole, *arguments)
    assert not _same(_weights(finished), _weights(whole))
    _stopped(monkeypatch, 1, small_cache, stopped, *arguments)
    job(small_cache, stopped, *arguments)
    assert _same(_weights(whole), _weights(stopped))


def test_a_job_that_was_stopped_in_its_test_is_not_trained_again(
    finished: Path, small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise _Stop

    with monkeypatch.context() as patched:
        patched.setattr(jobs.JointRefinement, "test_step", stop)
        with pytest.raises(_Stop):
            job(small_cache, tmp_path, "arch=cat5", EPOCHS)
    with monkeypatch.context() as patched:
        patched.setattr(jobs.JointRefinement, "training_step", stop)
        job(small_cache, tmp_path, "arch=cat5", EPOCHS)
    assert JobRecord.read(tmp_path).statistics().values["depth"].tobytes() == (
        JobRecord.read(finished).statistics().values["depth"].tobytes()
    )


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_goes_on(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    arguments = command(small_cache, tmp_path / "runs", "arch=cat5", EPOCHS)
    folder = tmp_path / "runs" / "nyu" / "cat5" / "seed0"
    kills = 0
    for attempt in range(12):
        process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        )
        deadline = time.monotonic() + 3.5 + 0.6 * attempt
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    else:
        subprocess.run(arguments, check=True, cwd=tmp_path, capture_output=True)
    assert kills
    assert JobRecord.read(folder).status is Status.FINISHED
    assert _same(_weights(finished), _weights(folder))


def test_a_truncated_checkpoint_is_named(small_cache: Path, finished: Path, tmp_path: Path) -> None:
    data = json.loads((finished / record.RESULTS).read_text()) | {"status": "interrupted"}
    (tmp_path / record.RESULTS).write_text(json.dumps(data))
    checkpoint = tmp_path / record.CHECKPOINT
    checkpoint.parent.mkdir()
    checkpoint.write_bytes((finished / record.CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last\.ckpt.* Remove it, or set overwrite"):
        job(small_cache, tmp_path, "arch=cat5", EPOCHS)
    assert JobRecord.read(tmp_path).status is Status.FAILED


def test_a_checkpoint_of_another_architecture_is_named(
    small_cache: Path, finished: Path, tmp_path: Path
) -> None:
    job(small_cache, tmp_path, "arch=cat1", EPOCHS)
    data = json.loads((finished / record.RESULTS).read_text()) | {"status": "interrupted"}
    (tmp_path / record.RESULTS).write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="another network"):
        job(small_cache, tmp_path, "arch=cat5", EPOCHS)


def test_a_checkpoint_that_would_run_code_is_not_loaded(
    small_cache: Path, finished: Path, tmp_path: Path
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    data = json.loads((finished / record.RESULTS).read_text()) | {"status": "interrupted"}
    (tmp_path / record.RESULTS).write_text(json.dumps(data))
    checkpoint = tmp_path / record.CHECKPOINT
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(CheckpointError, match=r"last\.ckpt.* Remove it, or set overwrite"):
        job(small_cache, tmp_path, "arch=cat5", EPOCHS)
    assert not (tmp_path / "owned").exists()


def test_the_checkpoint_evaluated_on_its_own_gives_the_recorded_measures(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    """jrn predict, then the evaluation of inputs: another way to the same numbers."""
    out = tmp_path / "refined.h5"
    with PredictionCache(small_cache) as cache:
        refine(load_network(finished / record.CHECKPOINT), cache, "test", out, dtype="float32")
    with PredictionCache(out) as refined:
        measures = evaluate_inputs(refined, "test")
    data = JobRecord.read(finished).data
    assert data is not None
    for row in data["metrics"]:
        if row["setup"] == "joint" and row["pooling"] == "pixels":
            found = measures[row["modality"]][row["measure"]]
            assert found == pytest.approx(row["value"], rel=2e-3, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("mute", ["mean_map", "constant", "other_image", "noise"])
def test_every_mute_value_runs_and_changes_only_the_muted_setups(
    finished: Path, small_cache: Path, tmp_path: Path, mute: str
) -> None:
    folder = tmp_path / mute
    job(small_cache, folder, "arch=cat5", EPOCHS, f"evaluation.mute_value={mute}")
    ours, zero = JobRecord.read(folder).statistics(), JobRecord.read(finished).statistics()
    for m in ("depth", "semantic"):
        np.testing.assert_array_equal(ours.values[m][:, :2], zero.values[m][:, :2])
        assert (ours.values[m][:, 2:] != zero.values[m][:, 2:]).any()


def test_bfloat16_agrees_with_float32_within_the_interval(
    finished: Path, small_cache: Path, tmp_path: Path
) -> None:
    low = job(small_cache, tmp_path, "arch=cat5", EPOCHS, "trainer.precision=bfloat16")
    assert low["precision"] == "bf16-mixed"
    full = JobRecord.read(finished).data
    assert full is not None
    assert full["precision"] == "32-true"
    for a, b in zip(low["metrics"], full["metrics"], strict=True):
        if b["measure"] in ("sq_rel", "rms", "pixel_accuracy") and b["pooling"] == "pixels":
            assert b["low"] - 1e-9 <= a["value"] <= b["high"] + 1e-9, (a, b)


def test_no_gpu_where_one_was_asked_for(small_cache: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="trainer=cpu"):
        job(small_cache, tmp_path, "trainer=gpu")
    data = JobRecord.read(tmp_path)
    assert data.status is Status.FAILED
    assert "no CUDA device" in data.problem


def test_a_frame_that_the_scales_do_not_divide_is_refused(
    small_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\[48, 64\]"):
        job(small_cache, tmp_path, "data.frame=[50,62]")


def test_an_unexpected_error_leaves_its_traceback_in_the_folder(
    small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(jobs.JointRefinement, "training_step", broken)
    with pytest.raises(ZeroDivisionError):
        job(small_cache, tmp_path)
    assert "a defect" in JobRecord.read(tmp_path).problem
    assert "training_step" in (tmp_path / "traceback.txt").read_text()


def test_dead_stems_reach_the_record(
    small_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = JRN.__init__

    def killed(self: JRN, *args: object, **options: object) -> None:
        original(self, *args, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            for branch in self.branches.values():
                branch.stem["depth"].bias.fill_(-1e6)

    monkeypatch.setattr(JRN, "__init__", killed)
    results = job(small_cache, tmp_path, "recipe.epochs=1")
    assert any("stem depth at 1/2" in text for text in results["warnings"])


def test_frames_without_a_common_truth_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write_small_cache(tmp_path / "cache.h5", train=10)
    blank = tmp_path / "blank.h5"
    _with_blank_truth(path, blank, rows=(0, 3))
    results = job(blank, tmp_path / "job", "recipe.epochs=1", "data.val_fraction=0")
    assert results["skipped_frames"] == {"train": 2}
    assert results["frames"]["train"] == 8


def test_the_grid_of_the_official_file_has_both_ground_truths(tmp_path: Path) -> None:
    """From the file to `jrn protocols`, by hand: the pixels that the sensor has measured."""
    arrays = write_mat(tmp_path / "nyu.mat")
    splits = write_splits(tmp_path / "splits.mat", TRAIN, TEST)
    official = LabeledMat(tmp_path / "nyu.mat", splits, WANG5)
    inputs = open_all(write_predictions(tmp_path, official), official)
    build(official, inputs, tmp_path / "nyu.h5")
    folder = tmp_path / "runs" / "cat5" / "seed0"
    # In float32: half precision would blur the sums that are compared.
    options = ("evaluation.grid=true", "recipe.epochs=1", "trainer.precision=float32")
    results = job(tmp_path / "nyu.h5", folder, "arch=cat5", "data.val_fraction=0", *options)
    assert results["modalities"]["depth"]["truths"] == ["filled", "raw"]
    assert results["modalities"]["semantic"]["truths"] == []

    comparison = collect(tmp_path / "runs")
    frame = analyse(comparison, summarize(comparison), frames=["protocols"]).protocols
    rows = frame[(frame["arch"] == "input") & (frame["convention"] == "usual")]
    assert set(rows.loc[rows["modality"] == "semantic", "truth"]) == {"truth"}
    with PredictionCache(tmp_path / "nyu.h5") as cache:
        split = cache.split("test")
        native = torch.from_numpy(np.stack([split.prediction("depth", i) for i in range(3)]))
        size = split.target_size()
        guess = F.interpolate(native.float(), size, mode="bilinear", antialias=True)
        d = guess[:, 0].double().numpy()
    filled, raw = (arrays[k][[n - 1 for n in TEST]].astype(float) for k in ("depths", "rawDepths"))
    for name, truth, known in (
        ("filled", filled, filled > 0),
        ("raw", raw, (raw > 0) & (raw < 10)),
    ):
        assert known.all() == (name == "filled")
        error = np.where(known, np.abs(d - truth) / np.where(known, truth, 1), 0)
        square = np.where(known, (d - truth) ** 2, 0)
        by_hand = {
            ("abs_rel", "pixels"): error.sum() / known.sum(),
            ("abs_rel", "images"): (error.sum((1, 2)) / known.sum((1, 2))).mean(),
            ("rms", "pixels"): np.sqrt(square.sum() / known.sum()),
        }
        for (measure, pooling), expected in by_hand.items():
            key = {"truth": name, "measure": measure, "pooling": pooling}
            (value,) = rows.loc[np.logical_and.reduce([rows[k] == v for k, v in key.items()])].value
            assert value == pytest.approx(expected, rel=1e-5)


def _with_blank_truth(source: Path, out: Path, rows: tuple[int, ...]) -> None:
    """Copy a cache; depth is missing in some training frames."""
    from jrn_lightning.cache import CacheWriter

    with (
        PredictionCache(source) as cache,
        CacheWriter(out, modalities=cache.modalities, frame=cache.frame) as writer,
    ):
        for name in cache.splits:
            split = cache.split(name)
            writer.add_split(
                name,
                ids=split.ids,
                scenes=split.scenes,
                predictions={m: split.spec(m) for m in cache.modalities},
                targets=split.has_targets,
                images=False,
            )
        for name in cache.splits:
            split = cache.split(name)
            for i in range(len(split)):
                targets = None
                if split.has_targets:
                    targets = {m: split.target(m, i) for m in cache.modalities}
                    if name == "train" and i in rows:
                        targets["depth"] = np.zeros_like(targets["depth"])
                maps = {m: split.prediction(m, i) for m in cache.modalities}
                writer.write(name, i, predictions=maps, targets=targets)
    assert h5py.is_hdf5(out)


def test_a_job_leaves_no_frames_in_memory(small_cache: Path, tmp_path: Path) -> None:
    """A sweep runs its jobs in one process: what one keeps, all pay for."""

    def held() -> int:
        return sum(type(o) is CachedFrames for o in gc.get_objects())

    before = held()
    job(small_cache, tmp_path, "arch=cat1", "recipe.epochs=1")
    assert held() == before


def test_a_training_that_diverges_fails_and_says_so(small_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(JRNError, match=r"diverged.*recipe\.learning_rate"):
        job(
            small_cache, tmp_path, "recipe=paper", "recipe.epochs=1", "recipe.learning_rate=1e6"
        )  # fmt: skip
    assert JobRecord.read(tmp_path).status is Status.FAILED


def test_a_folder_is_for_one_job_at_a_time(finished: Path, small_cache: Path) -> None:
    before = {path: path.read_bytes() for path in finished.glob("*.*") if path.is_file()}
    with (
        FileLock(finished / ".lock"),
        pytest.raises(RecordError, match=r"is in use: the same job is running.*sweep="),
    ):
        job(small_cache, finished, "arch=cat5", EPOCHS)
    assert before == {path: path.read_bytes() for path in before}
    job(small_cache, finished, "arch=cat5", EPOCHS)


@pytest.mark.parametrize("damage", ["truncated", "removed", "of version 1"])
def test_a_damaged_or_old_record_is_measured_again_and_not_trained_again(
    small_cache: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, given = tmp_path / "cat5" / "seed0", ("arch=cat5", "recipe.epochs=1")
    job(small_cache, folder, *given)
    statistics, checkpoint = folder / "statistics.h5", folder / "checkpoints" / "last.ckpt"
    whole, written = StatisticsTable.load(statistics), checkpoint.stat().st_mtime_ns
    if damage == "truncated":
        statistics.write_bytes(statistics.read_bytes()[:999])
    elif damage == "of version 1":
        with h5py.File(statistics, "r+") as file:
            file.attrs["version"] = 1
    else:
        statistics.unlink()
    results = job(small_cache, folder, *given)
    assert "tested again" in caplog.text
    assert results["status"] == "finished"
    assert checkpoint.stat().st_mtime_ns == written
    for m, values in StatisticsTable.load(statistics).values.items():
        np.testing.assert_allclose(values, whole.values[m], rtol=1e-5)


def test_records_can_be_read_by_others(finished: Path) -> None:
    for name in ("results.json", "statistics.h5", "strata.h5"):
        assert stat.S_IMODE((finished / name).stat().st_mode) == 0o644


def test_one_modality_is_no_joint_refinement(small_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.modalities is \['depth'\]: give at least two"):
        job(small_cache, tmp_path / "job", "data.modalities=[depth]")


@pytest.mark.parametrize("scales", ["[]", "[0,2]"])
def test_scales_that_cannot_be_are_refused(small_cache: Path, tmp_path: Path, scales: str) -> None:
    with pytest.raises(ConfigError, match=r"scales is \[.*give different positive divisors"):
        job(small_cache, tmp_path / "job", f"arch.scales={scales}")


def test_a_mistake_in_a_single_job_is_all_that_is_said(small_cache: Path, tmp_path: Path) -> None:
    done = run(small_cache, tmp_path / "runs", "recipe.epochs=0")
    assert done.returncode == 2
    assert done.stderr == "error: recipe.epochs is 0: give a whole number of at least 1.\n"
    assert not done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_place_where_nothing_can_be_written_is_named(small_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = command(small_cache, tmp_path / "file" / "runs")
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'file'}")
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr
