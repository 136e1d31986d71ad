"""What becomes of mistaken inputs of ``jrn cache nyu``, by the hundred.

    python -m tests.campaign --count 300 --seed 0

Each run draws one or two mutations of correct inputs, runs the real command, and compares the
cache, where there is one, with that of the correct inputs. Nothing may end in a traceback, and no
cache may be wrong without a word.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy.io
from PIL import Image

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cli import main as command_line
from tests.importers.test_plausibility import N, scenes, write_scenes

Maps = np.ndarray[Any, np.dtype[Any]]
REFUSED, WARNED, RIGHT = "refused in one line", "warned of", "accepted and right"
WRONG, TRACEBACK, LONG = "accepted and WRONG", "traceback", "refused, not in one line"
OVERDONE = "harmless, but refused or warned of"
BAD = (WRONG, TRACEBACK, LONG)


@dataclass
class Case:
    """Correct inputs in a folder, to be mutated and written.

    Attributes:
        folder: the frames, as pictures.
        maps: predictions ``(N, C, h, w)`` by modality.
        index: numbers of the predictions.
        form: how they are written.
        options: further arguments.
        environment: variables to set, or to take away where None; runs in a process of its own.
    """

    folder: Path
    rng: np.random.Generator
    maps: dict[str, Maps]
    index: dict[str, Any]
    form: dict[str, str]
    options: list[str] = field(default_factory=list)
    environment: dict[str, str | None] = field(default_factory=dict)
    out: Path = Path()

    @classmethod
    def correct(cls, template: Path, folder: Path, rng: np.random.Generator) -> Case:
        shutil.copytree(template, folder / "nyu")
        maps = {name: m.copy() for name, m in scenes()[1].items()}
        index = {name: np.arange(1, N + 1) for name in maps}
        form = dict.fromkeys(maps, "npz")
        return cls(folder / "nyu", rng, maps, index, form, out=folder / "a.h5")

    def either(self) -> str:
        return str(self.rng.choice(["depth", "semantic"]))

    def choice(self, options: list[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def picture(self, kind: str = "") -> Path:
        kind = kind or self.choice(["rgb", "depth", "label40"])
        suffix = "jpg" if kind == "rgb" else "png"
        return self.folder / kind / f"{self.rng.integers(1, 41):04d}.{suffix}"

    def pictures(self, kind: str, change: Callable[[Maps], Maps]) -> None:
        for file in (self.folder / kind).iterdir():
            Image.fromarray(change(np.asarray(Image.open(file)))).save(file)

    def arguments(self) -> list[str]:
        files = {name: write(self, name) for name in self.maps}
        return [
            *("cache", "nyu", "--frames", str(self.folder), "--out", str(self.out)),
            *("--depth", str(files["depth"]), "--semantic", str(files["semantic"])),
            *("--semantic-grid", "corners", *self.options),
        ]


def write(case: Case, name: str) -> Path:
    """Predictions in their form."""
    maps, index, form = case.maps[name], case.index[name], case.form[name]
    path = case.folder / f"{name}.{form}"
    if form == "npz":
        np.savez(path, **{name: maps} | ({} if index is None else {"index": index}))
    elif form == "npy":
        np.save(path, maps)
    elif form == "mat":
        scipy.io.savemat(path, {name: np.moveaxis(maps, (2, 3, 1, 0), (0, 1, 2, 3))})
    else:  # a folder
        path.mkdir()
        for number, one in zip(np.arange(1, N + 1) if index is None else index, maps, strict=False):
            np.save(path / f"{int(number):04d}.npy", one)
    return path


# -- mutations: a mistake, or harmless -----------------------------------------------------------

Mutation = Callable[[Case], object]
MISTAKES: dict[str, Mutation] = {}
HARMLESS: dict[str, Mutation] = {}
ENVIRONMENT: dict[str, Mutation] = {}


def _maps(name: str | None, change: Callable[[Case, Maps], Maps]) -> Mutation:
    def apply(case: Case) -> None:
        which = name or case.either()
        case.maps[which] = np.ascontiguousarray(change(case, case.maps[which]))

    return apply


def _index(change: Callable[[Case, Maps], Any], form: str | None = None) -> Mutation:
    def apply(case: Case) -> None:
        which = case.either()
        case.index[which] = change(case, case.index[which])
        case.form[which] = form or case.form[which]

    return apply


def _options(*choices: list[str]) -> Mutation:
    return lambda case: case.options.extend(case.choice(list(choices)))


def _text(change: Callable[[str], bytes], *names: str) -> Mutation:
    def apply(case: Case) -> None:
        file = case.folder / case.choice(list(names or ("train.txt", "test.txt")))
        file.write_bytes(change(file.read_text()))

    return apply


def _bytes(change: Callable[[bytes], bytes]) -> Mutation:
    def apply(case: Case) -> None:
        file = case.picture()
        file.write_bytes(change(file.read_bytes()))

    return apply


def _file(change: Callable[[Path], object]) -> Mutation:
    return lambda case: change(case.picture())


def _instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.with_name("nowhere"))


def _out(*names: str) -> Mutation:
    def apply(case: Case) -> None:
        case.out = case.out.parent / case.choice(list(names))

    return apply


def _swap(case: Case) -> None:
    a, b = case.rng.choice(np.arange(1, 41), 2, replace=False)
    one, other = (case.folder / "depth" / f"{n:04d}.png" for n in (a, b))
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def _spoiled(value: float) -> Callable[[Case, Maps], Maps]:
    def change(case: Case, maps: Maps) -> Maps:
        maps = maps.copy()
        maps[case.rng.integers(N), 0, 3, 4] = value
        return maps

    return change


def _permuted(case: Case, maps: Maps) -> Maps:
    order = case.rng.permutation(5)
    return maps[:, np.roll(order, 1) if (order == np.arange(5)).all() else order]


MISTAKES |= {
    "numbers shifted": _index(lambda c, i: i + c.choice([-1, 1, 2, -3, 7])),
    "numbers rolled": _index(lambda c, i: np.roll(i, c.choice([-1, 1, 2, -3, 7]))),
    "numbers reversed": _index(lambda c, i: i[::-1]),
    "numbers shuffled": _index(lambda c, i: c.rng.permutation(i)),
    "folder numbered from 0": _index(lambda c, i: i - 1, "folder"),
    "folder rolled": _index(lambda c, i: np.roll(i, c.choice([-1, 1])), "folder"),
    "a number twice": _index(lambda c, i: np.r_[i[:-1], i[0]]),
    "numbers cut": _index(lambda c, i: i[:-3]),
    "numbers of text": _index(lambda c, i: np.array([f"frame{n}" for n in i])),
    "numbers with NaN": _index(lambda c, i: np.where(i == 5, np.nan, i)),
    "order rolled": lambda c: (
        _maps(None, lambda c, m: np.roll(m, c.choice([-1, 1, 2]), 0))(c),
        c.index.update(depth=None, semantic=None),
    ),
    "maps cut": _maps(None, lambda c, m: m[: c.choice([0, 1, 30, 39])]),
    "mirrored": _maps(None, lambda c, m: m[..., ::-1]),
    "upside-down": _maps(None, lambda c, m: m[..., ::-1, :]),
    "turned": _maps(None, lambda c, m: m[..., ::-1, ::-1]),
    "transposed": _maps(None, lambda c, m: m.swapaxes(-1, -2)),
    "other unit": _maps("depth", lambda c, m: m * c.choice([1e-3, 0.01, 0.1, 0.256, 3.28, 1e3])),
    "disparity": _maps("depth", lambda c, m: c.choice([1, 4]) / m),
    "reversed depth": _maps("depth", lambda c, m: c.choice([10.0, m.max()]) - m),
    "logarithm": _maps("depth", lambda c, m: np.log(m)),
    "scaled to 1": _maps("depth", lambda c, m: m / m.max((1, 2, 3), keepdims=True)),
    "whole millimetres": _maps("depth", lambda c, m: (m * 1000).astype(np.uint16)),
    "classes in another order": _maps("semantic", _permuted),
    "classes shifted": _maps("semantic", lambda c, m: np.roll(m, c.choice([-1, 1]), 1)),
    "logits": _maps("semantic", lambda c, m: np.log(m)),
    "per cent": _maps("semantic", lambda c, m: 100 * m),
    "complement": _maps("semantic", lambda c, m: (1 - m) / 4),
    "labels": _maps("semantic", lambda c, m: m.argmax(1)[:, None].astype(np.uint8)),
    "four classes": _maps("semantic", lambda c, m: m[:, :4] / m[:, :4].sum(1, keepdims=True)),
    "NaN": _maps(None, _spoiled(np.nan)),
    "infinite": _maps(None, _spoiled(np.inf)),
    "negative": _maps(None, _spoiled(-1.0)),
    "maps of text": _maps(None, lambda c, m: m.astype(str)),
    "complex maps": _maps(None, lambda c, m: m.astype(complex)),
    "boolean maps": _maps(None, lambda c, m: m > m.mean()),
    "flat maps": _maps(None, lambda c, m: m.reshape(len(m), -1)),
    "labels from 0": lambda c: c.pictures("label40", lambda m: m - np.uint8(1)),
    "labels from 2": lambda c: c.pictures("label40", lambda m: m + np.uint8(1)),
    "truth inverted": lambda c: c.pictures("depth", lambda m: 255 - m),
    "truth in other steps": lambda c: c.pictures("depth", lambda m: m // np.uint8(3)),
    "truth mirrored": lambda c: c.pictures(c.choice(["depth", "label40"]), lambda m: m[:, ::-1]),
    "truth upside-down": lambda c: c.pictures(c.choice(["depth", "label40"]), lambda m: m[::-1]),
    "truth of 16 bit": lambda c: c.pictures("depth", lambda m: m.astype(np.uint16) * 39),
    "truth in colour": lambda c: c.pictures(
        c.choice(["depth", "label40"]), lambda m: np.repeat(m[..., None], 3, -1)
    ),
    "truth black": lambda c: Image.new("L", (64, 48)).save(
        c.picture(c.choice(["depth", "label40"]))
    ),
    "truth transposed": lambda c: c.pictures(c.choice(["depth", "label40"]), lambda m: m.T),
    "picture missing": _file(Path.unlink),
    "picture a folder": _file(_instead),
    "picture a dangling link": _file(_dangling),
    "picture empty": _bytes(lambda b: b""),
    "picture truncated": _bytes(lambda b: b[: len(b) // 2]),
    "picture no picture": _bytes(lambda b: b"no picture at all"),
    "list in UTF-16": _text(lambda t: t.encode("utf-16")),
    "list with words": _text(lambda t: t.replace("7\n", "seven\n").encode()),
    "list in latin-1": _text(lambda t: t.replace("8\n", "8 é\n").encode("latin-1")),
    "list counted from 0": lambda c: [
        _text(lambda t: "".join(f"{int(line) - 1}\n" for line in t.split()).encode(), name)(c)
        for name in ("train.txt", "test.txt")
    ],
    "list with commas": _text(lambda t: t.replace("\n", ",").encode()),
    "list with a frame that is not there": _text(lambda t: (t + "77\n").encode()),
    "list with a negative number": _text(lambda t: (t + "-3\n").encode()),
    "list with a number twice": _text(lambda t: (t + t.split()[0] + "\n").encode()),
    "list with a number of a thousand digits": _text(lambda t: (t + "9" * 5000 + "\n").encode()),
    "lists empty": lambda c: [(c.folder / n).write_text("") for n in ("train.txt", "test.txt")],
    "list missing": lambda c: (c.folder / c.choice(["train.txt", "test.txt"])).unlink(),
    "list binary": _text(lambda t: bytes(range(256))),
    "types without tabs": lambda c: (c.folder / "scene_type.tsv").write_text("1 kitchen\n"),
    "types in latin-1": lambda c: (c.folder / "scene_type.tsv").write_bytes(b"1\tcaf\xe9\n"),
    "no such folder": lambda c: (
        c.folder.rename(c.folder.with_name("elsewhere")) and (c.folder.mkdir())
    ),
    "a scale that is none": _options(
        *(["--depth-scale", x] for x in ("0", "-1", "nan", "inf", "x"))
    ),
    "another scale": _options(*(["--depth-scale", x] for x in ("0.001", "0.1", "10", "1e300"))),
    "a grid that is none": _options(
        *(["--depth-grid", x] for x in ("0,0,0,0", "a", "nan,1,1,1", "1,2,3", "", "9e9,1,9e9,1"))
    ),
    "no such key": _options(["--depth-key", "nothing"], ["--semantic-key", ""]),
    "out in a folder that is a file": lambda c: _out("nyu/train.txt/a.h5")(c),
    "out a folder": _out("nyu"),
    "out where nothing can be": lambda c: setattr(c, "out", Path("/proc/a.h5")),
    "a name too long": _out("a" * 300 + ".h5"),
}
HARMLESS |= {
    "as they are": lambda c: None,
    "double precision": _maps(None, lambda c, m: m.astype(np.float64)),
    "half precision": _maps("depth", lambda c, m: m.astype(np.float16)),
    "big-endian": _maps(None, lambda c, m: m.astype(m.dtype.newbyteorder(">"))),
    "channels last": _maps(None, lambda c, m: np.moveaxis(m, 1, -1)),
    "no channel": _maps("depth", lambda c, m: m[:, 0] if m.ndim == 4 else m),
    "another order with its index": lambda c: _ordered(c),
    "in their order, unnumbered": lambda c: c.index.update(depth=None),
    "an array alone": lambda c: (c.form.update(depth="npy"), c.index.update(depth=None)),
    "MATLAB": lambda c: c.form.update({c.either(): "mat"}),
    "a folder of arrays": lambda c: c.form.update({c.either(): "folder"}),
    "real numbers": _index(lambda c, i: i.astype(float)),
    "numbers in a column": _index(lambda c, i: i[:, None]),
    "numbers of text with zeros": _index(lambda c, i: np.array([f"{n:04d}" for n in i])),
    "millimetres with their scale": lambda c: (
        _maps("depth", lambda c, m: (m * 1000).astype(np.uint16))(c),
        c.options.extend(["--depth-scale", "0.001"]),
    ),
    "CRLF": _text(lambda t: t.replace("\n", "\r\n").encode()),
    "byte order mark": _text(lambda t: t.encode("utf-8-sig")),
    "blank lines": _text(lambda t: t.replace("\n", "\n\n \n").encode()),
    "no last newline": _text(lambda t: t.rstrip().encode()),
    "zeros before": _text(lambda t: "".join(f"{int(x):06d}\n" for x in t.split()).encode()),
    "another file": lambda c: (c.folder / "depth" / "notes.txt").write_text(""),
    "a square bracket": _out("a [b].h5", "ä ö.h5", "a b.h5", "日本.h5"),
    "forced": lambda c: c.options.append("--force"),
}
ENVIRONMENT |= {
    "no HOME": lambda c: c.environment.update(HOME=None),
    "HOME nowhere": lambda c: c.environment.update(HOME="/nonexistent"),
    "a rank": lambda c: c.environment.update(LOCAL_RANK=c.choice(["0", "1"]), RANK="1"),
    "latin-1": lambda c: c.environment.update(PYTHONIOENCODING="latin-1"),
    "ASCII": lambda c: c.environment.update(PYTHONIOENCODING="ascii"),
    "C locale": lambda c: c.environment.update(LANG="C", LC_ALL="C", PYTHONUTF8="0"),
    "an unknown locale": lambda c: c.environment.update(LANG="xx_YY.UTF-8", LC_ALL="xx_YY.UTF-8"),
    "one column": lambda c: c.environment.update(COLUMNS="1", TERM="dumb"),
    "no folder for what passes": lambda c: c.environment.update(TMPDIR="/nonexistent"),
}


def _ordered(case: Case) -> None:
    rows = case.rng.permutation(N)
    case.maps["depth"], case.index["depth"] = case.maps["depth"][rows], rows + 1


# -- running and judging -------------------------------------------------------------------------


def execute(case: Case, arguments: list[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command."""
    if case.environment:
        variables = {k: v for k, v in os.environ.items() if k not in case.environment}
        variables |= {k: v for k, v in case.environment.items() if v is not None}
        command = [sys.executable, "-c", "from jrn_lightning.cli import main; main()", *arguments]
        done = subprocess.run(command, capture_output=True, env=variables, timeout=300)
        decoded = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        return done.returncode, *decoded  # type: ignore[return-value]
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    given = mock.patch.object(sys, "argv", ["jrn", *arguments])
    with given, redirect_stdout(out), redirect_stderr(err):
        try:
            command_line()
        except SystemExit as stop:
            code = stop.code or 0
        except Exception:
            traceback.print_exc(file=err)
            code = 1
    return int(str(code)), out.getvalue(), err.getvalue()


def content(path: Path) -> dict[str, Any]:
    """All that a result can depend on."""
    found: dict[str, Any] = {}
    with PredictionCache(path) as cache:
        for name in cache.splits:
            split = cache.split(name)
            found[name] = split.ids
            for m in cache.modalities:
                rows = range(len(split))
                found[f"{name} {m} grid"] = split.grid(m)
                found[f"{name} {m}"] = np.stack([split.prediction(m, i) for i in rows])
                found[f"{name} {m} truth"] = np.stack([split.target(m, i) for i in rows])
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two caches hold the same but for rounding."""
    return one.keys() == other.keys() and all(
        a.shape == b.shape and np.allclose(a.astype(float), b.astype(float), atol=6e-3)
        if isinstance(a, np.ndarray)
        else a == b
        for a, b in ((one[k], other[k]) for k in one)
    )


def judge(
    case: Case, arguments: list[str], harmless: bool, correct: dict[str, Any]
) -> tuple[str, str]:
    """The class of an outcome, and what was told."""
    code, out, err = execute(case, arguments)
    if "Traceback" in err:
        return TRACEBACK, err[-1500:]
    if code:
        told = re.sub(r"(?m)^Writing the cache.*\n", "", err).strip()
        usage = code == 2 and "Usage:" in told  # Typer's own frame of several lines
        one_line = usage or (told.startswith("error: ") and "\n" not in told)
        if os.path.isfile(case.out):  # which answers, also to a name that is too long
            return WRONG, f"left {case.out} behind: {told}"
        return (OVERDONE if harmless else REFUSED) if one_line else LONG, told[-600:]
    # What was done to the maps is told by a note: class ids become one-hot, percentages shares.
    warnings = re.findall(r"warning: .*|\w+_predictions: .*", out)
    if same(content(case.out), correct):
        return (OVERDONE, warnings[0]) if warnings and harmless else (RIGHT, "")
    return (WARNED, warnings[0]) if warnings else (WRONG, "")


def campaign(count: int, seed: int, environment: float = 0.06) -> Iterator[tuple[str, str, str]]:
    """What was mutated, the class of the outcome, and what was told, of each run."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        template = write_scenes(Path(place) / "template")
        with (template / "test.txt").open("a") as file:
            file.write(f"{N}\n")
        reference = Case.correct(template, Path(place) / "reference", rng)
        code, out, err = execute(reference, reference.arguments())
        assert (code, "warning" in out) == (0, False), (code, out, err)
        correct = content(reference.out)
        for run in range(count):
            harmless = rng.random() < 0.25
            pools = [HARMLESS] if harmless else [MISTAKES]
            pools += [HARMLESS] * int(rng.random() < 0.25)
            pools += [ENVIRONMENT] * int(rng.random() < environment)
            chosen = [(name, pool[name]) for pool in pools for name in [rng.choice(list(pool))]]
            folder = Path(place) / str(run)
            case = Case.correct(template, folder, rng)
            try:
                for _, mutate in chosen:
                    mutate(case)
                arguments = case.arguments()
            except (ValueError, IndexError, TypeError, OSError):  # two that do not go together
                shutil.rmtree(folder)
                continue
            found, told = judge(case, arguments, harmless, correct)
            yield " + ".join(name for name, _ in chosen), found, told
            shutil.rmtree(folder)


def main() -> int:
    """Print what went wrong and the counts; exit code 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="tell of every run")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for what, found, told in campaign(options.count, options.seed):
        counts[found] += 1
        if options.all or found in (*BAD, OVERDONE, WARNED):
            print(f"{found}: {what}\n    {told}", flush=True)
    for found, number in counts.most_common():
        print(f"{number:5d} {found}")
    return int(any(counts[found] for found in BAD))


if __name__ == "__main__":
    sys.exit(main())
