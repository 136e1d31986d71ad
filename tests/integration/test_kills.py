"""SIGKILL at random moments, the same command again: what is left equals an undisturbed run.

The commands run in forks of a process that has imported everything, so that a kill hits work and
not an import. ``JRN_KILLS`` is the number of kills of each case.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from jrn_lightning.records import record
from tests.cli.test_single_task import TINY, write_frames
from tests.importers.miniatures import save, scene_of
from tests.importers.test_folder import content, write
from tests.jobs import command

KILLS = int(os.environ.get("JRN_KILLS", "3"))
MOST_A_ROUND = 4  # kills of one folder, before the command is let go on to its end
Arguments = list[str]

_FORKS = """
import importlib, json, os, pkgutil, runpy, sys, traceback
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # networks train in the process itself
import jrn_lightning
for module in pkgutil.walk_packages(jrn_lightning.__path__, "jrn_lightning."):
    if module.name.rsplit(".")[-1] not in ("wandb", "workspace"):
        importlib.import_module(module.name)
import PIL.Image
PIL.Image.init()
print("ready", flush=True)
for line in sys.stdin:
    argv, folder = json.loads(line)
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        os.environ["JRN_HOME"] = folder + "/home"
        sys.path.append(os.path.dirname(folder))
        log = os.open("../log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv, code = argv, 0
        try:
            if argv[0] == "jrn":
                jrn_lightning.cli.main()
            else:
                runpy.run_path(argv[0], None, "__main__")
        except SystemExit as error:
            code = error.code
        except BaseException:
            code = traceback.print_exc() or 1
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1 if code else 0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forks:
    """Runs commands, one at a time, and kills them when told to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def run(self, argv: Arguments, folder: Path, seconds: float | None = None) -> int:
        """The exit code; -9 if the command took longer than ``seconds`` and was killed."""
        folder.mkdir(parents=True, exist_ok=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([argv, str(folder)]).encode() + b"\n")
        pid = int(self.process.stdout.readline())
        if seconds is not None and not select.select([self.process.stdout], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    started = Forks()
    yield started
    assert started.process.stdin is not None
    assert started.process.stdout is not None
    started.process.stdin.close()
    started.process.wait(60)
    started.process.stdout.close()


def _from_files(tmp: Path, _: Path) -> Arguments:
    frames = write_frames(tmp / "nyu")
    for file in frames.glob("*/*.*"):
        Image.open(file).resize((512, 384), Image.Resampling.NEAREST).save(file)
    index = np.arange(1, 13)
    np.savez(tmp / "depth.npz", depth=np.full((12, 48, 64), 2.0), index=index)
    np.savez(tmp / "semantic.npz", maps=np.full((12, 5, 48, 64), 0.2), index=index)
    given = ("--depth", str(tmp / "depth.npz"), "--semantic", str(tmp / "semantic.npz"))
    return ["jrn", "cache", "nyu", "--frames", str(frames), *given, "--out", "nyu.h5"]


def _folder(tmp: Path, _: Path) -> Arguments:
    root = tmp / "data"
    for n, id in enumerate(id for ids in write(root) for id in (ids, f"{ids}0", f"{ids}1")):
        image, made = scene_of(n, 3, (384, 512))
        save(root / f"rgb/{id}.png", image)
        save(root / f"depth/{id}.png", np.rint(made.depth * 1000).astype(np.uint16))
        save(root / f"label/{id}.png", made.label)
    (root / "three.yaml").write_text("a: 0\nb: 1\nc: 2\n")
    given = content(predictions={})
    (root / "mine.yaml").write_text(yaml.safe_dump(given))
    (tmp / "own.py").write_text(
        "import torch\n"
        "def depth(images): return 2 + images[:, :1, ::8, ::8] / 255\n"
        "def semantic(images): return torch.full((len(images), 3, 4, 6), 1 / 3)\n"
        "depth.version = '1'\n"
    )
    return ["jrn", "cache", "folder", str(root), "--layout", str(root / "mine.yaml"),
            "--predict", "depth=py:own:depth", "--predict", "semantic=py:own:semantic",
            "--sampling", "unseen", "--out", "own.h5"]  # fmt: skip


def _single_task(tmp: Path, _: Path) -> Arguments:
    frames = write_frames(tmp / "nyu")
    return ["jrn", "cache", "nyu", "--frames", str(frames), "--single-task", "small", *TINY,
            "--set", "epochs=3", "--out", "nyu.h5"]  # fmt: skip


def _rooms(tmp: Path, _: Path) -> Arguments:
    size = ("--train-rooms", "4", "--test-rooms", "2", "--height", "48", "--width", "64")
    return ["jrn", "cache", "rooms", *size, *TINY, "--out", "rooms.h5"]


def _job(_: Path, cache: Path) -> Arguments:
    return command(cache, Path("runs"), "arch=cat1", "recipe.epochs=4")[1:]


def _sweep(_: Path, cache: Path) -> Arguments:
    return command(cache, Path("runs"), "-m", "arch=cat1,cat5", "recipe.epochs=2")[1:]


CASES = {
    f.__name__.strip("_"): f for f in (_from_files, _folder, _single_task, _rooms, _job, _sweep)
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_moment_the_same_command_ends_the_same(
    forks: Forks, small_cache: Path, tmp_path: Path, case: str
) -> None:
    make: Callable[[Path, Path], Arguments] = CASES[case]
    argv = make(tmp_path, small_cache)
    start = time.monotonic()
    assert forks.run(argv, tmp_path / "whole") == 0, (tmp_path / "log.txt").read_text()
    took = time.monotonic() - start
    expected = _contents(tmp_path / "whole")
    assert expected
    rng = np.random.default_rng()
    moments: Counter[str] = Counter()
    rounds = 0
    while moments.total() < KILLS:
        folder = tmp_path / f"killed{rounds}"
        rounds += 1
        for run in range(MOST_A_ROUND + 1):
            done = list(folder.glob("*.h5"))
            code = forks.run(argv, folder, rng.uniform(0, took) if run < MOST_A_ROUND else None)
            if code != -signal.SIGKILL:
                break
            moments[_moment(folder)] += 1
        # A cache that was whole when its command was killed is not built again.
        assert code == 0 or done, (tmp_path / "log.txt").read_text()[-3000:]
        assert done or not list(folder.glob("*.part"))
        found = _contents(folder)
        if done:  # killed while it removed what the cache was made from
            found = {name: value for name, value in found.items() if "-predictions/" not in name}
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_equal(found[name], value, f"{name} after {moments}")
    print(f"\n{case}: {moments.total()} kills in {rounds} rounds of {took:.1f} s:")
    for moment, count in moments.most_common():
        print(f"{count:5} {moment}")


def _moment(folder: Path) -> str:
    """What lay there when the command was killed."""
    found = [json.loads(p.read_text())["status"] for p in sorted(folder.rglob(record.RESULTS))]
    for what, pattern in (
        ("rooms", "*_room_*.npz"),
        ("checkpoints", "*.ckpt"),
        ("predictions", "*-fold?.npz"),
        ("predicted frames", "*-predictions/*/*.npz"),
        ("unfinished caches", "*.h5.*.part"),
        ("caches", "[nor]*.h5"),
        ("statistics", "statistics.h5"),
        ("figures", "[!.]*.png"),
    ):
        count = len(list(folder.rglob(pattern)))
        found += [f"{count} {what}"] if count else []
    return ", ".join(found) or "nothing"


def _contents(folder: Path) -> dict[str, Any]:
    """What is left by name: weights, arrays, records apart from times, tables."""
    read: dict[str, Callable[[Path], Any]] = {
        ".ckpt": _weights,
        ".h5": _arrays,
        ".json": _record,
        ".csv": Path.read_text,
        ".npy": np.load,
    }
    return {
        str(path.relative_to(folder)): read[path.suffix](path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in read
    }


def _weights(path: Path) -> dict[str, Any]:
    state = torch.load(path, weights_only=True)
    return {k: v.numpy() for k, v in state["state_dict"].items()}


def _record(path: Path) -> Any:
    data = json.loads(path.read_text())
    for key in ("seconds", "process"):
        data.pop(key, None)
    return data


def _arrays(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        values: dict[str, Any] = {f"@{k}": v for k, v in file.attrs.items()}

        def keep(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values[name] = item[()]
            values.update({f"{name}@{k}": v for k, v in item.attrs.items()})

        file.visititems(keep)
    return values
