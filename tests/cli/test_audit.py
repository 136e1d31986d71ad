from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from jrn_lightning.cli import app
from jrn_lightning.errors import ConfigError, JRNError, RecordError
from tests.report.sweeps import make_sweep


def run(*arguments: object) -> str:
    result = CliRunner().invoke(
        app, ["audit", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object) -> JRNError:
    result = CliRunner().invoke(app, ["audit", *map(str, arguments)])
    assert isinstance(result.exception, JRNError), result.output
    return result.exception


def test_the_paper_alone(tmp_path: Path) -> None:
    output = run("--out", tmp_path / "new" / "audit.md")
    assert "4 of 10 muted networks are worse than the untouched input" in output
    assert "Ours beside" not in output
    assert "# Audit" in (tmp_path / "new" / "audit.md").read_text()


def test_a_sweep_beside_the_paper(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "nyu")
    output = run(sweep, "--protocol", "eigen", "--out", tmp_path / "audit.csv")
    assert "Ours beside the published figures" in output
    table = pd.read_csv(tmp_path / "audit.csv")
    ours = table[table["table"] == "beside"].set_index(["arch", "quantity"])
    assert ours.loc[("cat60", "ω semantic → depth"), "published"] == 4.9
    assert ours.loc[("cat60", "ω semantic → depth"), ["value", "low", "high"]].notna().all()
    assert "cat1" not in ours.index.get_level_values("arch")  # it has not run
    assert "missing: cat1/seed0" in output


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("--out", "audit.txt"), ConfigError, ".md or .csv"),
        (("nowhere",), RecordError, "no such folder"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], kind: type[JRNError], told: str) -> None:
    error = fail(*arguments)
    assert isinstance(error, kind)
    assert told in str(error)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--out" in str(fail("--out", tmp_path / "file" / "audit.md"))


def test_a_protocol_without_a_sweep_is_refused() -> None:
    assert "give its folder too" in str(fail("--protocol", "eigen"))
