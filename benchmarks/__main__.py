"""Run what this machine allows and write one table.

python -m benchmarks                       # everything, into benchmarks/RESULTS.md
python -m benchmarks training --rounds 20  # one part, printed only
"""

from __future__ import annotations

import argparse
import importlib
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.machine import limits
from benchmarks.options import Options
from benchmarks.timing import Row

PARTS = ("training", "testing", "reading", "resampling", "analysing", "sweep")
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Benchmarks

Written by `make bench`. Every figure was measured in one run; in a ratio the contenders take turns,
A B A B …, and it is the median of their ratios.

"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, and write the table if everything was measured."""
    parser = argparse.ArgumentParser("benchmarks", description="Ratios measured in one run.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all of them")
    parser.add_argument("--device", help="cpu, cuda; default: cpu, and cuda where there is one")
    parser.add_argument("--frame", nargs=2, type=int, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--small", nargs=2, type=int, default=(120, 160), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=24, help="of a generated split")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contender")
    parser.add_argument(
        "--cache", type=Path, help="a real cache: also time the sweep of five on it"
    )
    parser.add_argument("--quick", action="store_true", help="only see whether it all runs")
    parser.add_argument("--out", type=Path, help="file of the table")
    given = parser.parse_args(arguments)
    importlib.import_module("pytorch_lightning")  # sets the level of its logger
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    # The trainer's advice on workers and validation; loaders without workers are the default here.
    warnings.filterwarnings("ignore", module="pytorch_lightning")

    names = [given.device] if given.device else ["cpu", *["cuda"] * torch.cuda.is_available()]
    text = HEAD
    for name in names:
        text += _section(torch.device(name), given)
    out = given.out or (RESULTS if not given.parts and not given.quick else None)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        print(f"written to {out}")


def _section(device: torch.device, given: argparse.Namespace) -> str:
    machine = limits(device, quick=given.quick)
    options = Options(
        frame=(64, 96) if given.quick else tuple(given.frame),
        small=(32, 48) if given.quick else tuple(given.small),
        frames=3 if given.quick else given.frames,
        rounds=2 if given.quick else given.rounds,
        device=device,
        bfloat16=machine.bfloat16,
        channels_last=machine.bfloat16,  # as memory_format=auto has it
        matrix_rate=machine.bfloat16_rate if machine.bfloat16 else machine.float32_rate,
        cache=given.cache,
        quick=given.quick,
    )
    text = _show(machine.markdown())
    text += _show("| figure | measured | to reach | reached | from |\n|---|---|---|---|---|")
    for part in given.parts or PARTS:
        rows: list[Row] = importlib.import_module(f"benchmarks.{part}").rows(options)
        for row in rows:
            text += _show(row.markdown())
    return text + "\n"


def _show(line: str) -> str:
    print(line, flush=True)
    return line + "\n"


if __name__ == "__main__":
    main()
