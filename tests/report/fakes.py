"""A made-up sweep in the shape that a collected one has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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
class FakeJob:
    folder: Path
    status: str
    data: dict[str, Any] | None = None
    problem: str | None = None


@dataclass
class FakeComparison:
    jobs: list[FakeJob]
    rows: pd.DataFrame
    means: pd.DataFrame
    name: str = "nyu"
    asked: list[tuple[str, str]] = field(default_factory=list)

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
    row: dict[str, Any] = {"arch": "input"}
    for key, value in INPUT.items():
        row |= {key: value, f"{key}_low": 0.98 * value, f"{key}_high": 1.02 * value}
    return row


def comparison(folder: Path, unfinished: dict[str, str] = UNFINISHED) -> FakeComparison:
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
            problem = None
            if status == "failed":
                data = {**(data or {}), "error": "Traceback …\nRuntimeError: out of memory"}
            elif status == "missing":
                data, problem = None, "no results.json"
            jobs.append(FakeJob(folder / job, status, data, problem))
            row = {"arch": name, "seed": seed, "status": status}
            if status != "missing":
                row |= words
            if status == "finished":
                row |= _numbers(arch, rng)
                done += 1
            rows.append(row)
        if done:
            means.append({"arch": name, **words, "seeds": done, **_numbers(arch, None)})
    return FakeComparison(jobs, pd.DataFrame(rows), pd.DataFrame(means))
