"""One pass over a test split: every setup, one forward each, everything kept per image.

What a record holds is a set of *parts*, each a table of statistics with setups and pixel sets of
its own: the three setups of Figure 4 under every protocol, and what else was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation.protocols import fitting, regions
from jrn_lightning.keys import JOINT, MAIN, UNTOUCHED, Batch, muted
from jrn_lightning.modalities import Modality, Regions
from jrn_lightning.networks.muting import MuteValue, Zero

# Parts of a record beside the main one, which holds its setups per protocol.
STRATA = "strata"  # the same setups; per kind of pixel
MUTE_VALUES = "mute_values"  # each modality muted with each mute value; per protocol
LADDER = "ladder"  # each modality from truth to nothing; per protocol
GRID = "protocols"  # the main setups; per crop, convention and ground truth
PARTS = (MAIN, STRATA, MUTE_VALUES, LADDER, GRID)

USUAL = "usual"  # the grid's convention that every modality has
UNNAMED = "truth"  # name of a ground truth that has none

#: rungs of the ladder: share of truth (positive) or of noise (negative) in the prediction
TRUTH, NOTHING = "truth", "nothing"
RUNGS: Mapping[str, float] = {
    TRUTH: 1.0,
    "half truth": 0.5,
    "prediction": 0.0,
    "noise 1/4": -0.25,
    "noise 1/2": -0.5,
    "noise 3/4": -0.75,
    "noise": -1.0,
    NOTHING: -1.25,
}

#: network: inputs -> outputs (refined maps or raw outputs), of any size
Network = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
#: modality -> (S, B, P, D)
Rows = dict[str, Tensor]


def muted_with(modality: str, value: str) -> str:
    """Name of the setup in which ``modality`` is replaced with a mute value.

    >>> muted_with("depth", "noise")
    'muted_depth:noise'
    """
    return f"{muted(modality)}:{value}"


def rung(modality: str, name: str) -> str:
    """Name of the setup in which ``modality`` stands on a rung of the ladder.

    >>> rung("depth", "truth")
    'depth:truth'
    """
    return f"{modality}:{name}"


@dataclass(frozen=True)
class Part:
    """What a part of a record holds: names of its setups, and of its protocols or strata."""

    name: str
    setups: tuple[str, ...]
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Evaluator:
    """Runs a network in every setup on a batch and reduces its outputs to statistics.

    Args:
        modalities: name -> modality.
        protocols: names of crops.
        mute_value: what stands in for a muted input.
        mute_values: name -> values to compare beside each other. Several under one name, as of
            several permutations, are averaged: their statistics, hence their pooled measures'
            numerators and denominators.
        noise: the noise of the ladder; None for no ladder.
        mutable: modalities that are muted in turn; all by default, none for a network that has
            learned without one.
        strata: whether to tell kinds of pixels apart.
        grid: whether to measure under every crop, convention and ground truth.
        truths: names of the ground truths by modality, where they have any: of the batch's
            ``target``, then of those in its ``alternative``, which the grid measures too.

    Raises:
        ConfigError: a ladder for a modality whose truth makes no prediction.
    """

    modalities: Mapping[str, Modality]
    protocols: Sequence[str] = ("full",)
    mute_value: MuteValue = field(default_factory=Zero)
    mute_values: Mapping[str, Sequence[MuteValue]] = field(default_factory=dict)
    noise: MuteValue | None = None
    mutable: Sequence[str] | None = None
    strata: bool = False
    grid: bool = False
    truths: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _regions: dict[tuple[object, ...], Regions] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse what would fail in the test, after hours of training."""
        for name in self._muted if self.noise is not None else ():
            modality = self.modalities[name]
            shape = (1, *modality.target_shape((1, 1)))
            missing = torch.full(shape, modality.invalid, dtype=modality.batch_dtype)
            _require_ideal(modality, modality.ideal(missing))

    @property
    def _muted(self) -> tuple[str, ...]:
        return tuple(self.modalities if self.mutable is None else self.mutable)

    @property
    def setups(self) -> tuple[str, ...]:
        """Of the main part: the untouched input, joint, each modality muted."""
        return (UNTOUCHED, JOINT, *(muted(m) for m in self._muted))

    def parts(self, size: tuple[int, int]) -> tuple[Part, ...]:
        """What a pass over frames of ``size`` gives, in the order of :data:`PARTS`."""
        found = [Part(MAIN, self.setups, tuple(self.protocols))]
        strata = tuple(name for m in self.modalities.values() for name in m.strata)
        if self.strata and strata:
            found.append(Part(STRATA, self.setups, strata))
        if self.mute_values and self._muted:
            setups = tuple(muted_with(m, v) for m in self._muted for v in self.mute_values)
            found.append(Part(MUTE_VALUES, setups, tuple(self.protocols)))
        if self.noise is not None and self._muted:
            setups = tuple(rung(m, r) for m in self._muted for r in RUNGS)
            found.append(Part(LADDER, setups, tuple(self.protocols)))
        if self.grid:
            names = [
                "/".join((crop, convention, *truth))
                for truth in ((), *((name,) for name in self._alternatives))
                for convention in self._conventions
                for crop in fitting(size)
            ]
            found.append(Part(GRID, self.setups, tuple(names)))
        return tuple(found)

    def maps(self, network: Network, batch: Batch) -> dict[str, Mapping[str, Tensor]]:
        """Setup of the main part -> modality -> map at the size of the truth."""
        return self._by_setup(self._stacked(network, batch))

    def __call__(self, network: Network, batch: Batch) -> dict[str, Rows]:
        """Statistics of one batch: part -> modality -> ``(S, B, P, D)``."""
        size, targets = _size(batch), batch["target"]
        main = self._stacked(network, batch)
        crops = self.regions(self.protocols, size, batch["valid"].device)

        def measured(outputs: Mapping[str, Tensor]) -> Rows:
            return {
                m: _measured(modality, outputs[m][None], targets[m], crops)
                for m, modality in self.modalities.items()
            }

        parts = self.parts(size)
        strata = self._strata(targets) if any(part.name == STRATA for part in parts) else {}
        # Together: what both are sums of takes longer than the sums.
        both = {
            m: _measured(modality, main[m], targets[m], crops + strata[m] if strata else crops)
            for m, modality in self.modalities.items()
        }
        result, count = {}, len(self.protocols)
        for part in parts:
            if part.name == MAIN:
                result[part.name] = {m: x[:, :, :count] for m, x in both.items()}
            elif part.name == STRATA:
                result[part.name] = {m: x[:, :, count:] for m, x in both.items()}
            elif part.name == MUTE_VALUES:
                rows = [
                    _mean([measured(self._without(network, batch, m, v)) for v in values])
                    for m in self._muted
                    for values in self.mute_values.values()
                ]
                result[part.name] = _joined(rows)
            elif part.name == LADDER:
                maps = self._by_setup(main)
                rungs = (x for m in self._muted for x in self._rungs(network, batch, m, maps))
                result[part.name] = _joined([measured(x) for x in rungs])
            else:
                result[part.name] = self._grid(main, batch)
        return result

    # -- parts ---------------------------------------------------------------------------------

    def _stacked(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Maps of the main part at the size of the truth: modality -> ``(S, B, C, H, W)``."""
        untouched = batch["untouched"]
        stacks = {
            m: untouched[m].new_empty(len(self.setups), *untouched[m].shape)
            for m in self.modalities
        }
        places = self._by_setup(stacks)
        for m, place in places[UNTOUCHED].items():
            place.copy_(untouched[m])
        self._run(network, batch, {}, places[JOINT])
        for m in self._muted:
            self._without(network, batch, m, self.mute_value, places[muted(m)])
        return stacks

    def _by_setup(self, stacks: Mapping[str, Tensor]) -> dict[str, Mapping[str, Tensor]]:
        return {setup: {m: x[s] for m, x in stacks.items()} for s, setup in enumerate(self.setups)}

    def _run(
        self,
        network: Network,
        batch: Batch,
        replaced: Mapping[str, Tensor],
        into: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        return enlarged(network({**batch["input"], **replaced}), _size(batch), into)

    def _without(
        self,
        network: Network,
        batch: Batch,
        m: str,
        value: MuteValue,
        into: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        return self._run(network, batch, {m: value(m, batch["input"][m], batch["index"])}, into)

    def _rungs(
        self,
        network: Network,
        batch: Batch,
        m: str,
        maps: Mapping[str, Mapping[str, Tensor]],
    ) -> Iterator[Mapping[str, Tensor]]:
        """The outputs on each rung; two of them have been run already."""
        prediction = batch["input"][m]
        for name, share in RUNGS.items():
            if name == NOTHING:
                yield maps[muted(m)]
            elif not share:
                yield maps[JOINT]
            else:
                if share > 0:
                    other = ideal_input(self.modalities[m], prediction, batch["target"][m])
                else:
                    assert self.noise is not None
                    other = self.noise(m, prediction, batch["index"])
                yield self._run(network, batch, {m: torch.lerp(prediction, other, abs(share))})

    @property
    def _conventions(self) -> list[str]:
        """The modalities' own, after the usual one."""
        names = [c for m in self.modalities.values() for c in m.conventions]
        return [USUAL, *dict.fromkeys(names)]

    @property
    def _alternatives(self) -> list[str]:
        """Names of the ground truths beside the targets, of any modality."""
        names = [name for m in self.modalities for name in self.truths.get(m, ())[1:]]
        return list(dict.fromkeys(names))

    def _strata(self, targets: Mapping[str, Tensor]) -> dict[str, Regions]:
        """The strata that each modality is measured in."""
        partitions = [
            (names, codes)
            for m, modality in self.modalities.items()
            for names, codes in modality.stratify(targets[m]).items()
        ]
        result = {}
        for m, modality in self.modalities.items():
            chosen = [
                (len(names), codes)
                for names, codes in partitions
                if names[0] not in modality.stratum_measures
            ]
            result[m] = Regions.partitioned(chosen)
        return result

    def _grid(self, maps: Mapping[str, Tensor], batch: Batch) -> Rows:
        size, result = _size(batch), {}
        for m, modality in self.modalities.items():
            target = batch["target"][m]
            crops = self.regions(fitting(size), size, target.device)
            outputs = maps[m]
            # A ground truth that only other modalities have: this one repeats its main rows.
            main = self._conventional(modality, outputs, target, crops)
            rows = [
                self._conventional(modality, outputs, batch["alternative"][m, name], crops)
                if name in self.truths.get(m, ())[1:]
                else main
                for name in self._alternatives
            ]
            result[m] = torch.cat([main, *rows], 2)
        return result

    def _conventional(
        self, modality: Modality, outputs: Tensor, target: Tensor, crops: Regions
    ) -> Tensor:
        """Statistics under every convention, one after the other."""
        usual = _measured(modality, outputs, target, crops)
        rows = [
            _measured(modality, *modality.under(c, outputs, target), crops)
            if c in modality.conventions
            else usual
            for c in self._conventions
        ]
        return torch.cat(rows, 2)

    def regions(self, names: Sequence[str], size: tuple[int, int], device: torch.device) -> Regions:
        """The crops ``names`` of frames of ``size`` (H, W) on ``device``, made once."""
        key = (tuple(names), size, device)
        if key not in self._regions:
            self._regions[key] = regions(names, size).to(device)
        return self._regions[key]


def _measured(modality: Modality, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
    """Statistics ``(S, B, P, D)``, whatever the precision that the network runs in."""
    # Sums are matrix products, which autocast would take in bfloat16.
    with torch.autocast(target.device.type, enabled=False):
        return modality.statistics(outputs, target, regions)


def _size(batch: Batch) -> tuple[int, int]:
    """(H, W) of the truth."""
    height, width = batch["valid"].shape[-2:]
    return int(height), int(width)


def enlarged(
    outputs: Mapping[str, Tensor],
    size: tuple[int, int],
    into: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Outputs brought to ``size`` (H, W) by bilinear interpolation, float32.

    Args:
        outputs: modality -> ``(B, C, h, w)``.
        size: (H, W).
        into: where to write them, modality -> ``(B, C, H, W)`` contiguous; new maps by default.
    """
    result = {}
    for m, y in outputs.items():
        # Contiguous: a channels-last map takes twice as long, and its statistics longer yet.
        y = y.to(torch.float32, memory_format=torch.contiguous_format)
        if into is None:
            result[m] = F.interpolate(y, size=size, mode="bilinear", align_corners=False)
        else:
            interpolate = torch.ops.aten.upsample_bilinear2d.out
            result[m] = interpolate(y, size, False, None, None, out=into[m])
    return result


def ideal_input(modality: Modality, prediction: Tensor, target: Tensor) -> Tensor:
    """The truth as an input: ``(B, C, h, w)`` like ``prediction``.

    The mean of the truth in each cell of the input's grid; the prediction stays where a cell has
    none.

    Raises:
        ConfigError: the truth of this modality does not say all that a prediction holds.
    """
    ideal = _require_ideal(modality, modality.ideal(target))
    known = modality.target_valid(target)[:, None]
    size = prediction.shape[-2:]
    share = F.interpolate(known.float(), size=size, mode="area")
    total = F.interpolate(torch.where(known, ideal.float(), 0.0), size=size, mode="area")
    mean = modality.mixed(total / share.clamp_min(1e-12))
    return torch.where(share > 0, mean, prediction)


def _require_ideal(modality: Modality, ideal: Tensor | None) -> Tensor:
    if ideal is None:
        raise ConfigError(
            f"evaluation.ladder: the truth of {modality.name!r} does not make a prediction. "
            "Define Modality.ideal for it, or leave the ladder out."
        )
    return ideal


def _mean(rows: Sequence[Rows]) -> Rows:
    return {m: torch.stack([r[m] for r in rows]).mean(0) for m in rows[0]}


def _joined(rows: Sequence[Rows]) -> Rows:
    """One setup after the other."""
    return {m: torch.cat([r[m] for r in rows]) for m in rows[0]}
