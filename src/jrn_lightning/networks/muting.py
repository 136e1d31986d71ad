"""Muting: what an input is replaced with when its modality is taken away (Figure 4, B and C).

A muted input is *replaced*, never multiplied: its content, NaN included, cannot reach an output.
Zero is the usual reading of the paper; the others keep the network closer to what it was trained
on, each in another way.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.errors import ConfigError


@dataclass(frozen=True)
class InputStatistics:
    """What is known of the training inputs, by modality."""

    mean: dict[str, Tensor]  # (C,)
    deviation: dict[str, Tensor]  # (C,)
    mean_map: dict[str, Tensor]  # (C, H, W)


class Inputs(Protocol):
    """What a mute value may be made from; the DataModule is one."""

    @property
    def input_statistics(self) -> InputStatistics:
        """Of the training inputs."""

    @property
    def test_scenes(self) -> Sequence[str]:
        """The scene of each test image."""

    def test_inputs(self, modality: str, index: Tensor) -> Tensor:
        """Inputs ``(B, C, H, W)`` of the test images at ``index`` ``(B,)``."""


class MuteValue(ABC):
    """The map that stands in for a muted one."""

    name: ClassVar[str]
    #: whether another seed gives another map of the same worth: the mean of several is steadier
    drawn: ClassVar[bool] = False

    @classmethod
    def of(cls, inputs: Inputs, seed: int) -> MuteValue:
        """The value for the test images; ``seed`` is of what is random about it."""
        return cls()

    @abstractmethod
    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """A map like ``like`` that holds none of its content.

        Args:
            modality: which one is muted.
            like: the muted input ``(B, C, H, W)``: only its shape, dtype and device are read.
            index: ``(B,)`` positions in the split.
        """


class Zero(MuteValue):
    """Zeros everywhere."""

    name: ClassVar[str] = "zero"

    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(like)


class MeanMap(MuteValue):
    """The mean of the training inputs at each pixel.

    Args:
        maps: modality -> ``(C, H, W)``.
    """

    name: ClassVar[str] = "mean_map"

    def __init__(self, maps: Mapping[str, Tensor]) -> None:
        self.maps = dict(maps)

    @classmethod
    def of(cls, inputs: Inputs, seed: int) -> MeanMap:
        """Of the training inputs."""
        return cls(inputs.input_statistics.mean_map)

    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """The same mean map for every image."""
        return _sent_once(self.maps, modality, like).expand_as(like)


class ConstantMean(MuteValue):
    """One number a channel: the mean training depth, the class prior.

    Args:
        means: modality -> ``(C,)``.
    """

    name: ClassVar[str] = "constant"

    def __init__(self, means: Mapping[str, Tensor]) -> None:
        self.means = dict(means)

    @classmethod
    def of(cls, inputs: Inputs, seed: int) -> ConstantMean:
        """Of the training inputs."""
        return cls(inputs.input_statistics.mean)

    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """The same constant for every image."""
        return _sent_once(self.means, modality, like)[:, None, None].expand_as(like)


class OtherImage(MuteValue):
    """The same modality's map of another image: right in kind, wrong in content.

    Args:
        fetch: (modality, index ``(B,)``) -> ``(B, C, H, W)``, the inputs at other positions, on the
            device of ``index``.
        partner: ``(N,)`` the other image of each image, never itself.
    """

    name: ClassVar[str] = "other_image"
    drawn: ClassVar[bool] = True

    def __init__(self, fetch: Callable[[str, Tensor], Tensor], partner: Tensor) -> None:
        if bool((partner == torch.arange(len(partner))).any()):
            raise ValueError("an image cannot be its own partner")
        self.fetch = fetch
        self.partner = partner

    @classmethod
    def of(cls, inputs: Inputs, seed: int) -> OtherImage:
        """Of the test images, of another scene each where there is one."""
        partner = torch.from_numpy(partners(inputs.test_scenes, seed))
        return cls(inputs.test_inputs, partner)

    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """The partners' maps."""
        self.partner = self.partner.to(index.device)  # sent once
        return self.fetch(modality, self.partner[index]).to(like)


class Noise(MuteValue):
    """Gaussian noise of the modality's own mean and variance, the same for the same image.

    Args:
        means: modality -> ``(C,)``.
        deviations: modality -> ``(C,)``.
        seed: noise of another seed is independent.
    """

    name: ClassVar[str] = "noise"

    def __init__(
        self, means: Mapping[str, Tensor], deviations: Mapping[str, Tensor], seed: int
    ) -> None:
        self.means = dict(means)
        self.deviations = dict(deviations)
        self.seed = seed

    @classmethod
    def of(cls, inputs: Inputs, seed: int) -> Noise:
        """With mean and variance of the training inputs."""
        statistics = inputs.input_statistics
        return cls(statistics.mean, statistics.deviation, seed)

    def __call__(self, modality: str, like: Tensor, index: Tensor) -> Tensor:
        """Noise by the seed, the modality and the position alone: no state, no order.

        The same on every device, but for rounding.
        """
        key = self.seed * len(self.means) + sorted(self.means).index(modality)
        scale, mean = (_sent_once(x, modality, like) for x in (self.deviations, self.means))
        noise = _normal(like.shape[1:], key, index.to(like.device))
        return (noise * scale[:, None, None] + mean[:, None, None]).to(like.dtype)


def _sent_once(maps: dict[str, Tensor], modality: str, like: Tensor) -> Tensor:
    """One of ``maps`` where ``like`` is and of its type; it stays on that device."""
    maps[modality] = maps[modality].to(like.device)
    return maps[modality].to(like.dtype)


# SplitMix64 (Steele, Lea and Flood 2014): its step, and the factors of its mixing function.
_STEP, _FIRST, _SECOND = (
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def _normal(shape: torch.Size, key: int, index: Tensor) -> Tensor:
    """Standard normal numbers ``(B, *shape)`` float32 by ``key``, ``index`` ``(B,)`` and place.

    A generator's numbers would depend on the device, and to seed it for an image the host would
    have to know which one it is. So each number is a hash of its place, two of a hash of 64 bits
    (Box and Muller 1958).
    """
    count = shape.numel()
    places = torch.arange(1, (count + 1) // 2 + 1, device=index.device)
    bits = _mixed(_mixed(index * _STEP + key)[:, None] + places * _STEP)
    radius = ((_shifted(bits, 40) + 1).float() / 2**24).log().mul(-2).sqrt()
    angle = (bits & (2**24 - 1)).float() * (2 * math.pi / 2**24)
    pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
    return pairs[:, :count].reshape(-1, *shape)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's mixing function of int64, which wrap around."""
    for bits, factor in ((30, _FIRST), (27, _SECOND)):
        x = (x ^ _shifted(x, bits)) * factor
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, n: int) -> Tensor:
    """Shifted right by ``n`` bits, zeros moving in."""
    return (x >> n) & ((1 << (64 - n)) - 1)


MUTE_VALUES: dict[str, type[MuteValue]] = {
    value.name: value for value in (Zero, MeanMap, ConstantMean, OtherImage, Noise)
}


def mute_value(name: str) -> type[MuteValue]:
    """The mute value called ``name``.

    Raises:
        ConfigError: no such value; the known ones are listed.

    >>> mute_value("zero")
    <class 'jrn_lightning.networks.muting.Zero'>
    """
    if name not in MUTE_VALUES:
        raise ConfigError(
            f"there is no mute value {name!r}. Choose from: {', '.join(MUTE_VALUES)}."
        )
    return MUTE_VALUES[name]


def mute(
    inputs: Mapping[str, Tensor],
    muted: Collection[str],
    value: MuteValue | None = None,
    index: Tensor | None = None,
) -> dict[str, Tensor]:
    """Replace the inputs of the ``muted`` modalities.

    Args:
        inputs: modality -> ``(B, C, H, W)``; left as it is.
        muted: modalities to take away.
        value: what to put there, zero by default.
        index: ``(B,)`` positions in the split, for values that differ between images.

    Raises:
        ConfigError: a muted modality that is not an input.
    """
    unknown = set(muted) - set(inputs)
    if unknown:
        raise ConfigError(
            f"cannot mute {', '.join(sorted(unknown))}: the inputs are {', '.join(inputs)}."
        )
    value = value or Zero()
    if index is None:
        index = torch.arange(len(next(iter(inputs.values()))))
    return {m: value(m, x, index) if m in muted else x for m, x in inputs.items()}


def partners(scenes: Sequence[str], seed: int) -> NDArray[np.int64]:
    """For each image another one, of another scene where there is one: ``(N,)``.

    A random rotation of the images ordered by scene, so that every image is used once.

    Raises:
        ConfigError: fewer than two images.
    """
    n = len(scenes)
    if n < 2:
        raise ConfigError("the mute value other_image needs at least two test images.")
    rng = np.random.default_rng(seed)
    names, scene = np.unique(np.asarray(scenes), return_inverse=True)
    order = np.argsort(rng.permutation(len(names))[scene], kind="stable")
    largest = int(np.bincount(scene).max())
    # A shift by at least the largest scene, and by at most n less that, leaves every scene.
    if 2 * largest <= n:
        shift = int(rng.integers(largest, n - largest + 1))
    else:  # the largest scene must meet itself; these two shifts spare all others
        shift = int(rng.choice([s for s in (largest, n - largest) if 0 < s < n] or [1]))
    partner = np.empty(n, np.int64)
    partner[order] = np.roll(order, -shift)
    return partner


def draw_muted(
    modalities: Sequence[str], probability: float, seed: int, step: int
) -> tuple[str, ...]:
    """Modality dropout: with ``probability`` one modality, drawn evenly, else none.

    Never all of them, hence never one alone, so that every step has something to learn from
    (Neverova et al. 2016, ModDrop, drops each by itself).

    Args:
        modalities: to draw from.
        probability: that one is muted.
        seed: of the run.
        step: of the training; the draw depends on nothing else.

    >>> [draw_muted(["a", "b"], 0.5, 0, step) for step in range(4)]
    [(), (), ('a',), ()]
    """
    if len(modalities) < 2:
        return ()
    rng = np.random.default_rng([seed, step])
    if rng.random() >= probability:
        return ()
    return (modalities[int(rng.integers(len(modalities)))],)
