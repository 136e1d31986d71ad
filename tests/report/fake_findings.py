"""Made-up findings of the sweep in fakes.py, in the shape that its analysis has."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from jrn_lightning.report.findings import COLUMNS, Findings
from jrn_lightning.report.summary import Summary, improvement, omega, summarize
from tests.report import fakes

#: (source, target) -> arch -> what the source really adds; sure are those above 0.4
GAINS = {
    ("depth", "semantic"): {"cat60": 0.6, "sum60": 0.9, "cat10": 0.5, "cat5": 0.2, "cat1": 0.1},
    ("semantic", "depth"): {"cat60": 0.1, "sum60": 0.2, "cat10": 0.3, "cat5": -0.7, "cat1": 0.0},
}
HALF = 0.3  # width of every interval, to either side


def frame(name: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the frame called ``name``; what they do not say is empty."""
    return pd.DataFrame(rows, columns=list(COLUMNS[name]))


def estimate(value: float, half: float = HALF) -> dict[str, float]:
    """The value with an interval, and a p that agrees with it."""
    p = 0.001 if abs(value) > half else 0.6
    return {"value": value, "low": value - half, "high": value + half, "p": p, "p_holm": p}


def findings(folder: Path, *, controls: bool = True, mute_values: bool = True) -> Findings:
    """All frames that reports show, of five architectures."""
    return of(summarize(fakes.comparison(folder)), controls=controls, mute_values=mute_values)


def of(summary: Summary, *, controls: bool = True, mute_values: bool = True) -> Findings:
    """The same for a summary of one's own."""
    table = summary.architectures.set_index("arch").drop(index="input")
    effects: list[dict[str, Any]] = []
    muted: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    strata: list[dict[str, Any]] = []
    ladder: list[dict[str, Any]] = []
    for target, column in summary.primary.items():
        means = {a: float(table.loc[a, improvement(column)]) for a in table.index}
        measure = {"target": target, "measure": column.measure}
        for arch, value in means.items():
            identity = {"arch": arch, **table.loc[arch, ["computation", "seeds"]]}
            row = {**identity, **measure}
            effects.append({**row, "effect": "improvement", "source": "", **estimate(value)})
            for source, _ in (d for d in summary.directions if d[1] == target):
                whole = float(table.loc[arch, omega(source, target)])
                row |= {"source": source}
                effects.append({**row, "effect": "omega", **estimate(whole)})
                gain = GAINS.get((source, target), {}).get(arch, 0.05)
                if controls:
                    effects.append({**row, "effect": "gain", **estimate(gain)})
                    effects.append({**row, "effect": "breakage", **estimate(whole - gain)})
                for name, part in (("zero", 1.0), ("mean_map", 0.25), ("noise", 0.6)):
                    performance = 60.0 - part * whole
                    found = {"mute_value": name, "performance": performance}
                    muted.append({**row, **found, **estimate(part * whole)})
                for stratum, share in (("near", 0.7), ("far", 0.3)):
                    place = {"of": target, "stratum": stratum, "share": share}
                    strata.append({**row, "effect": "omega", **place, **estimate(share * whole)})
                for rung, share in (("truth", 1.0), ("prediction", 0.0), ("nothing", -1.0)):
                    height = {"rung": rung, "share": share, "performance": 60 + share}
                    around = {"performance_low": 59 + share, "performance_high": 61 + share}
                    ladder.append({**row, **height, **around, **estimate(whole + share)})
        for first, second in itertools.combinations(means, 2):
            pair = {"source": "", "target": target, "first": first, "second": second}
            value = means[first] - means[second]
            differences.append({"effect": "performance", **pair, **estimate(value)})
    peaks = [
        {"source": s, "target": t, "points": 13, "verdict": "too few points: 13, of 50"}
        for s, t in summary.directions
    ]
    return Findings(
        summary,
        effects=frame("effects", effects),
        differences=frame("differences", differences),
        mute_values=frame("mute_values", muted if mute_values else []),
        strata=frame("strata", strata),
        ladder=frame("ladder", ladder),
        peaks=frame("peaks", peaks),
    )


def without(found: Findings, *names: str) -> Findings:
    """The same with these frames empty."""
    return replace(found, **{name: frame(name, []) for name in names})  # type: ignore[arg-type]
