"""Furniture, each built of several parts; see :mod:`item` for the frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.random import Generator

from jrn_lightning.rooms.item import UNLABELLED, Item, spread, tilt
from jrn_lightning.rooms.materials import ANY, FABRIC, PAINT, TIMBER, Material, Palette

_HANDLE: Final = Material.plain((0.4, 0.39, 0.36), gloss=0.5)
_DARK: Final = Material.plain((0.04, 0.04, 0.045), gloss=0.3)


def _legs(
    item: Item,
    size: tuple[float, float],
    height: float,
    thick: float,
    material: Material,
    form: str = "box",
) -> None:
    x, y = size[0] / 2 - thick / 2, size[1] / 2 - thick / 2
    for at in ((-x, -y, 0), (-x, y, 0), (x, -y, 0), (x, y, 0)):
        item.add(form, (thick, thick, height), at, material)


def bed(rng: Generator, palette: Palette) -> Item:
    """A bed with headboard, mattress, cover and pillows."""
    item = Item("bed")
    width = float(rng.choice([0.95, 1.4, 1.6, 1.85]))
    length = rng.uniform(1.95, 2.15)
    timber = palette.material(TIMBER)
    sheet = palette.material(FABRIC, bright=0.6, gloss=0.0)
    cover = palette.material(FABRIC, gloss=0.0)
    base = rng.uniform(0.18, 0.32)
    if rng.random() < 0.5:
        _legs(item, (width - 0.1, length - 0.1), base - 0.1, 0.07, timber)
        item.box((width, length, 0.1), (0, 0, base - 0.1), timber)
    else:
        item.box((width, length, base), (0, 0, 0), timber)
    thick, head = rng.uniform(0.18, 0.28), rng.uniform(0.8, 1.2)
    if rng.random() < 0.6:
        size = (width + 0.04, 0.06, head)
        item.box(size, (0, -length / 2 - 0.03, 0), timber, "headboard")
    if rng.random() < 0.25:
        item.box((width, 0.04, base + 0.25), (0, length / 2 + 0.02, 0), timber)
    item.add("cushion", (width - 0.03, length - 0.03, thick), (0, 0, base), sheet, name="mattress")
    top = base + thick
    covered = rng.uniform(0.55, 0.8) * length
    size = (width + 0.04, covered, thick * 0.75 + 0.05)
    item.add("cushion", size, (0, length / 2 - covered / 2, top - thick * 0.75), cover)
    if rng.random() < 0.4:  # something thrown over the foot end
        made = palette.material(FABRIC, gloss=0.0)
        size = (width + 0.07, 0.5, thick * 0.6 + 0.08)
        item.add("cushion", size, (0, length / 2 - 0.35, top - thick * 0.6), made, name="blanket")
    count = 1 if width < 1.2 else 2
    for row in range(rng.integers(1, 3)):
        fabric = palette.material(FABRIC, bright=0.3, gloss=0.0)
        for x in spread(count, width / count):
            angle = 0.35 + 0.35 * row + rng.uniform(-0.1, 0.1)
            long = 0.42 - 0.06 * row
            size = (min(0.62, width / count - 0.08), long, 0.14)
            # It leans back on its lower edge.
            at = (x, -length / 2 + 0.3 + 0.17 * row, top - 0.01 + long / 2 * np.sin(angle))
            item.add("pillow", size, at, fabric, tilt(-angle, (1, 0, 0)), "pillow")
    return item


def sofa(rng: Generator, palette: Palette) -> Item:
    """A sofa for two or three, or an armchair; with arms, seats, backs and cushions."""
    item = Item("sofa")
    seats = int(rng.choice([1, 2, 3], p=[0.15, 0.35, 0.5]))
    fabric = palette.material(FABRIC, gloss=0.0)
    seat_fabric = fabric if rng.random() < 0.75 else palette.material(FABRIC, gloss=0.0)
    arm = rng.uniform(0.12, 0.24)
    inner = seats * rng.uniform(0.58, 0.7)
    width, deep = inner + 2 * arm, rng.uniform(0.8, 0.98)
    seat, back = rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.95)
    foot = float(rng.choice([0.0, 0.06, 0.12]))
    if foot:
        _legs(item, (width - 0.1, deep - 0.1), foot, 0.06, palette.material(TIMBER))
    item.box((width, deep, seat - 0.14 - foot), (0, 0, foot), fabric)
    item.add("cushion", (inner, 0.22, back - foot), (0, -deep / 2 + 0.11, foot), fabric)
    arm_height = seat + rng.uniform(0.12, 0.22)
    for side in (-1, 1):
        at = (side * (width - arm) / 2, 0.0, foot)
        item.add("cushion", (arm, deep, arm_height - foot), at, fabric)
    each = inner / seats
    for x in spread(seats, each):
        item.add("cushion", (each - 0.01, deep - 0.2, 0.16), (x, 0.1, seat - 0.15), seat_fabric)
        size = (each - 0.02, 0.18, back - seat + 0.04)
        item.add("cushion", size, (x, -deep / 2 + 0.29, seat), seat_fabric)
        if rng.random() < 0.45:
            lean = tilt(np.pi / 2 - 0.3 + rng.normal(0, 0.08), (1, 0, 0))
            at = (x + rng.uniform(-0.06, 0.06), -deep / 2 + 0.53, seat + 0.2)
            across = rng.uniform(0.36, 0.44)
            made = palette.material(FABRIC, gloss=0.0)
            item.add("pillow", (across, across, 0.13), at, made, lean, "pillow")
    return item


def table(rng: Generator, palette: Palette, size: tuple[float, float] | None = None) -> Item:
    """A dining table: legs in its corners, or a pedestal."""
    item = Item("table")
    width, deep = size or (rng.uniform(1.1, 2.0), rng.uniform(0.75, 1.0))
    height, thick = rng.uniform(0.7, 0.77), rng.uniform(0.025, 0.05)
    timber = palette.material(TIMBER)
    legs = timber if rng.random() < 0.6 else palette.material(ANY)
    if rng.random() < 0.75:
        leg = rng.uniform(0.04, 0.08)
        form = "cylinder" if rng.random() < 0.3 else "box"
        _legs(item, (width - 0.06, deep - 0.06), height - thick, leg, legs, form)
        if rng.random() < 0.6:
            for y in (-1, 1):
                at = (0, y * (deep / 2 - 0.06), height - thick - 0.08)
                item.box((width - 0.18, 0.02, 0.08), at, timber)
    else:
        item.add("cylinder", (0.1, 0.1, height - thick - 0.04), (0, 0, 0.04), legs)
        item.add("cylinder", (0.5, 0.5, 0.04), (0, 0, 0), legs)
    item.box((width, deep, thick), (0, 0, height - thick), timber)
    if rng.random() < 0.3:  # a cloth that is a little larger than the top
        cloth = palette.material(FABRIC, gloss=0.0)
        item.box((width + 0.01, deep + 0.01, 0.09), (0, 0, height - 0.085), cloth)
        height += 0.005
    return item.top((width - 0.08, deep - 0.08), height)


def coffee_table(rng: Generator, palette: Palette) -> Item:
    """A low table, some with a shelf below or round."""
    item = Item("coffee table")
    timber = palette.material(TIMBER)
    height = rng.uniform(0.35, 0.48)
    if rng.random() < 0.25:
        across = rng.uniform(0.65, 0.9)
        item.add("cylinder", (across, across, 0.03), (0, 0, height - 0.03), timber)
        item.add("cylinder", (0.12, 0.12, height - 0.06), (0, 0, 0.03), timber)
        item.add("cylinder", (across * 0.6, across * 0.6, 0.03), (0, 0, 0), timber)
        return item.top((across * 0.66, across * 0.66), height)
    width, deep = rng.uniform(0.8, 1.25), rng.uniform(0.5, 0.7)
    if rng.random() < 0.25:
        item.box((width, deep, height), (0, 0, 0), timber)
    else:
        _legs(item, (width, deep), height - 0.04, 0.06, timber)
        item.box((width, deep, 0.04), (0, 0, height - 0.04), timber)
        if rng.random() < 0.5:
            item.box((width - 0.1, deep - 0.1, 0.02), (0, 0, 0.12), timber)
            item.top((width - 0.25, deep - 0.2), 0.14, height - 0.2)
    return item.top((width - 0.08, deep - 0.08), height)


def desk(rng: Generator, palette: Palette) -> Item:
    """A desk with legs or a block of drawers, and often a back panel."""
    item = Item("desk")
    width, deep = rng.uniform(1.1, 1.8), rng.uniform(0.6, 0.8)
    height, thick = rng.uniform(0.7, 0.76), rng.uniform(0.025, 0.04)
    timber = palette.material(TIMBER)
    front = timber if rng.random() < 0.5 else palette.material(TIMBER)
    under = height - thick
    item.box((width, deep, thick), (0, 0, under), timber)
    left, right = rng.random() < 0.5, rng.random() < 0.4
    for side, block in ((-1, left), (1, right)):
        if block:
            x = side * (width / 2 - 0.22)
            item.box((0.4, deep - 0.06, under - 0.03), (x, 0, 0.03), timber)
            _drawers(item, (x, deep / 2 - 0.03), 0.4, (0.06, under), 3, front)
        else:
            item.box((0.04, deep - 0.06, under), (side * (width / 2 - 0.03), 0, 0), timber)
    if rng.random() < 0.6:
        item.box((width - 0.1, 0.02, under - 0.25), (0, -deep / 2 + 0.08, 0.25), timber)
    return item.top((width - 0.06, deep - 0.08), height)


def _drawers(
    item: Item,
    front: tuple[float, float],
    width: float,
    span: tuple[float, float],
    count: int,
    material: Material,
) -> None:
    """Fronts with handles, ``span`` from bottom to top."""
    each = (span[1] - span[0]) / count
    handle = Material.plain((0.35, 0.34, 0.32), gloss=0.5)
    x, y = front
    for k in range(count):
        z = span[0] + k * each
        item.box((width - 0.02, 0.018, each - 0.015), (x, y + 0.009, z), material)
        item.box((min(0.14, width / 3), 0.02, 0.015), (x, y + 0.028, z + each / 2), handle)


def chest(rng: Generator, palette: Palette, name: str = "dresser") -> Item:
    """Drawers: a dresser, or a low and wide stand."""
    item = Item(name)
    if name == "night stand":
        width, deep, height, rows, columns = 0.45, 0.38, 0.5, 2, 1
    elif name == "tv stand":
        width, deep, height = rng.uniform(1.1, 1.8), 0.42, rng.uniform(0.4, 0.6)
        rows, columns = 1, 3
    else:
        width, deep, height = rng.uniform(0.8, 1.5), 0.46, rng.uniform(0.75, 1.1)
        rows, columns = int(rng.integers(3, 5)), int(rng.integers(1, 3))
    timber = palette.material(TIMBER)
    front = timber if rng.random() < 0.6 else palette.material(TIMBER)
    foot = float(rng.choice([0.04, 0.1]))
    _legs(item, (width - 0.04, deep - 0.04), foot, 0.05, timber)
    item.box((width, deep, height - foot), (0, 0, foot), timber)
    for x in spread(columns, width / columns):
        span = (foot + 0.02, height - 0.02)
        _drawers(item, (x, deep / 2), width / columns, span, rows, front)
    return item.top((width - 0.06, deep - 0.06), height)


def cabinet(rng: Generator, palette: Palette, name: str = "cabinet") -> Item:
    """Doors in a carcass: a wardrobe where it is called so, a cupboard or sideboard otherwise."""
    item = Item(name)
    tall = name == "wardrobe" or rng.random() < 0.35
    width = rng.uniform(0.9, 2.0) if name == "wardrobe" else rng.uniform(0.7, 1.5)
    deep = 0.58 if name == "wardrobe" else rng.uniform(0.36, 0.5)
    height = rng.uniform(1.75, 2.15) if tall else rng.uniform(0.75, 1.1)
    timber = palette.material(TIMBER)
    front = timber if rng.random() < 0.5 else palette.material(PAINT + TIMBER)
    item.box((width - 0.04, deep - 0.06, 0.06), (0, 0, 0), timber)
    item.box((width, deep, height - 0.06), (0, 0, 0.06), timber)
    columns = max(2, round(width / 0.45))
    each = width / columns
    for k, x in enumerate(spread(columns, each)):
        item.box((each - 0.01, 0.02, height - 0.1), (x, deep / 2 + 0.01, 0.08), front)
        if rng.random() < 0.5:  # a raised panel
            item.box((each - 0.14, 0.012, height - 0.26), (x, deep / 2 + 0.026, 0.16), front)
        side = 1 if k % 2 == 0 else -1
        at = (x + side * (each / 2 - 0.05), deep / 2 + 0.035, min(height / 2, 1.0))
        item.box((0.015, 0.03, 0.14), at, _HANDLE)
    return item.top((width - 0.06, deep - 0.06), height, 0.35 if tall else 1.0)


def bookshelf(rng: Generator, palette: Palette, name: str = "bookshelf") -> Item:
    """Open shelves with a back; its levels hold books and other things."""
    item = Item(name)
    width, deep = rng.uniform(0.7, 1.3), rng.uniform(0.28, 0.36)
    height = rng.uniform(1.5, 2.1) if rng.random() < 0.7 else rng.uniform(0.8, 1.2)
    timber = palette.material(TIMBER)
    back = timber if rng.random() < 0.6 else palette.material(PAINT)
    thick = 0.022
    inner = width - 2 * thick
    levels = max(2, round(height / 0.36))
    each = (height - thick - 0.06) / levels
    for side in (-1, 1):
        item.box((thick, deep, height), (side * (width - thick) / 2, 0, 0), timber)
    item.box((inner, 0.012, height - 0.06), (0, -deep / 2 + 0.006, 0.06), back)
    item.box((inner, deep - 0.02, 0.06), (0, -0.01, 0), timber)
    for level in range(levels + 1):
        z = 0.06 + level * each
        item.box((inner, deep, thick), (0, 0, z), timber)
        if level < levels:
            _fill(item, rng, palette, inner - 0.03, deep, z + thick, each - thick)
    return item.top((width - 0.06, deep - 0.04), height, 0.35)


def _fill(
    item: Item, rng: Generator, palette: Palette, width: float, deep: float, z: float, free: float
) -> None:
    """One level: rows of books, gaps, boxes and vases."""
    x = -width / 2
    while x < width / 2 - 0.08:
        what = rng.random()
        room = width / 2 - x
        if what < 0.62:
            end = x + min(rng.uniform(0.12, 0.4), room)
            spines = [palette.material(ANY) for _ in range(3)]
            while x < end - 0.05:
                thick = rng.uniform(0.015, 0.045)
                tall = min(rng.uniform(0.17, 0.29), free - 0.02)
                reach = min(rng.uniform(0.14, 0.22), deep - 0.05)
                at = (x + thick / 2, -deep / 2 + 0.02 + reach / 2, z)
                item.box((thick - 0.002, reach, tall), at, spines[rng.integers(3)], "book")
                x += thick
        elif what < 0.8:
            side = min(rng.uniform(0.14, 0.3), room)
            name = "box" if rng.random() < 0.85 else UNLABELLED
            size = (side, min(0.26, deep - 0.05), min(rng.uniform(0.1, 0.26), free - 0.03))
            item.box(size, (x + side / 2, 0, z), palette.material(ANY), name)
            x += side
        elif what < 0.9 and room > 0.2:
            size = (0.14, 0.14, min(rng.uniform(0.15, 0.28), free - 0.03))
            item.add("vase", size, (x + 0.09, 0, z), palette.material(ANY), name="vase")
            x += 0.18
        else:
            x += rng.uniform(0.05, 0.25)
        x += rng.uniform(0.005, 0.04)


def chair(rng: Generator, palette: Palette) -> Item:
    """A chair with four legs; its seat is low enough for a table."""
    item = Item("chair")
    timber = palette.material(TIMBER)
    made = timber if rng.random() < 0.5 else palette.material(FABRIC)
    width, deep, seat = rng.uniform(0.38, 0.46), rng.uniform(0.38, 0.45), 0.45
    height = rng.uniform(0.78, 1.0)
    _legs(item, (width, deep), seat - 0.03, 0.035, timber)
    item.box((width, deep, 0.04), (0, 0, seat - 0.03), made)
    if rng.random() < 0.4:
        item.add("cushion", (width - 0.03, deep - 0.03, 0.05), (0, 0, seat), made)
    y = -deep / 2 + 0.016
    lean = tilt(rng.uniform(0.05, 0.16), (1, 0, 0))
    for side in (-1, 1):
        at = (side * (width / 2 - 0.016), y, seat)
        item.add("box", (0.032, 0.032, height - seat), at, timber, lean)
    if rng.random() < 0.4:
        size = (width - 0.06, 0.025, height - seat - 0.08)
        item.add("box", size, (0, y - 0.012, seat + 0.08), made, lean)
    else:
        bars = int(rng.integers(2, 5))
        for k in range(bars):
            z = seat + 0.08 + k * (height - seat - 0.1) / bars
            at = (0, y - np.tan(0.1) * (z - seat), z)
            item.add("box", (width - 0.05, 0.02, 0.05), at, timber, lean)
    return item


def desk_chair(rng: Generator, palette: Palette) -> Item:
    """A chair on a star of five."""
    item = Item("desk chair", name="chair")
    fabric = palette.material(FABRIC, gloss=0.0)
    seat = rng.uniform(0.44, 0.5)
    for k in range(5):
        angle = k * 2 * np.pi / 5 + 0.3
        x, y = np.cos(angle), np.sin(angle)
        turn = tilt(angle, (0, 0, 1))
        item.add("box", (0.26, 0.045, 0.035), (0.14 * x, 0.14 * y, 0.06), _DARK, turn)
        item.add("sphere", (0.06, 0.06, 0.06), (0.25 * x, 0.25 * y, 0.0), _DARK)
    item.add("cylinder", (0.06, 0.06, seat - 0.1), (0, 0, 0.06), _DARK)
    item.add("cushion", (0.47, 0.46, 0.09), (0, 0, seat - 0.05), fabric)
    size = (0.44, 0.08, rng.uniform(0.4, 0.62))
    item.add("cushion", size, (0, -0.22, seat + 0.1), fabric, tilt(0.1, (1, 0, 0)))
    item.box((0.06, 0.03, 0.3), (0, -0.235, seat - 0.04), _DARK)
    if rng.random() < 0.6:
        for x in (-0.26, 0.26):
            item.box((0.05, 0.26, 0.03), (x, 0, seat + 0.17), _DARK)
            item.box((0.03, 0.04, 0.2), (x, 0, seat - 0.02), _DARK)
    return item


def stool(rng: Generator, palette: Palette) -> Item:
    """A stool or a padded cube."""
    if rng.random() < 0.5:
        item = Item("ottoman")
        side, height = rng.uniform(0.4, 0.6), rng.uniform(0.36, 0.46)
        fabric = palette.material(FABRIC, gloss=0.0)
        _legs(item, (side - 0.08, side - 0.08), 0.06, 0.04, fabric)
        return item.add("cushion", (side, side, height - 0.05), (0, 0, 0.05), fabric)
    item = Item("stool")
    timber = palette.material(TIMBER)
    height = rng.uniform(0.42, 0.7)
    _legs(item, (0.28, 0.28), height - 0.03, 0.035, timber, "cylinder")
    return item.add("cylinder", (0.34, 0.34, 0.04), (0, 0, height - 0.04), timber)


def refrigerator(rng: Generator, palette: Palette) -> Item:
    """Two doors above one another."""
    item = Item("refridgerator")  # as the data set spells it
    made = palette.material(PAINT, bright=0.7, gloss=0.3)
    handle = Material.plain((0.3, 0.3, 0.3), gloss=0.6)
    height = rng.uniform(1.55, 1.9)
    item.box((0.62, 0.6, height), (0, 0, 0), made)
    cut = 0.62 * height
    for z, top in ((0.05, cut), (cut + 0.015, height - 0.01)):
        item.box((0.61, 0.05, top - z), (0, 0.325, z), made)
        item.box((0.025, 0.04, 0.3), (0.24, 0.37, (z + top) / 2 - 0.15), handle)
    return item.top((0.5, 0.5), height, 0.3)


def kitchen_run(rng: Generator, palette: Palette, width: float) -> Item:
    """A counter with cabinets below, and cabinets on the wall above."""
    item = Item("counter", name="cabinet")
    front = palette.material(PAINT + TIMBER)
    slab = palette.material(("mottled", "plain", "wood"), gloss=0.2)
    deep, height = 0.58, 0.9
    item.box((width, deep - 0.08, 0.1), (0, -0.04, 0), front)
    item.box((width, deep - 0.02, height - 0.14), (0, -0.01, 0.1), front)
    item.box((width, deep + 0.02, 0.04), (0, 0.01, height - 0.04), slab, "counter")
    columns = max(2, round(width / 0.5))
    each = width / columns
    places = spread(columns, each)
    oven = int(rng.integers(columns))
    for k, x in enumerate(places):
        made, name = (palette.dark_screen(), "stove") if k == oven else (front, "cabinet")
        item.box((each - 0.012, 0.02, 0.72), (x, deep / 2 - 0.01, 0.12), made, name)
        item.box((each * 0.5, 0.025, 0.018), (x, deep / 2 + 0.012, 0.76), _HANDLE, name)
    item.box((each - 0.05, 0.48, 0.005), (places[oven], 0, height), palette.dark_screen(), "stove")
    if rng.random() < 0.75:
        for k, x in enumerate(places):
            if k == oven and rng.random() < 0.6:
                continue
            item.box((each, 0.32, 0.62), (x, -deep / 2 + 0.16, 1.42), front)
            item.box((each - 0.015, 0.02, 0.6), (x, -deep / 2 + 0.33, 1.43), front)
            item.box((0.015, 0.02, 0.12), (x + each * 0.35, -deep / 2 + 0.35, 1.47), _HANDLE)
    return item.top((width - 0.1, 0.5), height, 0.45)


#: what may stand along a wall wherever there is room, most wanted first in each room
ALONG_WALLS: Final[dict[str, Callable[[Generator, Palette], Item]]] = {
    "sofa": sofa,
    "desk": desk,
    "dresser": chest,
    "tv stand": lambda rng, palette: chest(rng, palette, "tv stand"),
    "night stand": lambda rng, palette: chest(rng, palette, "night stand"),
    "cabinet": cabinet,
    "wardrobe": lambda rng, palette: cabinet(rng, palette, "wardrobe"),
    "bookshelf": bookshelf,
    "shelves": lambda rng, palette: bookshelf(rng, palette, "shelves"),
    "refridgerator": refrigerator,
    "table": lambda rng, palette: table(rng, palette, (rng.uniform(0.9, 1.4), 0.6)),
    "bed": bed,
}
