"""The contract of a modality: everything that differs between depth and semantics.

A new modality is one subclass in one file of this folder (or of a plug-in module). Nothing else
in the package names a modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jrn_lightning.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One performance measure, as a function of statistics.

    Args:
        name: key in results, e.g. ``sq_rel``.
        label: as printed in a table, e.g. ``rel(sqr)``.
        function: maps statistics ``(..., D)``, summed over whatever is pooled, to ``(...)``; NaN
            where no pixel has ground truth.
        higher_is_better: direction.
        scale: factor from the measure to the performance A, 100 for fractions.
        in_table: whether it is one of the ten columns of the paper's Table I.
    """

    name: str
    label: str
    function: Callable[[Array], Array]
    higher_is_better: bool
    scale: float = 100.0
    in_table: bool = True

    def __call__(self, statistics: Array) -> Array:
        """The measure of ``statistics`` ``(..., D)``."""
        return self.function(statistics)

    def performance(self, value: Array) -> Array:
        """A, the performance function of equations 2 and 3: larger is better.

        Mean IoU in percent for semantics, -100 rel(sqr) for depth, as in Figure 7.
        """
        return (self.scale if self.higher_is_better else -self.scale) * value


class Regions(ABC):
    """P sets of pixels of the frames of a batch, ready for fast sums."""

    @staticmethod
    def of(crops: Sequence[tuple[slice, slice]], size: tuple[int, int]) -> Regions:
        """The half-open ``crops`` (rows, columns) of any frame of ``size`` (H, W)."""
        return _Crops.between(crops, size)

    @staticmethod
    def masked(masks: Tensor) -> Regions:
        """The pixels where ``masks`` ``(P, B, H, W)`` are true: sets that differ by frame."""
        return _Masks.where(masks)

    @abstractmethod
    def to(self, device: torch.device) -> Regions:
        """The same regions on ``device``."""

    @abstractmethod
    def sums(self, maps: Tensor) -> Tensor:
        """Sum ``maps`` ``(..., B, H, W)`` over each region: ``(..., B, P)`` float64."""

    def sums_of(self, maps: Iterable[Tensor]) -> Tensor:
        """Sums of n maps, ``(n, ..., B, P)``.

        Each map is done with before the next is asked for: all may be the same memory.
        """
        return torch.stack([self.sums(x) for x in maps])

    @abstractmethod
    def counts(self, codes: Tensor, categories: int) -> Tensor:
        """Histogram of ``codes`` ``(B, H, W)`` in ``[0, categories)`` over each region.

        Returns:
            ``(B, P, categories)`` float64, exact.
        """


def smallest_integer(count: int) -> torch.dtype:
    """The narrowest type that holds ``count``: a histogram of bytes takes half the time of int64's.

    >>> smallest_integer(150), smallest_integer(256)
    (torch.uint8, torch.int16)
    """
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if count <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def _bits(masks: Tensor) -> Tensor:
    """Which of ``masks`` ``(P, ...)`` hold at each place, as one number: ``(...)`` int64."""
    code = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for p, mask in enumerate(masks):
        code |= mask.long() << p
    return code


def _histogram(code: Tensor, parts: int, codes: Tensor, categories: int) -> Tensor:
    """Histogram of ``codes`` in each part ``code`` of each frame: ``(B, parts, categories)``."""
    bins = len(codes) * parts * categories
    dtype = smallest_integer(bins)
    image = torch.arange(0, bins, parts * categories, dtype=dtype, device=codes.device)
    joint = code.to(dtype) * categories + codes.to(dtype) + image[:, None, None]
    place = joint.flatten().int()
    # Not bincount, which waits for the device to tell the largest code.
    counts = torch.zeros(bins, dtype=torch.int64, device=place.device)
    counts.index_add_(0, place, counts.new_ones(1).expand(len(place)))
    return counts.view(len(codes), parts, categories).double()


@dataclass(frozen=True)
class _Crops(Regions):
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
        bits = _bits((rows[:, :, None] * columns[:, None, :]).bool())
        values, code = torch.unique(bits, return_inverse=True)
        membership = ((values[:, None] >> torch.arange(len(crops))) & 1).double()
        changes = (rows[:, 1:] != rows[:, :-1]).any(0).nonzero()[:, 0] + 1
        cuts = (0, *changes.tolist(), height)
        code = code.to(smallest_integer(len(values)))
        return cls(cuts, rows[:, list(cuts[:-1])].double(), columns, code, membership)

    def to(self, device: torch.device) -> _Crops:
        moved = (t.to(device) for t in (self.rows, self.columns, self.code, self.membership))
        return _Crops(self.cuts, *moved)

    def sums(self, maps: Tensor) -> Tensor:
        return self._within(self._by_run(maps))

    def sums_of(self, maps: Iterable[Tensor]) -> Tensor:
        return self._within(torch.stack([self._by_run(x) for x in maps]))

    def _by_run(self, maps: Tensor) -> Tensor:
        """Sums of columns from cut to cut, in the maps' precision: ``(..., runs, W)``."""
        # A matrix product of all rows takes twice as long, and so does what comes after it.
        runs = [maps[..., first:end, :].sum(-2) for first, end in pairwise(self.cuts)]
        return torch.stack(runs, -2)

    def _within(self, by_run: Tensor) -> Tensor:
        by_column = self.rows @ by_run.double()  # (..., P, W)
        return (by_column * self.columns).sum(-1)

    def counts(self, codes: Tensor, categories: int) -> Tensor:
        by_part = _histogram(self.code, len(self.membership), codes, categories)
        return torch.einsum("brc,rp->bpc", by_part, self.membership)


@dataclass(frozen=True)
class _Masks(Regions):
    """Any pixels, others in every frame.

    Args:
        masks: ``(B, H, W, P)`` 0/1.
        codes: for each group of masks ``(B, H, W)``: which combination of them a pixel lies in.
    """

    masks: Tensor
    codes: tuple[Tensor, ...]

    #: masks a group: a histogram has a part for each of their 2^n combinations
    group: ClassVar[int] = 12

    @classmethod
    def where(cls, masks: Tensor) -> _Masks:
        codes = tuple(_bits(part) for part in masks.split(cls.group))
        return cls(masks.movedim(0, -1).float(), codes)

    def to(self, device: torch.device) -> _Masks:
        return _Masks(self.masks.to(device), tuple(code.to(device) for code in self.codes))

    def sums(self, maps: Tensor) -> Tensor:
        by_row = maps[..., None, :] @ self.masks.to(maps.dtype)  # (..., B, H, 1, P)
        return by_row[..., 0, :].double().sum(-2)

    def counts(self, codes: Tensor, categories: int) -> Tensor:
        counts = []
        for g, code in enumerate(self.codes):
            size = min(self.group, self.masks.shape[-1] - g * self.group)
            by_part = _histogram(code, 1 << size, codes, categories)
            parts = torch.arange(1 << size, device=codes.device)[:, None]
            membership = ((parts >> torch.arange(size, device=codes.device)) & 1).double()
            counts.append(torch.einsum("brc,rp->bpc", by_part, membership))
        return torch.cat(counts, 1)


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


def at_least_float32(output: Tensor) -> Tensor:
    """Half-precision outputs widened for a loss; float64 stays, for gradient checks."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


class Modality(ABC):
    """One kind of map: its channels, loss, statistics, measures, checks and drawing.

    Subclasses set ``kind`` and are found by it; ``attributes`` is all that is needed to build an
    equal object again, and is what caches, checkpoints and records store.

    Args:
        name: key of this modality in every dictionary; two modalities may share a kind.
    """

    kind: ClassVar[str]
    #: unit of the maps, for labels
    unit: ClassVar[str] = ""
    #: measure that the influence uses unless told otherwise
    primary: ClassVar[str]
    #: value that marks a missing ground truth in the cache
    invalid: ClassVar[float]
    #: dtype of a ground truth map in the cache and in a batch
    target_dtype: ClassVar[np.dtype[Any]]
    batch_dtype: ClassVar[torch.dtype]

    _kinds: ClassVar[dict[str, type[Modality]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            Modality._kinds[cls.kind] = cls

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def create(kind: str, name: str, attributes: Mapping[str, Any]) -> Modality:
        """Build the modality of a registered ``kind``.

        Raises:
            ConfigError: no such kind; the known ones are listed.
        """
        if kind not in Modality._kinds:
            raise ConfigError(
                f"modality {name!r} is of the unknown kind {kind!r}. Known: "
                f"{', '.join(sorted(Modality._kinds))}. Import the module that defines it: "
                "data.plugins=[my.module] for run.py, --plugin my.module for jrn."
            )
        return Modality._kinds[kind](name, **attributes)

    # -- the map -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels C of a prediction."""

    @property
    def attributes(self) -> dict[str, Any]:
        """JSON-able constructor arguments beside the name."""
        return {}

    @abstractmethod
    def target_valid(self, target: Tensor) -> Tensor:
        """Where ``target`` ``(B, H, W)`` holds ground truth: bool of the same shape."""

    @abstractmethod
    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """What is wrong with one prediction ``(C, h, w)``, with the value found, or None."""

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """A prediction with slight excesses of its range taken back, and in how many samples."""
        return prediction, 0

    @abstractmethod
    def check_target(self, target: NDArray[Any]) -> str | None:
        """What is wrong with one ground truth ``(H, W)``, with the value found, or None."""

    # -- training ------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """This modality's term of equation 1, averaged over the valid pixels: a scalar.

        Args:
            output: ``(B, C, H, W)``, as the network's head gives it.
            target: ``(B, H, W)``.
            valid: ``(B, H, W)`` bool, at least one true.
        """

    @abstractmethod
    def refined(self, output: Tensor) -> Tensor:
        """The refined map ``(B, C, H, W)`` in the modality's own units, from the head's output."""

    def to_output(self, prediction: Tensor) -> Tensor:
        """A prediction ``(B, C, H, W)`` in the space of the head's output, up to its range.

        The inverse of :meth:`refined`, by which a network's additive skip carries an input to its
        output. Zeros, a muted input, become an output that prefers nothing.
        """
        return prediction

    def output_bias(self, mean_target: Tensor) -> Tensor:
        """Bias ``(C,)`` at the start of a head that gets no skip; zero unless told otherwise.

        Args:
            mean_target: scalar, mean of the valid training ground truth.
        """
        return torch.zeros(self.channels)

    # -- predicting it from an image -------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """What the bias needs to know of the training truth: sums over one ``(H, W)``.

        Float64, of any shape; those of all training frames are added up. The first entry or their
        sum is 0 only where no pixel has ground truth.
        """
        return self.target_valid(target).sum().double().reshape(1)

    def single_task_problem(self, statistics: Tensor) -> str | None:
        """What the training truth lacks to be learned from, or None."""
        return None

    def single_task_bias(self, statistics: Tensor) -> Tensor:
        """Bias ``(C,)`` of a single-task network's output at the start."""
        return torch.zeros(self.channels)

    def single_task_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Loss of a single-task network over the pixels with ground truth: a scalar.

        Args:
            output: ``(B, C, H, W)``.
            target: ``(B, H, W)``.
        """
        return self.loss(output, target, self.target_valid(target))

    def single_task_prediction(self, output: Tensor) -> Tensor:
        """The prediction ``(B, C, H, W)`` that a single-task network's output means."""
        return self.refined(output)

    def zoomed(self, target: Tensor, factor: Tensor) -> Tensor:
        """Ground truth ``(B, H, W)`` of an image shown ``factor`` ``(B, 1, 1)`` times as large."""
        return target

    # -- evaluation ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def statistic_names(self) -> tuple[str, ...]:
        """Names of the D entries of the statistics vector; the first counts pixels.

        A modality whose first entry does not redefines :meth:`pixels`.
        """

    @abstractmethod
    def statistics(self, outputs: Tensor, target: Tensor, regions: Regions) -> Tensor:
        """Sums over pixels from which every measure follows.

        Args:
            outputs: ``(S, B, C, H, W)`` float32: refined maps or raw outputs of S setups.
            target: ``(B, H, W)``; each modality counts its own valid pixels.
            regions: the crops.

        Returns:
            ``(S, B, P, D)`` float64.
        """

    def pixels(self, statistics: Array) -> Array:
        """How many pixels with ground truth ``statistics`` ``(..., D)`` are of: ``(...)``."""
        return np.asarray(statistics[..., 0])

    @property
    @abstractmethod
    def measures(self) -> tuple[Measure, ...]:
        """All measures, in the order of the paper's Table I."""

    def measure(self, name: str) -> Measure:
        """The measure called ``name``.

        Raises:
            ConfigError: no such measure; the known ones are listed.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise ConfigError(
            f"{self.name} has no measure {name!r}. Choose from: "
            f"{', '.join(m.name for m in self.measures)}."
        )

    # -- which pixels, under which convention ----------------------------------------------------

    @property
    def strata(self) -> tuple[str, ...]:
        """Names of the kinds of pixels that this modality's truth tells apart."""
        return ()

    @property
    def stratum_measures(self) -> Mapping[str, str]:
        """Stratum -> the measure of *all* pixels that says how this modality does there.

        For strata whose truth is all alike, so that the primary measure of their pixels alone
        would not count what is wrongly taken for it elsewhere.
        """
        return {}

    def stratify(self, target: Tensor) -> Tensor:
        """Where each of ``strata`` is, by the truth ``(B, H, W)``: bool ``(strata, B, H, W)``."""
        return torch.zeros((0, *target.shape), dtype=torch.bool, device=target.device)

    @property
    def conventions(self) -> tuple[str, ...]:
        """Names of other ways in which papers clip or mask this modality before measuring."""
        return ()

    def under(self, convention: str, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(S, B, C, H, W)`` and truth ``(B, H, W)`` as a convention has them."""
        return outputs, target

    def ideal(self, target: Tensor) -> Tensor | None:
        """The prediction ``(B, C, H, W)`` that is never wrong, anything where the truth is missing.

        None where the truth does not say all that a prediction holds.
        """
        return target[:, None].float() if self.channels == 1 else None

    # -- drawing -------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """A prediction ``(C, H, W)`` as a picture ``(H, W, 3)``."""

    @abstractmethod
    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """A ground truth ``(H, W)`` as a picture ``(H, W, 3)``; missing pixels are grey."""

    @abstractmethod
    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """The error of ``prediction`` ``(C, H, W)`` as a picture; missing pixels are grey."""
