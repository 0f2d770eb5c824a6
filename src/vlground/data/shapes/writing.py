"""Sentences of captions of drawn scenes, true or with planted errors.

    write_caption(scene, random, rates) ──▶ claims ──text──▶ caption

Shapes come in partners, see `vlground.data.shapes.captions`: what is told of and is not there is
the partner of something that is (ours).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from vlground.data.shapes.claims import (
    CONJECTURES,
    ERROR_TYPES,
    LOCATIONS,
    NUMBERS,
    Claim,
    Conjecture,
    Count,
    ErrorType,
    Existence,
    Located,
    Related,
    lies,
)
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import (
    COLOURS,
    HELD_OUT,
    PAIRS,
    RELATIONS,
    SEEN,
    SHAPES,
    SIZES,
    Pair,
    Scene,
)

# Each shape and the one that comes with it.
_COUPLES = ("circle", "cross"), ("square", "heart"), ("triangle", "ring"), ("star", "diamond")
PARTNERS = {one: two for pair in _COUPLES for one, two in (pair, pair[::-1])}
_INTRODUCED = 0.6  # of the sentences: an object's first; others say more about it
_MORE = {"relation": 0.5, "location": 0.3, "count": 0.2}


def write_caption(
    scene: Scene,
    random: Random,
    rates: Mapping[str, float] | None = None,
    sentences: tuple[int, int] = (2, 6),
    habit: float = 0.0,
) -> list[Claim]:
    """Write the sentences of a caption.

    Each sentence makes at most one error, drawn with the rates, and then exactly that one. What
    relations and locations wrong sentences name is much the same as in true ones, so that words
    alone hardly tell them. No sentence is said twice while another is left.

    Args:
        scene: What they are about.
        random: The only source of chance.
        rates: Error type -> probability that a sentence makes it; the sum is at most 1. Where no
            such error is left to make (all shapes are in the scene), the sentence is true.
        sentences: Smallest and largest number.
        habit: Chance that a shape, once it is said to be there, is followed by its partner, there
            or not: of one that is not, colour and size are those just said. So language alone says
            what comes next.

    Returns:
        The claims in order, of objects from top to bottom, then left to right, but for partners.
    """
    order = sorted(range(len(scene.things)), key=lambda n: scene.things[n].centre[::-1])
    wanted = random.randint(*sentences)
    new = min(len(order), math.ceil(_INTRODUCED * wanted))
    places = random.sample(range(len(order)), new)
    places = sorted(places + random.choices(places, k=wanted - new))
    weights = [(rates or {}).get(error, 0.0) for error in ERROR_TYPES]
    weights.insert(0, max(0.0, 1 - sum(weights)))
    writer = _Writer(scene, random)
    for number, place in enumerate(places):
        (error,) = random.choices((None, *ERROR_TYPES), weights)
        if error is None or not writer.err(error, order[place]):
            writer.tell(order[place], first=place not in places[:number])
        if habit and random.random() < habit:
            writer.add_partner()
        if len(writer.said) >= wanted:
            break
    return writer.said[:wanted]


def pairs_of(scene: Scene) -> tuple[Pair, ...]:
    """What may be drawn and named; out of distribution every scene has a held-out pair."""
    return SEEN if HELD_OUT.isdisjoint(scene.pairs) else PAIRS


class _Writer:
    """A caption so far."""

    def __init__(self, scene: Scene, random: Random) -> None:
        self.said: list[Claim] = []
        self._scene, self._random = scene, random
        self._wrong: dict[ErrorType, Callable[[int], Iterator[list[Claim]]]] = {
            "hallucination": self._absent,
            "attribute": self._changed,
            "relationship": self._unrelated,
            "location": self._misplaced,
            "conjecture": lambda _: iter([[Conjecture(text) for text in CONJECTURES]]),
        }

    def tell(self, number: int, first: bool) -> None:
        """Say something true about an object; about another one if all is said of it."""
        kinds = self._random.choices(list(_MORE), list(_MORE.values())) + list(_MORE)
        kinds = ["existence", *kinds] if first else [*kinds, "existence"]
        told = (self._true(kind, n) for n in (number, *self._shuffled()) for kind in kinds)
        if not any(self._say(claims) for claims in told):
            self.said.append(self._random.choice(self.said))

    def err(self, error: ErrorType, number: int) -> bool:
        """Say something with one error, about an object if it can be; False: nothing is found."""
        return any(
            self._say([claim for claim in claims if claim.errors(self._scene) == {error}])
            for claims in self._wrong[error](number)
        )

    def add_partner(self) -> None:
        """Say that the partner of the shape just said is there too, if it was not said before."""
        last, named = self.said[-1], {c.object.shape for c in self.said if isinstance(c, Existence)}
        if not isinstance(last, Existence) or PARTNERS[str(last.object.shape)] in named:
            return
        shape = PARTNERS[str(last.object.shape)]
        things = [thing for thing in self._scene.things if thing.shape == shape]
        if things:
            found = min(things, key=lambda thing: thing.centre[::-1])
            self.said.append(Existence(Description(shape, found.colour, found.size)))
            return
        # The next colour where this one is held out.
        start = COLOURS.index(str(last.object.colour))
        colours = COLOURS[start:] + COLOURS[:start]
        known = next(one for one in colours if (one, shape) in pairs_of(self._scene))
        self.said.append(Existence(Description(shape, known, last.object.size)))

    def _say(self, claims: Sequence[Claim]) -> bool:
        new = [claim for claim in claims if claim not in self.said]
        if new:
            self.said.append(self._random.choice(new))
        return bool(new)

    def _true(self, kind: str, number: int) -> list[Claim]:
        thing = self._scene.things[number]
        if kind == "existence":
            return [Existence(Description(thing.shape, thing.colour, thing.size))]
        if kind == "count":
            many = sum(other.shape == thing.shape for other in self._scene.things)
            return [Count(thing.shape, many)] if many <= len(NUMBERS) else []
        the = self._the(number)
        if kind == "location":
            return [Located(the, name) for name in self._locations(number)]
        around = ((n, r) for n in self._others(number) for r in self._scene.relations(number, n))
        return [Related(the, relation, self._the(other)) for other, relation in around]

    # What follows yields lists of claims, some with the error; the first list that has one counts.

    def _absent(self, _: int) -> Iterator[list[Claim]]:
        there = {thing.shape for thing in self._scene.things}
        for shapes in ({PARTNERS[shape] for shape in there} - there, set(SHAPES) - there):
            pairs = [pair for pair in pairs_of(self._scene) if pair[1] in shapes]
            yield [Existence(Description(p[1], p[0], size)) for p in pairs for size in SIZES]

    def _changed(self, number: int) -> Iterator[list[Claim]]:
        thing = self._scene.things[number]
        same = Description(thing.shape, thing.colour, thing.size)
        colours = [colour for colour, shape in pairs_of(self._scene) if shape == thing.shape]
        ways: list[list[Claim]] = [
            [Existence(replace(same, colour=colour)) for colour in colours],
            [Existence(replace(same, size=size)) for size in SIZES],
            [Count(thing.shape, many) for many in (1, 2, 3)],
        ]
        self._random.shuffle(ways)
        yield from ways

    def _unrelated(self, number: int) -> Iterator[list[Claim]]:
        yield [
            Related(self._the(number), relation, self._the(other))
            for other in self._others(number)
            for relation in RELATIONS
            # Nothing can be inside another shape; that would be told without the picture.
            if relation != "inside" or self._scene.things[other].shape == "ring"
        ]

    def _misplaced(self, number: int) -> Iterator[list[Claim]]:
        # A location of another object first: of all wrong ones, too many would be corners.
        for names in map(self._locations, self._shuffled()):
            for name in self._random.sample(names, min(1, len(names))):
                yield [Located(self._the(number), name)]
        yield [Located(self._the(number), name) for name in LOCATIONS]

    def _shuffled(self) -> list[int]:
        return self._random.sample(range(len(self._scene.things)), len(self._scene.things))

    def _locations(self, number: int) -> list[str]:
        thing, side = self._scene.things[number], self._scene.side
        return [name for name in LOCATIONS if lies(thing, name, side, clearly=True)]

    def _the(self, number: int) -> Description:
        thing = self._scene.things[number]
        alone = self._scene.pairs.count(thing.pair) == 1
        return Description(thing.shape, thing.colour, None if alone else thing.size, article="the")

    def _others(self, number: int) -> list[int]:
        the = self._the(number)
        return [n for n in range(len(self._scene.things)) if self._the(n) != the]
