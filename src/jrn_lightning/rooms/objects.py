"""Small things that stand on furniture or on the floor, and what hangs on walls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from jrn_lightning.rooms.item import UNLABELLED, Item, Top, tilt
from jrn_lightning.rooms.materials import ANY, FABRIC, PAINT, PRINT, TIMBER, Material, Palette

Random = np.random.Generator

_METAL: Final = Material("plain", ((0.3, 0.3, 0.3),) * 3, 1.0, gloss=0.6)


def box(rng: Random, palette: Palette) -> Item:
    """A carton, some with their flaps open."""
    item = Item("box")
    w, d, h = rng.uniform((0.12, 0.1, 0.06), (0.34, 0.26, 0.28)).tolist()
    made = palette.material(ANY)
    item.box("box", (w, d, h), (0, 0, 0), made)
    if rng.random() < 0.3:
        item.box("box", (w + 0.01, d + 0.01, 0.03), (0, 0, h - 0.025), palette.material(ANY))
    return item


def carton(rng: Random, palette: Palette) -> Item:
    """A large box for the floor."""
    item = Item("box")
    w, d, h = rng.uniform((0.3, 0.25, 0.2), (0.6, 0.45, 0.5)).tolist()
    made = palette.material(ANY)
    item.box("box", (w, d, h), (0, 0, 0), made)
    if rng.random() < 0.5:
        for side in (-1, 1):
            flap = tilt(side * float(rng.uniform(0.2, 1.0)), (0, 1, 0))
            item.add("box", "box", (0.01, d, 0.16), (side * (w / 2 - 0.005), 0, h), made, flap)
    item.top((w - 0.06, d - 0.06), h, 0.3) if not item.parts[1:] else None
    return item


def books(rng: Random, palette: Palette) -> Item:
    """A stack."""
    item = Item("books")
    z = 0.0
    for _ in range(int(rng.integers(1, 6))):
        thick = float(rng.uniform(0.015, 0.05))
        size = (float(rng.uniform(0.14, 0.24)), float(rng.uniform(0.19, 0.3)), thick)
        # Each lies within a hand's breadth of the one below, so that it is carried.
        turn = tilt(float(rng.normal(0, 0.12)), (0, 0, 1))
        item.add("book", "box", size, (0, 0, z), palette.material(ANY), turn)
        z += thick
    return item


def bottle(rng: Random, palette: Palette) -> Item:
    """One to three bottles."""
    item = Item("bottle")
    count = int(rng.integers(1, 4))
    for k in range(count):
        across, tall = float(rng.uniform(0.06, 0.09)), float(rng.uniform(0.18, 0.33))
        made = palette.material(("plain", "plain", "stripes"), gloss=0.5)
        at = (0.1 * (k - (count - 1) / 2), float(rng.uniform(-0.03, 0.03)), 0.0)
        item.add("bottle", "bottle", (across, across, tall), at, made)
    return item


def cup(rng: Random, palette: Palette) -> Item:
    """A mug with a handle."""
    item = Item("cup")
    made = palette.material(("plain", "dots", "stripes"), gloss=0.3)
    item.add("cup", "pot", (0.085, 0.085, 0.1), (0, 0, 0), made)
    item.box("cup", (0.03, 0.012, 0.06), (0.05, 0, 0.02), made)
    return item


def bowl(rng: Random, palette: Palette) -> Item:
    """A bowl with fruit."""
    item = Item("bowl")
    across = float(rng.uniform(0.18, 0.3))
    made = palette.material(("plain", "dots", "wood"))
    item.add("bowl", "bowl", (across, across, 0.09), (0, 0, 0), made)
    for k in range(int(rng.integers(0, 5))):
        angle = 2 * np.pi * k / 4
        at = (0.2 * across * np.cos(angle), 0.2 * across * np.sin(angle), 0.04)
        item.add("fruit", "sphere", (0.075, 0.075, 0.075), at, palette.material(("plain",)))
    return item


def vase(rng: Random, palette: Palette) -> Item:
    """A vase."""
    item = Item("vase")
    across, tall = float(rng.uniform(0.12, 0.2)), float(rng.uniform(0.18, 0.36))
    item.add("vase", "vase", (across, across, tall), (0, 0, 0), palette.material(ANY, gloss=0.4))
    return item


def plant(rng: Random, palette: Palette) -> Item:
    """A pot with leaves, knee-high or smaller."""
    return _plant(rng, palette, float(rng.uniform(0.22, 0.4)))


def floor_plant(rng: Random, palette: Palette) -> Item:
    """A pot with leaves for the floor."""
    return _plant(rng, palette, float(rng.uniform(0.7, 1.5)))


def _plant(rng: Random, palette: Palette, height: float) -> Item:
    item = Item("plant")
    pot = 0.35 * height if height < 0.5 else float(rng.uniform(0.25, 0.35))
    across = pot * float(rng.uniform(0.8, 1.1))
    item.add("plant pot", "pot", (across, across, pot), (0, 0, 0), palette.material(ANY))
    green = np.array([0.08, 0.2, 0.05]) * rng.uniform(0.5, 1.4) + rng.uniform(0, 0.06, 3)
    darker = tuple(float(c) for c in 0.6 * green)
    leaf = Material("mottled", (tuple(float(c) for c in green), darker, darker), 0.05)
    stem = height - pot if height > 0.9 else 0.05 * height
    if height > 0.9:
        item.add("plant", "cylinder", (0.03, 0.03, 0.8 * stem), (0, 0, 0.85 * pot), leaf)
    for k in range(int(rng.integers(9, 18))):
        yaw = 2.4 * k + float(rng.normal(0, 0.2))
        z = 0.85 * pot + (float(rng.uniform(0.3, 0.78)) * stem if height > 0.9 else 0.0)
        long = float(rng.uniform(0.6, 1.0)) * (0.4 if height > 0.9 else 0.9 * (height - pot))
        rise = float(rng.uniform(-0.2, 0.7))
        turn = tilt(yaw, (0, 0, 1)) @ tilt(-rise, (0, 1, 0))
        # The blade's cell is centred, its stalk is at one end.
        reach = np.array([np.cos(rise) * np.cos(yaw), np.cos(rise) * np.sin(yaw), np.sin(rise)])
        at = tuple(float(c) for c in 0.5 * long * reach + (0, 0, z))
        size = (long, 0.3 * long, 0.3 * long)
        item.add("plant", "leaf", size, (at[0], at[1], at[2]), leaf, turn)
    return item


def monitor(rng: Random, palette: Palette) -> Item:
    """A screen on a foot, with a keyboard before it."""
    item = Item("monitor")
    dark = Material("plain", ((0.04, 0.04, 0.045),) * 3, 1.0, gloss=0.3)
    width = float(rng.uniform(0.45, 0.62))
    tall = 0.6 * width
    item.box("monitor", (0.22, 0.16, 0.015), (0, -0.06, 0), dark)
    item.box("monitor", (0.05, 0.03, 0.16), (0, -0.09, 0.015), dark)
    item.box("monitor", (width, 0.035, tall), (0, -0.06, 0.11), dark)
    screen = palette.bright_print(0.55) if rng.random() < 0.4 else palette.dark_screen()
    item.box("monitor", (width - 0.03, 0.006, tall - 0.03), (0, -0.041, 0.125), screen)
    if rng.random() < 0.7:
        item.box(
            "keyboard", (0.42, 0.13, 0.018), (0, 0.13, 0), palette.material(("plain", "weave"))
        )
    return item


def laptop(rng: Random, palette: Palette) -> Item:
    """An open laptop."""
    item = Item("laptop")
    made = palette.material(("plain",))
    item.box("laptop", (0.34, 0.23, 0.02), (0, 0.02, 0), made)
    lean = tilt(float(rng.uniform(0.15, 0.4)), (1, 0, 0))
    item.add("laptop", "box", (0.34, 0.012, 0.22), (0, -0.095, 0.018), made, lean)
    screen = palette.bright_print(0.5) if rng.random() < 0.5 else palette.dark_screen()
    item.add("laptop", "box", (0.31, 0.016, 0.19), (0, -0.096, 0.033), screen, lean)
    return item


def television(rng: Random, palette: Palette) -> Item:
    """A flat screen on feet."""
    item = Item("television")
    width = float(rng.uniform(0.75, 1.15))
    tall = 0.58 * width
    dark = Material("plain", ((0.03, 0.03, 0.033),) * 3, 1.0, gloss=0.4)
    for side in (-1, 1):
        item.box("television", (0.03, 0.22, 0.05), (side * 0.3 * width, 0, 0), dark)
    item.box("television", (width, 0.05, tall), (0, 0, 0.05), dark)
    screen = palette.bright_print(0.55) if rng.random() < 0.3 else palette.dark_screen()
    item.box("television", (width - 0.03, 0.006, tall - 0.03), (0, 0.026, 0.065), screen)
    return item


def table_lamp(rng: Random, palette: Palette) -> Item:
    """A foot and a shade, lit or not."""
    item = Item("lamp")
    foot = palette.material(ANY)
    tall = float(rng.uniform(0.35, 0.6))
    form = str(rng.choice(["vase", "cylinder", "bottle"]))
    item.add("lamp", form, (0.13, 0.13, 0.6 * tall), (0, 0, 0), foot)
    item.add("lamp", "cylinder", (0.02, 0.02, 0.1 * tall), (0, 0, 0.58 * tall), _METAL)
    across = float(rng.uniform(0.22, 0.36))
    shade = palette.lit(0.9) if rng.random() < 0.5 else palette.material(FABRIC)
    item.add("lamp", "shade", (across, across, 0.38 * tall), (0, 0, 0.62 * tall), shade)
    return item


def floor_lamp(rng: Random, palette: Palette) -> Item:
    """A pole with a shade."""
    item = Item("floor lamp")
    tall = float(rng.uniform(1.4, 1.75))
    pole = palette.material(("plain", "wood"))
    item.add("lamp", "cylinder", (0.28, 0.28, 0.025), (0, 0, 0), pole)
    item.add("lamp", "cylinder", (0.03, 0.03, tall - 0.25), (0, 0, 0.025), pole)
    shade = palette.lit(1.0) if rng.random() < 0.5 else palette.material(FABRIC)
    item.add("lamp", "shade", (0.38, 0.38, 0.3), (0, 0, tall - 0.3), shade)
    return item


def clock(rng: Random, palette: Palette) -> Item:
    """A small upright clock or photo frame."""
    item = Item("picture")
    w, h = float(rng.uniform(0.12, 0.24)), float(rng.uniform(0.14, 0.26))
    lean = tilt(0.15, (1, 0, 0))
    item.add("picture", "box", (w, 0.02, h), (0, 0, 0.002), palette.material(TIMBER), lean)
    size = (w - 0.03, 0.024, h - 0.03)
    item.add("picture", "box", size, (0, 0, 0.017), palette.material(PRINT), lean)
    item.box("picture", (0.03, 0.09, 0.01), (0, -0.035, 0), palette.material(TIMBER))
    return item


def basket(rng: Random, palette: Palette) -> Item:
    """A bin or basket."""
    name = str(rng.choice(["garbage bin", "basket"]))
    item = Item(name)
    across, tall = float(rng.uniform(0.22, 0.4)), float(rng.uniform(0.25, 0.5))
    made = palette.material(FABRIC + PAINT)
    item.add(name, "pot", (across, across, tall), (0, 0, 0), made)
    return item


def bag(rng: Random, palette: Palette) -> Item:
    """A soft bag with a handle."""
    item = Item("bag")
    w, d, h = rng.uniform((0.25, 0.14, 0.25), (0.45, 0.25, 0.42)).tolist()
    made = palette.material(FABRIC)
    item.add("bag", "cushion", (w, d, h), (0, 0, 0), made)
    for side in (-1, 1):
        item.box("bag", (0.02, 0.02, 0.12), (side * 0.25 * w, 0, h - 0.02), made)
    item.box("bag", (0.5 * w + 0.02, 0.02, 0.02), (0, 0, h + 0.09), made)
    return item


def ball(rng: Random, palette: Palette) -> Item:
    """A ball."""
    item = Item("ball")
    across = float(rng.uniform(0.12, 0.3))
    item.add("ball", "sphere", (across, across, across), (0, 0, 0), palette.material(FABRIC))
    return item


def cushion(rng: Random, palette: Palette) -> Item:
    """A cushion on the floor."""
    item = Item("pillow")
    side = float(rng.uniform(0.38, 0.6))
    item.add("pillow", "pillow", (side, side, 0.16), (0, 0, 0), palette.material(FABRIC))
    return item


def shoes(rng: Random, palette: Palette) -> Item:
    """A pair."""
    item = Item("shoes")
    made = palette.material(FABRIC)
    for side in (-1, 1):
        turn = tilt(float(rng.normal(0, 0.15)), (0, 0, 1))
        item.add("shoe", "cushion", (0.1, 0.28, 0.09), (side * 0.09, 0, 0), made, turn)
    return item


def unlabelled(rng: Random, palette: Palette) -> Item:
    """Something that nobody labelled."""
    item = Item("unlabelled")
    w, d, h = rng.uniform((0.06, 0.06, 0.04), (0.22, 0.2, 0.18)).tolist()
    form = str(rng.choice(["box", "cushion", "cylinder"]))
    item.add(UNLABELLED, form, (w, d, h), (0, 0, 0), palette.material(ANY))
    return item


Maker = Callable[[Random, Palette], Item]

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


def picture(rng: Random, palette: Palette, width: float, height: float) -> Item:
    """Something flat on a wall: a framed picture, a poster, a mirror, a board or a clock.

    Its frame is the wall's: x along it, y out of it, the lower edge at z = 0.
    """
    kind = float(rng.random())
    if kind < 0.4:
        item = Item("picture", "wall")
        item.box("picture", (width, 0.03, height), (0, 0.015, 0), palette.material(TIMBER))
        margin = float(rng.uniform(0.03, 0.08))
        size = (width - 2 * margin, 0.006, height - 2 * margin)
        item.box("picture", size, (0, 0.028, margin), palette.material(PRINT, gloss=0.1))
    elif kind < 0.7:
        item = Item("poster", "wall")
        made = palette.material(PRINT, gloss=0.1)
        item.box("wall decoration", (width, 0.006, height), (0, 0.003, 0), made)
    elif kind < 0.82:
        item = Item("mirror", "wall")
        item.box("mirror", (width, 0.025, height), (0, 0.0125, 0), palette.material(TIMBER))
        glass = Material(
            "blobs",
            ((0.3, 0.3, 0.32), (0.2, 0.2, 0.22), (0.45, 0.45, 0.45)),
            0.8,
            contrast=0.5,
            gloss=0.8,
            absorbs=0.8,
        )
        item.box("mirror", (width - 0.08, 0.004, height - 0.08), (0, 0.026, 0.04), glass)
    elif kind < 0.92:
        item = Item("board", "wall")
        name = str(rng.choice(["whiteboard", "classroom board"]))
        item.box(name, (width, 0.02, height), (0, 0.01, 0), palette.material(PAINT, bright=0.7))
        item.box(name, (0.4 * width, 0.035, 0.02), (0, 0.0175, 0), _METAL)
    else:
        item = Item("clock", "wall")
        across = min(width, height, 0.35)
        turn = tilt(-np.pi / 2, (1, 0, 0))
        made = palette.material(PAINT, bright=0.5)
        item.add("clock", "cylinder", (across, across, 0.04), (0, 0, across / 2), made, turn)
    return item


def wall_shelf(rng: Random, palette: Palette, width: float) -> Item:
    """A board on the wall for small things; see :func:`picture` for its frame."""
    item = Item("wall shelf", "wall")
    made = palette.material(TIMBER)
    deep = float(rng.uniform(0.18, 0.26))
    item.box("shelves", (width, deep, 0.025), (0, deep / 2, 0.1), made)
    for side in (-1, 1):
        at = (side * (width / 2 - 0.08), 0.5 * deep, 0.0)
        item.box("shelves", (0.02, 0.8 * deep, 0.1), at, made)
    item.tops.append(_shelf_top(width, deep))
    return item


def _shelf_top(width: float, deep: float) -> Top:
    return Top((-width / 2 + 0.02, 0.02), (width / 2 - 0.02, deep - 0.01), 0.125, 0.4)
