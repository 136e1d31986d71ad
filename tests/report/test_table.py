"""One table in the terminal, in Markdown and in HTML."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jrn_lightning.report.table import BEST, GROUP, INPUT, PUBLISHED, Cell, Row, Table

NAMES = ["input", "cat60", "cat, fusion_channels=40"]


@pytest.fixture
def table() -> Table:
    rows = [Row([NAMES[0], "1.00", "-"], INPUT)]
    rows += [
        Row([f"{n}\nloose", Cell("-2.00\n[-3, -1]", BEST), "5 < 6"], archs=n) for n in NAMES[1:]
    ]
    rows += [Row(["published"], GROUP), Row(["a | b\nTable I", "3.00", "4"], PUBLISHED)]
    return Table(
        "depth [m]", ["architecture", "rel\n[%] ↓", "rms"], rows, notes=["positive is good"]
    )


def printed(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def wide(columns: int) -> Table:
    """Many numbers beside few names."""
    heads = ["architecture", *(f"measure {k}" for k in range(columns))]
    return Table("wide", heads, [Row([n, *["0.1234"] * columns]) for n in NAMES])


def test_terminal(table: Table) -> None:
    lines = [line.split() for line in printed(table, 80)]
    assert lines[0] == ["depth", "[m]"]
    assert lines[1:3] == [["rel"], ["architecture", "[%]", "↓", "rms"]]
    assert ["cat60", "-2.00", "5", "<", "6"] in lines
    assert ["loose", "[-3,", "-1]"] in lines
    assert ["positive", "is", "good"] in lines


@pytest.mark.parametrize("width", [30, 40, 80, 200])
def test_no_name_and_no_number_is_lost_in_a_narrow_terminal(width: int) -> None:
    lines = printed(wide(9), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    assert text.count("0.1234") == 9 * len(NAMES)
    blocks = text.count("cat60")
    assert blocks == text.count("input") == text.count("fusion_channels=40")
    assert (blocks == 1) == (width == 200)
    assert all(f"measure {k}" in text for k in range(9))


def test_names_are_broken_rather_than_cut() -> None:
    name = "a_name_without_any_space_at_all"
    lines = printed(Table("", ["of", "p"], [Row([name, "0.1"])]), 20)
    assert "".join(line.split()[0] for line in lines[2:] if line.split()) == name


def test_markdown(table: Table) -> None:
    lines = table.markdown().splitlines()
    assert lines[:4] == [
        "## depth [m]",
        "",
        "| architecture | rel [%] ↓ | rms |",
        "| :-- | --: | --: |",
    ]
    assert lines[5] == "| cat60<br><sub>loose</sub> | **-2.00**<br><sub>[-3, -1]</sub> | 5 < 6 |"
    assert lines[7] == "| **published** |  |  |"
    assert lines[8] == "| a \\| b<br><sub>Table I</sub> | 3.00 | 4 |"
    assert lines[-1] == "- positive is good"


def test_html(table: Table) -> None:
    text = table.html()
    assert '<th scope="col">rel<small>[%] ↓</small></th>' in text
    assert '<tr class="input"><th scope="row">input</th><td>1.00</td><td>–</td></tr>' in text
    assert '<tr data-arch="cat60"><th scope="row">cat60<small>loose</small></th>' in text
    assert "<td><b>−2.00</b><small>[−3, −1]</small></td><td>5 &lt; 6</td>" in text
    assert '<tr class="group"><th scope="rowgroup" colspan="3">published</th></tr>' in text
    assert '<tr class="published">' in text
    assert '<p class="note">positive is good</p>' in text
