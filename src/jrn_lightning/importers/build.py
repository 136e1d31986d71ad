"""From a data set of frames and predictions of them to a prediction cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.cache import CacheWriter, PredictionSpec, Provenance
from jrn_lightning.cache.grid import AREA, Grid
from jrn_lightning.errors import CacheError
from jrn_lightning.importers.frames import DataSet, by_number, in_order
from jrn_lightning.importers.plausibility import Predictions, find


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
    checked: bool = False,
    notes: Mapping[str, str] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Write the cache; what a stopped call of the same left of it is not written again.

    Predictions slightly beyond the range of their modality are brought back to it; how many samples
    that were is noted in the cache.

    Args:
        data: the data set.
        inputs: predictions by modality, one for each of the data set's.
        out: the file to make.
        images: whether to store the colour images.
        force: replace an existing file, and write what is implausible.
        checked: :func:`check_inputs` was called before.
        notes: remarks beside those of the data set.
        advance: called after each frame.

    Raises:
        CacheError: what :func:`check_inputs` refuses; predictions that break the format; anything
            that :class:`CacheWriter` refuses. No file is left then.
    """
    kinds = data.modalities
    if not checked:
        check_inputs(data, inputs, force=force)
    hashes = {name: given.source.hash() for name, given in inputs.items()}
    remarks = {**data.notes, **(notes or {})}
    for name, given in inputs.items():
        if conversion := getattr(given.source, "conversion", ""):
            remarks[f"{name}_predictions"] = conversion
    splits: dict[str, dict[str, Any]] = {
        split: {
            "ids": ids,
            "scenes": [data.scene(frame) for frame in ids],
            "predictions": {
                name: _spec(given, hashes[name], split, data.size) for name, given in inputs.items()
            },
            "targets": split != keys.PREDICT,
            "images": images,
            "truths": _truths(data, split),
        }
        for split, ids in data.splits.items()
    }
    described = {name: (kind.kind, kind.attributes) for name, kind in kinds.items()}
    about = repr((data.stamp, data.size, described, remarks, splits))
    with CacheWriter(
        out,
        modalities=kinds,
        frame=data.size,
        force=force,
        notes=remarks,
        follows=hashlib.sha256(about.encode(errors="backslashreplace")).hexdigest(),
    ) as writer:
        for split, content in splits.items():
            writer.add_split(split, **content)
        clipped = dict.fromkeys(kinds, 0)
        for split, ids in data.splits.items():
            for i, id in enumerate(ids):
                predictions = {}
                for name, kind in kinds.items():
                    predictions[name], beyond = kind.clipped(inputs[name].source.read(id))
                    clipped[name] += beyond
                if not writer.holds(split, i, predictions):
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


def check_inputs(data: DataSet, inputs: Mapping[str, Input], *, force: bool = False) -> None:
    """Refuse predictions that are not of these frames, or cannot be meant.

    Args:
        data: the data set.
        inputs: predictions of some of its modalities.
        force: accept what is only implausible.

    Raises:
        CacheError: frames without prediction, other classes, or what
            :func:`~.plausibility.find` calls wrong.
    """
    for name, given in inputs.items():
        _check_coverage(data, name, given.source)
        _check_classes(data, name, given.source)
    if inputs and not force:
        _check_plausibility(data, inputs)


def _check_coverage(data: DataSet, name: str, source: Maps) -> None:
    wanted = {frame for ids in data.splits.values() for frame in ids}
    missing = wanted.difference(source.ids)
    if not source.ordered_by_name and (missing or source.ids[-1] not in wanted):
        raise CacheError(
            f"{source.path} holds {name} predictions of {len(source.ids)} frames, {data.path} "
            f"has frames up to {in_order(wanted)[-1]}. Predict all of them, or store beside the "
            "maps which frames they are of, as an array 'index' of their ids."
        )
    if "0" in source.ids and "0" not in wanted and (numbers := by_number(wanted)):
        raise CacheError(
            f"{source.path} holds {name} predictions of a frame 0, the frames of {data.path} are "
            f"counted from {min(numbers)}. Number the predictions as the frames are."
        )
    if missing:
        remedy, others = "Predict every frame.", in_order(set(source.ids) - wanted)
        if others and 2 * len(missing) > len(wanted):
            remedy = f"What it has is called as {others[0]}: call each prediction as its frame."
            if text := getattr(data, "id_among", lambda names: None)(source.ids):
                remedy = f"What it has is called as {others[0]}: give id: '{text}' in the layout."
        raise CacheError(
            f"{source.path} lacks {name} predictions of {len(missing)} of {len(wanted)} frames, "
            f"the first of them {in_order(missing)[0]}. {remedy}"
        )


def _check_classes(data: DataSet, name: str, source: Maps) -> None:
    classes = getattr(data.modalities[name], "classes", None)
    if source.classes not in (None, classes):
        raise CacheError(
            f"{source.path} predicts {', '.join(source.classes or ())}, "
            f"the {name} of {data.path} has {', '.join(classes or ())}. "
            "Give another --label-space, or predictions in this order."
        )


def _check_plausibility(data: DataSet, inputs: Mapping[str, Input]) -> None:
    """Refuse what cannot be meant."""
    frames = in_order(id for s, ids in data.splits.items() if s != keys.PREDICT for id in ids)
    if not frames:
        return

    def truth(frame: str) -> Mapping[str, NDArray[Any]]:
        targets = data.read(frame, image=False).targets
        assert targets is not None  # a frame of a split with ground truth
        return targets

    def predictions(given: Input) -> Predictions[str]:
        source = given.source
        grid, alignment = Grid.parse(given.grid, source.shape[1:], data.size)
        scale, option = getattr(source, "scale", None), getattr(source, "option", None)
        order = in_order(source.ids)
        named = source.ordered_by_name
        return Predictions(order, source.read, lambda _: grid, alignment, named, scale, option)

    found = find(
        data.modalities,
        data.size,
        frames,
        truth,
        {name: predictions(given) for name, given in inputs.items()},
        getattr(data, "reread", lambda _: {}),
    )
    for name, findings in found.items():
        for finding in findings:
            if finding.wrong:
                raise CacheError(
                    f"{inputs[name].source.path}: {finding.text} Give --force to write them as "
                    "they are."
                )
