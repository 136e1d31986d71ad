"""A small valid cache of rendered rooms, for every test that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache import CacheWriter, PredictionSpec, Provenance
from jrn_lightning.cache.grid import Grid
from jrn_lightning.modalities import Depth, Semantic

CLASSES = ("Ground", "Vertical", "Ceiling", "Furniture", "Object")
_GROUND, _VERTICAL, _CEILING, _FURNITURE, _OBJECT = range(5)
DEPTH_GRID = (12, 16)
SEMANTIC_GRID = (13, 17)

Scene = list[tuple[NDArray[np.float64], NDArray[np.float64], int]]


def modalities() -> dict[str, Any]:
    """The two modalities of :func:`write_small_cache`."""
    return {
        "depth": Depth("depth"),
        "semantic": Semantic("semantic", CLASSES, "wang5"),
    }


def write_small_cache(
    path: Path,
    *,
    train: int = 12,
    test: int = 6,
    predict: int = 3,
    frame: tuple[int, int] = (48, 64),
    seed: int = 0,
    images: bool = True,
    raw: bool = False,
) -> Path:
    """Write rooms of boxes with noisy predictions; scenes have two or three frames.

    The depth prediction is 12 % too near and blurred, the semantic one noisy, and both have gaps
    in the truth, so that a refinement network has something to learn and something to skip.
    With ``raw`` another ground truth of depth lies beside it, with more gaps and other values.
    """
    rng = np.random.default_rng(seed)
    height, width = frame
    specs = {
        "depth": PredictionSpec(
            (1, *DEPTH_GRID),
            np.dtype(np.float16),
            Grid.area(DEPTH_GRID, frame),
            Provenance("blurred", "0" * 64, "in-sample", "area"),
        ),
        "semantic": PredictionSpec(
            (len(CLASSES), *SEMANTIC_GRID),
            np.dtype(np.float16),
            Grid.corners(SEMANTIC_GRID, frame),
            Provenance("noisy", "1" * 64, "unseen", "corners"),
        ),
    }
    with CacheWriter(path, modalities=modalities(), frame=frame, force=True) as writer:
        number = 0
        for split, count in ((keys.TRAIN, train), (keys.TEST, test), (keys.PREDICT, predict)):
            if not count:
                continue
            # Scenes of 3, 2, 3, 2 … frames.
            scene_of = [f"{split}_{2 * (i // 5) + (i % 5) // 3}" for i in range(count)]
            writer.add_split(
                split,
                ids=[f"{number + i:04d}" for i in range(count)],
                scenes=scene_of,
                predictions=specs,
                targets=split != keys.PREDICT,
                images=images,
                truths={"depth": ("filled", "raw")} if raw and split != keys.PREDICT else {},
            )
            number += count
            for i, scene in enumerate(scene_of):
                if i == 0 or scene != scene_of[i - 1]:
                    boxes = _room(rng)
                depth, label = _render(boxes, frame, float(rng.uniform(-0.5, 0.5)))
                predictions = {
                    "depth": _predict_depth(depth, rng),
                    "semantic": _predict_semantic(label, rng),
                }
                image = np.clip(
                    (40 + 40 * label[..., None] + 8 * depth[..., None] + [0, 10, 20]), 0, 255
                ).astype(np.uint8)
                top, left = int(rng.integers(height - 4)), int(rng.integers(width - 6))
                depth[top : top + 4, left : left + 6] = Depth.invalid
                label[-2:, : width // 4] = int(Semantic.invalid)
                writer.write(
                    split,
                    i,
                    predictions=predictions,
                    targets={"depth": depth, "semantic": label} if split != keys.PREDICT else None,
                    image=image if images else None,
                    alternatives={("depth", "raw"): _raw(depth)},
                )
    return path


def _raw(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    raw = np.minimum(1.03 * depth, 10.0).astype(np.float32)
    raw[:, ::5] = Depth.invalid
    return raw


def _room(rng: np.random.Generator) -> Scene:
    """Boxes (low corner, high corner, class) in metres; x right, y down, z forward."""
    half, floor, far = rng.uniform(1.8, 2.6), 1.2, rng.uniform(3.5, 6.0)
    ceiling = -rng.uniform(0.9, 1.4)
    wide = 20.0

    def box(*corners: float, label: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        return np.array(corners[::2]), np.array(corners[1::2]), label

    boxes = [
        box(-wide, wide, floor, floor + 1, -wide, wide, label=_GROUND),
        box(-wide, wide, ceiling - 1, ceiling, -wide, wide, label=_CEILING),
        box(-wide, wide, -wide, wide, far, far + 1, label=_VERTICAL),
        box(-half - 1, -half, -wide, wide, -wide, wide, label=_VERTICAL),
        box(half, half + 1, -wide, wide, -wide, wide, label=_VERTICAL),
    ]
    for _ in range(3):
        x, z = rng.uniform(-half, half), rng.uniform(2.0, far)
        size, top = rng.uniform(0.3, 0.6), floor - rng.uniform(0.4, 1.0)
        boxes.append(box(x - size, x + size, top, floor, z, z + size, label=_FURNITURE))
        small = size / 2
        boxes.append(box(x - small, x + small, top - small, top, z, z + small, label=_OBJECT))
    return boxes


def _render(
    boxes: Scene, frame: tuple[int, int], yaw: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    height, width = frame
    row, column = np.mgrid[:height, :width]
    x = (column - (width - 1) / 2) / (0.9 * width)
    y = (row - (height - 1) / 2) / (0.9 * width)
    ray = np.stack(
        (np.cos(yaw) * x + np.sin(yaw), y, np.cos(yaw) - np.sin(yaw) * x), -1
    )  # unit length along the optical axis, so that the distance is the depth
    depth = np.full(frame, 9.5)
    label = np.full(frame, _VERTICAL, np.uint8)
    for low, high, name in boxes:
        near, far = np.sort(np.stack((low / ray, high / ray)), axis=0)
        enter, leave = near.max(-1), far.min(-1)
        hit = (enter < leave) & (enter > 0.3) & (enter < depth)
        depth[hit], label[hit] = enter[hit], name
    return depth.astype(np.float32), label


def _sample(maps: NDArray[Any], grid: tuple[int, int], *, corners: bool) -> NDArray[Any]:
    """Nearest samples of ``(H, W, ...)`` on a grid."""
    index = []
    for pixels, samples in zip(maps.shape[:2], grid, strict=True):
        last = pixels - 1
        steps = np.arange(samples)
        where = steps * last / (samples - 1) if corners else (steps + 0.5) * pixels / samples - 0.5
        index.append(np.clip(np.round(where).astype(int), 0, last))
    return maps[np.ix_(*index)]


def _predict_depth(depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[Any]:
    """Too near, and smeared over the neighbours."""
    samples = _sample(depth, DEPTH_GRID, corners=False)
    padded = np.pad(samples, 1, mode="edge")
    smeared = (padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1]) / 4
    noise = rng.normal(1.0, 0.05, samples.shape)
    return np.clip(0.88 * (samples + smeared) / 2 * noise, 0.1, 10.0)[None]


def _predict_semantic(label: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[Any]:
    logits = 2.0 * np.eye(len(CLASSES))[_sample(label, SEMANTIC_GRID, corners=True)]
    logits += rng.normal(0, 1.0, logits.shape)
    odds = np.exp(logits)
    return np.moveaxis(odds / odds.sum(-1, keepdims=True), -1, 0)
