"""Reads a W&B run's own records back from its transaction log, the ``.wandb`` file.

The file is a LevelDB log: a header of 7 bytes, then blocks of 32 KiB with records of checksum,
length and type, whose payload is a protocol buffer.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def _payloads(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < 7:  # the rest of a block is padding
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        body = data[position + 7 : position + 7 + length]
        position += 7 + length
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield parts


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
        """Rows of a logged table."""
        (entry,) = [row for row in self.history if f"{key}.path" in row]
        path = self.folder / "files" / entry[f"{key}.path"]
        content = json.loads(path.read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]

    def picture(self, key: str) -> Path:
        """File of a logged picture."""
        (entry,) = [row for row in self.history if f"{key}.path" in row]
        return self.folder / "files" / str(entry[f"{key}.path"])


def _name(item: Any) -> str:
    return ".".join(item.nested_key) or str(item.key)


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
    found = Records(folder)
    for payload in _payloads(file.read_bytes()):
        record = pb.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= {_name(c): json.loads(c.value_json) for c in record.run.config.update}
        elif kind == "config":
            found.config |= {_name(c): json.loads(c.value_json) for c in record.config.update}
        elif kind == "summary":
            found.summary |= {_name(s): json.loads(s.value_json) for s in record.summary.update}
        elif kind == "history":
            found.history.append({_name(h): json.loads(h.value_json) for h in record.history.item})
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def read_all(folder: Path) -> list[Records]:
    """Records of every run that lies in ``folder``'s ``wandb``."""
    return [read(run) for run in sorted((folder / "wandb").glob("offline-run-*"))]
