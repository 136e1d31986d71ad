"""The audit in words and as tables."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from jrn_lightning.analysis.audit import WORSE, Audit, audit
from jrn_lightning.analysis.summary import published, summarize
from jrn_lightning.report import audit as report
from tests.report import fakes


@pytest.fixture(scope="module")
def found() -> Audit:
    return audit(published())


def test_conclusions_say_it_in_words(found: Audit) -> None:
    damage, depth, semantic, denominator, means = report.conclusions(found)
    assert damage.startswith("4 of 10 muted networks are worse than the untouched input")
    assert "cat60 semantic → depth (rel(sqr) 0.173 against 0.125, 98 % of ω)" in damage
    assert "cat1 depth → semantic (mIoU 46.40 against 53.28, 91 % of ω)" in damage
    assert depth.startswith("On depth, 6 of 10 pairs")
    assert "0.08: cat60 and sum60" in semantic
    assert "rms(log) puts at 0.049" in denominator
    assert "0.0004 points" in means


def test_the_terminal_has_80_columns(tmp_path: Path) -> None:
    found = audit(published(), summarize(fakes.comparison(tmp_path / "nyu")))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.terminal(found))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for line in text.splitlines():
        if line.startswith("cat1 ") and "46.40" in line:
            words = "cat1 coupled 53.28 53.99 46.40 +7.59 91 % worse"
            assert line.split() == words.split()
            break
    else:
        pytest.fail(text)
    assert "[9.26, 9.96]" in text


def test_markdown_and_csv_hold_the_same(found: Audit) -> None:
    text = report.markdown(found)
    assert "| cat60 | loose | 0.125 | 0.124 | 0.173 | +4.90 | 98 % | **worse** |" in text
    table = pd.read_csv(io.StringIO(report.csv(found)))
    assert set(table["table"]) == {"noise", "implied", "differences", "denominators", "means"}
    row = table[(table["arch"] == "cat10") & (table["target"] == "depth")].iloc[0]
    assert row["muted"] == pytest.approx(0.1743)
    assert row["verdict"] == WORSE
