from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from jrn_lightning.analysis.summary import Summary, summarize
from jrn_lightning.report import tables
from tests.report import fakes


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    return summarize(fakes.comparison(tmp_path))


def printed(summary: Summary, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(tables.terminal(summary))
    return console.file.getvalue()  # type: ignore[attr-defined]


def markdown_rows(summary: Summary) -> dict[str, list[list[str]]]:
    """Cells of every table by its heading."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in tables.markdown(summary).splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("|"):
            found.setdefault(heading, []).append([c.strip() for c in line.strip("|").split(" | ")])
    return found


def test_terminal_fits_80_columns_and_cuts_nothing(summary: Summary) -> None:
    text = printed(summary)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text.replace("Traceback …", "")


def test_many_measures_are_rows(summary: Summary) -> None:
    columns = summary.columns["semantic"]
    many = [replace(columns[-1], label=f"IoU {i}") for i in range(150)]
    wide = replace(summary, columns={**summary.columns, "semantic": [*columns[:2], *many]})
    text = tables.markdown(wide)
    lines = [line for line in text.splitlines() if line.startswith("| IoU ")]
    assert len(lines) == 150
    assert all("78.00" in line for line in lines)  # the untouched input's
    assert max(map(len, text.splitlines())) < 1500
    assert "| measure | untouched input | cat60 loose" in text


def test_terminal_values(summary: Summary) -> None:
    lines = printed(summary).splitlines()
    start = lines.index(next(line for line in lines if line.strip() == "semantic"))
    semantic = [line.split() for line in lines[start:]]
    # 0.6531 ± 2 % in the fake
    k = next(i for i, cells in enumerate(semantic) if cells[:1] == ["cat60"])
    assert semantic[k][:2] == ["cat60", "65.31"]
    assert semantic[k + 1][:2] == ["loose", "±1.31"]
    depth = [line.split() for line in lines[:start]]
    k = next(i for i, cells in enumerate(depth) if cells[:1] == ["untouched"])
    assert depth[k][2:6] == ["0.1560", "0.1207", "0.0670", "0.5880"]
    published = next(i for i, cells in enumerate(depth) if cells == ["published"])
    assert depth[published + 2][:4] == ["cat60", "0.158", "0.124", "0.0686"]


def test_terminal_shows_failed_and_missing_jobs_and_warnings(summary: Summary) -> None:
    text = printed(summary, 200)
    assert "loose, 2 of 3 seeds" in text
    assert "failed: cat10/seed1: Traceback … RuntimeError: out of memory" in text
    assert "missing: cat1/seed2: no results.json" in text
    assert f"warning: cat1/seed0: {fakes.WARNING}" in text


def test_markdown_values_and_intervals(summary: Summary) -> None:
    rows = markdown_rows(summary)
    depth = {row[0]: row[1:] for row in rows["depth"]}
    assert rows["depth"][0][1:3] == ["rel ↓", "rel(sqr) ↓"]
    # 0.1184 ± 2 %, the best of its column
    cat60 = depth["cat60<br><sub>loose, 3 seeds</sub>"]
    assert cat60[1] == "**0.1184**<br><sub>[0.1160, 0.1208]</sub>"
    assert depth["untouched input"][1] == "0.1207<br><sub>[0.1183, 0.1231]</sub>"
    assert "cat10<br><sub>loose, 2 of 3 seeds, 1 failed</sub>" in depth
    published = depth["cat60<br><sub>Table I, Figure 7</sub>"]
    assert published[:4] == ["0.158", "0.124", "0.0686", "0.678"]
    semantic = {row[0]: row[1:] for row in rows["semantic"]}
    assert semantic["cat60<br><sub>loose, 3 seeds</sub>"][0].startswith("**65.31**<br><sub>[64.00,")
    assert semantic["cat10<br><sub>Table I, Figure 7</sub>"][0] == "54.080"
    assert semantic["sum60<br><sub>Table III</sub>"][:3] == ["54.267", "73.035", "67.87"]


def test_markdown_influence_both_directions_and_improvement(summary: Summary) -> None:
    rows = markdown_rows(summary)["improvement over the input, and influence"]
    assert rows[0][1:] == [
        "depth improvement",
        "semantic improvement",
        "ω depth → semantic",
        "ω semantic → depth",
    ]
    cells = {row[0]: row[1:] for row in rows}
    # -100 (0.1184 - 0.1207) = 0.23, 100 (0.6531 - 0.6373) = 1.58
    assert cells["cat60<br><sub>loose, 3 seeds</sub>"] == [
        "+0.23<br><sub>[0.11, 0.35]</sub>",
        "+1.58<br><sub>[1.28, 1.88]</sub>",
        "+9.61<br><sub>[9.26, 9.96]</sub>",
        "+1.62<br><sub>[1.27, 1.97]</sub>",
    ]
    assert cells["cat1<br><sub>Table I, Figure 7</sub>"] == ["-", "-", "+7.59", "-0.40"]
    assert not any(label.startswith("untouched") for label in cells)


def test_markdown_lists_what_is_not_finished(summary: Summary) -> None:
    rows = markdown_rows(summary)["Jobs that are not finished"]
    assert ["cat1/seed2", "missing", "no results.json"] in rows
    assert f"- cat1/seed0: {fakes.WARNING}" in tables.markdown(summary)


def test_csv_is_unrounded_and_says_what_each_row_is(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(tables.csv(summary))
    table = pd.read_csv(tmp_path / "c.csv")
    assert table.loc[0, ["kind", "arch"]].tolist() == ["input", "input"]
    assert table["kind"].value_counts().to_dict() == {
        "job": 15,
        "published": 11,
        "mean": 5,
        "input": 1,
    }
    cat60 = table[(table["kind"] == "mean") & (table["arch"] == "cat60")].iloc[0]
    assert cat60["semantic/mean_iou"] == pytest.approx(0.6531)
    assert cat60["semantic/mean_iou_low"] == pytest.approx(0.6531 * 0.98)
    assert cat60["omega/depth->semantic"] == pytest.approx(9.61)
    assert (cat60["seeds"], cat60["planned"]) == (3, 3)
    failed = table[(table["kind"] == "job") & (table["status"] == "failed")].iloc[0]
    assert (failed["arch"], failed["seed"]) == ("cat10", 1)
    assert pd.isna(failed["depth/sq_rel"])


def test_a_sweep_without_results_says_so(tmp_path: Path) -> None:
    unfinished = {
        f"{arch}/seed{seed}": "missing" for arch in fakes.ARCHITECTURES for seed in range(3)
    }
    comparison = fakes.comparison(tmp_path, unfinished)
    comparison.means = comparison.means[["arch", "state", "seeds", "planned"]]
    summary = summarize(comparison)
    text = printed(summary)
    assert "No job has finished yet" in text
    assert "cat60" in text
    assert "0 of 3 seeds, 3 missing" in tables.markdown(summary)
    assert "missing" in tables.csv(summary)
