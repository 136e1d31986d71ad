"""From a data set of frames and predictions of them to a prediction cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache import CacheWriter, PredictionSpec, Provenance
from jrn_lightning.cache.grid import AREA, Grid, resample
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import DataSet, in_order
from jrn_lightning.modalities import Modality, Regions

# The check of the order of predictions that do not say which frame they are of.
_ORDER_FRAMES: Final = 128
_ORDER_SIZE: Final = (48, 64)
_ORDER_SIGMAS: Final = 4.0
_ORDER_FEWEST: Final = 16


class Maps(Protocol):
    """Predictions of one modality by frame; see :class:`~.sources.PredictionSource`."""

    path: Path
    ids: list[str]
    ordered_by_name: bool
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    classes: tuple[str, ...] | None

    def read(self, frame: str) -> NDArray[Any]:
        """Prediction of a frame: ``(C, h, w)``."""

    def hash(self) -> str:
        """SHA-256 of what made them."""


@dataclass(frozen=True)
class Input:
    """The predictions of one modality.

    Args:
        source: the maps.
        network: name of the network that made them.
        sampling: of the *training* frames; the network is taken never to have seen the others.
        grid: ``area``, ``corners`` or ``OY,SY,OX,SX``.
    """

    source: Maps
    network: str
    sampling: str = "unknown"
    grid: str = AREA


def build(
    data: DataSet,
    inputs: Mapping[str, Input],
    out: Path,
    *,
    images: bool = True,
    force: bool = False,
    notes: Mapping[str, str] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Write the cache.

    Predictions slightly beyond the range of their modality are brought back to it; how many samples
    that were is noted in the cache.

    Args:
        data: the data set.
        inputs: predictions by modality, one for each of the data set's.
        out: the file to make.
        images: whether to store the colour images.
        force: replace an existing file.
        notes: remarks beside those of the data set.
        advance: called after each frame.

    Raises:
        CacheError: predictions that do not cover the frames, are in another order, or break the
            format; anything that :class:`CacheWriter` refuses. No file is left then.
    """
    kinds = data.modalities
    for name, given in inputs.items():
        _check_coverage(data, name, given.source)
        _check_classes(data, name, given.source)
        if not given.source.ordered_by_name:
            _check_order(data, kinds[name], given)
    hashes = {name: given.source.hash() for name, given in inputs.items()}
    remarks = {**data.notes, **(notes or {})}
    for name, given in inputs.items():
        if conversion := getattr(given.source, "conversion", ""):
            remarks[f"{name}_predictions"] = conversion
    with CacheWriter(out, modalities=kinds, frame=data.size, force=force, notes=remarks) as writer:
        for split, ids in data.splits.items():
            writer.add_split(
                split,
                ids=ids,
                scenes=[data.scene(frame) for frame in ids],
                predictions={
                    name: _spec(given, hashes[name], split, data.size)
                    for name, given in inputs.items()
                },
                targets=split != keys.PREDICT,
                images=images,
                truths=_truths(data, split),
            )
        clipped = dict.fromkeys(kinds, 0)
        for split, ids in data.splits.items():
            for i, id in enumerate(ids):
                predictions = {}
                for name, kind in kinds.items():
                    predictions[name], beyond = kind.clipped(inputs[name].source.read(id))
                    clipped[name] += beyond
                frame = data.read(id, image=images, targets=split != keys.PREDICT)
                writer.write(
                    split,
                    i,
                    predictions=predictions,
                    targets=frame.targets,
                    image=frame.image,
                    alternatives=frame.alternatives,
                )
                advance()
        for name, count in clipped.items():
            if count:
                told = f"{count} samples of predicted {name}"
                known = writer.notes.get(kinds[name].correction)
                writer.notes[kinds[name].correction] = f"{known}, {told}" if known else told


def _truths(data: DataSet, split: str) -> dict[str, tuple[str, ...]]:
    """Names of the ground truths to store: alternatives are for testing alone."""
    if split == keys.PREDICT:
        return {}
    return {m: names if split == keys.TEST else names[:1] for m, names in data.truths.items()}


def _spec(given: Input, digest: str, split: str, size: tuple[int, int]) -> PredictionSpec:
    source = given.source
    grid, alignment = Grid.parse(given.grid, source.shape[1:], size)
    # The other official frames were in nobody's training set.
    sampling = given.sampling if split == keys.TRAIN or given.sampling == "unknown" else "unseen"
    provenance = Provenance(given.network, digest, sampling, alignment)
    return PredictionSpec(source.shape, source.dtype, grid, provenance)


# -- predictions that do not fit the data set --------------------------------------------------


def _check_coverage(data: DataSet, name: str, source: Maps) -> None:
    wanted = {frame for ids in data.splits.values() for frame in ids}
    missing = wanted.difference(source.ids)
    if not source.ordered_by_name and (missing or source.ids[-1] not in wanted):
        raise CacheError(
            f"{source.path} holds {name} predictions of {len(source.ids)} frames, {data.path} "
            f"has frames up to {in_order(wanted)[-1]}. Predict all of them, or store beside the "
            "maps which frames they are of, as an array 'index' of their ids."
        )
    if missing:
        raise CacheError(
            f"{source.path} lacks {name} predictions of {len(missing)} of {len(wanted)} frames, "
            f"the first of them {in_order(missing)[0]}. Predict every frame."
        )


def _check_classes(data: DataSet, name: str, source: Maps) -> None:
    classes = getattr(data.modalities[name], "classes", None)
    if source.classes not in (None, classes):
        raise CacheError(
            f"{source.path} predicts {', '.join(source.classes or ())}, "
            f"the {name} of {data.path} has {', '.join(classes or ())}. "
            "Give another --label-space, or predictions in this order."
        )


def _check_order(data: DataSet, modality: Modality, given: Input) -> None:
    """Refuse maps that fit other frames as well as, or better than, their own.

    The performance of a spread of frames is compared with that of their neighbours' predictions
    (a file that starts at 0, or lost a frame) and of far frames' (a shuffled one).
    """
    order = given.source.ids
    row = {frame: i for i, frame in enumerate(order)}
    known = sorted(row[f] for s, ids in data.splits.items() if s != keys.PREDICT for f in ids)
    chosen = known[:: max(1, len(known) // _ORDER_FRAMES)]
    grid, _ = Grid.parse(given.grid, given.source.shape[1:], data.size)
    height, width = np.minimum(_ORDER_SIZE, data.size).tolist()
    pixels = np.ix_(  # those at the cells' centres
        ((np.arange(height) + 0.5) * data.size[0] // height).astype(int),
        ((np.arange(width) + 0.5) * data.size[1] // width).astype(int),
    )
    regions = Regions.of([(slice(None), slice(None))], (height, width))
    measure = modality.measure(modality.primary)

    shifts = (0, -1, 1, len(order) // 2)
    performance = np.empty((len(shifts), len(chosen)))
    for k, i in enumerate(chosen):
        targets = data.read(order[i], image=False).targets
        assert targets is not None  # a frame of a split with ground truth
        target = torch.from_numpy(targets[modality.name][..., *pixels])[None]
        maps = np.stack([given.source.read(order[(i + s) % len(order)]) for s in shifts])
        outputs = resample(torch.from_numpy(maps), grid, data.size, (height, width))[:, None]
        statistics = modality.statistics(outputs, target.to(modality.batch_dtype), regions)
        performance[:, k] = measure.performance(measure(statistics[:, 0, 0].numpy()))
    for shift, other in zip(shifts[1:], performance[1:], strict=True):
        gain = performance[0] - other
        gain = gain[np.isfinite(gain)]
        if len(gain) < _ORDER_FEWEST or not gain.any():  # nothing to tell, as of constant maps
            continue
        sigmas = gain.mean() / max(gain.std() / len(gain) ** 0.5, 1e-12)
        # Far frames must fit clearly worse. Neighbours often show the same room, and a good
        # prediction of it: they must not fit clearly better.
        if sigmas < (-_ORDER_SIGMAS if abs(shift) == 1 else _ORDER_SIGMAS):
            raise CacheError(
                f"{given.source.path}: the {modality.name} predictions do not fit their frames "
                f"better than those {shift:+d} places on, so they are in another order. Put them "
                "in the order of the data set, or store beside the maps which frames they are "
                "of, as an array 'index' of their ids."
            )
