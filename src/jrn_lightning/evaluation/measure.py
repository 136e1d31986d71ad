"""The influence between modalities in any network: what a test pass measures, as one function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from jrn_lightning.errors import ConfigError, JRNError
from jrn_lightning.evaluation import PIXELS, Evaluator, ImageStatistics, StatisticsTable, enlarged
from jrn_lightning.evaluation.evaluator import MUTE_VALUES, Network, muted_with
from jrn_lightning.influence import Results, compute_results
from jrn_lightning.keys import JOINT, MAIN, WHOLE, Batch, muted, muted_modality
from jrn_lightning.modalities import Modality
from jrn_lightning.networks import MuteValue, Zero

#: what the network is given and tested on, as :class:`~jrn_lightning.keys.Batch` has it
Batches = Iterable[Mapping[str, Any]]

_REQUIRED = ("input", "target")


@dataclass(frozen=True)
class Influence:
    """What was measured in a network.

    Args:
        tables: part -> statistics per image, from which all else follows; ``statistics`` is the
            one of the three setups of Figure 4.
        results: measures, improvement over the input and ω, with intervals, as rows.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    tables: Mapping[str, StatisticsTable]
    results: Results
    resamples: int
    seed: int

    @property
    def table(self) -> StatisticsTable:
        """Statistics per image of the untouched input, joint, and each modality muted."""
        return self.tables[MAIN]

    @property
    def measures(self) -> pd.DataFrame:
        """Each measure in each setup, protocol, pooling and modality, with value, low, high."""
        return pd.DataFrame(self.results.metrics)

    @property
    def improvement(self) -> pd.DataFrame:
        """A(joint) - A(untouched input) in each protocol, pooling, modality; value, low, high."""
        return pd.DataFrame(self.results.improvement)

    @property
    def omega(self) -> pd.DataFrame:
        """ω, by source, target, protocol, pooling and measure, with value, low, high."""
        return pd.DataFrame(self.results.influence)

    @property
    def mute_values(self) -> pd.DataFrame:
        """ω with each mute value that was asked for, as :attr:`omega`, pooled over pixels.

        Before its columns ``mute_value``, and ``performance``: A with the source muted by it.
        """
        part = self.tables.get(MUTE_VALUES)
        if part is None:
            return pd.DataFrame(columns=["mute_value", "performance", *self.omega.columns])
        main = self.table
        sources = [m for setup in main.setups if (m := muted_modality(setup)) is not None]
        values = dict.fromkeys(setup.partition(":")[2] for setup in part.setups)
        rows: list[dict[str, Any]] = []
        for value in values:
            chosen = [part.setups.index(muted_with(m, value)) for m in sources]
            joint = main.setups.index(JOINT)
            results = compute_results(
                {
                    m: np.concatenate([main.values[m][:, [joint]], part.values[m][:, chosen]], 1)
                    for m in main.modalities
                },
                _measures(main.modalities),
                (JOINT, *(muted(m) for m in sources)),
                main.protocols,
                main.scenes,
                resamples=self.resamples,
                seed=self.seed,
                poolings=(PIXELS,),
            )
            for row in results.influence:
                setup = muted_with(row["source"], value)
                statistics = part.of(row["target"], setup, row["protocol"]).sum(0)
                measure = main.modalities[row["target"]].measure(row["measure"])
                a = float(measure.performance(measure(statistics)))
                rows.append({"mute_value": value, "performance": a, **row})
        return pd.DataFrame(rows)

    def save(self, folder: Path | str) -> None:
        """Write each part as ``<part>.h5``, as a job does; ``StatisticsTable.load`` reads it."""
        for name, table in self.tables.items():
            table.save(Path(folder) / f"{name}.h5")


def measure_influence(
    network: Network,
    batches: Batches,
    modalities: Mapping[str, Modality],
    *,
    scenes: Sequence[str] | None = None,
    protocols: Sequence[str] = (WHOLE,),
    mute_value: MuteValue | None = None,
    mute_values: Mapping[str, Sequence[MuteValue]] | None = None,
    noise: MuteValue | None = None,
    strata: bool = False,
    grid: bool = False,
    device: torch.device | str = "cpu",
    resamples: int = 10_000,
    seed: int = 0,
) -> Influence:
    """Measure ω between all modalities of a network, as the test of a JRN does.

    One pass over the batches; in each the network runs once with all inputs, once with each
    modality muted, and once for whatever else is asked for. Nothing is trained.

    Args:
        network: callable from ``{modality: (B, C, H, W)}`` to ``{modality: (B, C, h, w)}``, of any
            sizes: refined maps or raw scores, brought to the size of the truth by bilinear
            interpolation. A module is put into evaluation mode meanwhile.
        batches: each with ``input`` (modality -> ``(B, C, H, W)`` float) and ``target`` (modality
            -> ``(B, H', W')`` or ``(B, C, H', W')`` as the modality has it: depth in metres with 0
            where missing, labels with 255 where void); and where there are any: ``id`` (B names),
            ``index`` (``(B,)`` position in the split, by counting without it), and ``untouched``
            (the inputs at the size of the truth, resized without it).
            ``CacheDataModule.test_dataloader()`` gives such batches.
        modalities: name -> modality, all of them inputs, outputs and targets.
        scenes: the scene of each image, by ``index``: the clusters of the bootstrap. Without them
            every image counts as a scene of its own, and intervals of frames from one video come
            out too narrow.
        protocols: names of crops.
        mute_value: what stands in for a muted input, zeros by default.
        mute_values: name -> values to compare; several of one name, as of several permutations,
            are averaged. ``CacheDataModule.mute_value`` makes them by name.
        noise: the noise of the oracle ladder (part ``ladder``); None for no ladder.
        strata: also tell kinds of pixels apart (part ``strata``).
        grid: also measure under every crop and convention (part ``protocols``), by ``target``.
        device: where the batches are sent; the network has to be there.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigError: batches, outputs or scenes that are missing or do not fit; what, is told.
        JRNError: an output that is not finite.

    Example: depth that a toy network mixes with what lies beside it.

    >>> import torch
    >>> from jrn_lightning import measure_influence
    >>> from jrn_lightning.modalities import Depth, Semantic
    >>> truth = torch.rand(8, 1, 12, 16) + 1
    >>> label = (truth[:, 0] > 1.5).long()
    >>> seen = torch.stack([1 - label, label], 1).float()
    >>> batch = {
    ...     "input": {"depth": 0 * truth + 1.5, "semantic": seen},
    ...     "target": {"depth": truth[:, 0], "semantic": label},
    ... }
    >>> def network(inputs):
    ...     near, far = inputs["semantic"].split(1, 1)
    ...     return {"depth": inputs["depth"] - near / 4 + far / 4, "semantic": inputs["semantic"]}
    >>> found = measure_influence(
    ...     network, [batch], {"depth": Depth("depth"), "semantic": Semantic("semantic", "ab")}
    ... )
    >>> omega = found.omega.query("measure == 'sq_rel' and pooling == 'pixels'").iloc[0]
    >>> omega.source, omega.target, bool(0 < omega.low < omega.value < omega.high)
    ('semantic', 'depth', True)
    """
    modalities = dict(modalities)
    evaluator = Evaluator(
        modalities,
        tuple(protocols),
        mute_value or Zero(),
        dict(mute_values or {}),
        noise,
        strata=strata,
        grid=grid,
    )
    tables = _tables(network, batches, evaluator, scenes, torch.device(device))
    main = tables[MAIN]
    results = compute_results(
        main.values,
        _measures(modalities),
        main.setups,
        main.protocols,
        main.scenes,
        resamples=resamples,
        seed=seed,
    )
    return Influence(tables, results, resamples, seed)


def _tables(
    network: Network,
    batches: Batches,
    evaluator: Evaluator,
    scenes: Sequence[str] | None,
    device: torch.device,
) -> dict[str, StatisticsTable]:
    """One pass over the batches: part -> statistics per image."""
    modalities = dict(evaluator.modalities)
    collected: dict[str, ImageStatistics] = {}
    names: dict[int, str] = {}
    size: tuple[int, int] | None = None
    with _evaluating(network), torch.no_grad():
        for given in batches:
            batch = _whole(given, modalities, len(names), device)
            height, width = batch["valid"].shape[1:]
            if size not in (None, (height, width)):
                raise ConfigError(
                    f"the truth of a batch is {height} × {width}, that of others {size}: bring "
                    "all frames to one size."
                )
            size = (int(height), int(width))
            for part, statistics in evaluator(_checked(network, modalities), batch).items():
                collected.setdefault(part, ImageStatistics(tuple(modalities)))
                cpu = {m: x.cpu() for m, x in statistics.items()}
                collected[part].update(batch["index"].cpu(), cpu)
            for i, name in zip(batch["index"].tolist(), batch["id"], strict=True):
                if i in names:
                    raise ConfigError(
                        f"the images {names[i]} and {name} both have the index {i}: it is the "
                        "position in the split. Leave it out to have the images counted."
                    )
                names[i] = name
    if size is None:
        raise ConfigError("there is no batch to measure: is the iterator used up?")
    tables = {}
    for found in evaluator.parts(size):
        index, values = collected[found.name].compute()
        _require_finite(found.name, values)
        tables[found.name] = StatisticsTable(
            tuple(names[i] for i in index),
            _scenes(scenes, index.tolist(), names),
            found.setups,
            found.protocols,
            modalities,
            values,
        )
    return tables


def _measures(modalities: Mapping[str, Modality]) -> dict[str, Any]:
    return {m: modality.measures for m, modality in modalities.items()}


@contextmanager
def _evaluating(network: Network) -> Iterator[None]:
    """In evaluation mode, and afterwards as it was."""
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def _whole(
    given: Mapping[str, Any], modalities: Mapping[str, Modality], seen: int, device: torch.device
) -> Batch:
    """A batch with all that the evaluator reads, on ``device``."""
    for key in _REQUIRED:
        missing = [m for m in modalities if m not in given.get(key, {})]
        if missing:
            raise ConfigError(f"a batch has no {key!r} for {', '.join(missing)}.")
    inputs = {m: given["input"][m].to(device) for m in modalities}
    targets = {
        m: given["target"][m].to(device, modality.batch_dtype) for m, modality in modalities.items()
    }
    for m, modality in modalities.items():
        shape, of_truth = tuple(inputs[m].shape), tuple(targets[m].shape)
        wanted = (of_truth[0], *modality.target_shape((of_truth[-2], of_truth[-1])))
        if len(shape) != 4 or shape[1] != modality.channels or of_truth != wanted:
            axes = f"{modality.target_channels}, " if modality.target_channels else ""
            raise ConfigError(
                f"a batch has {m} as input {shape} and target {of_truth}: give "
                f"(B, {modality.channels}, H, W) and (B, {axes}H, W)."
            )
    first = next(iter(targets.values()))
    count, size = len(first), first.shape[-2:]
    index = torch.as_tensor(given.get("index", range(seen, seen + count)), device=device)
    untouched = given.get("untouched")
    if untouched is None:
        untouched = enlarged(inputs, (int(size[0]), int(size[1])))
    batch = {
        "id": [str(i) for i in given.get("id", index.tolist())],
        "index": index,
        "input": inputs,
        "target": targets,
        "valid": torch.stack([modalities[m].target_valid(t) for m, t in targets.items()]).all(0),
        "untouched": {m: untouched[m].to(device) for m in modalities},
    }
    return cast(Batch, batch)


def _checked(network: Network, modalities: Mapping[str, Modality]) -> Network:
    """The network, refused where its outputs are not those of the modalities."""

    def run(inputs: dict[str, Tensor]) -> Mapping[str, Tensor]:
        outputs = network(inputs)
        for m, modality in modalities.items():
            if m not in outputs:
                raise ConfigError(f"the network gives {', '.join(outputs)} and no {m!r}.")
            shape = tuple(outputs[m].shape)
            if len(shape) != 4 or shape[:2] != (len(inputs[m]), modality.channels):
                raise ConfigError(
                    f"the network gives {m} of shape {shape}: it should be "
                    f"({len(inputs[m])}, {modality.channels}, h, w)."
                )
        return {m: outputs[m] for m in modalities}

    return run


def _require_finite(part: str, values: Mapping[str, Any]) -> None:
    broken = [m for m, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise JRNError(f"the outputs for {', '.join(broken)} are not finite ({part}).")


def _scenes(
    scenes: Sequence[str] | None, index: Sequence[int], names: Mapping[int, str]
) -> tuple[str, ...]:
    if scenes is None:
        return tuple(names[i] for i in index)
    if max(index) >= len(scenes):
        raise ConfigError(
            f"there are {len(scenes)} scenes and an image of index {max(index)}: give the scene "
            "of every image of the split."
        )
    return tuple(scenes[i] for i in index)


__all__ = ["Batches", "Influence", "measure_influence"]
