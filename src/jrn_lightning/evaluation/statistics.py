"""Statistics per image: what a test pass leaves behind, and all that is ever needed of it.

Every measure, under every protocol and pooling, and every interval is a function of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import Tensor
from torchmetrics import Metric

from jrn_lightning.cache.format import set_text
from jrn_lightning.errors import RecordError
from jrn_lightning.evaluation.protocols import IMAGES, PIXELS, POOLINGS
from jrn_lightning.files import replacing
from jrn_lightning.modalities import Array, Measure, Modality

FORMAT = "jrn-statistics"
VERSION = 2
_CHUNK = 1 << 20  # bytes: a damaged chunk costs all that it holds


@dataclass(frozen=True)
class StatisticsTable:
    """Statistics of every image of a split.

    Args:
        ids: N frame ids.
        scenes: N scene names, the clusters of the bootstrap.
        setups: S names: ``input`` for the untouched input, then the inference setups.
        protocols: P names, of crops or of strata.
        modalities: name -> modality.
        values: modality -> ``(N, S, P, D)`` float64, P as :meth:`protocols_of` has it.
    """

    ids: tuple[str, ...]
    scenes: tuple[str, ...]
    setups: tuple[str, ...]
    protocols: tuple[str, ...]
    modalities: Mapping[str, Modality]
    values: Mapping[str, Array]

    def protocols_of(self, modality: str) -> tuple[str, ...]:
        """The protocols of a modality: without strata that it measures over all pixels.

        K classes in K strata of their own would be K² numbers an image, of which few are not zero.
        """
        others = self.modalities[modality].stratum_measures
        return tuple(p for p in self.protocols if p not in others)

    def of(self, modality: str, setup: str, protocol: str) -> Array:
        """``(N, D)`` of one modality, setup and protocol."""
        s, p = self.setups.index(setup), self.protocols_of(modality).index(protocol)
        return self.values[modality][:, s, p]

    def measure(self, modality: str, measure: Measure, pooling: str) -> Array:
        """A measure of the whole split: ``(S, P)``."""
        return pooled(self.values[modality], measure, pooling)

    def save(self, path: Path) -> None:
        """Write atomically: a reader sees the old file or the whole new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, h5py.File(part, "w", libver=("v110", "v110")) as file:
            file.attrs["version"] = VERSION
            set_text(file, "format", FORMAT)
            set_text(file, "setups", json.dumps(self.setups))
            set_text(file, "protocols", json.dumps(self.protocols))
            for name, text in (("id", self.ids), ("scene", self.scenes)):
                data = np.array([t.encode() for t in text], dtype="S")
                file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)
            group = file.create_group("modality", track_order=True)
            for name, modality in self.modalities.items():
                data = self.values[name]
                images = max(1, min(len(data), _CHUNK // max(1, data[:1].nbytes)))
                chunks = (images, *data.shape[1:])
                dataset = group.create_dataset(name, data=data, chunks=chunks, fletcher32=True)
                set_text(dataset, "kind", modality.kind)
                set_text(dataset, "attributes", json.dumps(modality.attributes))

    @classmethod
    def load(cls, path: Path) -> StatisticsTable:
        """Read a file that :meth:`save` wrote.

        Raises:
            RecordError: missing, damaged or foreign file.
        """
        try:
            # Unlocked, as caches are opened: HDF5 refuses one file under two ways of locking.
            with h5py.File(path, "r", locking=False) as file:
                found = (_text(file, "format"), file.attrs.get("version"))
                if found != (FORMAT, VERSION):
                    raise RecordError(
                        f"{path} is not a statistics file of version {VERSION} (found format "
                        f"{found[0]!r}, version {found[1]}). Run the same command again: what is "
                        "trained is only tested again."
                    )
                values, modalities = {}, {}
                for name, dataset in file["modality"].items():
                    values[name] = np.asarray(dataset[()], np.float64)
                    modalities[name] = Modality.create(
                        _text(dataset, "kind"), name, json.loads(_text(dataset, "attributes"))
                    )
                table = cls(
                    tuple(t.decode() for t in file["id"][()]),
                    tuple(t.decode() for t in file["scene"][()]),
                    tuple(json.loads(_text(file, "setups"))),
                    tuple(json.loads(_text(file, "protocols"))),
                    modalities,
                    values,
                )
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise RecordError(
                f"{path} cannot be read as statistics ({error}). Run the job again."
            ) from error
        table._check(path)
        return table

    def _check(self, path: Path) -> None:
        for name, modality in self.modalities.items():
            count = len(modality.statistic_names)
            shape = (len(self.ids), len(self.setups), len(self.protocols_of(name)), count)
            value = self.values[name]
            if value.shape != shape or not np.isfinite(value).all() or (value < 0).any():
                raise RecordError(
                    f"{path}: statistics of {name} have shape {value.shape}, expected {shape}, "
                    "all finite and not negative. Run the job again."
                )


def _text(item: Any, key: str) -> str:
    """A string attribute, empty where there is none."""
    value = item.attrs.get(key, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def pooled(statistics: Array, measure: Measure, pooling: str = PIXELS) -> Array:
    """A measure over the images.

    Args:
        statistics: ``(N, ..., D)``.
        measure: what to compute.
        pooling: ``pixels``: of the summed statistics, as the paper's formulas have it;
            ``images``: the mean over the images that have ground truth.

    Returns:
        ``(...)``.
    """
    if pooling == PIXELS:
        return measure(statistics.sum(0))
    if pooling == IMAGES:
        value = measure(statistics)
        known = np.isfinite(value)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(known, value, 0.0).sum(0) / known.sum(0))
    raise ValueError(f"pooling {pooling!r}: choose from {', '.join(POOLINGS)}")


class ImageStatistics(Metric):
    """Collects statistics per image, exact under DDP and independent of the batch size.

    A thin torchmetrics shell: the states are the rows themselves, gathered by concatenation; an
    image that a distributed sampler repeated is counted once. They are kept in arrays that grow by
    a quarter: of many classes the rows are most of a gigabyte, which is not to be copied whole.

    Args:
        modalities: names to collect.
    """

    full_state_update = False
    index: list[Tensor]

    def __init__(self, modalities: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.names = tuple(modalities)
        self.used = 0
        # Lists, of one array each: only those may differ in length between processes.
        self.add_state("index", default=[], dist_reduce_fx="cat")
        for i in range(len(self.names)):
            self.add_state(f"rows{i}", default=[], dist_reduce_fx="cat")

    def reset(self) -> None:
        """Start afresh."""
        super().reset()
        self.used = 0

    def update(self, index: Tensor, statistics: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            index: ``(B,)`` position of each image in the split.
            statistics: modality -> ``(S, B, P, D)`` float64.
        """
        # Beside the statistics: a gather over GPUs needs every state on the device.
        self._put("index", index.to(next(iter(statistics.values())).device))
        for i, name in enumerate(self.names):
            self._put(f"rows{i}", statistics[name].movedim(1, 0))
        self.used += len(index)

    def _put(self, state: str, rows: Tensor) -> None:
        arrays, end = getattr(self, state), self.used + len(rows)
        size = len(arrays[0]) if arrays else 0
        if end > size:
            # -1 is no position of an image.
            grown = rows.new_full((max(end, 5 * size // 4), *rows.shape[1:]), -1)
            if arrays:
                grown[:size] = arrays[0]
            arrays[:] = [grown]
        arrays[0][self.used : end] = rows

    def compute(self) -> tuple[Array, dict[str, Array]]:
        """Sorted positions ``(N,)`` and modality -> ``(N, S, P, D)``."""

        def array(state: list[Tensor] | Tensor) -> Any:
            return (state if isinstance(state, Tensor) else state[0]).cpu().numpy()

        index, first = np.unique(array(self.index), return_index=True)
        index, first = index[index >= 0], first[index >= 0]
        in_order = (first == np.arange(len(first))).all()
        chosen = slice(len(first)) if in_order else first
        rows = {n: array(getattr(self, f"rows{i}"))[chosen] for i, n in enumerate(self.names)}
        return index, rows
