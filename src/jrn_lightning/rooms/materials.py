"""What surfaces look like: procedural patterns in the colours of a room.

Floor, walls, furniture and objects draw from one palette and one set of patterns, with mild
preferences only: a plank pattern or a colour does not say what a surface belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

#: float32 wherever there is a value a pixel
Float = NDArray[np.floating[Any]]

# Pattern -> metres of one repeat, from … to.
_SIZES: Final = {
    "plain": (0.5, 1.0),
    "mottled": (0.08, 0.6),
    "wood": (0.08, 0.25),
    "planks": (0.07, 0.18),
    "tiles": (0.1, 0.45),
    "bricks": (0.06, 0.14),
    "stripes": (0.03, 0.25),
    "checks": (0.04, 0.25),
    "dots": (0.05, 0.2),
    "weave": (0.006, 0.03),
    "blobs": (0.08, 0.35),
}
PATTERNS: Final = tuple(_SIZES)

# What a kind of surface prefers; the rest of the time it takes any pattern.
PAINT: Final = ("plain", "plain", "plain", "mottled", "stripes")
FLOORING: Final = ("planks", "tiles", "weave", "mottled", "wood")
TIMBER: Final = ("wood", "wood", "plain", "planks", "mottled")
FABRIC: Final = ("weave", "plain", "stripes", "checks", "dots", "blobs")
PRINT: Final = ("blobs", "blobs", "stripes", "checks", "dots", "mottled")
ANY: Final = PATTERNS
_FAITHFUL: Final = 0.75

_LATTICE: Final = 256  # the noise repeats after so many cells
_DARKEST: Final = 0.03
_BRIGHTEST: Final = 0.85


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        pattern: one of ``PATTERNS``.
        colours: three linear RGB triples, of base, figure and accent.
        size: metres of one repeat.
        angle: radians by which the pattern is turned.
        offset: metres by which it is shifted.
        contrast: 0 … 1 between base and figure.
        gloss: 0 … 1, strength of the highlights.
        glow: light given off, in multiples of what a white surface in normal light sends back.
        absorbs: 0 … 1, chance that the depth sensor's pattern does not come back.
    """

    pattern: str
    colours: tuple[tuple[float, ...], ...]
    size: float
    angle: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    contrast: float = 1.0
    gloss: float = 0.0
    glow: float = 0.0
    absorbs: float = 0.0

    @classmethod
    def plain(
        cls, colour: Sequence[float], *, gloss: float = 0.0, glow: float = 0.0, absorbs: float = 0.0
    ) -> Material:
        """A surface of one linear RGB colour."""
        return cls("plain", (tuple(colour),) * 3, 1.0, gloss=gloss, glow=glow, absorbs=absorbs)


class Palette:
    """The few colours of one room, and materials made of them."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self.colours = np.array([_colour(rng, kind) for kind in _KINDS])

    def material(
        self, patterns: Sequence[str], *, bright: float = 0.0, gloss: float | None = None
    ) -> Material:
        """A material of this room.

        Args:
            patterns: preferred ones.
            bright: chance to take the brighter half of the palette.
            gloss: 0 … 1; drawn where None.
        """
        rng = self._rng
        pattern = str(rng.choice(patterns if rng.random() < _FAITHFUL else ANY))
        order = rng.permutation(len(self.colours))
        if rng.random() < bright:
            order = np.argsort(-self.colours.mean(1) + rng.normal(0, 0.08, len(order)))
        base, other, accent = self.colours[order[:3]]
        # Most patterns are tone on tone.
        tone = rng.uniform(0.45, 0.9) if rng.random() < 0.5 else rng.uniform(1.1, 1.6)
        figure = base * tone if rng.random() < 0.65 else other
        colours = np.clip([base, figure, accent], _DARKEST, _BRIGHTEST)
        low, high = _SIZES[pattern]
        return Material(
            pattern,
            tuple(map(tuple, colours.tolist())),
            float(np.exp(rng.uniform(np.log(low), np.log(high)))),
            float(rng.integers(2) * np.pi / 2 + (rng.normal(0, 0.02))),
            (rng.uniform(0, 50), rng.uniform(0, 50)),
            rng.uniform(0.3, 1.0),
            float(rng.choice([0.0, 0.1, 0.4], p=[0.6, 0.25, 0.15])) if gloss is None else gloss,
        )

    def dark_screen(self) -> Material:
        """A display that is off, or a black glossy front."""
        shade = self._rng.uniform(0.015, 0.05)
        return Material.plain((shade,) * 3, gloss=0.6, absorbs=0.75)

    def bright_print(self, glow: float) -> Material:
        """A display that is on, or a view out of a window."""
        return replace(self.material(PRINT), glow=glow, gloss=0.3, absorbs=0.6)


_KINDS: Final = ("white", "grey", "wood", "wood", "muted", "muted", "strong", "dark")


def _colour(rng: Generator, kind: str) -> NDArray[np.float64]:
    """Linear RGB of an everyday surface."""
    if kind == "white":
        colour = rng.uniform(0.55, 0.85) * np.array([1, rng.uniform(0.93, 1), rng.uniform(0.8, 1)])
    elif kind == "grey":
        colour = rng.uniform(0.15, 0.5) * rng.uniform(0.92, 1.0, 3)
    elif kind == "wood":
        red = np.exp(rng.uniform(np.log(0.08), np.log(0.55)))
        colour = red * np.array([1.0, rng.uniform(0.5, 0.72), rng.uniform(0.2, 0.45)])
    elif kind == "dark":
        colour = rng.uniform(0.03, 0.1) * rng.uniform(0.6, 1.0, 3)
    else:
        saturation = rng.uniform(0.2, 0.5) if kind == "muted" else rng.uniform(0.6, 0.9)
        hue = rng.uniform(0, 1) + np.array([0, 1, 2]) / 3
        wheel = 0.5 + 0.5 * np.cos(2 * np.pi * hue)
        colour = rng.uniform(0.15, 0.6) * (1 - saturation * (1 - wheel))
    return np.clip(colour, _DARKEST, _BRIGHTEST)


@cache
def _lattice() -> Float:
    """Random values (256, 256) between which the noise is interpolated: the same for all rooms."""
    return np.random.default_rng(1871).random((_LATTICE, _LATTICE), np.float32)


def noise(u: Float, v: Float) -> Float:
    """Smooth noise of unit cells, values 0 … 1, the shape of ``u``.

    >>> one = np.ones(3, np.float32)
    >>> bool((noise(one, one) == noise(one + 256, one)).all())
    True
    """
    i, j = np.floor(u), np.floor(v)
    x, y = u - i, v - j
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    # One flat index a corner: cheaper than pairs of them.
    column, next_column = i.astype(np.int32) & 255, (i.astype(np.int32) + 1) & 255
    row, next_row = (j.astype(np.int32) & 255) << 8, ((j.astype(np.int32) + 1) & 255) << 8
    table = _lattice().ravel()
    near, far = table[row | column], table[next_row | column]
    near += x * (table[row | next_column] - near)
    far += x * (table[next_row | next_column] - far)
    return np.asarray(near + y * (far - near), np.float32)


def _cell(i: Float, j: Float) -> Float:
    """A random value 0 … 1 for each integer cell."""
    rows = (j.astype(np.int32) * 37) & 255
    cells = (rows << 8) | ((i.astype(np.int32) * 61) & 255)
    return np.asarray(_lattice().ravel()[cells])


def _figure(pattern: str, u: Float, v: Float) -> tuple[Float, Float]:
    """Weights 0 … 1 of figure and accent of a pattern at ``(u, v)``, in repeats."""
    none = np.zeros_like(u)
    if pattern == "mottled":
        return 0.6 * noise(u, v) + 0.4 * noise(3.1 * u, 3.1 * v), none
    if pattern == "wood":
        grain = noise(0.4 * u, 5 * v)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (v + 1.6 * noise(0.25 * u, 0.9 * v)))
        return 0.45 * grain + 0.55 * rings, none
    if pattern == "planks":
        board = np.floor(v)
        along = u / 8 + _cell(board, none)
        tone = _cell(np.floor(along), board)
        gap = (v - board < 0.06) | (along - np.floor(along) < 0.006)
        return np.clip(0.75 * tone + 0.25 * noise(u, 9 * v), 0, 1), 0.7 * gap.astype(np.float32)
    if pattern == "tiles":
        i, j = np.floor(u), np.floor(v)
        grout = (u - i < 0.05) | (v - j < 0.05)
        return 0.7 * _cell(i, j) + 0.3 * noise(4 * u, 4 * v), grout.astype(np.float32)
    if pattern == "bricks":
        j = np.floor(v)
        shifted = u / 2.6 + 0.5 * (j % 2)
        i = np.floor(shifted)
        mortar = (v - j < 0.14) | (shifted - i < 0.05)
        return 0.6 * _cell(i, j) + 0.4 * noise(3 * u, 3 * v), mortar.astype(np.float32)
    if pattern == "stripes":
        return _edge(np.sin(2 * np.pi * u)), 0.7 * _edge(np.sin(np.pi * u + 1) - 0.9)
    if pattern == "checks":
        across, up = _edge(np.sin(2 * np.pi * u)), _edge(np.sin(2 * np.pi * v))
        return 0.5 * (across + up), 0.8 * _edge(np.sin(np.pi * u) - 0.93)
    if pattern == "dots":
        radius = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
        return _edge(0.28 - radius, 0.05), none
    if pattern == "weave":
        return 0.5 * noise(u, v) + 0.5 * noise(0.11 * u, 0.11 * v), none
    if pattern == "blobs":
        first = noise(u, v) + 0.4 * noise(2.7 * u, 2.7 * v) - 0.7
        second = noise(1.3 * u + 71, 1.3 * v + 13) + 0.3 * noise(3 * u, 3 * v) - 0.8
        return _edge(first, 0.08), _edge(second, 0.08)
    return none, none


def _edge(value: Float, softness: float = 0.2) -> Float:
    """0 below -softness, 1 above it."""
    return np.asarray(np.clip(0.5 + 0.5 * value / softness, 0, 1), np.float32)


class MaterialTable:
    """Materials by row, evaluated at many points at once."""

    def __init__(self, materials: Sequence[Material]) -> None:
        def column(name: str) -> Float:
            return np.array([getattr(material, name) for material in materials], np.float32)

        self.pattern = np.array([PATTERNS.index(m.pattern) for m in materials], np.int8)
        self.turn = np.array([(np.cos(m.angle), np.sin(m.angle)) for m in materials], np.float32)
        self.colours, self.size, self.offset = map(column, ("colours", "size", "offset"))
        self.contrast, self.gloss = column("contrast"), column("gloss")
        self.glow, self.absorbs = column("glow"), column("absorbs")

    def albedo(self, row: NDArray[np.intp], at: Float, normal: Float, footprint: Float) -> Float:
        """Linear RGB ``(N, 3)``.

        Args:
            row: ``(N,)`` material of each point.
            at: ``(N, 3)`` metres in the frame of the part.
            normal: ``(N, 3)`` in that frame; the pattern is laid onto the plane that it faces.
            footprint: ``(N,)`` metres that a pixel covers: finer detail fades to its mean.
        """
        facing = np.abs(normal).argmax(1)
        x = np.where(facing == 0, at[:, 1], at[:, 0])
        y = np.where(facing == 2, at[:, 1], at[:, 2])
        cos, sin = self.turn[row].T
        u0, v0 = self.offset[row].T
        u, v = cos * x - sin * y + u0, sin * x + cos * y + v0
        size = self.size[row]
        sharp = np.clip(2 - 4 * footprint / size, 0, 1) * self.contrast[row]
        figure, accent = np.zeros_like(u), np.zeros_like(u)
        pattern = self.pattern[row]
        for k in np.unique(pattern):
            where = np.flatnonzero(pattern == k)
            in_repeats = u[where] / size[where], v[where] / size[where]
            figure[where], accent[where] = _figure(PATTERNS[k], *in_repeats)
        figure = 0.4 * self.contrast[row] * (pattern > 0) + sharp * (figure - 0.4)
        accent *= sharp
        colours = self.colours[row]
        mixed = colours[:, 0] + np.clip(figure, 0, 1)[:, None] * (colours[:, 1] - colours[:, 0])
        mixed += np.clip(accent, 0, 1)[:, None] * (colours[:, 2] - mixed)
        # Nothing is evenly clean.
        wear = 0.88 + 0.24 * noise(1.7 * u, 1.7 * v)
        return np.asarray(np.minimum(mixed * wear[:, None], 0.95), np.float32)
