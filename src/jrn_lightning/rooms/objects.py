"""Small things that stand on furniture or on the floor, and what hangs on walls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.random import Generator

from jrn_lightning.rooms.item import UNLABELLED, Item, Top, spread, tilt
from jrn_lightning.rooms.materials import ANY, FABRIC, PAINT, PRINT, TIMBER, Material, Palette

_METAL: Final = Material.plain((0.3, 0.3, 0.3), gloss=0.6)
_DARK: Final = Material.plain((0.04, 0.04, 0.045), gloss=0.3)
_BLACK: Final = Material.plain((0.03, 0.03, 0.033), gloss=0.4)
_GLASS: Final = Material(
    "blobs",
    ((0.3, 0.3, 0.32), (0.2, 0.2, 0.22), (0.45, 0.45, 0.45)),
    0.8,
    contrast=0.5,
    gloss=0.8,
    absorbs=0.8,
)
_LAMPLIGHT: Final = (1.0, 0.9, 0.72)


def box(rng: Generator, palette: Palette) -> Item:
    """A carton, some with their flaps open."""
    w, d, h = rng.uniform((0.12, 0.1, 0.06), (0.34, 0.26, 0.28)).tolist()
    item = Item("box").box((w, d, h), (0, 0, 0), palette.material(ANY))
    if rng.random() < 0.3:
        item.box((w + 0.01, d + 0.01, 0.03), (0, 0, h - 0.025), palette.material(ANY))
    return item


def carton(rng: Generator, palette: Palette) -> Item:
    """A large box for the floor."""
    w, d, h = rng.uniform((0.3, 0.25, 0.2), (0.6, 0.45, 0.5)).tolist()
    made = palette.material(ANY)
    item = Item("box").box((w, d, h), (0, 0, 0), made)
    if rng.random() >= 0.5:
        return item.top((w - 0.06, d - 0.06), h, 0.3)
    for side in (-1, 1):
        flap = tilt(side * rng.uniform(0.2, 1.0), (0, 1, 0))
        item.add("box", (0.01, d, 0.16), (side * (w / 2 - 0.005), 0, h), made, flap)
    return item


def books(rng: Generator, palette: Palette) -> Item:
    """A stack."""
    item = Item("books", name="book")
    z = 0.0
    for _ in range(rng.integers(1, 6)):
        thick = rng.uniform(0.015, 0.05)
        size = (rng.uniform(0.14, 0.24), rng.uniform(0.19, 0.3), thick)
        # Each lies within a hand's breadth of the one below, so that it is carried.
        turn = tilt(rng.normal(0, 0.12), (0, 0, 1))
        item.add("box", size, (0, 0, z), palette.material(ANY), turn)
        z += thick
    return item


def bottle(rng: Generator, palette: Palette) -> Item:
    """One to three bottles."""
    item = Item("bottle")
    for x in spread(int(rng.integers(1, 4)), 0.1):
        across, tall = rng.uniform(0.06, 0.09), rng.uniform(0.18, 0.33)
        made = palette.material(("plain", "plain", "stripes"), gloss=0.5)
        item.add("bottle", (across, across, tall), (x, rng.uniform(-0.03, 0.03), 0.0), made)
    return item


def cup(rng: Generator, palette: Palette) -> Item:
    """A mug with a handle."""
    made = palette.material(("plain", "dots", "stripes"), gloss=0.3)
    item = Item("cup").add("pot", (0.085, 0.085, 0.1), (0, 0, 0), made)
    return item.box((0.03, 0.012, 0.06), (0.05, 0, 0.02), made)


def bowl(rng: Generator, palette: Palette) -> Item:
    """A bowl with fruit."""
    across = rng.uniform(0.18, 0.3)
    made = palette.material(("plain", "dots", "wood"))
    item = Item("bowl").add("bowl", (across, across, 0.09), (0, 0, 0), made)
    for k in range(rng.integers(0, 5)):
        angle = 2 * np.pi * k / 4
        at = (0.2 * across * np.cos(angle), 0.2 * across * np.sin(angle), 0.04)
        item.add("sphere", (0.075, 0.075, 0.075), at, palette.material(("plain",)), name="fruit")
    return item


def vase(rng: Generator, palette: Palette) -> Item:
    """A vase."""
    across, tall = rng.uniform(0.12, 0.2), rng.uniform(0.18, 0.36)
    made = palette.material(ANY, gloss=0.4)
    return Item("vase").add("vase", (across, across, tall), (0, 0, 0), made)


def plant(rng: Generator, palette: Palette) -> Item:
    """A pot with leaves, knee-high or smaller."""
    return _plant(rng, palette, rng.uniform(0.22, 0.4))


def floor_plant(rng: Generator, palette: Palette) -> Item:
    """A pot with leaves for the floor."""
    return _plant(rng, palette, rng.uniform(0.7, 1.5))


def _plant(rng: Generator, palette: Palette, height: float) -> Item:
    item = Item("plant")
    pot = 0.35 * height if height < 0.5 else rng.uniform(0.25, 0.35)
    across = pot * rng.uniform(0.8, 1.1)
    item.add("pot", (across, across, pot), (0, 0, 0), palette.material(ANY), name="plant pot")
    green = np.array([0.08, 0.2, 0.05]) * rng.uniform(0.5, 1.4) + rng.uniform(0, 0.06, 3)
    darker = tuple((0.6 * green).tolist())
    leaf = Material("mottled", (tuple(green.tolist()), darker, darker), 0.05)
    has_stem = height > 0.9
    stem = height - pot if has_stem else 0.0
    if has_stem:
        item.add("cylinder", (0.03, 0.03, 0.8 * stem), (0, 0, 0.85 * pot), leaf)
    for k in range(rng.integers(9, 18)):
        yaw = 2.4 * k + rng.normal(0, 0.2)
        z = 0.85 * pot + (rng.uniform(0.3, 0.78) * stem if has_stem else 0.0)
        long = rng.uniform(0.6, 1.0) * (0.4 if has_stem else 0.9 * (height - pot))
        rise = rng.uniform(-0.2, 0.7)
        turn = tilt(yaw, (0, 0, 1)) @ tilt(-rise, (0, 1, 0))
        # The blade's cell is centred, its stalk is at one end.
        reach = np.array([np.cos(rise) * np.cos(yaw), np.cos(rise) * np.sin(yaw), np.sin(rise)])
        x, y, z = (0.5 * long * reach + (0, 0, z)).tolist()
        item.add("leaf", (long, 0.3 * long, 0.3 * long), (x, y, z), leaf, turn)
    return item


def monitor(rng: Generator, palette: Palette) -> Item:
    """A screen on a foot, with a keyboard before it."""
    item = Item("monitor")
    width = rng.uniform(0.45, 0.62)
    tall = 0.6 * width
    item.box((0.22, 0.16, 0.015), (0, -0.06, 0), _DARK)
    item.box((0.05, 0.03, 0.16), (0, -0.09, 0.015), _DARK)
    item.box((width, 0.035, tall), (0, -0.06, 0.11), _DARK)
    screen = palette.bright_print(0.55) if rng.random() < 0.4 else palette.dark_screen()
    item.box((width - 0.03, 0.006, tall - 0.03), (0, -0.041, 0.125), screen)
    if rng.random() < 0.7:
        made = palette.material(("plain", "weave"))
        item.box((0.42, 0.13, 0.018), (0, 0.13, 0), made, "keyboard")
    return item


def laptop(rng: Generator, palette: Palette) -> Item:
    """An open laptop."""
    made = palette.material(("plain",))
    lean = tilt(rng.uniform(0.15, 0.4), (1, 0, 0))
    screen = palette.bright_print(0.5) if rng.random() < 0.5 else palette.dark_screen()
    item = Item("laptop").box((0.34, 0.23, 0.02), (0, 0.02, 0), made)
    item.add("box", (0.34, 0.012, 0.22), (0, -0.095, 0.018), made, lean)
    return item.add("box", (0.31, 0.016, 0.19), (0, -0.096, 0.033), screen, lean)


def television(rng: Generator, palette: Palette) -> Item:
    """A flat screen on feet."""
    item = Item("television")
    width = rng.uniform(0.75, 1.15)
    tall = 0.58 * width
    for side in (-1, 1):
        item.box((0.03, 0.22, 0.05), (side * 0.3 * width, 0, 0), _BLACK)
    item.box((width, 0.05, tall), (0, 0, 0.05), _BLACK)
    screen = palette.bright_print(0.55) if rng.random() < 0.3 else palette.dark_screen()
    return item.box((width - 0.03, 0.006, tall - 0.03), (0, 0.026, 0.065), screen)


def table_lamp(rng: Generator, palette: Palette) -> Item:
    """A foot and a shade, lit or not."""
    item = Item("lamp")
    foot = palette.material(ANY)
    tall = rng.uniform(0.35, 0.6)
    form = str(rng.choice(["vase", "cylinder", "bottle"]))
    item.add(form, (0.13, 0.13, 0.6 * tall), (0, 0, 0), foot)
    item.add("cylinder", (0.02, 0.02, 0.1 * tall), (0, 0, 0.58 * tall), _METAL)
    across = rng.uniform(0.22, 0.36)
    shade = Material.plain(_LAMPLIGHT, glow=0.9) if rng.random() < 0.5 else palette.material(FABRIC)
    return item.add("shade", (across, across, 0.38 * tall), (0, 0, 0.62 * tall), shade)


def floor_lamp(rng: Generator, palette: Palette) -> Item:
    """A pole with a shade."""
    tall = rng.uniform(1.4, 1.75)
    pole = palette.material(("plain", "wood"))
    shade = Material.plain(_LAMPLIGHT, glow=1.0) if rng.random() < 0.5 else palette.material(FABRIC)
    item = Item("floor lamp", name="lamp")
    item.add("cylinder", (0.28, 0.28, 0.025), (0, 0, 0), pole)
    item.add("cylinder", (0.03, 0.03, tall - 0.25), (0, 0, 0.025), pole)
    return item.add("shade", (0.38, 0.38, 0.3), (0, 0, tall - 0.3), shade)


def clock(rng: Generator, palette: Palette) -> Item:
    """A small upright clock or photo frame."""
    w, h = rng.uniform(0.12, 0.24), rng.uniform(0.14, 0.26)
    lean = tilt(0.15, (1, 0, 0))
    item = Item("picture")
    item.add("box", (w, 0.02, h), (0, 0, 0.002), palette.material(TIMBER), lean)
    item.add("box", (w - 0.03, 0.024, h - 0.03), (0, 0, 0.017), palette.material(PRINT), lean)
    return item.box((0.03, 0.09, 0.01), (0, -0.035, 0), palette.material(TIMBER))


def basket(rng: Generator, palette: Palette) -> Item:
    """A bin or basket."""
    item = Item(str(rng.choice(["garbage bin", "basket"])))
    across, tall = rng.uniform(0.22, 0.4), rng.uniform(0.25, 0.5)
    return item.add("pot", (across, across, tall), (0, 0, 0), palette.material(FABRIC + PAINT))


def bag(rng: Generator, palette: Palette) -> Item:
    """A soft bag with a handle."""
    w, d, h = rng.uniform((0.25, 0.14, 0.25), (0.45, 0.25, 0.42)).tolist()
    made = palette.material(FABRIC)
    item = Item("bag").add("cushion", (w, d, h), (0, 0, 0), made)
    for side in (-1, 1):
        item.box((0.02, 0.02, 0.12), (side * 0.25 * w, 0, h - 0.02), made)
    return item.box((0.5 * w + 0.02, 0.02, 0.02), (0, 0, h + 0.09), made)


def ball(rng: Generator, palette: Palette) -> Item:
    """A ball."""
    across = rng.uniform(0.12, 0.3)
    made = palette.material(FABRIC)
    return Item("ball").add("sphere", (across, across, across), (0, 0, 0), made)


def cushion(rng: Generator, palette: Palette) -> Item:
    """A cushion on the floor."""
    side = rng.uniform(0.38, 0.6)
    made = palette.material(FABRIC)
    return Item("pillow").add("pillow", (side, side, 0.16), (0, 0, 0), made)


def shoes(rng: Generator, palette: Palette) -> Item:
    """A pair."""
    item = Item("shoes", name="shoe")
    made = palette.material(FABRIC)
    for side in (-1, 1):
        turn = tilt(rng.normal(0, 0.15), (0, 0, 1))
        item.add("cushion", (0.1, 0.28, 0.09), (side * 0.09, 0, 0), made, turn)
    return item


def unlabelled(rng: Generator, palette: Palette) -> Item:
    """Something that nobody labelled."""
    w, d, h = rng.uniform((0.06, 0.06, 0.04), (0.22, 0.2, 0.18)).tolist()
    form = str(rng.choice(["box", "cushion", "cylinder"]))
    made = palette.material(ANY)
    return Item("unlabelled").add(form, (w, d, h), (0, 0, 0), made, name=UNLABELLED)


Maker = Callable[[Generator, Palette], Item]

#: for tables, desks, shelves and cabinets
ON_TOPS: Final[tuple[Maker, ...]] = (
    *(box, box, books, books, books, bottle, cup, cup, bowl, vase, plant, table_lamp, clock),
    *(laptop, unlabelled, unlabelled),
)
#: for the floor
ON_FLOOR: Final[tuple[Maker, ...]] = (
    *(carton, carton, carton, floor_plant, floor_plant, floor_lamp, basket, bag, bag, ball),
    *(cushion, shoes, books, box, unlabelled),
)


def picture(rng: Generator, palette: Palette, width: float, height: float) -> Item:
    """Something flat on a wall: a framed picture, a poster, a mirror, a board or a clock.

    Its frame is the wall's: x along it, y out of it, the lower edge at z = 0.
    """
    kind = rng.random()
    if kind < 0.4:
        item = Item("picture", "wall")
        item.box((width, 0.03, height), (0, 0.015, 0), palette.material(TIMBER))
        margin = rng.uniform(0.03, 0.08)
        size = (width - 2 * margin, 0.006, height - 2 * margin)
        return item.box(size, (0, 0.028, margin), palette.material(PRINT, gloss=0.1))
    if kind < 0.7:
        item = Item("poster", "wall", name="wall decoration")
        return item.box((width, 0.006, height), (0, 0.003, 0), palette.material(PRINT, gloss=0.1))
    if kind < 0.82:
        item = Item("mirror", "wall")
        item.box((width, 0.025, height), (0, 0.0125, 0), palette.material(TIMBER))
        return item.box((width - 0.08, 0.004, height - 0.08), (0, 0.026, 0.04), _GLASS)
    if kind < 0.92:
        item = Item("board", "wall", name=str(rng.choice(["whiteboard", "classroom board"])))
        item.box((width, 0.02, height), (0, 0.01, 0), palette.material(PAINT, bright=0.7))
        return item.box((0.4 * width, 0.035, 0.02), (0, 0.0175, 0), _METAL)
    across = min(width, height, 0.35)
    turn = tilt(-np.pi / 2, (1, 0, 0))
    made = palette.material(PAINT, bright=0.5)
    size, at = (across, across, 0.04), (0, 0, across / 2)
    return Item("clock", "wall").add("cylinder", size, at, made, turn)


def wall_shelf(rng: Generator, palette: Palette, width: float) -> Item:
    """A board on the wall for small things; see :func:`picture` for its frame."""
    item = Item("wall shelf", "wall", name="shelves")
    made = palette.material(TIMBER)
    deep = rng.uniform(0.18, 0.26)
    item.box((width, deep, 0.025), (0, deep / 2, 0.1), made)
    for side in (-1, 1):
        at = (side * (width / 2 - 0.08), 0.5 * deep, 0.0)
        item.box((0.02, 0.8 * deep, 0.1), at, made)
    x = width / 2 - 0.02
    item.tops.append(Top((-x, 0.02), (x, deep - 0.01), 0.125, 0.4))
    return item
