"""Frames of a cache as pictures: a contact sheet, and a panel of each before and after."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from jrn_lightning import keys
from jrn_lightning.cache.grid import Grid, resample
from jrn_lightning.errors import CacheError
from jrn_lightning.report.maps import Frame, panel

if TYPE_CHECKING:
    from jrn_lightning.cache import CacheSplit, PredictionCache
    from jrn_lightning.importers.build import Input
    from jrn_lightning.importers.frames import DataSet
    from jrn_lightning.modalities import Modality

PREDICTION = "prediction"  # head of its column


def choose(scenes: Sequence[str], count: int, seed: int = 0) -> list[int]:
    """Positions of ``count`` frames, spread over the scenes.

    A second frame of a scene is taken only when every scene has one, and so on; which scenes and
    frames, the seed decides.

    Returns:
        Ascending positions, all of them if there are no more than ``count``.

    >>> scenes = ["a", "a", "a", "b", "c"]
    >>> len({scenes[i] for i in choose(scenes, 3, seed=5)})
    3
    """
    rng = np.random.default_rng(seed)
    waiting: dict[str, list[int]] = {}
    for i in rng.permutation(len(scenes)).tolist():
        waiting.setdefault(scenes[i], []).append(i)
    # By how many of its scene come before it; sorting keeps the shuffled order of scenes.
    turns = sorted((turn, k, i) for k, s in enumerate(waiting.values()) for turn, i in enumerate(s))
    return sorted(i for _, _, i in turns[:count])


def find(split: CacheSplit, ids: Sequence[str]) -> list[int]:
    """Positions of the frames called ``ids``, in that order.

    Raises:
        CacheError: no such frame; similar names, or the first ones, are listed.
    """
    place = {name: i for i, name in enumerate(split.ids)}
    for name in ids:
        if name not in place:
            near = difflib.get_close_matches(name, split.ids, n=6, cutoff=0.5) or split.ids[:6]
            some = ", ".join(near)
            raise CacheError(
                f"{split.cache.path}: split {split.name!r} has no frame {name!r}. Choose from its "
                f"{len(split)} frames, such as {some}."
            )
    return [place[name] for name in ids]


def read(splits: Mapping[str, CacheSplit], rows: Sequence[int]) -> Iterator[Frame]:
    """The frames at ``rows``, with the predictions of several caches at the frame's size.

    Args:
        splits: setup -> the same split of each cache; truth and image are those of the last one.
        rows: positions within the split.

    Raises:
        CacheError: a sample that cannot be read.
    """
    last = list(splits.values())[-1]
    size, modalities = last.cache.frame, last.cache.modalities
    for i in rows:
        outputs = {
            setup: {
                m: resample(
                    torch.from_numpy(split.prediction(m, i)), split.grid(m), split.cache.frame, size
                ).numpy()
                for m in modalities
            }
            for setup, split in splits.items()
        }
        target = {m: last.target(m, i) for m in modalities} if last.has_targets else {}
        image = last.image(i) if last.has_images else None
        yield Frame(last.ids[i], target, outputs, image, last.scenes[i])


def of_data_set(
    data: DataSet, id: str, inputs: Mapping[str, Input], *, truth: bool = True
) -> Frame:
    """A frame that is in no cache yet, with the predictions of it that there are.

    Raises:
        CacheError: a file that cannot be read.
    """
    read = data.read(id, targets=truth)
    maps = {}
    for m, given in inputs.items():
        if id in given.source.ids:
            grid, _ = Grid.parse(given.grid, given.source.shape[1:], data.size)
            map = torch.from_numpy(np.ascontiguousarray(given.source.read(id), np.float32))
            maps[m] = resample(map, grid, data.size, data.size).numpy()
    return Frame(id, read.targets or {}, {PREDICTION: maps}, read.image, data.scene(id))


def write(
    frames: Sequence[Frame],
    modalities: Mapping[str, Modality],
    out: Path,
    *,
    title: str,
    subtitle: str = "",
) -> None:
    """Write a contact sheet as a PNG: a row a frame, with truth, prediction and error map.

    Depths and the like are drawn over the range that these frames have.

    Args:
        frames: what to show; the setup of their outputs is :data:`PREDICTION`.
        modalities: of their maps.
        out: the picture.
        title: above everything.
        subtitle: below it.

    Raises:
        CacheError: ``out`` cannot be written.
    """
    figure = panel(
        frames,
        {
            m: kind.spanning(
                [x[m] for f in frames for x in (f.target, *f.outputs.values()) if m in x]
            )
            for m, kind in modalities.items()
        },
        errors=[PREDICTION],
        wide=True,
        title=title,
        subtitle=subtitle,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=100, pil_kwargs={"optimize": True})  # eight frames below 1 MB
    except OSError as error:
        raise CacheError(
            f"{out}: the sheet cannot be written ({error}). Choose another file with --out."
        ) from error


def draw_refined(
    before: PredictionCache,
    after: PredictionCache,
    split: str,
    folder: Path,
    advance: Callable[[float], object] = lambda _: None,
) -> None:
    """Write ``<id>.png`` for every frame: image, single-task and refined maps, and the truth.

    Args:
        before: the single-task predictions.
        after: the refined ones, of the same frames.
        split: of both.
        folder: for the pictures; made if need be.
        advance: called with 1 after each frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = {keys.UNTOUCHED: before.split(split), keys.JOINT: after.split(split)}
    for frame in read(splits, range(len(splits[keys.JOINT]))):
        panel([frame], after.modalities).savefig(folder / f"{frame.id}.png")
        advance(1)
