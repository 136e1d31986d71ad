"""Whether predictions and ground truth can be of the same frames, in the same units and classes.

A sample of frames, at low resolution, is measured as given and as it would be had something been
mistaken: the numbering, the order, which side is up, the unit, the classes. What fits clearly
better than what was given, paired by frame, is told with its remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.cache import PredictionCache
from jrn_lightning.cache.grid import AREA, Grid, resample
from jrn_lightning.importers.frames import in_order
from jrn_lightning.modalities import Array, Modality, Regions

Key = TypeVar("Key", bound=Hashable)

_FRAMES: Final = 128
_SIZE: Final = (48, 64)
#: fewer frames tell nothing
_FEWEST: Final = 16
# What fits clearly better does so by so many standard errors and takes away so much of the error.
_SIGMAS: Final = 4.0
_SHARE: Final = 0.03
# What was fitted to the truth does so anyway, a little: it takes away more.
_FITTED_SHARE: Final = 0.15
# Predictions of other frames fit worse: by ten standard errors and more where they are of a strong
# network, of one that sees little by two to five, of maps in disorder by no more than one.
_NO_BETTER: Final = 3.0
_NO_BETTER_AT_ALL: Final = 1.0
# The mean map is better than maps in disorder by two and more, never than those of a network.
_MEAN_BETTER: Final = 1.5
#: how far a grid's aspect ratio may be from the frame's
_ASPECT: Final = 1.1

#: factors to metres of what files are written in: decimal units, fixed point, whole ranges, feet
_SCALES: Final = (
    *(1e3, 1e2, 10.0, 1.0, 0.1, 0.01, 1e-3),
    *(1 / 256, 1 / 5000, 10 / 255, 10 / 65535, 0.3048),
)

#: what to do about the order of predictions, by whether each says which frame it is of
_NUMBER: Final = {
    True: "Number them as their frames are.",
    False: "Put them in the order of the data set, or store beside the maps which frames they are "
    "of, as an array 'index' of their ids.",
}

_SIDES: Final[Mapping[str, tuple[int, ...]]] = {
    "are mirrored left to right": (-1,),
    "are upside-down": (-2,),
    "are turned by 180°": (-1, -2),
}


class Finding(NamedTuple):
    """Something implausible.

    Attributes:
        text: what, and what to do, as sentences.
        wrong: whether it cannot be meant.
    """

    text: str
    wrong: bool


@dataclass(frozen=True)
class Predictions(Generic[Key]):
    """The predictions of one modality.

    Args:
        order: all frames that they are of, as they are numbered.
        read: the prediction of a frame, ``(C, h, w)``.
        grid: how it lies on the frame.
        alignment: that grid's name.
        named: whether each says which frame it is of.
        scale: the factor that :attr:`read` applies to what is in a file, where it is known.
        option: how another value of an option is given, of its name and the value.
    """

    order: Sequence[Key]
    read: Callable[[Key], NDArray[Any]]
    grid: Callable[[Key], Grid]
    alignment: str
    named: bool = True
    scale: float | None = None
    option: Callable[[str, str], str] | None = None


def find(
    modalities: Mapping[str, Modality],
    frame: tuple[int, int],
    frames: Sequence[Key],
    truth: Callable[[Key], Mapping[str, NDArray[Any]]],
    given: Mapping[str, Predictions[Key]],
    reread: Callable[[Key], Mapping[str, Mapping[str, NDArray[Any]]]] = lambda _: {},
) -> dict[str, list[Finding]]:
    """What is implausible about the predictions of each modality, or about their truth.

    Args:
        modalities: their kinds, by name.
        frame: (H, W) of every truth.
        frames: those with ground truth, in the order of their numbering.
        truth: modality -> ground truth ``(H, W)`` of a frame.
        given: predictions by modality.
        reread: modality -> what a mistake in the files of the truth would be, as "what: remedy"
            -> what would be the truth then.
    """
    height, width = np.minimum(_SIZE, frame).tolist()
    rows = ((np.arange(height) + 0.5) * frame[0] // height).astype(int)  # at the cells' centres
    columns = ((np.arange(width) + 0.5) * frame[1] // width).astype(int)

    def small(maps: NDArray[Any]) -> Tensor:
        return torch.from_numpy(maps[..., rows[:, None], columns])

    places = np.linspace(0, len(frames) - 1, min(len(frames), _FRAMES)).round().astype(int)
    chosen = [frames[i] for i in places]
    truths = [{m: small(maps) for m, maps in truth(key).items()} for key in chosen]
    others = [
        {m: {what: small(maps) for what, maps in read.items()} for m, read in reread(key).items()}
        for key in chosen
    ]
    found = {}
    for name, predictions in given.items():
        kind = modalities[name]
        target = torch.stack([t[name] for t in truths])
        sample = _Sample(kind, frame, chosen, target, predictions)
        rereadings = {
            what: torch.stack([other[name][what] for other in others]).to(kind.batch_dtype)
            for what in others[0].get(name, {})
        }
        found[name] = list(sample.findings(rereadings))
    return found


class _Candidate(NamedTuple):
    """What predictions and truth would be, but for a mistake; see :class:`.Reading`."""

    what: str
    remedy: str
    outputs: Tensor
    target: Tensor
    share: float = _SHARE


class _Sample(Generic[Key]):
    """The predictions of one modality and their truth, on some frames."""

    def __init__(
        self,
        modality: Modality,
        frame: tuple[int, int],
        chosen: Sequence[Key],
        target: Tensor,
        given: Predictions[Key],
    ) -> None:
        self.modality = modality
        self.frame = frame
        self.chosen = chosen
        self.given = given
        self.target = target.to(modality.batch_dtype)
        self.size = (target.shape[-2], target.shape[-1])
        self.regions = Regions.of([(slice(None), slice(None))], self.size)
        self.measure = modality.measure(modality.primary)
        self.outputs = self._read(chosen)
        self.performance = self._measured(self.outputs)

    def findings(self, rereadings: Mapping[str, Tensor]) -> Iterator[Finding]:
        """The mistake that explains most, or else what is odd."""
        flat = self.outputs.transpose(0, 1).flatten(1)
        if torch.allclose(flat, flat[:, :1]) or np.isfinite(self.performance).sum() < _FEWEST:
            return  # nothing to tell, as of the constant map of a control
        name = self.modality.name
        better = [
            (np.nanmean(other), candidate)
            for candidate in self._candidates(rereadings)
            if self._clearly(
                other := self._measured(candidate.outputs, candidate.target), candidate.share
            )
        ]
        if better:
            best, candidate = max(better, key=lambda pair: pair[0])
            text = f"the {name} predictions {candidate.what}"
            yield Finding(f"{text} ({self._evidence(best)}). {candidate.remedy}", True)
            return
        if finding := self._others():
            yield finding
            return
        constant = self._measured(self._constant())
        if self._clearly(constant):
            told = self._evidence(np.nanmean(constant))
            yield Finding(
                f"the {name} predictions are worse than a constant map ({told}). Compare them "
                "with the truth in pictures (jrn cache show).",
                False,
            )
        if aspect := self._aspect():
            yield Finding(f"the {name} predictions {aspect}", False)

    # -- what could be mistaken ------------------------------------------------------------------

    def _candidates(self, rereadings: Mapping[str, Tensor]) -> Iterator[_Candidate]:
        order, target = self.given.order, self.target
        place = {key: i for i, key in enumerate(order)}
        number = _NUMBER[self.given.named]
        for what, sign, step in (
            ("are each of the frame after their own, as if counted from 0", 1, -1),
            ("are each of the frame before their own", 1, 1),
            ("are in the reverse order", -1, -1),
        ):
            moved = self._read([order[(sign * place[k] + step) % len(order)] for k in self.chosen])
            yield _Candidate(what, number, moved, target)
        for what, axes in _SIDES.items():
            yield _Candidate(what, "Write them as the frames are.", self.outputs.flip(axes), target)
        yield _Candidate(
            "are transposed",
            "Write them rows first.",
            self._read(self.chosen, transposed=True),
            target,
        )
        for reading in self.modality.readings(self.outputs, target):
            remedy = reading.remedy
            if reading.factor is not None and self.given.scale is not None:
                scale = _usual(self.given.scale * reading.factor)
                remedy = f"Give the scale {scale:.9g}{self._option('scale', f'{scale:.9g}')}."
            yield _Candidate(reading.what, remedy, reading.outputs, target, _FITTED_SHARE)
        for text, other_target in rereadings.items():
            what, _, remedy = text.partition(": ")
            yield _Candidate(what, remedy, self.outputs, other_target)

    def _others(self) -> Finding | None:
        """Whether predictions of far frames fit as well.

        They do of a network that knows next to nothing of its frame, too. But the mean of what
        that predicts is no better than it; the mean of maps in disorder is.
        """
        n = len(self.chosen)
        far = np.mean([self._measured(self.outputs.roll(n * k // 4, 0)) for k in (1, 2, 3)], 0)
        gain = self.performance - far
        gain = gain[np.isfinite(gain)]
        if np.allclose(gain, 0, atol=1e-6) or _sigmas(gain) >= _NO_BETTER:
            return None
        mean = self._measured(self.outputs.mean(0, keepdim=True).expand_as(self.outputs))
        better = mean - self.performance
        disorder = _sigmas(better[np.isfinite(better)]) > _MEAN_BETTER
        unlike = _sigmas(gain) < _NO_BETTER_AT_ALL
        if not (disorder or unlike):
            return None
        return Finding(
            f"the {self.modality.name} predictions fit other frames as well as their own "
            f"({self._evidence(np.nanmean(far))}): they are in another order, or know nothing of "
            f"their frames. {_NUMBER[self.given.named]}",
            disorder or not self.given.named,  # that an order is right is only supposed
        )

    def _constant(self) -> Tensor:
        """The best single value, such as the mean depth or the frequencies of the classes."""
        kind = self.modality
        known = torch.stack([kind.single_task_statistics(t) for t in self.target]).sum(0)
        bias = kind.single_task_bias(known).float().view(1, -1, 1, 1)
        return kind.single_task_prediction(bias.expand_as(self.outputs[:1])).expand_as(self.outputs)

    def _aspect(self) -> str | None:
        """What to tell of a grid of another shape than the frame; a square one is common."""
        h, w = self.given.read(self.chosen[0]).shape[-2:]
        aspect = (w / h) / (self.frame[1] / self.frame[0])
        # Few samples cannot have any ratio.
        tolerance = _ASPECT * (1 + 1 / min(h, w))
        if self.given.alignment != AREA or h == w or 1 / tolerance < aspect < tolerance:
            return None
        return (
            f"have {h} × {w} samples, the frame {self.frame[0]} × {self.frame[1]} pixels. Say how "
            f"they lie on it{self._option('grid', 'OY,SY,OX,SX')} if they show a part of it."
        )

    def _option(self, name: str, value: str) -> str:
        """How to give it, in brackets; nothing where that is not known, as of a finished cache."""
        return f" ({self.given.option(name, value)})" if self.given.option else ""

    # -- measuring -------------------------------------------------------------------------------

    def _read(self, wanted: Sequence[Key], transposed: bool = False) -> Tensor:
        """Predictions at the low resolution: ``(N, C, H', W')`` float32."""
        rows = []
        for key in wanted:
            # PyTorch knows no foreign byte order.
            maps = torch.from_numpy(np.ascontiguousarray(self.given.read(key), np.float32))
            grid = self.given.grid(key)
            if transposed:
                maps = maps.swapaxes(-1, -2)
                grid = Grid.area((maps.shape[-2], maps.shape[-1]), self.frame)
            rows.append(resample(maps, grid, self.frame, self.size))
        return torch.stack(rows)

    def _measured(self, outputs: Tensor, target: Tensor | None = None) -> Array:
        """Performance A of each frame, NaN where nothing is known."""
        truth = self.target if target is None else target
        statistics = self.modality.statistics(outputs[None], truth, self.regions)
        return self.measure.performance(self.measure(statistics[0, :, 0].numpy()))

    def _clearly(self, other: Array, share: float = _SHARE) -> bool:
        """Whether ``other`` performances are clearly better than those given."""
        both = np.isfinite(other) & np.isfinite(self.performance)
        gain = (other - self.performance)[both]
        if len(gain) < _FEWEST:
            return False
        return _sigmas(gain) > _SIGMAS and bool(gain.mean() > share * self._error)

    @cached_property
    def _error(self) -> float:
        """How much better the predictions could be; 0 where the truth does not say."""
        ideal = self.modality.ideal(self.target)
        return 0.0 if ideal is None else float(np.nanmean(self._measured(ideal) - self.performance))

    def _evidence(self, other: Any) -> str:
        as_given = np.nanmean(self.performance)
        unit = self.measure.performance(np.ones(()))
        return (
            f"{self.measure.label} {as_given / unit:.3g} as given, {other / unit:.3g} so, in "
            f"{len(self.chosen)} frames"
        )


def _sigmas(gain: Array) -> float:
    """The mean in standard errors."""
    return float(gain.mean() / max(gain.std() / len(gain) ** 0.5, 1e-12))


def _usual(scale: float) -> float:
    """The factor of a usual unit that is near, or the factor itself."""
    near = min(_SCALES, key=lambda usual: abs(np.log(scale / usual)))
    return near if 0.75 < scale / near < 1 / 0.75 else scale


def find_in_cache(cache: PredictionCache) -> dict[str, list[Finding]]:
    """What :func:`find` has to say of a finished cache."""
    rows = {id: (s, i) for s in map(cache.split, cache.splits) for i, id in enumerate(s.ids)}
    order = in_order(rows)
    frames = [id for id in order if rows[id][0].has_targets]
    if not frames:
        return {}

    def truth(id: str) -> dict[str, NDArray[Any]]:
        split, i = rows[id]
        return {name: split.target(name, i) for name in cache.modalities}

    def given(name: str) -> Predictions[str]:
        return Predictions(
            order,
            lambda id: rows[id][0].prediction(name, rows[id][1]),
            lambda id: rows[id][0].grid(name),
            rows[frames[0]][0].provenance(name).alignment,
        )

    predictions = {name: given(name) for name in cache.modalities}
    return find(cache.modalities, cache.frame, frames, truth, predictions)
