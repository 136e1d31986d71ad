"""Sums and histograms over sets of pixels: the crops of protocols, the strata of a ground truth.

B images, H × W pixels, P regions, C categories.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor


class _Sets(ABC):
    """Sets of pixels of one kind: all are sums over the same parts of a frame."""

    @abstractmethod
    def to(self, device: torch.device) -> _Sets:
        """The same sets on ``device``."""

    @abstractmethod
    def by_part(self, maps: Tensor) -> Tensor:
        """Sums of ``maps`` ``(..., B, H, W)`` over the parts: ``(..., B, *)``."""

    @abstractmethod
    def by_set(self, sums: Tensor) -> Tensor:
        """From sums over the parts ``(..., B, *)`` to those over the sets: ``(..., B, P)``."""

    @abstractmethod
    def counts(self, codes: Tensor, categories: int) -> Tensor:
        """See :meth:`Regions.counts`."""


@dataclass(frozen=True)
class Regions:
    """P sets of pixels of the frames of a batch, ready for fast sums.

    Those of one sum to those of another: ``crops + strata`` has the crops, then the strata.
    """

    members: tuple[_Sets, ...]

    @staticmethod
    def of(crops: Sequence[tuple[slice, slice]], size: tuple[int, int]) -> Regions:
        """The half-open ``crops`` (rows, columns) of any frame of ``size`` (H, W)."""
        return Regions((_Crops.between(crops, size),))

    @staticmethod
    def partitioned(partitions: Sequence[tuple[int, Tensor]]) -> Regions:
        """Sets that differ by frame.

        Args:
            partitions: each a number n of sets that share no pixel, and ``(B, H, W)`` integers:
                which of them a pixel belongs to, n where to none.
        """
        return Regions((_Partitions.of_codes(partitions),))

    def __add__(self, other: Regions) -> Regions:
        """These, then the ``other`` ones: what is summed is computed once for all of them."""
        return Regions(self.members + other.members)

    def to(self, device: torch.device) -> Regions:
        """The same regions on ``device``."""
        return Regions(tuple(sets.to(device) for sets in self.members))

    def sums(self, maps: Tensor) -> Tensor:
        """Sum ``maps`` ``(..., B, H, W)`` over each region: ``(..., B, P)`` float64."""
        return self.sums_of([maps])[0]

    def sums_of(self, maps: Iterable[Tensor]) -> Tensor:
        """Sums of n maps, ``(n, ..., B, P)``.

        Each map is done with before the next is asked for: all may be the same memory.
        """
        by_part = zip(*([sets.by_part(x) for sets in self.members] for x in maps), strict=True)
        found = [s.by_set(torch.stack(x)) for s, x in zip(self.members, by_part, strict=True)]
        return torch.cat(found, -1)

    def counts(self, codes: Tensor, categories: int) -> Tensor:
        """Histogram of ``codes`` ``(B, H, W)`` in ``[0, categories)`` over each region.

        Returns:
            ``(B, P, categories)`` float64, exact.
        """
        return torch.cat([sets.counts(codes, categories) for sets in self.members], 1)


def smallest_integer(count: int) -> torch.dtype:
    """The narrowest type that holds ``count``: a histogram of bytes takes half the time of int64's.

    >>> smallest_integer(150), smallest_integer(256)
    (torch.uint8, torch.int16)
    """
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if count <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def _histogram(code: Tensor, parts: int, codes: Tensor, categories: int) -> Tensor:
    """Histogram of ``codes`` in each part ``code`` of each frame: ``(B, parts, categories)``."""
    bins = len(codes) * parts * categories
    dtype = smallest_integer(bins)
    image = torch.arange(0, bins, parts * categories, dtype=dtype, device=codes.device)
    joint = code.to(dtype) * categories + codes.to(dtype) + image[:, None, None]
    return _counted(joint.flatten(), bins).view(len(codes), parts, categories)


def _counted(places: Tensor, bins: int) -> Tensor:
    """How often each of ``bins`` places occurs, float64.

    Not bincount, which waits for the device to tell the largest place.
    """
    counts = torch.zeros(bins, dtype=torch.int64, device=places.device)
    counts.index_add_(0, places.int(), counts.new_ones(1).expand(len(places)))
    return counts.double()


@dataclass(frozen=True)
class _Crops(_Sets):
    """Rectangles, the same for all frames.

    Args:
        cuts: rows where a crop begins or ends, from 0 to H.
        rows: ``(P, len(cuts) - 1)`` float64 0/1, whether the rows from one cut to the next are
            inside each crop.
        columns: ``(P, W)`` 0/1.
        code: ``(H, W)`` of the narrowest type, which combination of crops a pixel lies in.
        membership: ``(combinations, P)`` float64 0/1.
    """

    cuts: tuple[int, ...]
    rows: Tensor
    columns: Tensor
    code: Tensor
    membership: Tensor

    @classmethod
    def between(cls, crops: Sequence[tuple[slice, slice]], size: tuple[int, int]) -> _Crops:
        height, width = size
        rows = torch.zeros(len(crops), height)
        columns = torch.zeros(len(crops), width)
        for p, (r, c) in enumerate(crops):
            rows[p, r] = 1
            columns[p, c] = 1
        bit = 1 << torch.arange(len(crops))
        inside = (rows[:, :, None] * columns[:, None, :]).long()
        values, code = torch.unique((inside * bit[:, None, None]).sum(0), return_inverse=True)
        membership = ((values[:, None] & bit) > 0).double()
        changes = (rows[:, 1:] != rows[:, :-1]).any(0).nonzero()[:, 0] + 1
        cuts = (0, *changes.tolist(), height)
        code = code.to(smallest_integer(len(values)))
        return cls(cuts, rows[:, list(cuts[:-1])].double(), columns, code, membership)

    def to(self, device: torch.device) -> _Crops:
        moved = (t.to(device) for t in (self.rows, self.columns, self.code, self.membership))
        return _Crops(self.cuts, *moved)

    def by_part(self, maps: Tensor) -> Tensor:
        """Sums of columns from cut to cut, in the maps' precision: ``(..., runs, W)``."""
        # A matrix product of all rows takes twice as long, and so does what comes after it.
        runs = [maps[..., first:end, :].sum(-2) for first, end in pairwise(self.cuts)]
        return torch.stack(runs, -2)

    def by_set(self, sums: Tensor) -> Tensor:
        by_column = self.rows @ sums.double()  # (..., P, W)
        return (by_column * self.columns).sum(-1)

    def counts(self, codes: Tensor, categories: int) -> Tensor:
        by_part = _histogram(self.code, len(self.membership), codes, categories)
        return torch.einsum("brc,rp->bpc", by_part, self.membership)


@dataclass(frozen=True)
class _Partitions(_Sets):
    """Sets that do not overlap within a partition, other ones in every frame.

    A pixel is put into one part, the combination of its sets in several partitions, and what a set
    holds is the sum over the parts that it is made of: one pass over the pixels, however many sets.

    Args:
        batch: B.
        sizes: of each bundle of partitions, how many sets each partition has.
        places: of each bundle ``(B H W,)`` int64, which part of which frame a pixel is of.
    """

    batch: int
    sizes: tuple[tuple[int, ...], ...]
    places: tuple[Tensor, ...]

    #: parts that a bundle may have
    limit: ClassVar[int] = 1 << 14

    @classmethod
    def of_codes(cls, partitions: Sequence[tuple[int, Tensor]]) -> _Partitions:
        batch = len(partitions[0][1])
        sizes: list[tuple[int, ...]] = []
        places: list[Tensor] = []
        for size, code in partitions:
            if not sizes or _parts(sizes[-1]) * (size + 1) > cls.limit:
                sizes.append(())
                places.append(torch.arange(batch, device=code.device)[:, None, None])
            sizes[-1] = (*sizes[-1], size)
            places[-1] = places[-1] * (size + 1) + code
        return cls(batch, tuple(sizes), tuple(place.flatten() for place in places))

    def to(self, device: torch.device) -> _Partitions:
        places = tuple(place.to(device) for place in self.places)
        return _Partitions(self.batch, self.sizes, places)

    def by_part(self, maps: Tensor) -> Tensor:
        """Sums over the parts of all bundles: ``(..., B, parts)`` float64."""
        values = maps.double().reshape(-1, math.prod(maps.shape[-3:]))
        found = []
        for size, place in zip(self.sizes, self.places, strict=True):
            sums = values.new_zeros(len(values), self.batch * _parts(size))
            for row, value in zip(sums, values, strict=True):
                row.scatter_add_(0, place, value)
            found.append(sums.view(*maps.shape[:-2], -1))
        return torch.cat(found, -1)

    def by_set(self, sums: Tensor) -> Tensor:
        split = sums.split([_parts(size) for size in self.sizes], -1)
        found = [_marginals(x, size) for x, size in zip(split, self.sizes, strict=True)]
        return torch.cat(found, -1)

    def counts(self, codes: Tensor, categories: int) -> Tensor:
        found = []
        for size, place in zip(self.sizes, self.places, strict=True):
            bins = self.batch * _parts(size) * categories
            counts = _counted(place * categories + codes.flatten(), bins)
            by_part = counts.view(self.batch, -1, categories)
            found.append(_marginals(by_part.mT, size))
        return torch.cat(found, -1).mT


def _parts(sizes: Sequence[int]) -> int:
    return math.prod(n + 1 for n in sizes)


def _marginals(parts: Tensor, sizes: Sequence[int]) -> Tensor:
    """What each set of each partition holds, ``(..., Σ n)``, from ``(..., Π (n + 1))``."""
    joint = parts.unflatten(-1, [n + 1 for n in sizes])
    axes = range(-len(sizes), 0)
    found = []
    for axis, n in zip(axes, sizes, strict=True):
        others = [a for a in axes if a != axis]
        found.append((joint.sum(others) if others else joint)[..., :n])
    return torch.cat(found, -1)


def partition(*sets: Tensor) -> Tensor:
    """Which of disjoint bool ``sets`` ``(B, H, W)`` a pixel belongs to, their number where to none.

    >>> partition(torch.tensor([True, False, False]), torch.tensor([False, False, True]))
    tensor([0, 2, 1], dtype=torch.uint8)
    """
    code = torch.full_like(sets[0], len(sets), dtype=torch.uint8)
    for k, held in enumerate(sets):
        code.masked_fill_(held, k)
    return code


def spread(values: Tensor, valid: Tensor) -> Tensor:
    """Largest less smallest of the ``valid`` ``values`` ``(B, H, W)`` around each pixel.

    The window reaches a 240th of the height to each side. -inf where nothing in it is valid.
    """
    radius = max(1, round(values.shape[-2] / 240))

    def highest(x: Tensor) -> Tensor:
        x = x.float().masked_fill(~valid, -torch.inf)
        # One direction after the other by shifted maxima: a tenth of max_pool2d's time on a CPU.
        for dim in (-2, -1):
            x = _highest_along(x, dim, radius)
        return x

    return highest(values) + highest(-values)


def _highest_along(x: Tensor, dim: int, radius: int) -> Tensor:
    """Largest value within ``radius`` places to each side along ``dim``."""
    result = x.clone()
    length = x.shape[dim]
    for shift in range(1, min(radius, length - 1) + 1):
        early, late = (x.narrow(dim, start, length - shift) for start in (0, shift))
        for at, other in ((0, late), (shift, early)):
            part = result.narrow(dim, at, length - shift)
            torch.maximum(part, other, out=part)
    return result
