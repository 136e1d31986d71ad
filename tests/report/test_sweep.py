from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from jrn_lightning import Sweep
from jrn_lightning.analysis.analyse import analyse
from jrn_lightning.analysis.collect import collect
from jrn_lightning.analysis.findings import COLUMNS
from jrn_lightning.analysis.summary import summarize
from jrn_lightning.errors import ConfigError, RecordError
from jrn_lightning.report import tables
from jrn_lightning.report.answer import NOTE, answer
from jrn_lightning.report.sections import NAMES
from tests.report.sweeps import make_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(make_sweep(tmp_path_factory.mktemp("runs") / "nyu"))


def test_the_package_is_imported_without_pytorch() -> None:
    code = "import sys, jrn_lightning; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_it_says_what_the_records_say(sweep: Sweep) -> None:
    records = collect(sweep.folder)
    summary = summarize(records)
    findings = analyse(records, summary)
    assert sweep.answer == answer(findings)
    assert str(sweep.answer).splitlines() == list(sweep.answer)
    pd.testing.assert_frame_equal(sweep.comparison, tables.frame(summary))
    measured = [column for column in sweep.comparison if "/" in column]
    assert sweep.comparison[measured].select_dtypes("number").shape[1] == len(measured)
    for name in COLUMNS:
        pd.testing.assert_frame_equal(getattr(sweep, name), getattr(findings, name))
        assert getattr(Sweep, name).__doc__
    assert sweep.problems == findings.problems
    assert sweep.architectures == ["cat60", "cat5", "cat1"]
    assert [job.name for job in sweep.records.finished] == [job.name for job in records.finished]
    shown = sweep._repr_markdown_()
    assert NOTE in shown
    assert tables.markdown(summary) in shown


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "none")
    assert repr(sweep) == f"Sweep('{tmp_path}/none')"
    with pytest.raises(RecordError, match="no such folder"):
        _ = sweep.answer


def test_protocol_pooling_and_published_rows(sweep: Sweep) -> None:
    assert (sweep.summary.protocol, sweep.summary.pooling) == ("full", "pixels")
    other = Sweep(sweep.folder, protocol="eigen", pooling="images", published=False)
    assert (other.summary.protocol, other.summary.pooling) == ("eigen", "images")
    assert not other.effects["value"].equals(sweep.effects["value"])
    assert (sweep.comparison["kind"] == "published").any()
    assert not (other.comparison["kind"] == "published").any()
    with pytest.raises(RecordError, match="full, eigen"):
        _ = Sweep(sweep.folder, protocol="centre").comparison


def test_figures_by_position_by_name_as_files_and_in_a_notebook(
    sweep: Sweep, tmp_path: Path
) -> None:
    figures = sweep.plot("influence")
    assert figures.names == sweep.plot("gain").names == ["depth->semantic", "semantic->depth"]
    assert len(figures) == len(list(figures)) == 2
    assert figures[1] is figures["semantic->depth"]
    assert figures[1].get_suptitle() == "Influence of semantic on depth"
    with pytest.raises(KeyError, match="choose from depth->semantic"):
        _ = figures["depth"]
    written = figures.save(tmp_path / "figures")
    assert written[0].name == "influence_depth_to_semantic.png"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    html = figures._repr_html_()
    assert html.count("<img ") == 2
    assert "the more semantic depends on depth" in html


def test_unknown_figures_list_the_choices_and_missing_ones_their_command(sweep: Sweep) -> None:
    with pytest.raises(ConfigError, match=f"choose from {', '.join(NAMES)}"):
        sweep.plot("strata_")
    nothing = sweep.plot("strata")
    assert len(nothing) == 0
    assert "evaluation.strata=true" in nothing._repr_html_()


def test_only_some_architectures(sweep: Sweep) -> None:
    few = sweep.only("cat5")
    assert few.architectures == ["cat5"]
    assert set(few.effects["arch"]) == {"cat5"}
    assert few.answer == sweep.answer
    assert "cat60" in sweep.architectures
    with pytest.raises(ConfigError, match="It has: cat60, cat5, cat1"):
        sweep.only("cat7")


def test_a_panel_of_an_unknown_frame_or_without_maps(sweep: Sweep) -> None:
    with pytest.raises(ConfigError, match=r"no test frame 'none'. Choose from its 8, such as 0000"):
        sweep.panel("none")
    nothing = sweep.panel("0003")
    assert len(nothing) == 0
    assert "does not say which cache" in repr(nothing)
