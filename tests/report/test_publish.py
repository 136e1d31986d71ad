from __future__ import annotations

import json
from pathlib import Path

import pytest

from jrn_lightning.errors import RecordError
from jrn_lightning.progress import bar
from jrn_lightning.report.answer import Answer
from jrn_lightning.report.publish import provenance, write_page
from jrn_lightning.report.sweep import Sweep
from tests.report import fakes
from tests.report.sweeps import make_sweep

VERSIONS = {"torch": "2.13.0", "python": "3.11"}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = make_sweep(tmp_path / "nyu")
    for k in range(2):
        path = folder / "cat60" / f"seed{k}" / "results.json"
        about = json.loads(path.read_text())
        about |= {"versions": VERSIONS, "cache": "nyu.h5", "precision": ("bf16", "32")[k]}
        about["frames"] = {"train": 716, "test": 327}
        path.write_text(json.dumps(about))
    return folder


def test_provenance_is_what_the_jobs_recorded(sweep: Path) -> None:
    found = dict(provenance(Sweep(sweep)))
    assert found["sweep"] == "nyu"
    assert found["architectures"] == "cat60, cat5, cat1"
    assert found["cache"] == "nyu.h5"
    assert found["versions"] == "torch 2.13.0 · python 3.11"
    assert found["precision"] == "bf16 (1 jobs); 32 (1 jobs)"
    assert found["protocol"] == "full, pooled over pixels"
    assert found["frames, test"] == "327"
    assert "device" not in found


def test_a_page_without_cache_is_whole_but_for_its_maps(sweep: Path, tmp_path: Path) -> None:
    shown = Sweep(sweep)
    shown.findings = fakes.findings(sweep, without=("strata", "points", "differences"))
    shown.answer = Answer(["Yes."])
    path = write_page(shown, tmp_path / "out", bar=bar)
    assert path == tmp_path / "out" / "report.html"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    assert "The maps cannot be made again: " in text
    assert "nyu.h5 does not exist" in text
    assert "<li>Yes.</li>" in text
    assert "What is put in place of a muted input" in text


def test_a_folder_that_cannot_be_written(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="--out"):
        write_page(Sweep(sweep), tmp_path / "file", bar=bar)
