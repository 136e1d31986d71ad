"""A made-up sweep in the shape that a collected one has."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jrn_lightning.analysis.findings import (
    BREAKAGE,
    COLUMNS,
    GAIN,
    IMPROVEMENT,
    OMEGA,
    PERFORMANCE,
    Findings,
)
from jrn_lightning.analysis.summary import MeasureColumn, Summary, improvement, omega, summarize
from jrn_lightning.evaluation.evaluator import RUNGS
from jrn_lightning.records.record import JobRecord, Status

MODALITIES: dict[str, Any] = {
    "depth": {
        "primary": "sq_rel",
        "measures": [
            {"name": "abs_rel", "label": "rel", "higher_is_better": False, "scale": 100.0},
            {"name": "sq_rel", "label": "rel(sqr)", "higher_is_better": False, "scale": 100.0},
            {"name": "log10", "label": "log10", "higher_is_better": False, "scale": 100.0},
            {"name": "rms", "label": "rms [m]", "higher_is_better": False, "scale": 1.0},
            {"name": "rms_log", "label": "rms(log)", "higher_is_better": False, "scale": 100.0},
            {"name": "delta1", "label": "δ<1.25", "higher_is_better": True, "scale": 100.0},
            {"name": "delta2", "label": "δ<1.25²", "higher_is_better": True, "scale": 100.0},
            {"name": "delta3", "label": "δ<1.25³", "higher_is_better": True, "scale": 100.0},
            {
                "name": "sq_rel_squared",
                "label": "rel(sqr)/d*²",
                "higher_is_better": False,
                "scale": 100.0,
                "in_table": False,
            },
        ],
    },
    "semantic": {
        "primary": "mean_iou",
        "measures": [
            {"name": "mean_iou", "label": "mIoU", "higher_is_better": True, "scale": 100.0},
            {"name": "pixel_accuracy", "label": "pix.acc.", "higher_is_better": True},
            {
                "name": "iou_ground",
                "label": "IoU Ground",
                "higher_is_better": True,
                "in_table": False,
            },
        ],
    },
}

#: untouched input, then per architecture the mean over seeds, and both ω
INPUT = {
    "depth/abs_rel": 0.156,
    "depth/sq_rel": 0.1207,
    "depth/log10": 0.067,
    "depth/rms": 0.588,
    "depth/rms_log": 0.204,
    "depth/delta1": 0.781,
    "depth/delta2": 0.951,
    "depth/delta3": 0.988,
    "depth/sq_rel_squared": 0.046,
    "semantic/mean_iou": 0.6373,
    "semantic/pixel_accuracy": 0.7888,
    "semantic/iou_ground": 0.78,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "cat60": {
        "operation": "concatenation",
        "fusion_channels": 60,
        "computation": "loose",
        "depth/sq_rel": 0.1184,
        "semantic/mean_iou": 0.6531,
        "omega/depth->semantic": 9.61,
        "omega/semantic->depth": 1.62,
    },
    "sum60": {
        "operation": "sum",
        "fusion_channels": 60,
        "computation": "coupled",
        "depth/sq_rel": 0.1186,
        "semantic/mean_iou": 0.6520,
        "omega/depth->semantic": 10.04,
        "omega/semantic->depth": 1.54,
    },
    "cat10": {
        "operation": "concatenation",
        "fusion_channels": 10,
        "computation": "loose",
        "depth/sq_rel": 0.1187,
        "semantic/mean_iou": 0.6523,
        "omega/depth->semantic": 9.90,
        "omega/semantic->depth": 1.70,
    },
    "cat5": {
        "operation": "concatenation",
        "fusion_channels": 5,
        "computation": "coupled",
        "depth/sq_rel": 0.1195,
        "semantic/mean_iou": 0.6498,
        "omega/depth->semantic": 14.2,
        "omega/semantic->depth": 2.9,
    },
    "cat1": {
        "operation": "concatenation",
        "fusion_channels": 1,
        "computation": "coupled",
        "depth/sq_rel": 0.1212,
        "semantic/mean_iou": 0.6391,
        "omega/depth->semantic": 21.5,
        "omega/semantic->depth": 0.3,
    },
}
SEEDS = 3
#: jobs that are not finished, and how
UNFINISHED = {"cat10/seed1": "failed", "cat1/seed2": "missing"}
WARNING = "2 of 20 channels of the stem of depth are dead"


@dataclass
class FakeSweep:
    jobs: list[JobRecord]
    rows: pd.DataFrame
    means: pd.DataFrame
    name: str = "nyu"
    asked: list[tuple[str, str]] = field(default_factory=list)
    tables: dict[Path, Any] = field(default_factory=dict)

    @property
    def modalities(self) -> dict[str, Any]:
        return self.finished[0].data["modalities"] if self.finished else {}  # type: ignore[index]

    @property
    def finished(self) -> list[JobRecord]:
        return [job for job in self.jobs if job.status == "finished"]

    def table(self, protocol: str = "full", pooling: str = "pixels") -> pd.DataFrame:
        self.asked.append((protocol, pooling))
        return self.rows.copy()

    def by_architecture(self, protocol: str = "full", pooling: str = "pixels") -> pd.DataFrame:
        self.asked.append((protocol, pooling))
        return self.means.copy()


def _numbers(arch: dict[str, Any], rng: np.random.Generator | None) -> dict[str, float]:
    """Measures, improvement and ω with intervals; ``rng`` jitters them as a seed does."""
    values = {
        key: value * (1 - 0.001 * (arch["fusion_channels"] % 7)) for key, value in INPUT.items()
    }
    values |= {k: v for k, v in arch.items() if "/" in k}
    if rng is not None:
        for key in values:
            values[key] *= 1 + 0.001 * rng.standard_normal()
            if key.startswith("omega/"):
                values[key] += 0.25 * rng.standard_normal()
    numbers: dict[str, float] = {}
    for key, value in values.items():
        half = 0.35 if key.startswith("omega/") else 0.02 * value
        numbers |= {key: value, f"{key}_low": value - half, f"{key}_high": value + half}
    for key, scale, half in (("depth/sq_rel", -100, 0.12), ("semantic/mean_iou", 100, 0.3)):
        better = scale * (values[key] - INPUT[key])
        name = f"improvement/{key}"
        numbers |= {name: better, f"{name}_low": better - half, f"{name}_high": better + half}
    return numbers


def input_row() -> dict[str, Any]:
    row: dict[str, Any] = {"arch": "input", "state": ""}
    for key, value in INPUT.items():
        row |= {key: value, f"{key}_low": 0.98 * value, f"{key}_high": 1.02 * value}
    return row


def comparison(folder: Path, unfinished: dict[str, str] = UNFINISHED) -> FakeSweep:
    """Five architectures × three seeds, one job failed and one missing."""
    rng = np.random.default_rng(0)
    jobs, rows, means = [], [input_row()], [input_row()]
    for name, arch in ARCHITECTURES.items():
        words = {k: arch[k] for k in ("operation", "fusion_channels", "computation")}
        done = 0
        for seed in range(SEEDS):
            job = f"{name}/seed{seed}"
            status = unfinished.get(job, "finished")
            data: dict[str, Any] | None = {
                "status": status,
                "data": "nyu",
                "arch": {"name": name, **words},
                "seed": seed,
                "modalities": MODALITIES,
                "protocols": ["full", "eigen"],
                "poolings": ["pixels", "images"],
                "warnings": [WARNING] if job == "cat1/seed0" else [],
                "error": None,
            }
            problem = ""
            if status == "failed":
                problem = "Traceback …\nRuntimeError: out of memory"
            elif status == "missing":
                data, problem = None, "no results.json"
            jobs.append(JobRecord(folder / job, Status(status), data, problem))
            row = {"arch": name, "seed": seed, "status": status}
            if status != "missing":
                row |= words
            if status == "finished":
                row |= _numbers(arch, rng)
                done += 1
            rows.append(row)
        others = [s for job, s in unfinished.items() if job.startswith(f"{name}/")]
        counted = [f"{n} {status}" for status, n in Counter(others).items()]
        state = ", ".join([f"{done} of {SEEDS}", *counted])
        counts = {"seeds": done, "planned": SEEDS, "state": state if others else str(done)}
        means.append({"arch": name, **words, **counts, **(_numbers(arch, None) if done else {})})
    return FakeSweep(jobs, pd.DataFrame(rows), pd.DataFrame(means, dtype=object))


# -- findings ----------------------------------------------------------------------------------

THIRD = "albedo"
IMAGES = 60
MUTE_VALUES = {"zero": 1.0, "mean_map": 0.45, "constant": 0.5, "other_image": 0.8, "noise": 0.7}
STRATA = {
    "depth": {"near": 0.34, "middle": 0.5, "far": 0.16, "depth_edge": 0.08, "depth_inside": 0.92},
    "semantic": {"class_ground": 0.2, "class_object": 0.8, "label_edge": 0.05, "label_inside": 0.9},
}


def _with_third(summary: Summary) -> Summary:
    """A third modality and its four further directions."""
    column = MeasureColumn(THIRD, "psnr", "PSNR", True, 1.0)
    table, jobs = summary.architectures.copy(), summary.jobs.copy()
    rng = np.random.default_rng(3)
    pairs = [(THIRD, m) for m in summary.columns] + [(m, THIRD) for m in summary.columns]
    for rows in (table, jobs):
        values = {
            column.key: 20 + rng.random(len(rows)),
            improvement(column): rng.random(len(rows)),
        }
        values |= {omega(s, t): 3 * rng.random(len(rows)) for s, t in pairs}
        for key, value in values.items():
            rows[key], rows[f"{key}_low"], rows[f"{key}_high"] = value, value - 0.3, value + 0.3
    return replace(
        summary,
        architectures=table,
        jobs=jobs,
        columns={**summary.columns, THIRD: (column,)},
        primary={**summary.primary, THIRD: column},
    )


def findings(folder: Path, *, third: bool = False, without: Sequence[str] = ()) -> Findings:
    """All that a sweep can show, of two modalities or three; ``without`` names empty frames.

    Gain is a twentieth of ω, what muting breaks the rest, so that the parts are easy to tell.
    """
    summary = summarize(comparison(folder))
    if third:
        summary = _with_third(summary)
    rng = np.random.default_rng(1)
    table = summary.architectures[summary.architectures["arch"] != "input"]
    archs = [
        {"arch": r["arch"], "computation": r["computation"], "seeds": r["seeds"]}
        for _, r in table.iterrows()
    ]
    frames: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}

    def around(value: float, half: float) -> dict[str, float]:
        return {"value": value, "low": value - half, "high": value + half}

    for (_, row), who in zip(table.iterrows(), archs, strict=True):
        for target, column in summary.primary.items():
            frames["effects"].append(
                {**who, "effect": IMPROVEMENT, "source": "", "target": target}
                | {"measure": column.measure, "p": 0.01, "p_holm": 0.1}
                | around(float(row[improvement(column)]), 0.3)
            )
            for setup, value in (("input", 0.1), ("joint", 0.12)):
                for crop in ("full", "eigen"):
                    for pooling in ("pixels", "images"):
                        where = {
                            "crop": crop,
                            "convention": "usual",
                            "truth": "truth",
                            "pooling": pooling,
                        }
                        label = {"measure": column.measure, "label": column.label}
                        name = who["arch"] if setup == "joint" else "input"
                        if setup == "joint" or who is archs[0]:
                            frames["protocols"].append(
                                {"arch": name, "setup": setup, "modality": target, **label}
                                | {**where, "value": value + 0.01 * rng.random()}
                            )
        for source, target in summary.directions:
            way = {**who, "source": source, "target": target}
            total = float(row[omega(source, target)])
            performance = summary.primary[target].performance(
                float(row[summary.primary[target].key])
            )
            for effect, share in ((OMEGA, 1.0), (GAIN, 0.05), (BREAKAGE, 0.95)):
                frames["effects"].append(
                    {**way, "effect": effect, "measure": summary.primary[target].measure}
                    | {"p": 0.002, "p_holm": 0.02, **around(share * total, 0.1 * abs(total))}
                )
            for name, share in MUTE_VALUES.items():
                frames["mute_values"].append(
                    {**way, "mute_value": name, "performance": performance - share * total}
                    | around(share * total, 0.1 * abs(total))
                )
            for of, strata in STRATA.items():
                for k, (stratum, share) in enumerate(strata.items()):
                    for effect, size in ((OMEGA, 1.0), (GAIN, 0.05)):
                        frames["strata"].append(
                            {**way, "effect": effect, "of": of, "stratum": stratum, "share": share}
                            | around(size * total * (0.6 + 0.2 * k), 0.1 * abs(total))
                        )
            for rung, share in RUNGS.items():
                win = {"truth": 4.0, "half truth": 2.5, "nothing": -total}.get(
                    rung, 0.6 * total * share
                )
                frames["ladder"].append(
                    {**way, "rung": rung, "share": share, "performance": performance + win}
                    | {"performance_low": performance + win - 1}
                    | {"performance_high": performance + win + 1, **around(win + total, 1.0)}
                )
            for k in range(IMAGES):
                one, other = rng.standard_normal(2)
                frames["images"].append(
                    {"arch": who["arch"], "id": f"{k:04d}", "scene": f"scene{k // 3}"}
                    | {"source": source, "target": target, "performance": performance + 5 * one}
                    | {"omega": total + 3 * other, "gain": 0.05 * total + other}
                )
    for source, target in summary.directions:
        way = {"source": source, "target": target}
        for k in range(50):
            x = 12 * rng.random()
            loose = bool(k % 2)
            frames["points"].append(
                {"arch": f"cat{k}", "computation": "loose" if loose else "coupled", "seed": k % 5}
                | {**way, "omega": x, "performance": 60 - 0.1 * (x - 6) ** 2 - rng.random()}
            )
        for x in np.linspace(0, 12, 40):
            y = 60 - 0.1 * (x - 6) ** 2
            frames["envelope"].append({**way, "omega": x, **around(y, 0.4)})
        verdict = (
            "Performance peaks at ω = 6.0 [4.9, 7.2]; there is an interior maximum (p = 0.004)."
        )
        frames["peaks"].append(
            {**way, "points": 50, "omega": 6.0, "low": 4.9, "high": 7.2, "p": 0.004}
            | {"verdict": verdict}
        )
        for (i, a), (j, b) in itertools.combinations(enumerate(archs), 2):
            for effect in (PERFORMANCE, OMEGA, GAIN):
                known = {**way, "source": "" if effect == PERFORMANCE else source}
                if effect == PERFORMANCE and source != next(
                    s for s, t in summary.directions if t == target
                ):
                    continue  # one a target
                frames["differences"].append(
                    {"effect": effect, **known, "first": a["arch"], "second": b["arch"]}
                    | around(0.4 * (j - i), 0.5)
                    | {"p": 0.2, "p_holm": 0.8, "probability": 0.5 + 0.1 * (j - i)}
                )
    made = {
        name: pd.DataFrame(rows, columns=list(COLUMNS[name]))
        for name, rows in frames.items()
        if name not in without
    }
    return Findings(summary, ("cat5/seed9: made from another cache",), **made)
