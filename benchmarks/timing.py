"""Taking turns: every figure is the median, over rounds, of a ratio of two contenders' times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter

import torch

Times = dict[str, list[float]]


def finish(device: torch.device) -> None:
    """Wait until ``device`` has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    finish(device)
    start = perf_counter()
    work()
    finish(device)
    return perf_counter() - start


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device,
    warm_up: int = 1,
) -> Times:
    """Times of each contender, A B A B …, so that a slow minute of the machine hits all alike."""
    times: Times = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name, work in contenders.items():
            taken = seconds(work, device)
            if turn >= warm_up:
                times[name].append(taken)
    return times


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: the figure.
        value: as measured.
        goal: the bound it should keep, if it has one.
        at_most: whether the bound is from above.
        unit: behind value and goal; × for a ratio.
        detail: the medians behind it, and how many rounds.
    """

    what: str
    value: float
    goal: float | None = None
    at_most: bool = True
    unit: str = "×"
    detail: str = ""
    met: bool | None = field(init=False)

    def __post_init__(self) -> None:
        inside = None
        if self.goal is not None:
            inside = self.value <= self.goal if self.at_most else self.value >= self.goal
        object.__setattr__(self, "met", inside)

    def markdown(self) -> str:
        """The line, in Markdown."""
        goal = (
            "" if self.goal is None else f"{'≤' if self.at_most else '≥'} {self.goal:g} {self.unit}"
        )
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return f"| {self.what} | {self.value:.3g} {self.unit} | {goal} | {met} | {self.detail} |"


def ratio(
    times: Times,
    over: str,
    under: str,
    what: str,
    *,
    goal: float | None = None,
    at_most: bool = True,
) -> Row:
    """Median over the rounds of ``over`` divided by ``under``, as a row of the table.

    Of each round's ratio, since the speed of a shared machine changes from minute to minute.
    """
    pairs = list(zip(times[over], times[under], strict=True))
    a, b = median(times[over]), median(times[under])
    detail = f"{over} {pretty(a)}, {under} {pretty(b)}; {len(pairs)} rounds"
    return Row(what, median(x / y for x, y in pairs), goal, at_most, detail=detail)


def pretty(t: float) -> str:
    """A time for people.

    >>> pretty(0.0312), pretty(2.5), pretty(4e-5)
    ('31.2 ms', '2.5 s', '40 µs')
    """
    scale, unit = (1, "s") if t >= 1 else (1e3, "ms") if t >= 1e-3 else (1e6, "µs")
    return f"{t * scale:.3g} {unit}"
