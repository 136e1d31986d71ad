"""Evaluation protocols: which pixels of a frame count (crops differ between papers).

Crops are rows, then columns, half-open, 0-based, of a 480 × 640 frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jrn_lightning.errors import ConfigError
from jrn_lightning.keys import IMAGES, PIXELS, POOLINGS, WHOLE
from jrn_lightning.modalities import Regions

__all__ = [
    "IMAGES",
    "PIXELS",
    "POOLINGS",
    "PROTOCOLS",
    "WHOLE",
    "Protocol",
    "fitting",
    "regions",
]


@dataclass(frozen=True)
class Protocol:
    """A named crop.

    Args:
        name: key in results.
        crop: (top, bottom, left, right), half-open; None is the whole frame.
        frame: size (H, W) for which the crop is defined.
    """

    name: str
    crop: tuple[int, int, int, int] | None = None
    frame: tuple[int, int] = (480, 640)

    def region(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of a ground truth of ``size`` that count.

        Raises:
            ConfigError: the crop is defined for frames of another size.
        """
        if self.crop is None:
            return slice(None), slice(None)
        if tuple(size) != self.frame:
            raise ConfigError(
                f"evaluation.protocols has {self.name!r}, which is defined for frames of "
                f"{self.frame[0]} × {self.frame[1]}, but the ground truth is "
                f"{size[0]} × {size[1]}. Use evaluation.protocols=[full]."
            )
        top, bottom, left, right = self.crop
        return slice(top, bottom), slice(left, right)


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(WHOLE),
        # Eigen et al.'s MATLAB 45:471, 41:601 (1-based, inclusive).
        Protocol("eigen", (44, 471, 40, 601)),
        # The region that the network of Eigen and Fergus predicts.
        Protocol("eigen_fergus", (23, 459, 27, 615)),
        # Eigen et al. (2014), as DORN and others evaluate.
        Protocol("eigen2014", (21, 460, 25, 616)),
    )
}


def regions(names: Sequence[str], size: tuple[int, int]) -> Regions:
    """The regions of several protocols over a ground truth of ``size`` (H, W).

    Raises:
        ConfigError: an unknown protocol, or one that does not fit the size.
    """
    unknown = [n for n in names if n not in PROTOCOLS]
    if unknown or not names:
        found = f"the unknown {', '.join(map(repr, unknown))}" if unknown else "nothing"
        raise ConfigError(
            f"evaluation.protocols holds {found}. Choose from: {', '.join(PROTOCOLS)}."
        )
    return Regions.of([PROTOCOLS[n].region(size) for n in names], size)


def fitting(size: tuple[int, int]) -> list[str]:
    """The protocols that are defined for a ground truth of ``size`` (H, W).

    >>> fitting((240, 320))
    ['full']
    """
    return [p.name for p in PROTOCOLS.values() if p.crop is None or tuple(size) == p.frame]
