from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jrn_lightning.errors import JRNError, RecordError
from jrn_lightning.records import record
from jrn_lightning.records.record import JobRecord, Status, job_folder, write_json


def _record(**changes: Any) -> dict[str, Any]:
    return {
        "format": record.FORMAT,
        "version": record.VERSION,
        "status": "finished",
        "fingerprint": "a",
        "cache_hash": "c",
        "arch": {"name": "cat60"},
        "seed": 0,
        "config": {"recipe.epochs": 12},
        "process": record.process(),
    } | changes


def test_jobs_that_differ_by_what_is_swept_have_folders_of_their_own() -> None:
    common = ["data.cache=a.h5", "recipe.epochs=3"]
    assert job_folder("cat60", ["arch=cat60", *common], 0, []) == "cat60/seed0"
    swept = ["recipe.epochs"]
    assert job_folder("cat60", common, 2, swept) == "cat60,recipe.epochs=3/seed2"
    named = job_folder("cat60", ["arch.fusion_channels=30", "+arch.skip=none"], 0, [])
    assert named == "cat60,arch.fusion_channels=30,arch.skip=none/seed0"


def test_a_control_has_a_folder_that_tells_what_it_never_sees() -> None:
    muted = "recipe.muted=[depth]"
    for swept in ([], ["recipe.muted"]):
        assert job_folder("cat60", ["recipe.muted=[]"], 1, swept) == "cat60/seed1"
        assert job_folder("cat60", [muted], 1, swept) == f"cat60,{muted}/seed1"


def test_the_fingerprint_follows_configuration_and_cache() -> None:
    one = record.fingerprint({"a": 1, "b": 2}, "x")
    assert one == record.fingerprint({"b": 2, "a": 1}, "x")
    assert (
        len(
            {
                one,
                record.fingerprint({"a": 1, "b": 3}, "x"),
                record.fingerprint({"a": 1, "b": 2}, "y"),
            }
        )
        == 3
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "other", "version": 1}',
        json.dumps(_record(version=9)),
        json.dumps(_record(status="odd")),
        json.dumps(_record(seed="0")),
    ],
)
def test_a_damaged_or_foreign_record_is_a_status(tmp_path: Path, text: str) -> None:
    (tmp_path / record.RESULTS).write_text(text)
    found = JobRecord.read(tmp_path)
    assert found.status is Status.DAMAGED
    assert str(tmp_path) in found.problem


def test_a_missing_record_is_a_status(tmp_path: Path) -> None:
    assert JobRecord.read(tmp_path / "nowhere").status is Status.MISSING


def test_a_running_record_without_its_process_was_interrupted(tmp_path: Path) -> None:
    write_json(tmp_path / record.RESULTS, _record(status="running"))
    assert JobRecord.read(tmp_path).status is Status.RUNNING
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    process = record.process() | {"pid": int(gone.stdout)}
    write_json(tmp_path / record.RESULTS, _record(status="running", process=process))
    assert JobRecord.read(tmp_path).status is Status.INTERRUPTED


def test_another_configuration_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    write_json(tmp_path / record.RESULTS, _record())
    known = JobRecord.read(tmp_path)
    cache = known.data["cache_hash"]
    known.expect("other", {"recipe.epochs": 6})  # it failed before it began
    (tmp_path / record.CHECKPOINT).parent.mkdir()
    (tmp_path / record.CHECKPOINT).touch()
    known.expect(cache, {"recipe.epochs": 12})
    known.expect(cache, {"recipe.epochs": 12, "evaluation.ladder": True})  # it is tested again
    with pytest.raises(RecordError, match=r"recipe.epochs: 12 → 6.*overwrite=true"):
        known.expect(cache, {"recipe.epochs": 6})
    with pytest.raises(RecordError, match="cache has other contents"):
        known.expect("other", {"recipe.epochs": 12})


def test_a_record_is_replaced_whole_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    # A perfect prediction's PSNR is infinite.
    write_json(path, {"value": math.nan, "nested": [{"x": math.inf}, np.float64(-math.inf)]})
    assert json.loads(path.read_text()) == {"value": None, "nested": [{"x": None}, None]}
    with pytest.raises(TypeError):
        write_json(path, {"value": object()})
    assert json.loads(path.read_text())["value"] is None
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_path_that_is_not_utf_8_is_kept(tmp_path: Path) -> None:
    values = {"cache": os.fsdecode(b"caf\xe9.h5"), "note": "é"}
    write_json(tmp_path / "results.json", values)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == values


def test_a_full_disk_is_told_and_the_old_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"value": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record.json, "dump", full)
    with pytest.raises(JRNError, match="No space left"):
        write_json(path, {"value": 2})
    assert json.loads(path.read_text()) == {"value": 1}
