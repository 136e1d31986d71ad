"""Generated data of the real sizes: what is measured depends on shapes, not on content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jrn_lightning import keys
from jrn_lightning.cache import CacheWriter, PredictionSpec, Provenance
from jrn_lightning.cache.grid import Grid
from jrn_lightning.modalities import Depth, Modality, Semantic

CLASSES = ("Ground", "Vertical", "Ceiling", "Furniture", "Object")
DEPTH, SEMANTIC = "depth", "semantic"


def modalities() -> dict[str, Modality]:
    """Depth and five classes, as in NYU Depth v2."""
    return {DEPTH: Depth(DEPTH), SEMANTIC: Semantic(SEMANTIC, CLASSES, "wang5")}


def write_cache(path: Path, frame: tuple[int, int], *, train: int, test: int) -> Path:
    """A cache without images; scenes of three frames, predictions on a tenth and an eighth."""
    rng = np.random.default_rng(0)
    height, width = frame
    depth_grid = (height // 10, width // 10)
    semantic_grid = (height // 8 + 1, width // 8 + 1)
    shapes = {DEPTH: (1, *depth_grid), SEMANTIC: (len(CLASSES), *semantic_grid)}
    grids = {DEPTH: Grid.area(depth_grid, frame), SEMANTIC: Grid.corners(semantic_grid, frame)}
    origin = Provenance("generated", sampling="unseen")
    specs = {m: PredictionSpec(shapes[m], np.dtype(np.float16), grids[m], origin) for m in shapes}
    rows, columns = (
        np.arange(height) * depth_grid[0] // height,
        np.arange(width) * depth_grid[1] // width,
    )
    with CacheWriter(path, modalities=modalities(), frame=frame, force=True) as writer:
        for split, count in ((keys.TRAIN, train), (keys.TEST, test)):
            writer.add_split(
                split,
                ids=[f"{split}{i:04d}" for i in range(count)],
                scenes=[f"{split}_{i // 3}" for i in range(count)],
                predictions=specs,
                targets=True,
                images=False,
            )
            for i in range(count):
                coarse = rng.uniform(1.0, 9.0, depth_grid)
                odds = rng.uniform(0.1, 1.0, shapes[SEMANTIC]) ** 3
                depth = coarse[np.ix_(rows, columns)].astype(np.float32)
                label = (depth * 10).astype(np.uint8) % len(CLASSES)
                depth[: height // 20], label[:, : width // 20] = (
                    Depth.invalid,
                    int(Semantic.invalid),
                )
                guess = coarse[None] * rng.normal(1, 0.05, (1, *depth_grid))
                writer.write(
                    split,
                    i,
                    predictions={DEPTH: guess.clip(0.5, 10.0), SEMANTIC: odds / odds.sum(0)},
                    targets={DEPTH: depth, SEMANTIC: label},
                )
    return path


def statistics(images: int, setups: int, protocols: int) -> dict[str, np.ndarray]:
    """Statistics ``{modality: (N, S, P, D)}`` float64 of plausible size, every entry positive."""
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(1e3, 1e5, (images, setups, protocols, len(modality.statistic_names)))
        for name, modality in modalities().items()
    }
