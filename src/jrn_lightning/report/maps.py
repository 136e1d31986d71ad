"""Example maps beside each other, as Figure 5 shows them: arrays in, a figure out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jrn_lightning import keys
from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities.base import Modality
from jrn_lightning.modalities.drawing import GREY

# Inches.
_MAP = 1.7  # width of a map
_LEFT, _TOP, _BOTTOM, _RIGHT = 0.42, 0.28, 0.06, 0.04
KEY = 0.42  # height of the colours of one modality
_LARGEST = 360  # pixels across a map; beyond that a panel only gets slow and large


@dataclass(frozen=True)
class Frame:
    """One frame of a panel.

    Args:
        id: its name.
        target: per modality the ground truth ``(H, W)``; empty for frames without.
        outputs: per setup, the untouched input included, and modality the map ``(C, H, W)`` in the
            modality's own units, as :meth:`Modality.refined` gives it, at the size of the truth.
        image: ``(H, W, 3)`` uint8, or None.
        note: why it is shown, such as ``best of 327``.
    """

    id: str
    target: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, Mapping[str, NDArray[Any]]]
    image: NDArray[np.uint8] | None = None
    note: str = ""


def panel(
    frames: Sequence[Frame],
    modalities: Mapping[str, Modality],
    *,
    errors: Sequence[str] = (keys.UNTOUCHED, keys.JOINT),
) -> Figure:
    """Maps of ``frames``, a row for each modality of each frame.

    Columns: the image, the ground truth, each setup in the order of the first frame's outputs, and
    the error maps of the setups in ``errors``. Below stand the colours of every modality.

    Args:
        frames: what to show, at least one.
        modalities: by name, in the order of the rows.
        errors: setups whose error maps to show, where there is ground truth.

    Raises:
        ConfigError: no frame was given.
    """
    if not frames:
        raise ConfigError("a panel of example maps needs at least one frame; got none.")
    with_image = any(frame.image is not None for frame in frames)
    columns = _columns(frames, errors)
    count = len(columns) + with_image
    first = next(iter(next(iter(frames[0].outputs.values())).values()))
    tall = _MAP * first.shape[-2] / first.shape[-1]

    below = _BOTTOM + KEY * len(modalities)
    width = _LEFT + _MAP * count + _RIGHT
    height = _TOP + tall * len(frames) * len(modalities) + below
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(frames),
        1,
        hspace=0.06,
        left=_LEFT / width,
        right=1 - _RIGHT / width,
        top=1 - _TOP / height,
        bottom=below / height,
    )
    for f, frame in enumerate(frames):
        cells = grid[f].subgridspec(len(modalities), count, wspace=0.03, hspace=0.04)
        title = f"{frame.id}: {frame.note}" if frame.note else frame.id
        middle = grid[f].get_position(figure)
        figure.text(
            0.1 / width,
            (middle.y0 + middle.y1) / 2,
            title,
            rotation=90,
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold",
        )
        if with_image:
            axes = figure.add_subplot(cells[:, 0])
            axes.set_anchor("N")
            _show(axes, frame.image, "" if f else "image")
        for m, (name, modality) in enumerate(modalities.items()):
            for k, (head, draw) in enumerate(columns):
                axes = figure.add_subplot(cells[m, k + with_image])
                _show(axes, draw(frame, name, modality), "" if f or m else head)
            middle = cells[m, 0].get_position(figure)
            figure.text(
                0.3 / width,
                (middle.y0 + middle.y1) / 2,
                with_unit(modality),
                rotation=90,
                ha="center",
                va="center",
                fontsize=9,
            )
    for m, modality in enumerate(modalities.values()):
        top = below - _BOTTOM - KEY * m
        colours(
            figure,
            modality,
            top,
            with_errors=any(head.startswith("error") for head, _ in columns),
        )
    return figure


_Drawing = Callable[[Frame, str, Modality], NDArray[np.uint8] | None]


def _columns(frames: Sequence[Frame], errors: Sequence[str]) -> list[tuple[str, _Drawing]]:
    """Titles, and what to draw for a frame and a modality; None where there is nothing."""

    def truth(frame: Frame, name: str, modality: Modality) -> NDArray[np.uint8] | None:
        return modality.draw_target(frame.target[name]) if name in frame.target else None

    def output(setup: str) -> _Drawing:
        def draw(frame: Frame, name: str, modality: Modality) -> NDArray[np.uint8] | None:
            found = frame.outputs.get(setup, {}).get(name)
            return None if found is None else modality.draw(found)

        return draw

    def error(setup: str) -> _Drawing:
        def draw(frame: Frame, name: str, modality: Modality) -> NDArray[np.uint8] | None:
            found, target = frame.outputs.get(setup, {}).get(name), frame.target.get(name)
            if found is None or target is None:
                return None
            return modality.draw_error(found, target)

        return draw

    setups = list(frames[0].outputs)
    outputs = [(_title(setup), output(setup)) for setup in setups]
    if not any(frame.target for frame in frames):
        return outputs
    wrong = [(f"error of {_title(s)}", error(s)) for s in errors if s in setups]
    return [("ground truth", truth), *outputs, *wrong]


def _title(setup: str) -> str:
    modality = keys.muted_modality(setup)
    return setup if modality is None else f"{modality} muted"


def with_unit(modality: Modality) -> str:
    """The name of a modality, with the unit of what is drawn of it."""
    # Of probabilities only the class is drawn.
    unit = f" [{modality.unit}]" if modality.unit and modality.channels == 1 else ""
    return f"{modality.name}{unit}"


def _show(axes: Axes, picture: NDArray[np.uint8] | None, title: str = "") -> None:
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, pad=4)
    if picture is not None:
        step = -(-picture.shape[1] // _LARGEST)
        axes.imshow(picture[::step, ::step], interpolation="nearest", aspect="equal")


# -- what the colours mean ---------------------------------------------------------------------


def colours(
    figure: Figure, modality: Modality, top: float, *, with_errors: bool, left: float = _LEFT
) -> None:
    """One line, ``KEY`` inches high, that explains the colours of ``modality``.

    Args:
        figure: to draw on.
        modality: whose maps it shows.
        top: of the line, in inches from below.
        with_errors: also explain those of error maps.
        left: in inches.

    The colours are asked of the modality itself: it draws each of its classes, or a ramp over its
    range. A modality with neither explains nothing.
    """
    classes = getattr(modality, "classes", None)
    maximum = getattr(modality, "maximum", None)
    width, height = figure.get_size_inches()
    if classes:
        one_of_each = np.eye(len(classes))[:, None, :]  # (K, 1, K)
        patches = [
            Patch(facecolor=colour / 255, label=label)
            for colour, label in zip(modality.draw(one_of_each)[0], classes, strict=True)
        ]
        patches.append(Patch(facecolor=(GREY / 255,) * 3, label="no ground truth"))
        figure.add_artist(
            Legend(
                figure,
                patches,
                [str(patch.get_label()) for patch in patches],
                loc="center left",
                bbox_to_anchor=(left / width, (top - KEY / 2) / height),
                bbox_transform=figure.transFigure,
                ncols=len(patches),
                frameon=False,
                fontsize=8,
                borderpad=0,
                borderaxespad=0,
                handlelength=1.2,
                handleheight=1.0,
                columnspacing=1.2,
                title=f"{modality.name}; in error maps right pixels are white"
                if with_errors
                else modality.name,
                title_fontsize=8,
                alignment="left",
            )
        )
    elif maximum is not None and modality.channels == 1:
        ramp = np.linspace(0, maximum, 256)
        _bar(figure, modality.draw(ramp[None, None]), (0, maximum), with_unit(modality), left, top)
        if with_errors:
            off = np.linspace(-0.6, 0.6, 256)
            truth = np.full((1, 256), maximum / 2)
            picture = modality.draw_error((truth * (1 + off))[None], truth)
            label = f"error of {modality.name}, relative to the truth [%]"
            _bar(figure, picture, (-60, 60), label, left + 3.4, top)


def _bar(
    figure: Figure,
    picture: NDArray[np.uint8],
    ends: tuple[float, float],
    label: str,
    left: float,
    top: float,
) -> None:
    """A colour bar of 3 by 0.1 inches with its label on top."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, (top - 0.26) / height, 3 / width, 0.1 / height))
    axes.imshow(picture, aspect="auto", extent=(*ends, 0, 1))
    axes.set_yticks([])
    axes.tick_params(labelsize=7, length=2, pad=1)
    axes.set_title(label, fontsize=8, loc="left", pad=2)
