"""A sweep's folder with real records and statistics, but made-up maps: no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.influence import compute_results
from jrn_lightning.keys import JOINT, UNTOUCHED, muted
from jrn_lightning.modalities import Depth, Modality, Regions, Semantic
from jrn_lightning.records.record import MAIN, RESULTS, Status, plan, write_json

MODALITIES: dict[str, Modality] = {
    "depth": Depth("depth"),
    "semantic": Semantic("semantic", ["Ground", "Vertical", "Object"]),
}
SETUPS = (UNTOUCHED, JOINT, muted("depth"), muted("semantic"))
PROTOCOLS = ("full", "eigen")
FRAMES = 8


def _statistics(quality: float, generator: torch.Generator) -> StatisticsTable:
    """Statistics of maps that are right but for noise; a muted modality costs quality."""
    regions = Regions.of([(slice(None), slice(None)), (slice(1, 11), slice(1, 15))], (12, 16))
    # The truth and the untouched input are the same in every job.
    common = torch.Generator().manual_seed(0)
    depth = torch.rand(FRAMES, 12, 16, generator=common) * 8 + 1
    label = torch.randint(0, 3, (FRAMES, 12, 16), generator=common)
    depths, labels = [], []
    for setup in SETUPS:
        source = common if setup == UNTOUCHED else generator
        noise = {UNTOUCHED: 1.0, JOINT: quality}.get(setup, quality + 0.5)
        depths.append(
            (depth + 0.5 * noise * torch.randn(depth.shape, generator=source)).clamp(0.1, 10)
        )
        scores = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
        labels.append(scores + 0.6 * noise * torch.randn(scores.shape, generator=source))
    values = {
        "depth": MODALITIES["depth"].statistics(torch.stack(depths)[:, :, None], depth, regions),
        "semantic": MODALITIES["semantic"].statistics(torch.stack(labels), label, regions),
    }
    return StatisticsTable(
        tuple(f"{k:04d}" for k in range(FRAMES)),
        tuple(f"scene{k // 2}" for k in range(FRAMES)),
        SETUPS,
        PROTOCOLS,
        MODALITIES,
        {m: v.transpose(0, 1).numpy() for m, v in values.items()},
    )


def make_job(folder: Path, arch: str, seed: int, quality: float, **changes: Any) -> None:
    """Write the folder of a finished job."""
    table = _statistics(quality, torch.Generator().manual_seed(seed + 1))
    table.save(folder / f"{MAIN}.h5")
    summary = compute_results(
        table.values,
        {m: modality.measures for m, modality in MODALITIES.items()},
        table.setups,
        table.protocols,
        table.scenes,
        resamples=50,
    )
    described = {
        name: {
            "primary": modality.primary,
            "measures": [
                {
                    "name": m.name,
                    "label": m.label,
                    "higher_is_better": m.higher_is_better,
                    "scale": m.scale,
                    "in_table": m.in_table,
                }
                for m in modality.measures
            ],
        }
        for name, modality in MODALITIES.items()
    }
    write_json(
        folder / RESULTS,
        {
            "format": "jrn-job",
            "version": 1,
            "status": Status.FINISHED.value,
            "fingerprint": f"{arch}{seed}",
            "cache_hash": "c",
            "sweep": folder.parent.parent.name,
            "arch": {
                "name": arch,
                "operation": "concatenation",
                "fusion_channels": int(arch.removeprefix("cat")),
                "computation": "loose" if arch in ("cat60", "cat10") else "coupled",
            },
            "seed": seed,
            "data": "nyu",
            "setups": SETUPS,
            "protocols": PROTOCOLS,
            "poolings": ("pixels", "images"),
            "modalities": described,
            "metrics": summary.metrics,
            "improvement": summary.improvement,
            "influence": summary.influence,
            "warnings": [],
            **changes,
        },
    )


def make_sweep(folder: Path) -> Path:
    """Two architectures × two seeds: three jobs finished, one failed, and a fifth missing."""
    plan(folder, ["cat60/seed0", "cat60/seed1", "cat5/seed0", "cat5/seed1", "cat1/seed0"])
    make_job(folder / "cat60" / "seed0", "cat60", 0, 0.6, warnings=["a dead stem"])
    make_job(folder / "cat60" / "seed1", "cat60", 1, 0.6)
    make_job(folder / "cat5" / "seed0", "cat5", 0, 0.8)
    make_job(folder / "cat5" / "seed1", "cat5", 1, 0.8, status="failed", error="out of memory")
    return folder
