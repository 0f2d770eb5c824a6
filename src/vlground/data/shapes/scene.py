"""Scenes of the shapes world: which objects lie where, from (seed, index) alone.

    draw_scene(stream, index) ──▶ Scene (objects, relations) ──render──▶ pixels, masks
                                      └──language──▶ texts that are true or false of it

A scene knows its objects and relations; how it looks is `render`'s.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Pair = tuple[str, str]  # colour, shape
Box = tuple[int, int, int, int]
Relation = Literal["left of", "right of", "above", "below", "inside", "next to"]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
SIZES = ("small", "large")
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below", "inside", "next to")
PAIRS: tuple[Pair, ...] = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)

# Never drawn nor named in distribution: every colour once and every shape once.
HELD_OUT: frozenset[Pair] = frozenset(
    (colour, SHAPES[(number + 3) % len(SHAPES)]) for number, colour in enumerate(COLOURS)
)
SEEN: tuple[Pair, ...] = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

Distribution = Literal["in", "out"]

# Sides in pixels of a canvas of 96; a ring that holds another object is the largest of all.
CANVAS = 96
SIDES = {"small": (14, 17), "large": (24, 30)}
_HOLDER = (36, 40)
_GAP = 2
_NEAR = 8


@dataclass(frozen=True, slots=True)
class Thing:
    """One object.

    Attributes:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        size: small or large.
        x: Left edge, in pixels.
        y: Upper edge, in pixels.
        side: Of its square, in pixels.
        inside: Place in the scene of the ring that it lies in; None if it lies in none.
    """

    shape: str
    colour: str
    size: str
    x: int
    y: int
    side: int
    inside: int | None = None

    @property
    def pair(self) -> Pair:
        """Colour and shape."""
        return self.colour, self.shape

    @property
    def box(self) -> Box:
        """`x0, y0, x1, y1`, half-open; every shape touches all four edges of its square."""
        return self.x, self.y, self.x + self.side, self.y + self.side

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn.

    Attributes:
        name: Says from which stream and index it comes.
        things: Its objects; they do not overlap, but one may lie in the hole of a ring.
        side: Of the square canvas, in pixels.
        artefact: A red dot `x, y, diameter` in the picture that is no object of it, if any.
    """

    name: str
    things: tuple[Thing, ...]
    side: int = CANVAS
    artefact: tuple[int, int, int] | None = None

    @property
    def pairs(self) -> list[Pair]:
        """Colour and shape of every object."""
        return [thing.pair for thing in self.things]

    def relations(self, subject: int, object_: int) -> list[Relation]:
        """Every relation that holds between two objects.

        A direction holds if the boxes are apart along it and its part of the distance between the
        centres is at least one and a half times the other; next to: less than 8 pixels apart (of
        96) and neither inside the other.
        """
        one, other = self.things[subject], self.things[object_]
        if one.inside == object_:
            return ["inside"]
        if other.inside == subject:
            return []
        found: list[Relation] = []
        (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = one.box, other.box
        dx, dy = (abs(a - b) for a, b in zip(one.centre, other.centre, strict=True))
        if dx >= 1.5 * dy:
            found += ["left of"] if ax1 <= bx0 else ["right of"] if bx1 <= ax0 else []
        if dy >= 1.5 * dx:
            found += ["above"] if ay1 <= by0 else ["below"] if by1 <= ay0 else []
        gap = max(bx0 - ax1, ax0 - bx1, by0 - ay1, ay0 - by1)
        if gap * CANVAS < _NEAR * self.side:
            found.append("next to")
        return found


def generator(*name: object) -> Random:
    """Random numbers from a name and nothing else, the same in every process.

    >>> generator("test", 0, 1).random() == generator("test", 0, 1).random()
    True
    """
    text = "/".join(map(str, name))
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


@dataclass
class Draft:
    """Objects so far."""

    random: Random
    side: int
    things: list[Thing] = field(default_factory=list)

    def place(self, pair: Pair, size: str, within: tuple[int, int]) -> bool:
        """Put an object where none is yet; False if no place was found."""
        scale = self.side / CANVAS
        side = round(self.random.randint(*within) * scale)
        gap = round(_GAP * scale)
        for _ in range(40):
            x = self.random.randrange(self.side - side + 1)
            y = self.random.randrange(self.side - side + 1)
            if all(_apart(thing, x, y, side, gap) for thing in self.things):
                self.things.append(Thing(pair[1], pair[0], size, x, y, side))
                return True
        return False

    def fill(self, holder: int, pair: Pair) -> None:
        """Put a small object into the hole of a ring."""
        ring = self.things[holder]
        side = round(SIDES["small"][0] * self.side / CANVAS)
        x, y = ring.x + (ring.side - side) // 2, ring.y + (ring.side - side) // 2
        self.things.append(Thing(pair[1], pair[0], "small", x, y, side, holder))


def draw_scene(
    name: Sequence[object],
    count: tuple[int, int] = (3, 6),
    distribution: Distribution = "in",
    side: int = CANVAS,
) -> Scene:
    """Draw a scene.

    Scenes are made to be hard to tell from each other's texts: an object often shares its colour or
    its shape with an earlier one, or is the same at the other size.

    Args:
        name: Where the random numbers come from, such as (split, seed, index).
        count: Smallest and largest number of objects; fewer if they find no place.
        distribution: in: no held-out pair; out: the first object has one, others may.
        side: Of the canvas, in pixels.
    """
    random = generator(*name)
    draft = Draft(random, side)
    pairs = SEEN if distribution == "in" else PAIRS
    wanted = random.randint(*count)
    first = random.choice(SEEN if distribution == "in" else sorted(HELD_OUT))
    if random.random() < 0.15 and wanted > 1:
        rings = [pair for pair in pairs if pair[1] == "ring"]
        draft.place(first if first[1] == "ring" else random.choice(rings), "large", _HOLDER)
        inner = [pair for pair in pairs if pair[1] != "ring"]
        draft.fill(0, first if first[1] != "ring" else random.choice(inner))
    for number in range(len(draft.things), wanted):
        pair, size = _next(random, draft.things, pairs)
        draft.place(first if number == 0 else pair, size, SIDES[size])
    return Scene("/".join(map(str, name)), tuple(draft.things), side)


def _next(random: Random, things: Sequence[Thing], pairs: Sequence[Pair]) -> tuple[Pair, str]:
    """Colour and shape of the next object, and its size."""
    size = random.choice(SIZES)
    draw = random.random()
    if things and draw < 0.6:
        model = random.choice(things)
        if draw < 0.2:
            alone = [thing.pair for thing in things].count(model.pair) == 1
            if alone:
                return model.pair, SIZES[1 - SIZES.index(model.size)]
        axis = 0 if draw < 0.4 else 1
        return random.choice([p for p in pairs if p[axis] == model.pair[axis]]), size
    return random.choice(pairs), size


def _apart(thing: Thing, x: int, y: int, side: int, gap: int) -> bool:
    x0, y0, x1, y1 = thing.box
    return x >= x1 + gap or y >= y1 + gap or x + side <= x0 - gap or y + side <= y0 - gap
