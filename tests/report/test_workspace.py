"""The view that W&B's library would save, without W&B: its specification and its requests."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb as client
from matplotlib.figure import Figure

from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.summary import MeasureColumn, Summary, omega, summarize
from jrn_lightning.report import wandb
from tests.jobs import job
from tests.report import fakes, wandb_records
from tests.report.wandb_records import Records

pytest.importorskip("wandb_workspaces")

from jrn_lightning.report import workspace

pytestmark = pytest.mark.usefixtures("own_files")


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    return summarize(fakes.comparison(tmp_path / "nyu"))


def specification(summary: Summary) -> dict[str, Any]:
    """What W&B would be given."""
    return section_of(build(summary)._spec["spec"])


def build(summary: Summary, logged: Collection[str] = ()) -> Any:
    return workspace.build(summary, entity="me", project="mine", step=wandb.STEP, logged=logged)


def section_of(specification: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = specification["section"]
    return section


def panels(specification: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Section -> its panels."""
    return {s["name"]: s["panels"] for s in specification["panelBankConfig"]["sections"]}


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [panel["viewType"] for panel in found]


def table_of(panel: dict[str, Any]) -> str:
    """The logged table that a Weave panel shows."""
    name: str = panel["config"]["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]
    return name


def logged_names(specification: dict[str, Any]) -> Iterator[str]:
    """Every name of a logged value that some panel or column asks for."""
    for panel in (panel for found in panels(specification).values() for panel in found):
        config = panel["config"]
        if panel["viewType"] == "Weave":
            yield table_of(panel)
        for axis in ("xAxis", "yAxis"):
            if axis in config:
                yield config[axis].removeprefix("summary:")
        yield from config.get("metrics", ())
        yield from config.get("mediaKeys", ())
    for column in specification["runSets"][0]["runFeed"]["columnOrder"]:
        if column != "run:displayName":
            yield column.removeprefix("summary:")


# -- the specification -------------------------------------------------------------------------


def test_the_answer_comes_first(summary: Summary) -> None:
    found = panels(specification(summary))
    assert list(found) == [
        "The answer",
        "Influence and improvement",
        "Performance",
        "Training",
        "Examples",
    ]
    table, *scatter, figures, comparer = found["The answer"]
    assert table_of(table) == "comparison"
    assert kinds(scatter) == ["Scatter Plot"] * 2
    assert [(p["config"]["xAxis"], p["config"]["yAxis"]) for p in scatter] == [
        ("summary:omega/depth_to_semantic", "summary:A/semantic"),
        ("summary:omega/semantic_to_depth", "summary:A/depth"),
    ]
    assert figures["config"]["mediaKeys"] == [
        "figure7/depth_to_semantic",
        "figure7/semantic_to_depth",
    ]
    assert comparer["viewType"] == "Run Comparer"


def test_findings_come_after_the_answer(summary: Summary, tmp_path: Path) -> None:
    findings = fakes.findings(tmp_path / "nyu", without=("ladder",))
    expected = [f"findings/{name}" for name in wandb.FRAMES if name != "ladder"]
    logged = ["answer", "figures/mute_values/a", "figures/b", *expected]
    built = build(summary, [*logged, *wandb.decomposition(findings)])
    found = panels(section_of(built._spec["spec"]))
    assert list(found) == [
        "The answer",
        "Gain and breakage",
        "Findings",
        "Influence and improvement",
        "Performance",
        "Training",
        "Examples",
    ]
    assert table_of(found["The answer"][0]) == "answer"
    assert [bar["config"]["metrics"] for bar in found["Gain and breakage"]] == [
        [f"{effect}/{pair}/{arch}" for arch in fakes.ARCHITECTURES]
        for pair in ("depth_to_semantic", "semantic_to_depth")
        for effect in ("gain", "breakage")
    ]
    assert [bar["config"]["chartTitle"] for bar in found["Gain and breakage"]][:2] == [
        "Gain: Influence of depth on semantic",
        "Breakage: Influence of depth on semantic",
    ]
    figures, *frames = found["Findings"]
    assert figures["config"]["mediaKeys"] == ["figures/mute_values/a", "figures/b"]
    assert [table_of(panel) for panel in frames] == expected


def test_without_controls_there_is_no_gain_to_show(summary: Summary) -> None:
    built = build(summary, ["answer", "findings/effects"])
    assert "Gain and breakage" not in panels(section_of(built._spec["spec"]))


def test_bars_stand_for_architectures(summary: Summary) -> None:
    found = panels(specification(summary))
    bars = found["Influence and improvement"] + found["Performance"]
    assert set(kinds(bars)) == {"Bar Chart"}
    assert {bar["config"]["groupBy"] for bar in bars} == {"arch.value.name"}
    assert [bar["config"]["metrics"] for bar in found["Influence and improvement"]] == [
        ["omega/depth_to_semantic"],
        ["omega/semantic_to_depth"],
        ["improvement/depth/sq_rel"],
        ["improvement/semantic/mean_iou"],
    ]
    measures = [c for own in summary.columns.values() for c in own if c.in_table]
    assert [bar["config"]["metrics"] for bar in found["Performance"]] == [
        [f"test/joint/{c.modality}/{c.measure}", f"test/input/{c.modality}/{c.measure}"]
        for c in measures
    ]


def test_the_runs_are_those_of_the_sweep_by_architecture(summary: Summary) -> None:
    found = specification(summary)
    (runs,) = found["runSets"]
    (rule,) = runs["filters"]["filters"]
    assert (rule["key"], rule["op"], rule["value"]) == (
        {"section": "run", "name": "group"},
        "=",
        "nyu",
    )
    assert runs["grouping"] == [{"section": "config", "name": "arch.value.name"}]
    assert found["settings"]["maxRuns"] == len(summary.jobs) + 1


@pytest.mark.parametrize("name", ["lr=0.1", "it's", 'a "b"', "a\\b", "a<b & c", "größer 1"])
def test_any_name_of_a_sweep_finds_its_runs(summary: Summary, name: str) -> None:
    found = specification(dataclasses.replace(summary, name=name))
    (rule,) = found["runSets"][0]["filters"]["filters"]
    assert rule["value"] == name


def test_colours_tell_the_computation_and_the_architecture(summary: Summary) -> None:
    colours = build(summary).runset_settings.group_colors
    assert list(colours) == list(fakes.ARCHITECTURES)
    assert len(set(colours.values())) == len(colours)
    reds = {a for a, colour in colours.items() if int(colour[1:3], 16) > int(colour[3:5], 16)}
    assert reds == {a for a, v in fakes.ARCHITECTURES.items() if v["computation"] == "loose"}
    assert len(specification(summary)["customRunColors"]) == len(colours)


def test_any_modalities_are_shown(summary: Summary) -> None:
    albedo = (MeasureColumn("albedo", "psnr", "PSNR", True, 1.0),)
    columns = {**summary.columns, "albedo": albedo}
    names = list(columns)
    pairs = [(s, t) for s in names for t in names if s != t]
    means = summary.architectures.assign(**{omega(*pair): 1.0 for pair in pairs})
    found = set(
        logged_names(
            specification(dataclasses.replace(summary, columns=columns, architectures=means))
        )
    )
    assert {f"omega/{s}_to_{t}" for s, t in pairs} <= found
    assert {"A/albedo", "test/input/albedo/psnr", "val/joint/psnr", "train/loss_albedo"} <= found


# -- what runs really log ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(
    small_cache: Path, tmp_path_factory: pytest.TempPathFactory, own_files: None
) -> tuple[Summary, Records, Records]:
    """A sweep of one offline job, long enough for a training loss to be logged, and its report."""
    sweep = tmp_path_factory.mktemp("runs") / "nyu"
    folder = sweep / "cat60-small" / "seed0"
    job(
        small_cache,
        folder,
        "logger=wandb",
        "arch.fusion_channels=8",
        "arch.stem_channels=4",
        "arch.hidden_channels=8",
        "recipe.epochs=6",
        "data.val_fraction=0.25",
    )
    summary = summarize(collect(sweep))
    # The made-up findings of this sweep: what is logged has the names that the panels ask for.
    findings = fakes.findings(sweep)
    wandb.log_report(summary, sweep, findings=findings, figures={"one": Figure()})
    (run,) = wandb_records.read_all(folder)
    (report,) = wandb_records.read_all(sweep)
    return summary, run, report


def test_every_name_is_one_that_a_job_or_report_logs(
    real: tuple[Summary, Records, Records],
) -> None:
    summary, run, report = real
    logged = {*run.summary, *report.summary}
    for row in (*run.history, *report.history):
        logged |= {name.removesuffix("._type") for name in row}
    view = build(summary, logged)
    missing = set(logged_names(section_of(view._spec["spec"]))) - logged
    assert not missing


def test_the_configuration_names_what_is_grouped_and_coloured(
    real: tuple[Summary, Records, Records],
) -> None:
    summary, run, _ = real
    view = build(summary)
    (grouping,) = section_of(view._spec["spec"])["runSets"][0]["grouping"]
    key, value, *path = grouping["name"].split(".")
    assert value == "value"
    found = run.config[key]
    for part in path:
        found = found[part]
    assert found == "cat60-small"
    assert list(view.runset_settings.group_colors) == [found]
    assert run.run.run_group == summary.name


# -- saving ------------------------------------------------------------------------------------


class Server:
    """Stands in for ``wandb.Api``, where the library sends its requests: it keeps views."""

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self._service_api = SimpleNamespace(
            app_url="https://wandb.test", execute_graphql=self.execute
        )

    def execute(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "mutation UpsertView2" not in query:
            known = self.views.get(variables["viewName"])
            edges = [] if known is None else [{"node": known}]
            return {"project": {"allViews": {"edges": edges}}}
        self.sent.append(variables)
        view = {k: variables[k] for k in ("name", "displayName", "spec")}
        view["id"] = variables.get("id", f"id{len(self.sent)}")
        self.views = {k: v for k, v in self.views.items() if v["id"] != view["id"]}
        self.views[view["name"]] = view
        return {"upsertView": {"view": {"id": view["id"], "name": view["name"]}}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(client, "Api", lambda: server)
    return server


def test_the_view_is_sent(summary: Summary, server: Server) -> None:
    built = build(summary)
    address = workspace.save(built)
    (sent,) = server.sent
    assert (sent["entityName"], sent["projectName"], sent["type"]) == ("me", "mine", "project-view")
    assert sent["displayName"] == "nyu"
    assert "id" not in sent
    assert json.loads(sent["spec"]) == built._spec["spec"]
    identity = sent["name"].removeprefix("nw-").removesuffix("-v")
    assert address == f"https://wandb.test/me/mine?nw={identity}"


def test_a_second_view_takes_the_place_of_the_first(summary: Summary, server: Server) -> None:
    more = dataclasses.replace(summary, jobs=summary.jobs.iloc[:3])
    other = dataclasses.replace(summary, name="other")
    addresses = [workspace.save(build(s)) for s in (summary, more, other)]
    assert addresses[0] == addresses[1] != addresses[2]
    assert [sent.get("id") for sent in server.sent] == [None, "id1", None]
    first, second = server.views.values()
    assert (first["displayName"], second["displayName"]) == ("nyu", "other")
    assert section_of(json.loads(first["spec"]))["settings"]["maxRuns"] == 4


def test_a_server_that_refuses_is_an_error_for_the_caller(summary: Summary, server: Server) -> None:
    def refuse(query: str, variables: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("permission denied")

    server._service_api.execute_graphql = refuse
    with pytest.raises(RuntimeError, match="permission denied"):
        workspace.save(build(summary))
