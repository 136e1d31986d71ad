"""A furnished room drawn from a random generator.

The floor spans [0, X] × [0, Y] at z = 0. Wall k has a frame of its own: x along the wall, y into
the room, z up; going on to the next wall turns it by 90°.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jrn_lightning.rooms import furniture, objects
from jrn_lightning.rooms.item import Item, Matrix, Top, moved, shift, tilt
from jrn_lightning.rooms.materials import (
    ANY,
    FABRIC,
    FLOORING,
    PAINT,
    TIMBER,
    Material,
    Palette,
)

Random = np.random.Generator
Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1

_WALL: Final = 0.2  # thickness
_GAP: Final = 0.03  # between furniture and the wall behind it
_CURTAIN: Final = 0.17  # what hangs before a window reaches so far into the room
_SILL: Final = 0.55  # no curtain ends below, but those that reach the floor
_TRIES: Final = 25

# Kind of room -> sides of its floor, and what is tried along its walls, in this order.
_KINDS: Final[dict[str, tuple[Rectangle, tuple[str, ...]]]] = {
    "bedroom": (
        (3.2, 3.2, 5.6, 5.0),
        ("bed", "wardrobe", "desk", "bed", "bookshelf", "sofa", "cabinet", "dresser"),
    ),
    "living_room": (
        (4.0, 3.8, 6.0, 5.2),
        (
            "sofa",
            "sofa",
            "tv stand",
            "bookshelf",
            "cabinet",
            "sofa",
            "desk",
            "table",
            "sofa",
            "cabinet",
        ),
    ),
    "office": (
        (3.4, 3.4, 6.0, 5.2),
        (
            "desk",
            "desk",
            "bookshelf",
            "desk",
            "cabinet",
            "table",
            "sofa",
            "desk",
            "cabinet",
            "desk",
            "shelves",
        ),
    ),
    "dining_room": (
        (3.6, 3.6, 6.0, 5.2),
        ("refridgerator", "cabinet", "sofa", "table", "bookshelf", "cabinet", "desk", "table"),
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


def furnish(rng: Random) -> Room:
    """A room with all that is in it."""
    return _Furnisher(rng).furnish()


@dataclass(frozen=True)
class _Opening:
    kind: str  # door or window
    s: float
    width: float
    low: float
    high: float


class _Furnisher:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.palette = Palette(rng)
        kind = str(rng.choice(list(_KINDS)))
        (x0, y0, x1, y1), self.wanted = _KINDS[kind]
        size = (float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1)))
        self.room = Room(kind, (*size, float(rng.uniform(2.3, 2.7))))
        self.taken: list[Rectangle] = []
        self.on_wall: list[list[Rectangle]] = [[], [], [], []]  # s0, z0, s1, z1
        self.standing: dict[tuple[int, Top], list[Rectangle]] = {}  # in the frame of the owner
        self.day = bool(rng.random() < 0.65)

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
        floor.box("floor", size, (x / 2, y / 2, -_WALL), self.floor_made)
        ceiling = self.room.add(Item("ceiling", "structure"))
        self.ceiling_made = palette.material(PAINT, bright=0.85, gloss=0.0)
        ceiling.box("ceiling", size, (x / 2, y / 2, z), self.ceiling_made)
        if rng.random() < 0.3:
            made = palette.material(TIMBER)
            wide, deep = float(rng.uniform(0.08, 0.16)), float(rng.uniform(0.1, 0.2))
            for at in np.arange(
                float(rng.uniform(0.3, 0.8)), y - 0.2, float(rng.uniform(0.7, 1.2))
            ):
                ceiling.box("ceiling", (x, wide, deep), (x / 2, float(at), z - deep), made)
            self.beams = deep
        else:
            self.beams = 0.0

    def wall_pose(self, k: int) -> Matrix:
        x, y, _ = self.room.size
        corner = ((0.0, 0.0), (x, 0.0), (x, y), (0.0, y))[k]
        pose = shift((*corner, 0.0))
        return pose @ tilt(k * np.pi / 2, (0, 0, 1))

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
            length, height = self.wall_length(k), self.room.size[2]
            openings = []
            if k == door_wall:
                wide = float(rng.uniform(0.78, 0.95))
                s = float(rng.uniform(0.15, length - wide - 0.15))
                openings.append(_Opening("door", s, wide, 0.0, float(rng.uniform(1.98, 2.1))))
            elif k in windows:
                openings += self._window_places(length, height)
            made = accent if rng.random() < 0.18 else paint
            wall = self.room.add(Item("wall", "structure", pose=self.wall_pose(k)))
            self._pierced(wall, length, height, openings, made)
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

    def _window_places(self, length: float, height: float) -> list[_Opening]:
        rng = self.rng
        wide = float(rng.uniform(0.9, min(1.9, length - 1.0)))
        low = float(rng.uniform(0.75, 1.0))
        high = min(height - 0.15, low + float(rng.uniform(1.0, 1.4)))
        if length > 2 * wide + 1.4 and rng.random() < 0.4:
            s = length / 2 - wide - 0.3
            return [_Opening("window", at, wide, low, high) for at in (s, s + wide + 0.6)]
        s = float(rng.uniform(0.4, length - wide - 0.4))
        return [_Opening("window", s, wide, low, high)]

    def _pierced(
        self, wall: Item, length: float, height: float, openings: list[_Opening], made: Material
    ) -> None:
        """A wall around its openings."""
        start = -_WALL
        for hole in (*openings, None):
            end = hole.s if hole else length + _WALL
            wall.box("wall", (end - start, _WALL, height), ((start + end) / 2, -_WALL / 2, 0), made)
            if hole:
                middle = (hole.s + hole.width / 2, -_WALL / 2)
                if hole.low > 0:
                    wall.box("wall", (hole.width, _WALL, hole.low), (*middle, 0.0), made)
                above = (hole.width, _WALL, height - hole.high)
                wall.box("wall", above, (*middle, hole.high), made)
                start = hole.s + hole.width

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
                wall.box(
                    "wall", (end - start, thick, height), ((start + end) / 2, thick / 2, 0), made
                )
            start = hole.s + hole.width + 0.06 if hole else start

    def _pier(self, k: int, made: Material) -> None:
        """A chimney breast or column before the wall; only where there is no opening."""
        rng = self.rng
        wide, deep = float(rng.uniform(0.35, 1.2)), float(rng.uniform(0.2, 0.4))
        pier = Item("pier", "structure")
        pier.box("wall", (wide, deep, self.room.size[2]), (0, 0, 0), made)
        self.along_wall(pier, wall=k, gap=0.0)

    def _door(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        door = self.room.add(Item("door", "structure", pose=self.wall_pose(k)))
        made = palette.material(TIMBER + PAINT)
        s, deep = hole.s + hole.width / 2, float(rng.uniform(0.03, 0.12))
        leaf = (hole.width, 0.04, hole.high)
        door.box("door", leaf, (s, -deep - 0.02, 0), made)
        style = int(rng.integers(3))
        rows = (((0.25, 0.65), (1.1, 0.75)), ((0.2, 1.6),), ())[style]
        for z, tall in rows:
            for side in (-1, 1) if style == 0 else (0,):
                wide = hole.width * (0.34 if style == 0 else 0.7)
                at = (s + side * 0.22 * hole.width, -deep + 0.004, z)
                door.box("door", (wide, 0.016, tall), at, made)
        knob = Material("plain", ((0.4, 0.37, 0.3),) * 3, 1.0, gloss=0.6)
        door.box("door", (0.12, 0.05, 0.02), (s + 0.38 * hole.width, -deep + 0.02, 1.0), knob)
        frame = palette.material(TIMBER)
        for side in (-1, 1):
            at = (s + side * (hole.width / 2 + 0.03), 0.01, 0.0)
            door.box("door frame", (0.06, 0.02, hole.high), at, frame)
        door.box("door frame", (hole.width + 0.12, 0.02, 0.06), (s, 0.01, hole.high), frame)
        self.on_wall[k].append((hole.s - 0.1, 0.0, hole.s + hole.width + 0.1, hole.high + 0.1))
        self.taken.append(self._from_wall(k, hole.s - 0.05, hole.s + hole.width + 0.05, 0.8))

    def _window(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        window = self.room.add(Item("window", "structure", pose=self.wall_pose(k)))
        s, tall = hole.s + hole.width / 2, hole.high - hole.low
        frame = palette.material(PAINT + TIMBER, bright=0.6)
        if self.day:
            view = replace(palette.bright_print(float(rng.uniform(1.3, 3.0))), absorbs=0.9)
            sky = rng.uniform((0.6, 0.7, 0.8), (0.85, 0.88, 0.9))
            colours = (tuple(float(c) for c in sky), *view.colours[1:])
            view = replace(view, colours=colours, size=float(rng.uniform(0.5, 1.2)))
        else:
            view = palette.dark_screen()
        deep = 0.11
        window.box("window", (hole.width, 0.01, tall), (s, -deep, hole.low), view)
        bars = int(rng.integers(1, 4))
        for j in range(bars + 1):
            at = (hole.s + 0.025 + j * (hole.width - 0.05) / bars, -deep + 0.03, hole.low)
            window.box("window", (0.05, 0.05, tall), at, frame)
        for z in (hole.low, hole.high - 0.05):
            window.box("window", (hole.width, 0.048, 0.05), (s, -deep + 0.03, z), frame)
        window.box("window", (hole.width + 0.1, 0.16, 0.03), (s, -0.03, hole.low - 0.029), frame)
        self.on_wall[k].append(
            (hole.s - 0.05, hole.low - 0.05, hole.s + hole.width + 0.05, hole.high)
        )
        lowered = self._blind(window, hole) if rng.random() < 0.45 else 0.0
        if rng.random() < 0.4:
            self._curtains(k, hole)
        if self.day:
            open_tall = tall * (1 - 0.8 * lowered)
            middle = np.array([s, 0.03, hole.low + open_tall / 2])
            half = np.array([[hole.width / 2, 0, 0], [0, 0, open_tall / 2]])
            pose = self.wall_pose(k)
            self.room.lights.append(
                Light(
                    moved(middle[None], pose)[0],
                    half @ pose[:3, :3].T,
                    pose[:3, 1],
                    np.array([0.85, 0.93, 1.0]) * rng.uniform(0.95, 1.05, 3),
                    float(rng.uniform(2.5, 5)) * hole.width * open_tall,
                )
            )

    def _blind(self, window: Item, hole: _Opening) -> float:
        lowered = float(self.rng.uniform(0.2, 0.7))
        tall = lowered * (hole.high - hole.low)
        made = replace(self.palette.material(("stripes", "plain")), size=0.05, angle=np.pi / 2)
        at = (hole.s + hole.width / 2, -0.03, hole.high - tall)
        window.box("blinds", (hole.width - 0.01, 0.02, tall), at, made)
        return lowered

    def _curtains(self, k: int, hole: _Opening) -> None:
        rng, palette = self.rng, self.palette
        made = palette.material(FABRIC, gloss=0.0)
        curtains = self.room.add(Item("curtain", "wall", pose=self.wall_pose(k)))
        top = min(hole.high + float(rng.uniform(0.05, 0.2)), self.room.size[2] - self.beams - 0.02)
        long = rng.random() < 0.55
        low = 0.02 if long else hole.low - 0.15
        wide = float(rng.uniform(0.25, 0.5)) * hole.width
        length = self.wall_length(k)
        for side in (-1, 1):
            edge = hole.s if side < 0 else hole.s + hole.width
            middle = edge + side * (0.12 - wide / 2)
            x0, x1 = max(0.02, middle - wide / 2), min(length - 0.02, middle + wide / 2)
            size = (x1 - x0, 0.09, top - low)
            curtains.add("curtain", "drapery", size, ((x0 + x1) / 2, 0.115, low), made)
            self.on_wall[k].append((x0, low, x1, top))
            if long:
                self.taken.append(self._from_wall(k, x0, x1, _CURTAIN))
        pole = palette.material(TIMBER)
        turn = tilt(np.pi / 2, (0, 1, 0))
        x0, x1 = max(0.01, hole.s - 0.15), min(length - 0.01, hole.s + hole.width + 0.15)
        size = (0.025, 0.025, x1 - x0)
        curtains.add("curtain", "cylinder", size, (x0, 0.115, top), pole, turn)

    def _ceiling_lamps(self) -> None:
        (x, y, z), rng, palette = self.room.size, self.rng, self.palette
        lit = bool(rng.random() < (0.6 if self.day else 1.0))
        tint = np.array([1.0, rng.uniform(0.8, 0.95), rng.uniform(0.6, 0.85)])
        count = 2 if max(x, y) > 5 else 1
        style = str(rng.choice(["pendant", "dome", "panel"]))
        power = float(rng.uniform(3.5, 6)) / count**0.7
        shade = palette.lit(1.6, tint.tolist()) if lit else palette.material(PAINT, bright=0.8)
        for k in range(count):
            share = (k + 0.5) / count
            at = (x * share, y / 2) if x > y else (x / 2, y * share)
            at = (at[0] + float(rng.normal(0, 0.1)), at[1] + float(rng.normal(0, 0.1)))
            lamp = Item("ceiling lamp", "ceiling")
            under = z - self.beams
            if style == "pendant":
                drop = min(float(rng.uniform(0.35, 0.8)), under - 1.85)
                across = float(rng.uniform(0.3, 0.5))
                cord = palette.material(("plain",))
                lamp.add("light", "cylinder", (0.015, 0.015, z - under + drop), (0, 0, -drop), cord)
                form = str(rng.choice(["shade", "sphere"]))
                lamp.add("light", form, (across, across, 0.24), (0, 0, -drop - 0.23), shade)
                glow = under - drop - 0.28
            elif style == "dome":
                across = float(rng.uniform(0.3, 0.45))
                lamp.add(
                    "light", "sphere", (across, across, 0.12 + self.beams), (0, 0, -0.12), shade
                )
                glow = under - 0.17
            else:
                lamp.box("light", (1.1, 0.25, 0.05 + self.beams), (0, 0, -0.05), shade)
                glow = under - 0.09
            self.room.add(lamp.place((*at, under), float(rng.integers(2)) * np.pi / 2))
            if lit:
                half = np.array([[0.12, 0, 0], [0, 0.12, 0]])
                where = np.array([*at, glow])
                self.room.lights.append(Light(where, half, None, tint, power))

    # Furniture.

    def _from_wall(self, k: int, s0: float, s1: float, deep: float) -> Rectangle:
        """The floor before a stretch of a wall."""
        corners = np.array([[s0, 0, 0], [s1, deep, 0]])
        points = moved(corners, self.wall_pose(k))
        return (*points.min(0)[:2].tolist(), *points.max(0)[:2].tolist())

    def footprint(self, item: Item) -> Rectangle:
        (x0, y0, _), (x1, y1, _) = item.bounds()
        corners = np.array([[x, y, 0.0] for x in (x0, x1) for y in (y0, y1)])
        points = moved(corners, item.pose)
        return (*points.min(0)[:2].tolist(), *points.max(0)[:2].tolist())

    def free(
        self,
        where: Rectangle,
        margin: float = 0.02,
        but: Rectangle | None = None,
        from_walls: float = 0.015,
    ) -> bool:
        x, y, _ = self.room.size
        return (
            min(where[:2]) > from_walls
            and where[2] < x - from_walls
            and where[3] < y - from_walls
            and not any(_overlap(where, t, margin) for t in self.taken if t != but)
        )

    def put(self, item: Item) -> Item:
        self.taken.append(self.footprint(item))
        return self.room.add(item)

    def along_wall(
        self,
        item: Item,
        wall: int | None = None,
        at: float | None = None,
        gap: float = _GAP,
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
            s = float(rng.uniform(low, high)) if at is None else at
            if at is None and rng.random() < 0.4:
                s = low if rng.random() < 0.5 else high  # a corner is where things go
            s0, s1 = s + x0, s + x1
            if any(_overlap((s0, 0, s1, height), o, 0.0) for o in self.on_wall[k]):
                continue
            away = gap if gap == 0 else gap + float(rng.exponential(0.02))
            item.pose = self.wall_pose(k) @ shift((s, away - y0, 0))
            where = self.footprint(item)
            # Short curtains leave the floor to what is lower, not to what reaches up to them.
            hung = [self.footprint(i) for i in self.room.items if i.kind == "curtain"]
            if height > _SILL and any(_overlap(where, h, 0.01) for h in hung):
                continue
            if self.free(where, from_walls=-1.0 if gap == 0 else 0.015):
                self.put(item)
                self.on_wall[k].append((s0, 0.0, s1, height))
                self.last_wall, self.last_s = k, s
                return True
        return False

    def _main_group(self) -> None:
        """What the room is for, in its middle."""
        rng, palette, kind = self.rng, self.palette, self.room.kind
        x, y, _ = self.room.size
        if kind == "dining_room":
            for width in (2.6, 2.1, 1.6):
                counter = furniture.kitchen_run(rng, palette, width * float(rng.uniform(0.9, 1.1)))
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
            at = (x * float(rng.uniform(*part)), y * float(rng.uniform(*part)), 0.0)
            table.place(at, float(rng.integers(2)) * np.pi / 2 + float(rng.normal(0, 0.03)))
            if self.free(self.footprint(table), 0.5):
                break
        else:
            return
        self.put(table)
        own = self.taken[-1]
        (x0, _, _), (x1, y1, _) = table.bounds()
        per_side = max(1, int((x1 - x0 - 0.3) / 0.56))
        places = [(x0 + x1) / 2 + (j - (per_side - 1) / 2) * 0.56 for j in range(per_side)]
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
            tuck = float(rng.uniform(-0.3, 0.18))
            yaw = float(np.clip(rng.normal(0, 0.05 if tuck > -0.08 else 0.2), -0.25, 0.25))
            reach = (y1 if side % 2 == 0 else x1) + front - tuck + (0.06 if tuck < -0.08 else 0.0)
            turn = tilt(side * np.pi / 2, (0, 0, 1))
            chair.pose = table.pose @ turn @ shift((along, -reach, 0)) @ tilt(yaw, (0, 0, 1))
            if self.free(self.footprint(chair), 0.01, own, _CURTAIN):
                self.put(chair)

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
                self._corner_filler()

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
        away = front + float(rng.uniform(0.3, 0.5)) + small.bounds()[1, 1]
        small.pose = sofa.pose @ shift((float(rng.normal(0, 0.15)), away, 0))
        if self.free(self.footprint(small), 0.05):
            self.put(small)

    def _at_desk(self, desk: Item) -> None:
        rng, palette = self.rng, self.palette
        top = desk.tops[0]
        if desk.kind == "desk":
            for _ in range(2 if top.high[0] > 0.75 and rng.random() < 0.4 else 1):
                at = (float(rng.uniform(0.6 * top.low[0], 0.6 * top.high[0])), -0.05)
                self._stand_on(desk, objects.monitor(rng, palette), top, at)
        front = desk.bounds()[1, 1]
        for _ in range(6):
            make = furniture.desk_chair if rng.random() < 0.7 else furniture.chair
            chair = make(rng, palette)
            yaw = np.pi + float(rng.normal(0, 0.35))
            away = front + float(rng.uniform(0.28, 0.6))
            pose = shift((float(rng.uniform(-0.2, 0.2)), away, 0))
            chair.pose = desk.pose @ pose @ tilt(yaw, (0, 0, 1))
            if self.free(self.footprint(chair), 0.005, None, _CURTAIN):
                self.put(chair)
                return

    def _corner_filler(self) -> None:
        maker = _FILLERS[int(self.rng.integers(len(_FILLERS)))]
        self.along_wall(maker(self.rng, self.palette))

    def _rug(self) -> None:
        """Flat enough to run on under what stands there."""
        rng, palette = self.rng, self.palette
        x, y, _ = self.room.size
        if rng.random() > 0.55:
            return
        rug = Item("rug", "structure")
        size = (float(rng.uniform(0.35, 0.65)) * x, float(rng.uniform(0.35, 0.65)) * y, 0.008)
        rug.box("floor mat", size, (0, 0, 0), palette.material(ANY, gloss=0.0))
        at = (x / 2 + float(rng.normal(0, 0.1)), y / 2 + float(rng.normal(0, 0.1)), 0.0)
        self.room.add(rug.place(at))

    def _hangings(self) -> None:
        rng, palette = self.rng, self.palette
        under = self.room.size[2] - self.beams - 0.05
        for k in range(4):
            for _ in range(int(rng.integers(1, 6))):
                is_shelf = rng.random() < 0.22
                wide = float(rng.uniform(0.3, 1.2))
                tall = 0.5 if is_shelf else wide * float(rng.uniform(0.5, 1.3))
                tall = min(tall, 1.0)
                item = (
                    objects.wall_shelf(rng, palette, wide)
                    if is_shelf
                    else objects.picture(rng, palette, wide, tall)
                )
                (x0, y0, z0), (x1, _, z1) = item.bounds()
                high = z1 + 0.45 if is_shelf else z1
                for _ in range(6):
                    s = float(rng.uniform(0.08 - x0, self.wall_length(k) - 0.08 - x1))
                    z = float(rng.uniform(1.05, 1.75))
                    # What stands on furniture reaches above it.
                    margin = 0.5 if is_shelf else 0.06
                    place = (s + x0, z + z0, s + x1, z + high)
                    if z + high > under or s < 0.08 - x0:
                        continue
                    if any(_overlap(place, o, margin) for o in self.on_wall[k]):
                        continue
                    pose = shift((s, 0.001 - min(y0, 0.0), z))
                    item.pose = self.wall_pose(k) @ pose
                    if is_shelf and not self._clear_of_corner(item):
                        continue
                    self.room.add(item)
                    self.on_wall[k].append(place)
                    break

    def _clear_of_corner(self, shelf: Item) -> bool:
        """Whether nothing tall along the next wall stands where a shelf would be."""
        where, z = self.footprint(shelf), shelf.pose[2, 3]
        return not any(
            _overlap(where, self.footprint(other), 0.02)
            for other in self.room.items
            if (other.rest == "stands" and other.bounds()[1, 2] + other.pose[2, 3] > z - 0.5)
            or other.kind in ("pier", "curtain", "wall shelf")
        )

    def _on_the_floor(self) -> None:
        rng, palette = self.rng, self.palette
        x, y, _ = self.room.size
        for _ in range(int(rng.integers(4, 11))):
            maker = objects.ON_FLOOR[int(rng.integers(len(objects.ON_FLOOR)))]
            item = maker(rng, palette)
            if rng.random() < 0.5 and self.along_wall(item):
                continue
            for _ in range(4):
                at = (float(rng.uniform(0.2, x - 0.2)), float(rng.uniform(0.2, y - 0.2)), 0.0)
                item.place(at, float(rng.uniform(-np.pi, np.pi)))
                if self.free(self.footprint(item), from_walls=_CURTAIN):
                    self.put(item)
                    break

    def _on_tops(self) -> None:
        rng = self.rng
        for owner in list(self.room.items):
            for top in owner.tops:
                area = (top.high[0] - top.low[0]) * (top.high[1] - top.low[1])
                for _ in range(int(rng.poisson(min(8.0, 1 + 6.5 * area)))):
                    maker = objects.ON_TOPS[int(rng.integers(len(objects.ON_TOPS)))]
                    thing = maker(rng, self.palette)
                    for _ in range(4):
                        at = (
                            float(rng.uniform(top.low[0], top.high[0])),
                            float(rng.uniform(top.low[1], top.high[1])),
                        )
                        yaw = float(rng.normal(0, 0.4))
                        if self._stand_on(owner, thing, top, at, yaw):
                            break

    def _stand_on(
        self, owner: Item, thing: Item, top: Top, at: tuple[float, float], yaw: float = 0.0
    ) -> bool:
        """Stand a small thing on a top of another; whether there was room."""
        thing.place((*at, top.z), yaw)
        where = self.footprint(thing)
        height = thing.bounds()[1, 2]
        under = self.room.size[2] - self.beams - 0.03 - top.z - owner.pose[2, 3]
        if not (
            where[0] >= top.low[0]
            and where[1] >= top.low[1]
            and where[2] <= top.high[0]
            and where[3] <= top.high[1]
            and height < min(top.headroom, under)
        ):
            return False
        others = self.standing.setdefault((id(owner), top), [])
        if any(_overlap(where, other, 0.015) for other in others):
            return False
        others.append(where)
        thing.pose = owner.pose @ thing.pose
        self.room.add(thing)
        return True

    def _ambient(self) -> None:
        room, rng = self.room, self.rng
        floor = np.array(self.floor_made.colours[0])
        above = np.array(self.ceiling_made.colours[0])
        room.ambient = float(rng.uniform(0.3, 0.6))
        room.bounce = np.stack([0.35 + 0.9 * floor, 0.55 + 0.6 * above])
        for item in room.items:
            if item.kind in ("lamp", "floor lamp") and any(p.material.glow for p in item.parts):
                at = item.pose[:3, 3] + (0, 0, item.bounds()[1, 2] + 0.04)
                half = np.array([[0.06, 0, 0], [0, 0.06, 0]])
                colour = np.array([1.0, 0.85, 0.62])
                room.lights.append(Light(at, half, None, colour, float(rng.uniform(0.3, 0.8))))


def _overlap(a: Rectangle, b: Rectangle, margin: float) -> bool:
    return (
        a[0] < b[2] + margin
        and b[0] < a[2] + margin
        and a[1] < b[3] + margin
        and b[1] < a[3] + margin
    )
