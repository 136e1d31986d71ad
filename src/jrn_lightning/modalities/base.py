"""The contract of a modality: everything that differs between depth and semantics.

A new modality is one subclass in one file of this folder (or of a plug-in module). Nothing else
in the package names a modality.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities.drawing import Key
from jrn_lightning.modalities.regions import Regions

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


class Reading(NamedTuple):
    """What predictions would be if their values meant something else.

    Attributes:
        what: completes "the predictions".
        remedy: what to do if so, as a sentence.
        outputs: ``(N, C, H, W)``.
        factor: from the predictions to the outputs, where that is all.
    """

    what: str
    remedy: str
    outputs: Tensor
    factor: float | None = None


# Networks are often a fifth off, or a half; units differ by more.
_OTHER_UNITS = 2.0


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
    unit: str = ""
    #: measure that the influence uses unless told otherwise
    primary: ClassVar[str]
    #: what :meth:`clipped` does to a prediction
    correction: ClassVar[str] = "clipped"
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
    def target_channels(self) -> int:
        """Channels C of a ground truth ``(C, H, W)``; 0 for one of ``(H, W)``."""
        return 0

    def target_shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of one ground truth of ``size`` (H, W)."""
        return (self.target_channels, *size) if self.target_channels else size

    def as_map(self, target: Tensor) -> Tensor:
        """Ground truth as a view ``(B, C, H, W)``, with one channel where it has none."""
        return target if self.target_channels else target[:, None]

    def known(self, target: Tensor) -> Tensor:
        """The values of the pixels that have ground truth: ``(n,)``, or ``(n, C)``."""
        values = target.movedim(-3, -1) if self.target_channels else target
        return values[self.target_valid(target)]

    @property
    def attributes(self) -> dict[str, Any]:
        """JSON-able constructor arguments beside the name."""
        return {}

    @abstractmethod
    def target_valid(self, target: Tensor) -> Tensor:
        """Where ``target`` ``(..., H, W)`` holds ground truth: bool ``(..., H, W)``.

        A ground truth has its channels before ``H``, if it has any.
        """

    @abstractmethod
    def check_prediction(self, prediction: NDArray[Any]) -> str | None:
        """What is wrong with one prediction ``(C, h, w)``, with the value found, or None."""

    def clipped(self, prediction: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """A prediction brought back to its range where slightly beyond, and in how many samples."""
        return prediction, 0

    @abstractmethod
    def check_target(self, target: NDArray[Any]) -> str | None:
        """What is wrong with one ground truth, with the value found, or None."""

    def mirrored(self, maps: Tensor) -> Tensor:
        """Predictions or ground truth ``(B, ..., H, W)`` of the scene in a mirror.

        The pixels have changed places already; what a mirror does to their values is done here.
        """
        return maps

    def mixed(self, predictions: Tensor) -> Tensor:
        """What a mean or an interpolation ``(B, C, H, W)`` of predictions means as one."""
        return predictions

    # -- training ------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """This modality's term of equation 1, averaged over the valid pixels: a scalar.

        Args:
            output: ``(B, C, H, W)``, as the network's head gives it.
            target: ``(B, ..., H, W)``, see :attr:`target_channels`.
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
            mean_target: mean of the valid training ground truth: a scalar, or ``(C,)``.
        """
        return torch.zeros(self.channels)

    # -- predicting it from an image -------------------------------------------------------------

    def single_task_statistics(self, target: Tensor) -> Tensor:
        """What the bias needs to know of the training truth: sums over one frame.

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
            target: ``(B, ..., H, W)``.
        """
        return self.loss(output, target, self.target_valid(target))

    def single_task_prediction(self, output: Tensor) -> Tensor:
        """The prediction ``(B, C, H, W)`` that a single-task network's output means."""
        return self.refined(output)

    def zoomed(self, target: Tensor, factor: Tensor) -> Tensor:
        """Ground truth of images shown ``factor`` ``(B, 1, ...)`` times as large."""
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
            target: ``(B, ..., H, W)``; each modality counts its own valid pixels.
            regions: the sets of pixels.

        Returns:
            ``(S, B, P, D)`` float64; where an output is not finite, so are its sums.
        """

    def pixels(self, statistics: Array, stratum: str | None = None) -> Array:
        """How many pixels with ground truth ``statistics`` ``(..., D)`` are of: ``(...)``.

        Args:
            statistics: of any pixels.
            stratum: count those of one of :attr:`stratum_measures` only.
        """
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
        would not count what is wrongly taken for it elsewhere. This modality has no statistics of
        their pixels alone; :meth:`pixels` has to count them. Of a partition all strata or none.
        """
        return {}

    def stratify(self, target: Tensor) -> Mapping[tuple[str, ...], Tensor]:
        """Which stratum each pixel is of, by the truth ``(B, ..., H, W)``.

        Returns:
            For each partition, the names of strata that share no pixel, in the order of
            :attr:`strata`: the index of the pixel's stratum among them, their number where it is
            of none, ``(B, H, W)`` integers.
        """
        return {}

    @property
    def conventions(self) -> tuple[str, ...]:
        """Names of other ways in which papers clip or mask this modality before measuring."""
        return ()

    def under(self, convention: str, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(S, B, C, H, W)`` and truth ``(B, ..., H, W)`` as a convention has them."""
        return outputs, target

    def ideal(self, target: Tensor) -> Tensor | None:
        """The prediction ``(B, C, H, W)`` that is never wrong, anything where the truth is missing.

        None where the truth does not say all that a prediction holds.
        """
        same = self.channels == (self.target_channels or 1)
        return self.as_map(target).float() if same else None

    # -- plausibility --------------------------------------------------------------------------

    def readings(self, outputs: Tensor, target: Tensor) -> Iterator[Reading]:
        """Other meanings that the values of predictions may have, fitted to their truth.

        Whether one of them fits clearly better is measured by the caller. Unless told otherwise
        one channel is taken for a continuous map: it may have another unit, or be an inverse.

        Args:
            outputs: predictions ``(N, C, H, W)``, float32.
            target: their truth ``(N, H, W)``.
        """
        if self.channels != 1 or target.shape != outputs[:, 0].shape:
            return
        valid, maps, truth = self.target_valid(target), outputs[:, 0], target.float()
        ratio = torch.where(valid, truth / maps, torch.nan).flatten(1).nanmedian(1).values
        factor = float(ratio.nanmedian())
        if 0 < factor < float("inf") and max(factor, 1 / factor) >= _OTHER_UNITS:
            what = f"are about {1 / factor:.3g} times the truth"
            yield Reading(what, "Give them in the units of the truth.", outputs * factor, factor)

        known, found = truth[valid], maps[valid]
        middle, spread = known.median(), _spread(known) / _spread(found)
        if not _falls(maps, truth, valid) or not bool(spread.isfinite()):
            return
        inverse = middle * found.median() / outputs.clamp_min(1e-6)
        for what, remedy, changed in (
            ("are inverse to the truth, as disparity is to depth", "Give 1 / value", inverse),
            (
                "fall where the truth rises",
                "Give largest - value",
                middle + spread * (found.median() - outputs),
            ),
        ):
            limited = changed.clamp(known.min(), known.max())
            yield Reading(what, f"{remedy}, in the units of the truth.", limited)

    # -- drawing -------------------------------------------------------------------------------

    def key(self, errors: bool = True) -> Key:
        """What the colours of its pictures mean, those of error maps too where ``errors``."""
        return Key(self.name)

    def spanning(self, maps: Sequence[NDArray[Any]]) -> Modality:
        """The same, with colours that span the values of ``maps``, where they are of a range."""
        return self

    @abstractmethod
    def draw(self, prediction: NDArray[Any]) -> NDArray[np.uint8]:
        """A prediction ``(C, H, W)`` as a picture ``(H, W, 3)``."""

    @abstractmethod
    def draw_target(self, target: NDArray[Any]) -> NDArray[np.uint8]:
        """A ground truth as a picture ``(H, W, 3)``; missing pixels are grey."""

    @abstractmethod
    def draw_error(self, prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.uint8]:
        """The error of ``prediction`` ``(C, H, W)`` as a picture; missing pixels are grey."""


def _spread(values: Tensor) -> Tensor:
    """Range of the middle half."""
    few = values[:: len(values) // 100_000 + 1]
    return few.quantile(0.75) - few.quantile(0.25)


def _falls(maps: Tensor, truth: Tensor, valid: Tensor) -> bool:
    """Whether the rank correlation within frames ``(N, H, W)`` is below 0 by four sigmas."""
    found = []
    for one, other, known in zip(maps.numpy(), truth.numpy(), valid.numpy(), strict=True):
        x, y = one[known], other[known]
        if len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0:
            found.append(float(np.corrcoef(rankdata(x), rankdata(y))[0, 1]))
    return len(found) > 1 and bool(np.mean(found) < -4 * np.std(found) / len(found) ** 0.5)
