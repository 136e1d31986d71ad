"""Reads an offline W&B run back with W&B's own tool, ``wandb leet inspect``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass
class Records:
    """What one run has written."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def table(self, key: str) -> list[dict[str, Any]]:
        """Rows of a table, logged or of the summary."""
        content = json.loads(self.picture(key).read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]

    def picture(self, key: str) -> Path:
        """File of a logged picture."""
        found = [row[f"{key}.path"] for row in self.history if f"{key}.path" in row]
        (path,) = found or [self.summary[key]["path"]]
        return self.folder / "files" / str(path)


def read(folder: Path, seconds: float = 20) -> Records:
    """Records of the finished run in ``folder``, an ``offline-run-…`` folder.

    ``finish()`` of an offline run returns before the last record is on the disk.
    """
    end = time.monotonic() + seconds
    while (found := _read(folder)).exit_code is None:
        assert time.monotonic() < end, f"the run in {folder} was not finished"
        time.sleep(0.05)
    return found


def _read(folder: Path) -> Records:
    (file,) = folder.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = Records(folder)
    for record in map(json.loads, done.stdout.splitlines()):
        kind = record["type"]
        about = record.get(kind, {})
        if kind == "run":
            found.run = SimpleNamespace(**about)
            found.config |= about["config"]["update"]
        elif kind in ("config", "summary"):
            getattr(found, kind).update(about["update"])
        elif kind == "history":
            found.history.append(about["item"])
        elif kind == "metric":
            found.metrics[about.get("name") or about["glob_name"]] = SimpleNamespace(**about)
        elif kind == "exit":
            found.exit_code = about["exit_code"]
    return found


def read_all(folder: Path) -> list[Records]:
    """Records of every run that lies in ``folder``'s ``wandb``."""
    return [read(run) for run in sorted((folder / "wandb").glob("offline-run-*"))]
