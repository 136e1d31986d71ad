"""The job record: what a job's folder says about it, written atomically at every stage.

A folder is ``<sweep>/<arch>[,<override>…]/seed<k>/`` and holds ``results.json``,
``statistics.h5``, ``checkpoints/`` and ``config/``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from jrn_lightning.errors import JRNError, RecordError
from jrn_lightning.files import replacing
from jrn_lightning.keys import MAIN

if TYPE_CHECKING:
    from jrn_lightning.evaluation import StatisticsTable

log = logging.getLogger(__name__)

FORMAT = "jrn-job"
VERSION = 1
PLAN = "sweep.json"
_PLAN_FORMAT = "jrn-sweep"
RESULTS = "results.json"
CHECKPOINT = Path("checkpoints") / "last.ckpt"

#: environment variable that tells the jobs of a multirun which keys it sweeps over
SWEPT = "JRN_SWEPT"

# Keys that the folder names anyway.
_NAMED = ("arch", "seed", "sweep", "output")
#: the modalities that a network never sees, which makes it another one of the same architecture
MUTED_KEY = "recipe.muted"


class Status(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    MISSING = "missing"
    DAMAGED = "damaged"


def job_folder(
    arch: str, overrides: Sequence[str], seed: int, swept: Sequence[str] | None = None
) -> str:
    """Folder of a job within its sweep, so that no two jobs of a sweep share one.

    It is named after the architecture, the overrides of its arguments, the modalities that it never
    sees, and every key that the sweep varies. An empty list adds nothing to the name: with
    ``recipe.muted=[]`` the joint network has the same folder in a sweep with and without controls.

    Args:
        arch: chosen configuration of the group ``arch``.
        overrides: of the job, as on the command line.
        seed: of the job.
        swept: keys that vary; by default what the multirun has put into the environment.

    >>> job_folder("cat60", ["arch=cat60", "recipe.epochs=2", "arch.fusion_channels=30"], 1)
    'cat60,arch.fusion_channels=30/seed1'
    >>> job_folder("cat60", ["recipe.muted=[]"], 0, ["recipe.muted"])
    'cat60/seed0'
    """
    if swept is None:
        swept = os.environ.get(SWEPT, "").split(",")
    telling = []
    for override in overrides:
        key, _, value = override.partition("=")
        key = key.lstrip("+~")
        if key in _NAMED or value == "[]":
            continue
        if key.startswith("arch.") or key == MUTED_KEY or key in swept:
            telling.append(override.lstrip("+").replace("/", "."))
    return ",".join([arch, *sorted(telling)]) + f"/seed{seed}"


@contextmanager
def alone(lock: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; a file system without locks is taken as it is.

    Raises:
        Timeout: another process holds it, and nobody wants to wait.
    """
    held = FileLock(lock, blocking=wait)
    try:
        held.acquire()
    except NotImplementedError:
        log.debug("%s cannot be locked", lock)
    try:
        yield
    finally:
        held.release()


def fingerprint(science: Mapping[str, Any], cache_hash: str) -> str:
    """Hash of everything that decides a job's numbers.

    Args:
        science: plain configuration values, see ``config.science``.
        cache_hash: content hash of the prediction cache.
    """
    text = json.dumps({"config": science, "cache": cache_hash}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write atomically: a reader sees the old file or the whole new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A path that is not UTF-8 is escaped as JSON has it, and read again as it was.
        with (
            replacing(path) as part,
            part.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            # NaN and infinity are not JSON: a value that does not exist is null.
            json.dump(_finite(values), file, indent=1, ensure_ascii=False, allow_nan=False)
    except OSError as error:
        raise JRNError(
            f"{path} cannot be written ({error}). Free space or choose another output=."
        ) from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plan(sweep: Path, jobs: Sequence[str]) -> None:
    """Note the jobs of a sweep before they run, so that missing ones are known.

    Jobs of an earlier call with the same name are kept.

    Args:
        sweep: folder.
        jobs: folders within it, ``<arch>/seed<k>``.
    """
    sweep.mkdir(parents=True, exist_ok=True)
    with alone(sweep / ".lock", wait=True):  # another call may add jobs of its own
        write_json(
            sweep / PLAN,
            {
                "format": _PLAN_FORMAT,
                "version": VERSION,
                "name": sweep.name,
                "jobs": list(dict.fromkeys([*planned(sweep), *jobs])),
            },
        )


def planned(sweep: Path) -> list[str]:
    """The jobs that :func:`plan` noted, none where there is no plan that can be read."""
    try:
        data = json.loads((sweep / PLAN).read_text(encoding="utf-8"))
        if data["format"] != _PLAN_FORMAT:
            return []
        return [str(job) for job in data["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no plan, or a damaged one: the folders of the jobs are found anyway


# The part of a folder's name that says what a control never sees.
_CONTROL = re.compile(r",recipe\.muted=\[(.*?)\]")


@dataclass
class JobRecord:
    """One job, as its folder tells.

    Args:
        folder: absolute or relative path.
        status: where it stands.
        data: the contents of ``results.json``; None when missing or damaged.
        problem: what is wrong, for a person; empty if nothing.
    """

    folder: Path
    status: Status
    data: dict[str, Any] | None
    problem: str = ""

    @classmethod
    def read(cls, folder: Path) -> JobRecord:
        """Read a folder; a missing or damaged record is a status, not an exception."""
        path = folder / RESULTS
        if not path.exists():
            return cls(folder, Status.MISSING, None, "has not run")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise ValueError(f"format {data['format']!r}, version {data['version']!r}")
            status = Status(data["status"])
            assert isinstance(data["arch"]["name"], str) and isinstance(data["seed"], int)
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            return cls(folder, Status.DAMAGED, None, f"{path} is damaged or foreign ({error})")
        if status is Status.RUNNING and not _alive(data):
            status = Status.INTERRUPTED
        problem = {
            Status.FAILED: str(data.get("error")),
            Status.INTERRUPTED: "stopped before its end; run the same command to go on",
            Status.RUNNING: "still running",
        }.get(status, "")
        return cls(folder, status, data, problem)

    @property
    def arch(self) -> str:
        """Name of the architecture: the folder's, without what the network never sees.

        >>> JobRecord(Path("gain/cat60,recipe.muted=[depth]/seed0"), Status.MISSING, None).arch
        'cat60'
        """
        return _CONTROL.sub("", self.folder.parent.name)

    @property
    def name(self) -> str:
        """The folder within its sweep, as ``cat60/seed0``."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def seed(self) -> int | None:
        """The seed that the folder names."""
        text = self.folder.name.removeprefix("seed")
        return int(text) if text.isdigit() else None

    @property
    def muted(self) -> tuple[str, ...]:
        """The modalities that this network has never seen; none for a joint network."""
        if self.data is not None:
            return tuple(self.data.get("muted", ()))
        named = _CONTROL.search(self.folder.parent.name)
        return tuple(m.strip("'\"") for m in named[1].split(",")) if named and named[1] else ()

    @property
    def arithmetic(self) -> str:
        """Precision and kind of device, as far as the record says."""
        config = (self.data or {}).get("config", {})
        known = (config.get(f"trainer.{key}") for key in ("precision", "accelerator"))
        return " on ".join(str(value) for value in known if value is not None)

    def has(self, part: str) -> bool:
        """Whether the record holds a part."""
        return (self.folder / f"{part}.h5").exists()

    def statistics(self, part: str = MAIN) -> StatisticsTable:
        """The statistics per image of a finished job.

        Args:
            part: one of ``evaluation.evaluator.PARTS``.

        Raises:
            RecordError: missing or damaged.
        """
        # PyTorch takes seconds to import, which planning and refusing a sweep should not cost.
        from jrn_lightning.evaluation import StatisticsTable

        return StatisticsTable.load(self.folder / f"{part}.h5")

    def damage(self) -> str:
        """What is wrong with the statistics of a finished job; empty if nothing is."""
        try:
            for part in {MAIN, *(path.stem for path in self.folder.glob("*.h5"))}:
                self.statistics(part)
        except RecordError as error:
            return str(error)
        return ""

    def expect(self, cache_hash: str, science: Mapping[str, Any]) -> None:
        """Refuse to go on in a folder whose network was trained otherwise.

        Args:
            cache_hash: of the cache that the job wants to use.
            science: its configuration, dotted keys; how it is evaluated may differ.

        Raises:
            RecordError: lists what differs.
        """
        trained = (self.folder / CHECKPOINT).exists() or any(self.folder.glob("*.h5"))
        if self.data is None or not trained:  # what failed before it began binds nobody
            return
        old = self.data.get("config", {})
        keys = [
            k
            for k in {**old, **science}
            if old.get(k) != science.get(k) and not k.startswith("evaluation.")
        ]
        if not keys and self.data.get("cache_hash") == cache_hash:
            return
        changes = ", ".join(f"{k}: {old.get(k)!r} → {science.get(k)!r}" for k in keys)
        raise RecordError(
            f"{self.folder} holds a job of another configuration "
            f"({changes or 'the cache has other contents'}). Choose another sweep= name, or "
            "overwrite=true to throw the old one away."
        )


def save_tables(folder: Path, tables: Mapping[str, StatisticsTable]) -> None:
    """Write the parts of a record; those of an earlier evaluation that are not among them go."""
    for name, table in tables.items():
        table.save(folder / f"{name}.h5")
    for path in folder.glob("*.h5"):
        if path.stem not in tables:
            path.unlink()


def remove_tables(folder: Path) -> None:
    """Remove all parts of a record."""
    save_tables(folder, {})


def is_main_process() -> bool:
    """Whether this is not one of the further processes that a distributed strategy starts."""
    return (
        int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0
    )


def process() -> dict[str, Any]:
    """Who is running, to distinguish a killed job from a running one."""
    return {"host": platform.node(), "pid": os.getpid()}


def _alive(data: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a running record may still be there."""
    who = data.get("process") or {}
    if who.get("host") != platform.node():
        return True  # cannot tell
    pid = int(who.get("pid", -1))
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
