"""What a sweep has shown beyond its comparison: data frames, and what their columns mean.

:func:`~jrn_lightning.analysis.analyse.analyse` computes them from job records; figures, pages,
notebooks and W&B show them. Every interval is of 95 %, by the paired bootstrap of two levels (seed,
then scene); every value is in units of the performance A of the target's primary measure (positive
is good). A part of the records that is missing leaves its frame empty, with its columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from jrn_lightning.analysis.summary import Summary
from jrn_lightning.errors import ConfigError
from jrn_lightning.influence import LEVEL
from jrn_lightning.keys import UNTOUCHED

# Kinds of effects.
IMPROVEMENT = "improvement"  # A(joint) - A(untouched input)
OMEGA = "omega"  # A(joint) - A(source muted), equations 2 and 3
GAIN = "gain"  # A(joint) - A(the network trained without the source)
BREAKAGE = "breakage"  # A(the network trained without the source) - A(source muted) = omega - gain
PERFORMANCE = "performance"  # A(joint) itself, in differences between architectures

_ARCH = ("arch", "computation", "seeds")
_INTERVAL = ("value", "low", "high")

#: frame -> its columns
COLUMNS: Mapping[str, tuple[str, ...]] = {
    # An effect of each architecture. source is "" for an improvement. p: two-sided, of no effect;
    # p_holm: the same after Holm's correction over architectures × directions of that effect.
    "effects": (*_ARCH, "effect", "source", "target", "measure", *_INTERVAL, "p", "p_holm"),
    # first - second. probability: that the first one is larger.
    "differences": (
        *("effect", "source", "target", "first", "second"),
        *(*_INTERVAL, "p", "p_holm", "probability"),
    ),
    # ω with one mute value; performance: A with the source muted by it.
    "mute_values": (*_ARCH, "source", "target", "mute_value", "performance", *_INTERVAL),
    # effect of the pixels of one kind, a class of the target itself by its IoU of all pixels; of:
    # which modality's truth tells the kind; share: of all pixels with truth, in [0, 1].
    "strata": (*_ARCH, "effect", "source", "target", "of", "stratum", "share", *_INTERVAL),
    # The source on a rung of the ladder from truth to nothing. share: of truth (positive) or of
    # noise (negative) in it; performance: A there; value: that less A with the source muted.
    "ladder": (
        *(*_ARCH, "source", "target", "rung", "share", "performance"),
        *("performance_low", "performance_high", *_INTERVAL),
    ),
    # Per test image, means over the seeds, A of the image alone; no interval. NaN where an image
    # has no truth. Gain is NaN without the control.
    "images": ("arch", "id", "scene", "source", "target", "performance", "omega", "gain"),
    # Any measure under any protocol; setup "input" (arch "input") or "joint", means over seeds.
    # truth: name of the ground truth, "truth" where it has none.
    "protocols": (
        *("arch", "setup", "modality", "measure", "label"),
        *("crop", "convention", "truth", "pooling", "value"),
    ),
    # Figure 8. A of one half of the images, ω of the other, one row per trained network.
    "points": ("arch", "computation", "seed", "source", "target", "omega", "performance"),
    # Upper concave envelope through them, on a grid of ω, with its bootstrap band.
    "envelope": ("source", "target", "omega", "value", "low", "high"),
    # What the envelope says: its best ω, p of no interior maximum, and in words, or why there are
    # too few points.
    "peaks": ("source", "target", "points", "omega", "low", "high", "p", "verdict"),
}


def frame(name: str, rows: Iterable[Mapping[str, Any]] = ()) -> pd.DataFrame:
    """The frame called ``name``, with its columns alone of ``rows``."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS[name]))


def significant(rows: pd.DataFrame) -> pd.Series:
    """Which rows of effects or differences are significant.

    By p after Holm's correction, by p alone where there is no corrected one, and by the interval
    where there is neither.
    """

    def numbers(name: str) -> pd.Series:
        return pd.to_numeric(rows.get(name, pd.Series(float("nan"), index=rows.index)))

    p = numbers("p_holm").fillna(numbers("p"))
    outside = (numbers("low") > 0) | (numbers("high") < 0)
    return ((p < LEVEL) | (p.isna() & outside)).astype(bool)


@dataclass(frozen=True)
class Findings:
    """All that was found in a sweep.

    Args:
        summary: the comparison.
        problems: records that were left out, and why, for a person.
    """

    summary: Summary
    problems: tuple[str, ...] = ()
    effects: pd.DataFrame = field(default_factory=partial(frame, "effects"))
    differences: pd.DataFrame = field(default_factory=partial(frame, "differences"))
    mute_values: pd.DataFrame = field(default_factory=partial(frame, "mute_values"))
    strata: pd.DataFrame = field(default_factory=partial(frame, "strata"))
    ladder: pd.DataFrame = field(default_factory=partial(frame, "ladder"))
    images: pd.DataFrame = field(default_factory=partial(frame, "images"))
    protocols: pd.DataFrame = field(default_factory=partial(frame, "protocols"))
    points: pd.DataFrame = field(default_factory=partial(frame, "points"))
    envelope: pd.DataFrame = field(default_factory=partial(frame, "envelope"))
    peaks: pd.DataFrame = field(default_factory=partial(frame, "peaks"))


def select(findings: Findings, archs: Collection[str]) -> Findings:
    """The findings of these architectures alone, and of the untouched input.

    What holds for all of them together, the envelope and its peak, stays as it is.

    Raises:
        ConfigError: an architecture that the sweep does not have.
    """
    summary = findings.summary
    known = [str(arch) for arch in summary.architectures["arch"] if arch != UNTOUCHED]
    if unknown := [arch for arch in archs if arch not in known]:
        raise ConfigError(
            f"no architecture {', '.join(unknown)} in {summary.name}. It has: {', '.join(known)}."
        )
    wanted = {UNTOUCHED, *archs}

    def chosen(frame: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in ("arch", "first", "second") if name in frame]
        rows = frame[names].isin(wanted).all(axis=1) if names else slice(None)
        return frame[rows].reset_index(drop=True)

    own = replace(summary, architectures=chosen(summary.architectures), jobs=chosen(summary.jobs))
    frames = {name: chosen(getattr(findings, name)) for name in COLUMNS}
    return Findings(own, findings.problems, **frames)
