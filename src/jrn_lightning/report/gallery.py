"""Example frames (Figures 5 and 6): which ones are worth a look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from jrn_lightning.modalities.base import Modality
from jrn_lightning.report.maps import Frame


@dataclass(frozen=True)
class Pick:
    """A frame worth a look.

    Args:
        id: its name.
        note: why, for a person.
        archs: architectures that the note speaks of.
    """

    id: str
    note: str
    archs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """Frames with the maps of every architecture, as ``outputs`` by its name.

    Args:
        frames: with :data:`~jrn_lightning.keys.UNTOUCHED` and the architectures as setups.
        modalities: by name.
        archs: in the order of the outputs.
        note: what is missing, or how the maps were made.
    """

    frames: tuple[Frame, ...] = ()
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    archs: tuple[str, ...] = ()
    note: str = ""


def picks(images: pd.DataFrame, limit: int = 8) -> list[Pick]:
    """The frames to show: of each direction the one that gains most, least, and the median one.

    Frames are ranked by gain, where there is a control, else by ω, averaged over architectures.
    An example of negative influence comes first, where there is one: of two architectures, the
    one with the larger ω is the worse of both on that frame (Figure 6).

    Args:
        images: the frame of that name in :class:`~jrn_lightning.analysis.findings.Findings`.
        limit: how many at most; directions take turns.
    """
    found: list[Pick] = []
    negative = negative_influence(images)
    if negative is not None:
        found.append(negative)
    ranked = []
    for (source, target), rows in images.groupby(["source", "target"], sort=False):
        gain = pd.to_numeric(rows["gain"])
        what, by = ("gain", gain) if gain.notna().any() else ("ω", pd.to_numeric(rows["omega"]))
        score = by.groupby(rows["id"], sort=False).mean().dropna().sort_values(kind="stable")
        if len(score):
            ranked.append((f"{what} of {source} on {target}", score))
    for word, place in (("largest", -1), ("smallest", 0), ("median", None)):
        for name, score in ranked:
            k = len(score) // 2 if place is None else place
            note = f"{word} {name} of {len(score)} frames: {score.iloc[k]:+.2f}".replace("-", "−")
            found.append(Pick(str(score.index[k]), note))
    together: dict[str, Pick] = {}
    for pick in found:
        known = together.get(pick.id)
        if known is not None:
            pick = Pick(pick.id, f"{known.note}; {pick.note}", known.archs + pick.archs)
        together[pick.id] = pick
    return list(together.values())[:limit]


def negative_influence(images: pd.DataFrame) -> Pick | None:
    """The clearest frame on which the architecture with the larger ω is worse than another.

    Clearest is where the product of both differences is largest.
    """
    best, found = 0.0, None
    for (source, target), rows in images.groupby(["source", "target"], sort=False):
        omega, performance = (
            rows.pivot_table("value", "id", "arch", sort=False)
            for rows in (
                rows.assign(value=pd.to_numeric(rows[name])) for name in ("omega", "performance")
            )
        )
        archs = [a for a in omega.columns if a in performance.columns]
        x, y = omega[archs].to_numpy(), performance.reindex(omega.index)[archs].to_numpy()
        for i in range(len(archs)):
            # (N, A): how much larger ω of i is, and how much worse its performance
            more, worse = x[:, i, None] - x, y - y[:, i, None]
            product = np.where((more > 0) & (worse > 0) & (x[:, i, None] > 0), more * worse, 0.0)
            at = np.unravel_index(np.argmax(product), product.shape)
            if product[at] > best:
                best = float(product[at])
                n, j = int(at[0]), int(at[1])
                note = (
                    f"negative influence: ω of {source} on {target} is {x[n, i]:+.2f} in "
                    f"{archs[i]} and {x[n, j]:+.2f} in {archs[j]}, but A is {y[n, i]:.2f} against "
                    f"{y[n, j]:.2f}"
                )
                found = Pick(str(omega.index[n]), note.replace("-", "−"), (archs[i], archs[j]))
    return found
