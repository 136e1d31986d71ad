"""A furnished room drawn from a random generator.

The floor spans [0, X] × [0, Y] at z = 0. Wall k has a frame of its own: x along the wall, y into
the room, z up; going on to the next wall turns it by 90°.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from jrn_lightning.rooms import furniture, objects
from jrn_lightning.rooms.item import Item, Matrix, Top, moved, shift, spread, tilt
from jrn_lightning.rooms.materials import ANY, FABRIC, FLOORING, PAINT, TIMBER, Material, Palette

Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1

_WALL: Final = 0.2  # thickness
_GAP: Final = 0.03  # between furniture and the wall behind it
_CURTAIN: Final = 0.17  # what hangs before a window reaches so far into the room
_SILL: Final = 0.55  # no curtain ends below, but those that reach the floor
_TRIES: Final = 25

# Kind of room -> sides of its floor, and what is tried along its walls, in this order.
_KINDS: Final[dict[str, tuple[Rectangle, str]]] = {
    "bedroom": (
        (3.2, 3.2, 5.6, 5.0),
        "bed, wardrobe, desk, bed, bookshelf, sofa, cabinet, dresser",
    ),
    "living_room": (
        (4.0, 3.8, 6.0, 5.2),
        "sofa, sofa, tv stand, bookshelf, cabinet, sofa, desk, table, sofa, cabinet",
    ),
    "office": (
        (3.4, 3.4, 6.0, 5.2),
        "desk, desk, bookshelf, desk, cabinet, table, sofa, desk, cabinet, desk, shelves",
    ),
    "dining_room": (
        (3.6, 3.6, 6.0, 5.2),
        "refridgerator, cabinet, sofa, table, bookshelf, cabinet, desk, table",
    ),
}

_FILLERS: Final = (objects.floor_lamp, objects.floor_plant, objects.basket, furniture.stool)


@dataclass(frozen=True)
class Light:
    """A flat light.

    Attributes:
        at: its middle, ``(3,)``.
        half: ``(2, 3)`` half of its two sides.
        normal: ``(3,)`` direction that it shines in; None: in all.
        colour: ``(3,)`` linear RGB.
        power: irradiance at 1 m, straight before it.
    """

    at: NDArray[np.float64]
    half: NDArray[np.float64]
    normal: NDArray[np.float64] | None
    colour: NDArray[np.float64]
    power: float


@dataclass
class Room:
    """What the renderer needs.

    Attributes:
        kind: of room.
        size: X, Y and height, metres.
        items: everything that there is, the room's own floor, walls and ceiling first.
        lights: what shines.
        ambient: how strong the light from all sides is beside the lights' own.
        bounce: ``(2, 3)`` colour of the ambient light from below and from above.
    """

    kind: str
    size: tuple[float, float, float]
    items: list[Item] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: float = 0.4
    bounce: NDArray[np.float64] = field(default_factory=lambda: np.ones((2, 3)))

    def add(self, item: Item) -> Item:
        """Take a thing in."""
        self.items.append(item)
        return item


def furnish(rng: Generator) -> Room:
    """A room with all that is in it."""
    return _Furnisher(rng).furnish()


@dataclass(frozen=True)
class _Opening:
    kind: str  # door or window
    s: float
    width: float
    low: float
    high: float

    @property
    def end(self) -> float:
        return self.s + self.width

    @property
    def middle(self) -> float:
        return self.s + self.width / 2


class _Furnisher:
    def __init__(self, rng: Generator) -> None:
        self.rng = rng
        self.palette = Palette(rng)
        kind = str(rng.choice(list(_KINDS)))
        (x0, y0, x1, y1), wanted = _KINDS[kind]
        self.wanted = wanted.split(", ")
        size = (rng.uniform(x0, x1), rng.uniform(y0, y1), rng.uniform(2.3, 2.7))
        self.room = Room(kind, size)
        self.taken: list[Rectangle] = []
        self.on_wall: list[list[Rectangle]] = [[], [], [], []]  # s0, z0, s1, z1
        self.standing: dict[tuple[int, Top], list[Rectangle]] = {}  # in the frame of the owner
        self.day = rng.random() < 0.65
        self.beams = 0.0  # how deep they hang

    def furnish(self) -> Room:
        self._floor_and_ceiling()
        self._walls()
        self._ceiling_lamps()
        self._main_group()
        self._along_walls()
        self._rug()
        self._hangings()
        self._on_the_floor()
        self._on_tops()
        self._ambient()
        return self.room

    # The room itself.

    def _floor_and_ceiling(self) -> None:
        (x, y, z), rng, palette = self.room.size, self.rng, self.palette
        size = (x + 2 * _WALL, y + 2 * _WALL, _WALL)
        floor = self.room.add(Item("floor", "structure"))
        self.floor_made = palette.material(FLOORING)
        floor.box(size, (x / 2, y / 2, -_WALL), self.floor_made)
        ceiling = self.room.add(Item("ceiling", "structure"))
        self.ceiling_made = palette.material(PAINT, bright=0.85, gloss=0.0)
        ceiling.box(size, (x / 2, y / 2, z), self.ceiling_made)
        if rng.random() < 0.3:
            made = palette.material(TIMBER)
            wide, deep = rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.2)
            for at in np.arange(rng.uniform(0.3, 0.8), y - 0.2, rng.uniform(0.7, 1.2)):
                ceiling.box((x, wide, deep), (x / 2, float(at), z - deep), made)
            self.beams = deep

    def wall_pose(self, k: int) -> Matrix:
        x, y, _ = self.room.size
        corner = ((0.0, 0.0), (x, 0.0), (x, y), (0.0, y))[k]
        return shift((*corner, 0.0)) @ tilt(k * np.pi / 2, (0, 0, 1))

    def wall_length(self, k: int) -> float:
        return self.room.size[k % 2]

    def _walls(self) -> None:
        rng, palette = self.rng, self.palette
        paint = palette.material(PAINT, bright=0.6, gloss=0.0)
        accent = palette.material(ANY)
        door_wall = int(rng.integers(4))
        windows = set(rng.permutation(4)[: int(rng.choice([1, 2], p=[0.6, 0.4]))].tolist())
        wainscot = rng.random() < 0.15
        piers: list[tuple[int, Material]] = []
        skirting = palette.material(TIMBER) if rng.random() < 0.6 else None
        for k in range(4):
            length = self.wall_length(k)
            openings = []
            if k == door_wall:
                wide = rng.uniform(0.78, 0.95)
                s = rng.uniform(0.15, length - wide - 0.15)
                openings.append(_Opening("door", s, wide, 0.0, rng.uniform(1.98, 2.1)))
            elif k in windows:
                openings += self._window_places(length)
            made = accent if rng.random() < 0.18 else paint
            wall = self.room.add(Item("wall", "structure", pose=self.wall_pose(k)))
            self._pierced(wall, length, openings, made)
            if rng.random() < 0.12:
                piers.append((k, made))
            if wainscot:
                self._strips(wall, length, openings, 0.9, 0.012, accent)
            if skirting:
                self._strips(wall, length, openings, 0.09, 0.016, skirting)
            for opening in openings:
                (self._door if opening.kind == "door" else self._window)(k, opening)
        for k, made in piers:
            self._pier(k, made)

    def _window_places(self, length: float) -> list[_Opening]:
        rng = self.rng
        wide = rng.uniform(0.9, min(1.9, length - 1.0))
        low = rng.uniform(0.75, 1.0)
        high = min(self.room.size[2] - 0.15, low + rng.uniform(1.0, 1.4))
        if length > 2 * wide + 1.4 and rng.random() < 0.4:
            s = length / 2 - wide - 0.3
            return [_Opening("window", at, wide, low, high) for at in (s, s + wide + 0.6)]
        s = rng.uniform(0.4, length - wide - 0.4)
        return [_Opening("window", s, wide, low, high)]

    def _pierced(self, wall: Item, length: float, openings: list[_Opening], made: Material) -> None:
        """A wall around its openings."""
        height, start = self.room.size[2], -_WALL
        for hole in (*openings, None):
            end = hole.s if hole else length + _WALL
            wall.box((end - start, _WALL, height), ((start + end) / 2, -_WALL / 2, 0), made)
            if hole:
                if hole.low > 0:
                    size = (hole.width, _WALL, hole.low)
                    wall.box(size, (hole.middle, -_WALL / 2, 0.0), made)
                size = (hole.width, _WALL, height - hole.high)
                wall.box(size, (hole.middle, -_WALL / 2, hole.high), made)
                start = hole.end

    def _strips(
        self,
        wall: Item,
        length: float,
        openings: list[_Opening],
        height: float,
        thick: float,
        made: Material,
    ) -> None:
        """A lining of the lower wall that leaves out the openings."""
        start = 0.0
        for hole in (*(o for o in openings if o.low < height), None):
            end = hole.s - 0.06 if hole else length
            if end > start:
                wall.box((end - start, thick, height), ((start + end) / 2, thick / 2, 0), made)
            start = hole.end + 0.06 if hole else start

    def _pier(self, k: int, made: Material) -> None:
        """A chimney breast or column before the wall; only where there is no opening."""
        wide, deep = self.rng.uniform(0.35, 1.2), self.rng.uniform(0.2, 0.4)
        pier = Item("pier", "structure", name="wall")
        pier.box((wide, deep, self.room.size[2]), (0, 0, 0), made)
        self.along_wall(pier, wall=k, gap=0.0)

    def _door(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        door = self.room.add(Item("door", "structure", pose=self.wall_pose(k)))
        made = palette.material(TIMBER + PAINT)
        s, deep = hole.middle, rng.uniform(0.03, 0.12)
        door.box((hole.width, 0.04, hole.high), (s, -deep - 0.02, 0), made)
        # Panels: lower and height, where across (in widths of the door), how wide.
        style = int(rng.integers(3))
        rows = (((0.25, 0.65), (1.1, 0.75)), ((0.2, 1.6),), ())[style]
        sides, wide = ((-0.22, 0.22), 0.34) if style == 0 else ((0.0,), 0.7)
        for z, tall in rows:
            for side in sides:
                at = (s + side * hole.width, -deep + 0.004, z)
                door.box((hole.width * wide, 0.016, tall), at, made)
        knob = Material.plain((0.4, 0.37, 0.3), gloss=0.6)
        door.box((0.12, 0.05, 0.02), (s + 0.38 * hole.width, -deep + 0.02, 1.0), knob)
        frame = palette.material(TIMBER)
        for side in (-1, 1):
            at = (s + side * (hole.width / 2 + 0.03), 0.01, 0.0)
            door.box((0.06, 0.02, hole.high), at, frame, "door frame")
        door.box((hole.width + 0.12, 0.02, 0.06), (s, 0.01, hole.high), frame, "door frame")
        self.on_wall[k].append((hole.s - 0.1, 0.0, hole.end + 0.1, hole.high + 0.1))
        self.taken.append(self._from_wall(k, hole.s - 0.05, hole.end + 0.05, 0.8))

    def _window(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        window = self.room.add(Item("window", "structure", pose=self.wall_pose(k)))
        s, tall, deep = hole.middle, hole.high - hole.low, 0.11
        frame = palette.material(PAINT + TIMBER, bright=0.6)
        if self.day:
            view = replace(palette.bright_print(rng.uniform(1.3, 3.0)), absorbs=0.9)
            sky = rng.uniform((0.6, 0.7, 0.8), (0.85, 0.88, 0.9))
            colours = (tuple(sky.tolist()), *view.colours[1:])
            view = replace(view, colours=colours, size=rng.uniform(0.5, 1.2))
        else:
            view = palette.dark_screen()
        window.box((hole.width, 0.01, tall), (s, -deep, hole.low), view)
        bars = int(rng.integers(1, 4))
        for j in range(bars + 1):
            at = (hole.s + 0.025 + j * (hole.width - 0.05) / bars, -deep + 0.03, hole.low)
            window.box((0.05, 0.05, tall), at, frame)
        for z in (hole.low, hole.high - 0.05):
            window.box((hole.width, 0.048, 0.05), (s, -deep + 0.03, z), frame)
        window.box((hole.width + 0.1, 0.16, 0.03), (s, -0.03, hole.low - 0.029), frame)
        self.on_wall[k].append((hole.s - 0.05, hole.low - 0.05, hole.end + 0.05, hole.high))
        lowered = self._blind(window, hole) if rng.random() < 0.45 else 0.0
        if rng.random() < 0.4:
            self._curtains(k, hole)
        if self.day:
            open_tall = tall * (1 - 0.8 * lowered)
            middle = np.array([[s, 0.03, hole.low + open_tall / 2]])
            half = np.array([[hole.width / 2, 0, 0], [0, 0, open_tall / 2]])
            pose = self.wall_pose(k)
            colour = np.array([0.85, 0.93, 1.0]) * rng.uniform(0.95, 1.05, 3)
            power = rng.uniform(2.5, 5) * hole.width * open_tall
            (at,) = moved(middle, pose)
            light = Light(at, half @ pose[:3, :3].T, pose[:3, 1], colour, power)
            self.room.lights.append(light)

    def _blind(self, window: Item, hole: _Opening) -> float:
        lowered = self.rng.uniform(0.2, 0.7)
        tall = lowered * (hole.high - hole.low)
        made = replace(self.palette.material(("stripes", "plain")), size=0.05, angle=np.pi / 2)
        at = (hole.middle, -0.03, hole.high - tall)
        window.box((hole.width - 0.01, 0.02, tall), at, made, "blinds")
        return lowered

    def _curtains(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        made = palette.material(FABRIC, gloss=0.0)
        curtains = self.room.add(Item("curtain", "wall", pose=self.wall_pose(k)))
        top = min(hole.high + rng.uniform(0.05, 0.2), self.room.size[2] - self.beams - 0.02)
        long = rng.random() < 0.55
        low = 0.02 if long else hole.low - 0.15
        wide = rng.uniform(0.25, 0.5) * hole.width
        length = self.wall_length(k)
        for side in (-1, 1):
            middle = (hole.s if side < 0 else hole.end) + side * (0.12 - wide / 2)
            x0, x1 = max(0.02, middle - wide / 2), min(length - 0.02, middle + wide / 2)
            size = (x1 - x0, 0.09, top - low)
            curtains.add("drapery", size, ((x0 + x1) / 2, 0.115, low), made)
            self.on_wall[k].append((x0, low, x1, top))
            if long:
                self.taken.append(self._from_wall(k, x0, x1, _CURTAIN))
        x0, x1 = max(0.01, hole.s - 0.15), min(length - 0.01, hole.end + 0.15)
        pole, turn = palette.material(TIMBER), tilt(np.pi / 2, (0, 1, 0))
        curtains.add("cylinder", (0.025, 0.025, x1 - x0), (x0, 0.115, top), pole, turn)

    def _ceiling_lamps(self) -> None:
        (x, y, z), rng, palette = self.room.size, self.rng, self.palette
        lit = rng.random() < (0.6 if self.day else 1.0)
        tint = np.array([1.0, rng.uniform(0.8, 0.95), rng.uniform(0.6, 0.85)])
        count = 2 if max(x, y) > 5 else 1
        style = str(rng.choice(["pendant", "dome", "panel"]))
        power = rng.uniform(3.5, 6) / count**0.7
        shade = (
            Material.plain(tint.tolist(), glow=1.6) if lit else palette.material(PAINT, bright=0.8)
        )
        for k in range(count):
            share = (k + 0.5) / count
            at = (x * share, y / 2) if x > y else (x / 2, y * share)
            at = (at[0] + rng.normal(0, 0.1), at[1] + rng.normal(0, 0.1))
            lamp = Item("ceiling lamp", "ceiling", name="light")
            under = z - self.beams
            if style == "pendant":
                drop = min(rng.uniform(0.35, 0.8), under - 1.85)
                across = rng.uniform(0.3, 0.5)
                cord = palette.material(("plain",))
                lamp.add("cylinder", (0.015, 0.015, z - under + drop), (0, 0, -drop), cord)
                form = str(rng.choice(["shade", "sphere"]))
                lamp.add(form, (across, across, 0.24), (0, 0, -drop - 0.23), shade)
                glow = under - drop - 0.28
            elif style == "dome":
                across = rng.uniform(0.3, 0.45)
                lamp.add("sphere", (across, across, 0.12 + self.beams), (0, 0, -0.12), shade)
                glow = under - 0.17
            else:
                lamp.box((1.1, 0.25, 0.05 + self.beams), (0, 0, -0.05), shade)
                glow = under - 0.09
            self.room.add(lamp.place((*at, under), rng.integers(2) * np.pi / 2))
            if lit:
                half = np.array([[0.12, 0, 0], [0, 0.12, 0]])
                self.room.lights.append(Light(np.array([*at, glow]), half, None, tint, power))

    # Furniture.

    def _from_wall(self, k: int, s0: float, s1: float, deep: float) -> Rectangle:
        """The floor before a stretch of a wall."""
        return _on_floor((s0, 0.0), (s1, deep), self.wall_pose(k))

    def footprint(self, item: Item) -> Rectangle:
        low, high = item.bounds()
        return _on_floor(low[:2], high[:2], item.pose)

    def put(
        self,
        item: Item,
        margin: float = 0.02,
        from_walls: float = 0.015,
        but: Rectangle | None = None,
    ) -> bool:
        """Take a thing in where its pose says, if it is free there; whether it was."""
        x, y, _ = self.room.size
        where = self.footprint(item)
        inner = (from_walls, from_walls, x - from_walls, y - from_walls)
        others = [other for other in self.taken if other != but]
        if not _within(where, inner) or _meets(where, others, margin):
            return False
        self.taken.append(where)
        self.room.add(item)
        return True

    def along_wall(
        self, item: Item, wall: int | None = None, at: float | None = None, gap: float = _GAP
    ) -> bool:
        """Stand a thing with its back to a wall; whether there was room."""
        rng = self.rng
        (x0, y0, _), (x1, _, height) = item.bounds()
        first = 0.0 if gap == 0 else 0.04
        for _ in range(_TRIES if at is None else 1):
            k = int(rng.integers(4)) if wall is None else wall
            low, high = first - x0, self.wall_length(k) - first - x1
            if high < low:
                continue
            s = rng.uniform(low, high) if at is None else at
            if at is None and rng.random() < 0.4:
                s = low if rng.random() < 0.5 else high  # a corner is where things go
            stretch = (s + x0, 0.0, s + x1, height)
            if _meets(stretch, self.on_wall[k], 0.0):
                continue
            away = gap if gap == 0 else gap + rng.exponential(0.02)
            item.pose = self.wall_pose(k) @ shift((s, away - y0, 0))
            # Short curtains leave the floor to what is lower, not to what reaches up to them.
            hung = [self.footprint(i) for i in self.room.items if i.kind == "curtain"]
            if height > _SILL and _meets(self.footprint(item), hung, 0.01):
                continue
            if self.put(item, from_walls=-1.0 if gap == 0 else 0.015):
                self.on_wall[k].append(stretch)
                self.last_wall, self.last_s = k, s
                return True
        return False

    def _main_group(self) -> None:
        """What the room is for, in its middle."""
        rng, palette, kind = self.rng, self.palette, self.room.kind
        x, y, _ = self.room.size
        if kind == "dining_room":
            for width in (2.6, 2.1, 1.6):
                counter = furniture.kitchen_run(rng, palette, width * rng.uniform(0.9, 1.1))
                if self.along_wall(counter):
                    break
        if kind == "dining_room" or (kind == "living_room" and x * y > 22):
            self._table_with_chairs((0.3, 0.7) if kind == "dining_room" else (0.2, 0.8))
        elif kind == "office" and x * y > 20 and rng.random() < 0.6:
            self._table_with_chairs((0.4, 0.6))

    def _table_with_chairs(self, part: tuple[float, float]) -> None:
        rng, palette = self.rng, self.palette
        x, y, _ = self.room.size
        for _ in range(_TRIES):
            table = furniture.table(rng, palette)
            at = (x * rng.uniform(*part), y * rng.uniform(*part), 0.0)
            table.place(at, rng.integers(2) * np.pi / 2 + rng.normal(0, 0.03))
            if self.put(table, 0.5):
                break
        else:
            return
        own = self.taken[-1]
        (x0, _, _), (x1, y1, _) = table.bounds()
        per_side = max(1, int((x1 - x0 - 0.3) / 0.56))
        places = [(x0 + x1) / 2 + along for along in spread(per_side, 0.56)]
        seats = [(along, side) for along in places for side in (0, 2)] + [(0.0, 1), (0.0, 3)]
        design = rng.bit_generator.state  # the chairs of a table are alike
        for along, side in seats:
            if rng.random() < 0.12:
                continue
            after = rng.bit_generator.state
            rng.bit_generator.state = design
            chair = furniture.chair(rng, palette)
            rng.bit_generator.state = after
            front = chair.bounds()[1, 1]
            tuck = rng.uniform(-0.3, 0.18)
            yaw = float(np.clip(rng.normal(0, 0.05 if tuck > -0.08 else 0.2), -0.25, 0.25))
            reach = (y1 if side % 2 == 0 else x1) + front - tuck + (0.06 if tuck < -0.08 else 0.0)
            turn = tilt(side * np.pi / 2, (0, 0, 1))
            chair.pose = table.pose @ turn @ shift((along, -reach, 0)) @ tilt(yaw, (0, 0, 1))
            self.put(chair, 0.01, _CURTAIN, but=own)

    def _along_walls(self) -> None:
        rng, palette = self.rng, self.palette
        for name in self.wanted:
            if self.taken and rng.random() < 0.15:
                continue
            item = furniture.ALONG_WALLS[name](rng, palette)
            # Large things first choose the middle of a wall by themselves: any place will do.
            if not self.along_wall(item):
                continue
            if name == "bed":
                self._beside_bed(item)
            elif name == "sofa":
                self._before_sofa(item)
            elif name in ("desk", "table"):
                self._at_desk(item)
            elif name == "tv stand":
                self._stand_on(item, objects.television(rng, palette), item.tops[0], (0.0, -0.02))
            if rng.random() < 0.35:
                filler = _FILLERS[rng.integers(len(_FILLERS))](rng, palette)
                self.along_wall(filler)

    def _beside_bed(self, bed: Item) -> None:
        wall, s = self.last_wall, self.last_s
        x0, x1 = bed.bounds()[:, 0]
        for side in (-1, 1):
            if self.rng.random() < 0.75:
                stand = furniture.ALONG_WALLS["night stand"](self.rng, self.palette)
                half = stand.bounds()[1, 0] + 0.05
                self.along_wall(stand, wall, s + (x0 - half if side < 0 else x1 + half))

    def _before_sofa(self, sofa: Item) -> None:
        rng = self.rng
        if rng.random() > 0.75:
            return
        front = sofa.bounds()[1, 1]
        small = furniture.coffee_table(rng, self.palette)
        away = front + rng.uniform(0.3, 0.5) + small.bounds()[1, 1]
        small.pose = sofa.pose @ shift((rng.normal(0, 0.15), away, 0))
        self.put(small, 0.05)

    def _at_desk(self, desk: Item) -> None:
        rng, palette = self.rng, self.palette
        top = desk.tops[0]
        if desk.kind == "desk":
            for _ in range(2 if top.high[0] > 0.75 and rng.random() < 0.4 else 1):
                at = (rng.uniform(0.6 * top.low[0], 0.6 * top.high[0]), -0.05)
                self._stand_on(desk, objects.monitor(rng, palette), top, at)
        front = desk.bounds()[1, 1]
        for _ in range(6):
            make = furniture.desk_chair if rng.random() < 0.7 else furniture.chair
            chair = make(rng, palette)
            yaw = np.pi + rng.normal(0, 0.35)
            away = front + rng.uniform(0.28, 0.6)
            pose = shift((rng.uniform(-0.2, 0.2), away, 0))
            chair.pose = desk.pose @ pose @ tilt(yaw, (0, 0, 1))
            if self.put(chair, 0.005, _CURTAIN):
                return

    def _rug(self) -> None:
        """Flat enough to run on under what stands there."""
        rng, (x, y, _) = self.rng, self.room.size
        if rng.random() > 0.55:
            return
        rug = Item("rug", "structure", name="floor mat")
        size = (rng.uniform(0.35, 0.65) * x, rng.uniform(0.35, 0.65) * y, 0.008)
        rug.box(size, (0, 0, 0), self.palette.material(ANY, gloss=0.0))
        self.room.add(rug.place((x / 2 + rng.normal(0, 0.1), y / 2 + rng.normal(0, 0.1), 0.0)))

    def _hangings(self) -> None:
        rng, palette = self.rng, self.palette
        under = self.room.size[2] - self.beams - 0.05
        for k in range(4):
            for _ in range(int(rng.integers(1, 6))):
                is_shelf = rng.random() < 0.22
                wide = rng.uniform(0.3, 1.2)
                if is_shelf:
                    item = objects.wall_shelf(rng, palette, wide)
                else:
                    tall = min(wide * rng.uniform(0.5, 1.3), 1.0)
                    item = objects.picture(rng, palette, wide, tall)
                (x0, y0, z0), (x1, _, z1) = item.bounds()
                # What stands on a shelf reaches above it, and what hangs elsewhere keeps away.
                high, margin = (z1 + 0.45, 0.5) if is_shelf else (z1, 0.06)
                for _ in range(6):
                    s = rng.uniform(0.08 - x0, self.wall_length(k) - 0.08 - x1)
                    z = rng.uniform(1.05, 1.75)
                    place = (s + x0, z + z0, s + x1, z + high)
                    if z + high > under or s < 0.08 - x0 or _meets(place, self.on_wall[k], margin):
                        continue
                    item.pose = self.wall_pose(k) @ shift((s, 0.001 - min(y0, 0.0), z))
                    if is_shelf and not self._clear_of_corner(item):
                        continue
                    self.room.add(item)
                    self.on_wall[k].append(place)
                    break

    def _clear_of_corner(self, shelf: Item) -> bool:
        """Whether nothing tall along the next wall stands where a shelf would be."""
        z = shelf.pose[2, 3] - 0.5
        others = [
            self.footprint(other)
            for other in self.room.items
            if (other.rest == "stands" and other.bounds()[1, 2] + other.pose[2, 3] > z)
            or other.kind in ("pier", "curtain", "wall shelf")
        ]
        return not _meets(self.footprint(shelf), others, 0.02)

    def _on_the_floor(self) -> None:
        rng, palette = self.rng, self.palette
        x, y, _ = self.room.size
        for _ in range(int(rng.integers(4, 11))):
            item = objects.ON_FLOOR[rng.integers(len(objects.ON_FLOOR))](rng, palette)
            if rng.random() < 0.5 and self.along_wall(item):
                continue
            for _ in range(4):
                at = (rng.uniform(0.2, x - 0.2), rng.uniform(0.2, y - 0.2), 0.0)
                if self.put(item.place(at, rng.uniform(-np.pi, np.pi)), from_walls=_CURTAIN):
                    break

    def _on_tops(self) -> None:
        rng = self.rng
        for owner in list(self.room.items):
            for top in owner.tops:
                (x0, y0), (x1, y1) = top.low, top.high
                area = (x1 - x0) * (y1 - y0)
                for _ in range(rng.poisson(min(8.0, 1 + 6.5 * area))):
                    maker = objects.ON_TOPS[rng.integers(len(objects.ON_TOPS))]
                    thing = maker(rng, self.palette)
                    for _ in range(4):
                        at = (rng.uniform(x0, x1), rng.uniform(y0, y1))
                        if self._stand_on(owner, thing, top, at, rng.normal(0, 0.4)):
                            break

    def _stand_on(
        self, owner: Item, thing: Item, top: Top, at: tuple[float, float], yaw: float = 0.0
    ) -> bool:
        """Stand a small thing on a top of another; whether there was room."""
        where = self.footprint(thing.place((*at, top.z), yaw))
        under = self.room.size[2] - self.beams - 0.03 - top.z - owner.pose[2, 3]
        is_too_high = thing.bounds()[1, 2] >= min(top.headroom, under)
        others = self.standing.setdefault((id(owner), top), [])
        if is_too_high or not _within(where, (*top.low, *top.high)) or _meets(where, others, 0.015):
            return False
        others.append(where)
        thing.pose = owner.pose @ thing.pose
        self.room.add(thing)
        return True

    def _ambient(self) -> None:
        room, rng = self.room, self.rng
        floor, above = np.array(self.floor_made.colours[0]), np.array(self.ceiling_made.colours[0])
        room.ambient = rng.uniform(0.3, 0.6)
        room.bounce = np.stack([0.35 + 0.9 * floor, 0.55 + 0.6 * above])
        for item in room.items:
            if item.kind in ("lamp", "floor lamp") and any(p.material.glow for p in item.parts):
                at = item.pose[:3, 3] + (0, 0, item.bounds()[1, 2] + 0.04)
                half = np.array([[0.06, 0, 0], [0, 0.06, 0]])
                colour = np.array([1.0, 0.85, 0.62])
                room.lights.append(Light(at, half, None, colour, rng.uniform(0.3, 0.8)))


def _on_floor(low: ArrayLike, high: ArrayLike, pose: Matrix) -> Rectangle:
    """What a rectangle (x, y) of a thing's or wall's frame covers in the room's."""
    (x0, y0), (x1, y1) = np.asarray(low), np.asarray(high)
    points = moved(np.array([[x, y, 0.0] for x in (x0, x1) for y in (y0, y1)]), pose)
    return (*points.min(0)[:2].tolist(), *points.max(0)[:2].tolist())


def _within(a: Rectangle, b: Rectangle) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]


def _meets(a: Rectangle, others: Iterable[Rectangle], margin: float) -> bool:
    """Whether a rectangle comes nearer than ``margin`` to any of the others."""
    return any(
        a[0] < b[2] + margin
        and b[0] < a[2] + margin
        and a[1] < b[3] + margin
        and b[1] < a[3] + margin
        for b in others
    )
