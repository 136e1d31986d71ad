from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jrn_lightning.analysis.paired import compare
from jrn_lightning.cli import main
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation import StatisticsTable
from tests.report.sweeps import make_job


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for sweep, quality in (("good", 0.4), ("poor", 1.0)):
        for seed in (0, 1):
            make_job(folder / sweep / "cat60" / f"seed{seed}", "cat60", seed, quality)
    make_job(folder / "good" / "cat1" / "seed0", "cat1", 0, 0.5)  # in one of them alone
    return folder / "good", folder / "poor"


def test_differences_are_those_of_the_measures(sweeps: tuple[Path, Path]) -> None:
    rows = compare(*sweeps)
    assert set(rows["arch"]) == {"input", "cat60"}
    iou = rows[(rows["arch"] == "cat60") & (rows["measure"] == "mean_iou")].iloc[0]
    assert iou["seeds"] == 2
    assert iou["value"] == pytest.approx(100 * (iou["first"] - iou["second"]))
    assert iou["low"] > 0
    error = rows[(rows["arch"] == "cat60") & (rows["measure"] == "sq_rel")].iloc[0]
    assert error["value"] == pytest.approx(100 * (error["second"] - error["first"]))
    assert error["low"] > 0
    untouched = rows[rows["arch"] == "input"]
    assert (untouched[["value", "low", "high"]] == 0).all(axis=None)
    each = []
    for seed in (0, 1):
        table = StatisticsTable.load(sweeps[0] / "cat60" / f"seed{seed}" / "statistics.h5")
        hits, predicted, true = table.values["semantic"][:, 1, 0].sum(0).reshape(3, 3)
        each.append(np.mean(hits / (predicted + true - hits)))
    assert iou["first"] == pytest.approx(np.mean(each))


def test_what_is_not_paired_is_refused(sweeps: tuple[Path, Path], tmp_path: Path) -> None:
    make_job(tmp_path / "other" / "cat5" / "seed0", "cat5", 0, 0.5)
    with pytest.raises(RecordError, match=r"no finished job .* in common.*cat5/seed0"):
        compare(sweeps[0], tmp_path / "other")
    with pytest.raises(RecordError, match="'eigen2' was not evaluated in both"):
        compare(*sweeps, protocol="eigen2")


def test_the_command(
    sweeps: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "difference.csv"
    monkeypatch.setattr(sys, "argv", ["jrn", "compare", *map(str, sweeps), "--out", str(out)])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert "semantic mIoU" in capsys.readouterr().out
    assert {"arch", "measure", "value", "low", "high"} <= set(pd.read_csv(out).columns)
