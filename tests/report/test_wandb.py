from __future__ import annotations

import logging
import os
import socket
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb as client
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

import jrn_lightning.report
from jrn_lightning.analysis.findings import COLUMNS
from jrn_lightning.analysis.summary import summarize
from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Depth
from jrn_lightning.report import wandb
from jrn_lightning.report.answer import answer
from jrn_lightning.report.maps import Frame, panel
from tests.report import fakes, wandb_records
from tests.report.wandb_records import Records

KEY = "k" * 40
pytestmark = pytest.mark.usefixtures("own_files")


def start(folder: Path, arch: str = "cat60", seed: int = 0, **changes: Any) -> client.Run:
    words = {k: fakes.ARCHITECTURES[arch][k] for k in ("operation", "computation")}
    return wandb.start_run(
        folder,
        **{
            "sweep": "nyu",
            "arch": {"name": arch, **words},
            "seed": seed,
            "fingerprint": "f00d",
            "config": {"recipe": {"learning_rate": 0.005}, "seed": seed},
            "best": {"val/joint/mean_iou": "max", "val/loss_depth": "min"},
            **changes,
        },
    )


def results(arch: str = "cat60") -> dict[str, Any]:
    row = {"protocol": "full", "pooling": "pixels"}
    other = {"protocol": "eigen", "pooling": "pixels"}
    value = {"value": 0.1184, "low": 0.116, "high": 0.1208}
    iou = fakes.ARCHITECTURES[arch]["omega/depth->semantic"]
    return {
        "status": "finished",
        "warnings": [fakes.WARNING, "another"],
        "protocols": ["full", "eigen"],
        "poolings": ["pixels"],
        "modalities": fakes.MODALITIES,
        "metrics": [
            {"setup": "joint", "modality": "depth", "measure": "sq_rel", **row, **value},
            {"setup": "joint", "modality": "depth", "measure": "sq_rel", **other, "value": 9.0},
            {"setup": "input", "modality": "depth", "measure": "rms", **row, "value": None},
        ],
        "improvement": [
            {
                "modality": "depth",
                "measure": "sq_rel",
                **row,
                "value": 0.23,
                "low": 0.1,
                "high": 0.3,
            }
        ],
        "influence": [
            {"source": "depth", "target": "semantic", "measure": "mean_iou", **row}
            | {"value": iou, "low": iou - 0.35, "high": iou + 0.35},
            {"source": "depth", "target": "semantic", "measure": "pixel_accuracy", **row}
            | {"value": 1.0, "low": 0.5, "high": 1.5},
        ],
    }


@pytest.fixture(scope="module")
def two_jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    """Two jobs of one process; the second begins while the first still runs."""
    folder = tmp_path_factory.mktemp("nyu")
    first = start(folder / "cat60" / "seed0", "cat60", 0)
    second = start(folder / "sum60" / "seed1", "sum60", 1)
    assert client.run is None
    for run, values in ((first, (0.61, 0.65, 0.63)), (second, (0.51, 0.55, 0.53))):
        logger = WandbLogger(experiment=run)
        for step, value in enumerate(values):
            logger.log_metrics({"val/joint/mean_iou": value, "val/loss_depth": 1 - value}, step)
    depth = np.ones((1, 8, 8), np.float32)
    example = Frame("0001", {"depth": depth[0]}, {"joint": {"depth": depth}})
    wandb.log_results(first, results("cat60"), panel([example], {"depth": Depth("depth")}))
    wandb.log_results(second, results("sum60"))
    wandb.finish(second, failed=True)
    wandb.finish(first)
    (a,) = wandb_records.read_all(folder / "cat60" / "seed0")
    (b,) = wandb_records.read_all(folder / "sum60" / "seed1")
    return a, b


def test_a_job_is_a_run_with_group_name_type_and_tags(two_jobs: tuple[Records, Records]) -> None:
    a, b = two_jobs
    assert (a.run.run_group, a.run.display_name, a.run.job_type) == ("nyu", "cat60-seed0", "train")
    assert (b.run.run_group, b.run.display_name, b.run.job_type) == ("nyu", "sum60-seed1", "train")
    assert list(a.run.tags) == ["cat60", "concatenation", "loose"]
    assert list(b.run.tags) == ["sum60", "sum", "coupled"]
    assert a.run.project == "jrn-lightning"
    assert a.config["recipe"] == {"learning_rate": 0.005}
    assert a.config["arch"] == {
        "name": "cat60",
        "operation": "concatenation",
        "computation": "loose",
    }
    assert a.run.resume
    assert (a.exit_code, b.exit_code) == (0, 1)


def test_two_runs_of_one_process_do_not_mix(two_jobs: tuple[Records, Records]) -> None:
    a, b = two_jobs
    assert a.run.run_id != b.run.run_id
    logged = [
        [row["val/joint/mean_iou"] for row in run.history if "val/joint/mean_iou" in row]
        for run in (a, b)
    ]
    assert logged == [[0.61, 0.65, 0.63], [0.51, 0.55, 0.53]]


def test_the_summary_is_the_best_value(two_jobs: tuple[Records, Records]) -> None:
    a, _ = two_jobs
    assert a.summary["val/joint/mean_iou"] == {"max": 0.65}
    assert a.summary["val/loss_depth"] == {"min": pytest.approx(0.35)}
    assert a.metrics["val/joint/mean_iou"].step_metric == "trainer/global_step"
    assert a.metrics["*"].step_metric == "trainer/global_step"


def test_results_are_summary_and_tables(two_jobs: tuple[Records, Records]) -> None:
    a, b = two_jobs
    assert a.summary["test/joint/depth/sq_rel"] == 0.1184  # of the first protocol
    assert a.summary["A/depth"] == pytest.approx(-11.84)
    assert "test/input/depth/rms" not in a.summary  # not known
    assert a.summary["omega/depth_to_semantic"] == 9.61
    assert a.summary["omega/depth_to_semantic_low"] == pytest.approx(9.26)
    assert b.summary["omega/depth_to_semantic"] == 10.04
    assert a.summary["improvement/depth/sq_rel_high"] == 0.3
    assert a.summary["status"] == "finished"
    assert a.summary["warnings"] == f"{fakes.WARNING}\nanother"
    rows = a.table("results/metrics")
    assert [(row["protocol"], row["value"]) for row in rows] == [
        ("full", 0.1184),
        ("eigen", 9.0),
        ("full", None),
    ]
    assert len(a.table("results/influence")) == 2


def test_charts_are_of_influence_improvement_and_training(
    two_jobs: tuple[Records, Records],
) -> None:
    a, _ = two_jobs
    charted = {name for row in a.history for name, x in row.items() if isinstance(x, int | float)}
    assert {name for name in charted if not name.startswith(("_", "examples."))} == {
        "improvement/depth/sq_rel",
        "omega/depth_to_semantic",
        "trainer/global_step",
        "val/joint/mean_iou",
        "val/loss_depth",
    }


def test_example_maps_are_a_picture(two_jobs: tuple[Records, Records]) -> None:
    a, b = two_jobs
    with Image.open(a.picture("examples")) as picture:
        assert picture.width > 100
    assert not any("examples.path" in row for row in b.history)


def test_patterns_of_best_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"in full, got val/loss\*"):
        start(tmp_path, best={"val/loss*": "min"})


def test_the_same_job_has_the_same_run(tmp_path: Path) -> None:
    runs = []
    for seed, fingerprint in ((0, "a"), (0, "a"), (1, "a"), (0, "b")):
        run = start(tmp_path / f"seed{seed}", seed=seed, fingerprint=fingerprint)
        runs.append(run.id)
        wandb.finish(run)
    assert runs[0] == runs[1]
    assert len(set(runs)) == 3


# -- the report --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("sweep") / "nyu"
    comparison = fakes.comparison(folder)
    first = wandb.log_report(summarize(comparison, with_published=False), folder)
    found = fakes.findings(folder, without=("ladder",))
    figure = Figure()
    second = wandb.log_report(
        summarize(comparison), folder, findings=found, figures={"mute values/a": figure}
    )
    assert first.startswith("offline, upload with: wandb sync ")
    assert first != second
    (records,) = wandb_records.read_all(folder)  # the second took the place of the first
    assert str(records.folder) in second
    return records


def test_the_report_is_a_run_of_the_sweep(report: Records) -> None:
    assert report.run.job_type == "report"
    assert report.run.run_group == "nyu"
    assert report.run.display_name == "nyu-report"
    assert list(report.run.tags) == ["report"]
    assert (report.summary["finished"], report.summary["jobs"]) == (13, 15)
    assert report.config["protocol"] == "full"
    assert report.exit_code == 0


def test_the_comparison_is_a_table(report: Records) -> None:
    rows = report.table("comparison")
    assert [row["kind"] for row in rows] == ["input"] + ["measured"] * 5 + ["published"] * 11
    first, cat60 = rows[:2]
    assert first["A_depth"] == pytest.approx(-12.07)
    assert first["omega_depth_to_semantic"] is None
    assert cat60["architecture"] == "cat60"
    assert (cat60["seeds"], cat60["planned"]) == (3, 3)
    assert cat60["A_semantic"] == pytest.approx(65.31)
    assert cat60["semantic_mean_iou"] == pytest.approx(0.6531)
    assert cat60["improvement_semantic"] == pytest.approx(1.58)
    assert cat60["omega_semantic_to_depth"] == pytest.approx(1.62)
    assert cat60["omega_semantic_to_depth_high"] == pytest.approx(1.97)
    published = next(r for r in rows if r["kind"] == "published" and r["architecture"] == "cat10")
    assert published["omega_semantic_to_depth"] == 4.93
    assert published["A_depth"] == pytest.approx(-12.5)


def test_the_answer_is_a_table_of_sentences(report: Records, tmp_path: Path) -> None:
    sentences = [row["answer"] for row in report.table("answer")]
    assert sentences == list(answer(fakes.findings(tmp_path / "nyu")))
    assert sentences[1].startswith("Does depth help semantic? It helps")


@pytest.mark.parametrize("name", wandb.FRAMES)
def test_findings_are_tables_with_their_intervals(
    report: Records, tmp_path: Path, name: str
) -> None:
    if name == "ladder":  # has no rows
        assert not any("ladder" in key for row in report.history for key in row)
        return
    expected = getattr(fakes.findings(tmp_path / "nyu"), name)
    rows = report.table(f"findings/{name}")
    assert len(rows) == len(expected)
    known = [column for column in COLUMNS[name] if expected[column].notna().any()]
    assert list(rows[0]) == known
    for key in ("value", "low", "high"):
        if key in known:
            assert [row[key] for row in rows] == pytest.approx(list(expected[key]))


def test_gain_and_breakage_are_in_the_summary(report: Records, tmp_path: Path) -> None:
    table = {
        (row["effect"], row["source"], row["target"], row["arch"]): row["value"]
        for row in report.table("findings/effects")
    }
    for effect in ("gain", "breakage"):
        for arch in fakes.ARCHITECTURES:
            expected = table[effect, "depth", "semantic", arch]
            found = report.summary[f"{effect}/depth_to_semantic/{arch}"]
            assert found == pytest.approx(expected)


def test_further_figures_are_pictures(report: Records) -> None:
    with Image.open(report.picture("figures/mute values/a")) as picture:
        assert picture.width > 100


def test_failed_and_missing_jobs_are_in_the_report(report: Records) -> None:
    jobs = {(row["arch"], row["seed"]): row["status"] for row in report.table("jobs")}
    assert len(jobs) == 15
    assert jobs["cat10", 1] == "failed"
    assert jobs["cat1", 2] == "missing"


@pytest.mark.parametrize(("source", "target"), [("depth", "semantic"), ("semantic", "depth")])
def test_figure_7_is_a_scatter_plot_and_a_picture(
    report: Records, source: str, target: str
) -> None:
    pair = f"{source}_to_{target}"
    for name, kind in (("influence", "measured"), ("influence_published", "published")):
        key = f"{name}/{pair}"
        chart = report.config[f"_wandb.visualize.{key}"]
        assert chart["panel_config"]["panelDefId"] == "wandb/scatter/v0"
        fields = chart["panel_config"]["fieldSettings"]
        assert fields == {"x": f"omega_{pair}", "y": f"A_{target}"}
        rows = report.table(f"{key}_table")
        assert {row["kind"] for row in rows} == {kind}
        assert [row["architecture"] for row in rows] == list(fakes.ARCHITECTURES)
        assert all(isinstance(row[fields[axis]], float) for row in rows for axis in "xy")
    with Image.open(report.picture(f"figure7/{pair}")) as picture:
        assert picture.width > picture.height > 500


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are offline, and say of themselves that they are not."""

    class Online:
        offline, url, entity = False, "https://wandb.test/me/run", "me"

        def __init__(self, run: client.Run) -> None:
            self._run = run

        def __getattr__(self, name: str) -> Any:
            return getattr(self._run, name)

    begin = wandb._init
    monkeypatch.setattr(wandb, "_init", lambda *a, **k: Online(begin(*a, **k)))


def replace_workspace(patch: pytest.MonkeyPatch, module: object) -> None:
    name = f"{jrn_lightning.report.__name__}.workspace"
    patch.setitem(sys.modules, name, module)
    patch.setattr(jrn_lightning.report, "workspace", module, raising=False)


def test_online_panels_are_saved_beside_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, online: None
) -> None:
    module = types.ModuleType("workspace")
    built = []
    module.build = lambda *a, **k: built.append((a, k))  # type: ignore[attr-defined]
    module.save = lambda _: "over there"  # type: ignore[attr-defined]
    replace_workspace(monkeypatch, module)
    found = fakes.findings(tmp_path)
    where = wandb.log_report(
        found.summary, tmp_path, project="mine", findings=found, figures={"one": Figure()}
    )
    assert where == "https://wandb.test/me/run, panels: over there"
    (((summary,), asked),) = built
    assert summary is found.summary
    assert (asked["entity"], asked["project"]) == ("me", "mine")
    assert {"comparison", "answer", "findings/effects", "figures/one"} <= set(asked["logged"])


def test_panels_that_cannot_be_saved_do_not_cost_the_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    online: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    replace_workspace(monkeypatch, types.ModuleType("workspace"))  # has nothing in it
    summary = summarize(fakes.comparison(tmp_path))
    assert wandb.log_report(summary, tmp_path) == "https://wandb.test/me/run"
    assert "could not save a view with panels" in caplog.text


def test_without_the_library_there_is_a_hint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    online: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.delitem(sys.modules, "jrn_lightning.report.workspace", raising=False)
    monkeypatch.delattr(jrn_lightning.report, "workspace", raising=False)
    summary = summarize(fakes.comparison(tmp_path))
    assert wandb.log_report(summary, tmp_path) == "https://wandb.test/me/run"
    (hint,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "pip install 'jrn-lightning[workspaces]'" in hint


def test_offline_no_panels_are_attempted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_workspace(monkeypatch, None)  # its import would fail
    summary = summarize(fakes.comparison(tmp_path))
    for mode in ("auto", "online", "offline"):  # there is no key
        address = wandb.log_report(summary, tmp_path, mode=mode)  # type: ignore[arg-type]
        assert address.startswith("offline")
    said = [r.getMessage() for r in caplog.records if r.name == wandb.__name__]
    assert not any("panels" in text for text in said)


# -- online or not -----------------------------------------------------------------------------


def _unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_offline_without_a_key(setting: pytest.MonkeyPatch) -> None:
    assert wandb._mode("auto", 1) == "offline"


def test_online_without_a_key_is_offline_with_a_warning(
    setting: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert wandb._mode("online", 1) == "offline"
    assert "no key" in caplog.text


def test_online_with_a_key_and_a_server_that_answers(
    setting: pytest.MonkeyPatch, refusing: str
) -> None:
    setting.setenv("WANDB_API_KEY", KEY)
    setting.setenv("WANDB_BASE_URL", refusing)
    assert wandb._mode("auto", 5) == "online"


def test_a_key_in_netrc_counts(setting: pytest.MonkeyPatch, refusing: str, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {refusing.removeprefix('http://')}\nlogin user\npassword {KEY}\n")
    setting.setenv("NETRC", str(netrc))
    setting.setenv("WANDB_BASE_URL", refusing)
    assert wandb._mode("auto", 5) == "online"


@pytest.mark.parametrize(
    ("variable", "expected"), [("offline", "offline"), ("disabled", "disabled")]
)
def test_wandb_mode_is_respected(
    setting: pytest.MonkeyPatch, refusing: str, variable: str, expected: str
) -> None:
    setting.setenv("WANDB_API_KEY", KEY)
    setting.setenv("WANDB_BASE_URL", refusing)
    setting.setenv("WANDB_MODE", variable)
    assert wandb._mode("auto", 5) == variable


def test_a_malformed_key_means_offline(
    setting: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setting.setenv("WANDB_API_KEY", "too short")
    assert wandb._mode("auto", 1) == "offline"
    assert "key cannot be used" in caplog.text


def test_an_unreachable_server_means_offline_at_once(
    setting: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setting.setenv("WANDB_API_KEY", KEY)
    setting.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{_unused_port()}")
    begin = time.monotonic()
    assert wandb._mode("auto", 30) == "offline"
    assert time.monotonic() - begin < 5
    assert "does not answer" in caplog.text


def test_a_silent_server_is_not_waited_for(setting: pytest.MonkeyPatch, silent: str) -> None:
    setting.setenv("WANDB_API_KEY", KEY)
    setting.setenv("WANDB_BASE_URL", silent)
    begin = time.monotonic()
    assert wandb._mode("auto", 1) == "offline"
    assert time.monotonic() - begin < 5


def test_a_refused_key_goes_on_offline_and_loses_nothing(
    setting: pytest.MonkeyPatch, refusing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting.setenv("WANDB_API_KEY", KEY)
    setting.setenv("WANDB_BASE_URL", refusing)
    run = start(tmp_path, timeout=5.0)
    assert run.offline
    run.log({"val/loss": 1.0})
    wandb.finish(run)
    assert "going on offline" in caplog.text
    (records,) = wandb_records.read_all(tmp_path)
    assert records.history[0]["val/loss"] == 1.0
    assert records.run.display_name == "cat60-seed0"


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    run = start(tmp_path)
    run.log({"val/loss": 1.0})
    wandb.log_results(run, results())
    wandb.finish(run)
    assert run.disabled
    assert not list(tmp_path.rglob("*.wandb"))


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    assert wandb.log_report(summarize(fakes.comparison(tmp_path)), tmp_path, mode="disabled") == (
        "disabled"
    )
    assert not list(tmp_path.rglob("*.wandb"))


def test_the_environment_stays_as_it_is(tmp_path: Path) -> None:
    before = dict(os.environ)
    wandb.finish(start(tmp_path))
    changed = {k for k in os.environ if os.environ[k] != before.get(k)} - {"WANDB_SERVICE"}
    assert not changed
    assert "WANDB_MODE" not in os.environ


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(client, "init", fail)
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError, match="logger=none"):
        start(tmp_path)


def test_tables_that_cannot_be_written_do_not_cost_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "file" / "below"))
    run = start(tmp_path / "job")
    wandb.log_results(run, results())
    wandb.finish(run)
    assert "could not write tables" in caplog.text
    (records,) = wandb_records.read_all(tmp_path / "job")
    assert records.summary["omega/depth_to_semantic"] == 9.61
    comparison = summarize(fakes.comparison(tmp_path))
    with pytest.raises(ConfigError, match="WANDB_DATA_DIR"):
        wandb.log_report(comparison, tmp_path)
