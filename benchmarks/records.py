"""Job records of a whole sweep, generated: random statistics of the right kind, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import modalities
from jrn_lightning.evaluation import StatisticsTable
from jrn_lightning.evaluation.evaluator import (
    GRID,
    LADDER,
    MAIN,
    MUTE_VALUES,
    NOTHING,
    RUNGS,
    STRATA,
    muted_with,
    rung,
)
from jrn_lightning.influence import compute_results
from jrn_lightning.keys import JOINT, UNTOUCHED, muted
from jrn_lightning.modalities import Semantic
from jrn_lightning.records.record import FORMAT, RESULTS, VERSION, Status, save_tables, write_json

ARCHITECTURES = ("cat60", "sum60", "cat10", "cat5", "cat1")
LOOSE = ("cat60", "cat10")
PROTOCOLS = ("full", "eigen", "eigen_fergus", "eigen2014")
VALUES = ("zero", "mean_map", "constant", "other_image", "noise")
MODALITIES = modalities()
_MAIN = (UNTOUCHED, JOINT, *map(muted, MODALITIES))
_STRATA = tuple(name for m in MODALITIES.values() for name in m.strata)
_CONVENTIONS = ("usual", *(c for m in MODALITIES.values() for c in m.conventions))
#: part -> its setups and protocols, as an evaluation with everything writes them
PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    MAIN: (_MAIN, PROTOCOLS),
    STRATA: (_MAIN, _STRATA),
    MUTE_VALUES: (tuple(muted_with(m, v) for m in MODALITIES for v in VALUES), PROTOCOLS),
    LADDER: (tuple(rung(m, r) for m in MODALITIES for r in RUNGS), PROTOCOLS),
    GRID: (_MAIN, tuple(f"{c}/{k}" for k in _CONVENTIONS for c in PROTOCOLS)),
}


def write_sweep(
    folder: Path,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    seeds: int = 5,
    images: int = 654,
    controls: bool = True,
    parts: Sequence[str] = tuple(PARTS),
) -> Path:
    """A finished sweep, and beside each network one control a modality."""
    for arch in architectures:
        for seed in range(seeds):
            write_job(folder, arch, seed, images=images, parts=parts)
            for m in MODALITIES if controls else ():
                write_job(folder, arch, seed, without=m, images=images, parts=parts)
    return folder


def write_job(
    sweep: Path,
    arch: str,
    seed: int,
    *,
    without: str | None = None,
    images: int = 654,
    parts: Sequence[str] = tuple(PARTS),
    **changes: Any,
) -> Path:
    """The folder of one finished job; ``without``: of the control that never saw a modality."""
    tables = {}
    for part in parts:
        setups, protocols = PARTS[part]
        if without is not None:
            setups = tuple(s for s in setups if s in (UNTOUCHED, JOINT))
        if setups:
            tables[part] = _table(arch, seed, without, setups, protocols, images)
    name = arch if without is None else f"{arch},recipe.muted=[{without}]"
    folder = sweep / name / f"seed{seed}"
    save_tables(folder, tables)
    main = tables[MAIN]
    summary = compute_results(
        main.values,
        {m: modality.measures for m, modality in MODALITIES.items()},
        main.setups,
        main.protocols,
        main.scenes,
        resamples=50,
    )
    channels = int(arch.lstrip("catsum"))
    record = {
        "format": FORMAT,
        "version": VERSION,
        "status": Status.FINISHED.value,
        "fingerprint": f"{name}{seed}",
        "cache_hash": "generated",
        "config": {"recipe.epochs": 6, "recipe.muted": [without] * (without is not None)},
        "arch": {
            "name": name,
            "operation": "sum" if arch.startswith("sum") else "concatenation",
            "fusion_channels": channels,
            "computation": "loose" if arch in LOOSE else "coupled",
        },
        "seed": seed,
        "data": "nyu",
        "muted": [without] * (without is not None),
        "setups": main.setups,
        "protocols": main.protocols,
        "poolings": ("pixels", "images"),
        "modalities": {
            m: {
                "kind": modality.kind,
                "primary": modality.primary,
                "measures": [
                    {
                        "name": x.name,
                        "label": x.label,
                        "higher_is_better": x.higher_is_better,
                        "scale": x.scale,
                        "in_table": x.in_table,
                    }
                    for x in modality.measures
                ],
            }
            for m, modality in MODALITIES.items()
        },
        "metrics": summary.metrics,
        "improvement": summary.improvement,
        "influence": summary.influence,
        "warnings": [],
        **changes,
    }
    write_json(folder / RESULTS, record)
    return folder


def _table(
    arch: str,
    seed: int,
    without: str | None,
    setups: Sequence[str],
    protocols: Sequence[str],
    images: int,
) -> StatisticsTable:
    """Statistics that depend on image, setup and network as real ones do."""
    # What the images have in common is the same in every job.
    common = np.random.default_rng((images, len(protocols)))
    own = np.random.default_rng([*arch.encode(), seed, len(without or ""), len(setups)])
    difficulty = common.gamma(8, 1 / 8, (images, 1, 1))
    share = common.uniform(0.1, 1, (images, 1, len(protocols)))
    share[..., [i for i, p in enumerate(protocols) if p.startswith("full")]] = 1
    error = np.array([_error(s, without) for s in setups])[None, :, None]
    error = error * own.normal(1, 0.02) * own.normal(1, 0.05, (images, len(setups), 1))
    if UNTOUCHED in setups:  # no network, no luck
        error[:, list(setups).index(UNTOUCHED)] = 1
    error = difficulty * np.abs(error)
    n = np.round(3e5 * np.broadcast_to(share, (images, len(setups), len(protocols))))
    values = {}
    for m, modality in MODALITIES.items():
        kept = n[..., [p not in modality.stratum_measures for p in protocols]]
        of_classes = isinstance(modality, Semantic)
        values[m] = _counts(modality.channels, kept, error) if of_classes else _sums(kept, error)
    return StatisticsTable(
        tuple(f"{i:04d}" for i in range(images)),
        tuple(f"scene{i // 3}" for i in range(images)),
        tuple(setups),
        tuple(protocols),
        MODALITIES,
        values,
    )


def _error(setup: str, without: str | None) -> float:
    """How much worse than the untouched input."""
    if setup == UNTOUCHED:
        return 1.0
    if setup == JOINT:
        return 0.9 if without is None else 0.95
    _, _, name = setup.partition(":")
    if name in RUNGS:
        return 0.9 - 0.15 * RUNGS[name] if name != NOTHING else 1.3
    return 1.3 + 0.05 * VALUES.index(name) if name else 1.3


def _sums(n: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``(N, S, P, 10)`` of depth."""
    factors = (0.16, 0.12, 0.05, 0.35, 0.05, 0.07)
    accuracies = [n * np.exp(-error * x) for x in (0.3, 0.06, 0.015)]
    return np.stack([n, *(n * error * x for x in factors), *accuracies], -1)


def _counts(k: int, n: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``(N, S, P, 3 K)``: a share of each class is right, the rest spread over the others."""
    true = n[..., None] * np.arange(1, k + 1) / np.arange(1, k + 1).sum()
    hits = true / (1 + 0.35 * error[..., None])
    wrong = true - hits
    predicted = hits + (wrong.sum(-1, keepdims=True) - wrong) / (k - 1)
    return np.round(np.concatenate([hits, predicted, true], -1))
