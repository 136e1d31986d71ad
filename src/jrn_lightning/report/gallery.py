"""Example frames (Figures 5 and 6): which ones, and their maps as pictures inside of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

from jrn_lightning import keys
from jrn_lightning.evaluation.protocols import regions
from jrn_lightning.modalities.base import Modality
from jrn_lightning.report.maps import Frame, with_unit
from jrn_lightning.report.sheet import reduced

WIDTH = 360  # of a picture, pixels: 15 maps of a frame side by side are seen at about half of it
_FLAT = 64  # pictures of fewer colours than this are of classes, and kept exactly
_QUALITY = 82
_OFF = 0.5  # relative error at which the colours of an error map saturate


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


# -- pictures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """One map.

    Args:
        src: data URI.
        label: short, for below it.
        alt: in words.
        measure: the primary measure of this map alone, as ``rel(sqr) 0.113``.
        arch: whose it is; empty for the photograph and the truth.
        kind: ``image``, ``truth``, ``map`` or ``error``.
    """

    src: str
    label: str
    alt: str
    measure: str = ""
    arch: str = ""
    kind: str = "map"


@dataclass(frozen=True)
class Exhibit:
    """All pictures of one frame, a row for each modality."""

    id: str
    note: str
    image: Picture | None
    rows: tuple[tuple[str, tuple[Picture, ...]], ...]


@dataclass(frozen=True)
class Ramp:
    """A range of colours: data URI, its ends, and what it is of."""

    src: str
    low: str
    high: str
    label: str


@dataclass(frozen=True)
class Key:
    """What the colours of a modality mean."""

    name: str
    classes: tuple[tuple[str, str], ...] = ()
    ramps: tuple[Ramp, ...] = ()


def exhibit(frame: Frame, modalities: Mapping[str, Modality]) -> Exhibit:
    """The pictures of one frame: the truth, then map and error map of every setup."""
    rows = []
    for name, modality in modalities.items():
        truth = frame.target.get(name)
        row = []
        if truth is not None:
            alt = f"{name}, ground truth of frame {frame.id}"
            row.append(_picture(modality.draw_target(truth), "ground truth", alt, kind="truth"))
        for setup, maps in frame.outputs.items():
            if name not in maps:
                continue
            arch = "" if setup == keys.UNTOUCHED else setup
            label = arch or "untouched input"
            measure = "" if truth is None else _measure(modality, maps[name], truth)
            alt = f"{name}, {label}, frame {frame.id}"
            row.append(_picture(modality.draw(maps[name]), label, alt, measure, arch))
            if truth is not None:
                drawn = modality.draw_error(maps[name], truth)
                row.append(
                    _picture(drawn, f"error of {label}", f"error of {alt}", measure, arch, "error")
                )
        rows.append((with_unit(modality), tuple(row)))
    image = None
    if frame.image is not None:
        image = _picture(frame.image, "image", f"photograph of frame {frame.id}", kind="image")
    return Exhibit(frame.id, frame.note, image, tuple(rows))


def key(modality: Modality) -> Key:
    """The colours of a modality, asked of itself: its classes, or a ramp over its range."""
    classes = getattr(modality, "classes", None)
    maximum = getattr(modality, "maximum", None)
    if classes:
        drawn = modality.draw(np.eye(len(classes))[:, None, :])[0]
        swatches = [(to_hex(c / 255), str(n)) for c, n in zip(drawn, classes, strict=True)]
        return Key(modality.name, tuple(swatches))
    if maximum is None or modality.channels != 1:
        return Key(modality.name)
    values = np.linspace(0, maximum, 256)
    truth = np.full((1, 256), maximum / 2)
    off = truth * (1 + np.linspace(-_OFF, _OFF, 256))
    percent = f"{100 * _OFF:g} %"
    drawn = encode(modality.draw(values[None, None]))
    shown = Ramp(drawn, "0", f"{maximum:g}", with_unit(modality))
    error = encode(modality.draw_error(off[None], truth))
    return Key(
        modality.name, (), (shown, Ramp(error, f"−{percent}", f"+{percent}", "relative error"))
    )


def encode(picture: NDArray[np.uint8]) -> str:
    """A picture ``(H, W, 3)`` as a data URI: WebP, exact where it has few colours."""
    image = Image.fromarray(picture)
    flat = image.getcolors(_FLAT) is not None
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=flat, quality=60 if flat else _QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()


def _picture(
    drawn: NDArray[np.uint8],
    label: str,
    alt: str,
    measure: str = "",
    arch: str = "",
    kind: str = "map",
) -> Picture:
    height, width = drawn.shape[:2]
    if width > WIDTH:
        size = (WIDTH, round(height * WIDTH / width))
        if Image.fromarray(drawn).getcolors(
            _FLAT
        ):  # a mixture of two classes' colours would be a third one's
            rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(int)
            columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(int)
            drawn = drawn[rows[:, None], columns]
        else:
            drawn = reduced(drawn, size)
    return Picture(encode(drawn), label, alt, measure, arch, kind)


def _measure(modality: Modality, output: NDArray[Any], truth: NDArray[Any]) -> str:
    """The primary measure of one map alone."""
    target = torch.from_numpy(truth)[None].to(modality.batch_dtype)
    maps = torch.from_numpy(np.asarray(output, np.float32))[None, None]
    height, width = target.shape[-2:]
    sums = modality.statistics(maps, target, regions(["full"], (height, width)))[0, 0, 0]
    primary = modality.measure(modality.primary)
    value = float(primary(sums.numpy()))
    if primary.higher_is_better and primary.scale == 100.0:
        return f"{primary.label} {100 * value:.1f} %"
    return f"{primary.label} {value:.3f}"


def exhibits(gallery: Gallery) -> tuple[Exhibit, ...]:
    """The pictures of all frames."""
    return tuple(exhibit(frame, gallery.modalities) for frame in gallery.frames)


__all__: Sequence[str] = [
    "Exhibit",
    "Gallery",
    "Key",
    "Pick",
    "Picture",
    "exhibit",
    "exhibits",
    "key",
    "negative_influence",
    "picks",
]
