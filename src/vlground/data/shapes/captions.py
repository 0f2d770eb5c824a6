"""Captions of several sentences, true or with planted errors, and scenes with a language prior.

    scene_of(image_id) ──▶ Scene ──write_caption(random, rates)──▶ claims ──text──▶ caption

Shapes come in partners: where one is drawn, the other often is too. A model that learns from such
scenes expects a partner where it cannot see one; so planted hallucinations are partners (ours).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from vlground.data.sample import Sample
from vlground.data.shapes.claims import (
    CONJECTURES,
    ERROR_TYPES,
    LOCATIONS,
    NUMBERS,
    SYNONYMS,
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
from vlground.data.shapes.render import Look, render
from vlground.data.shapes.scene import (
    HELD_OUT,
    PAIRS,
    RELATIONS,
    SEEN,
    SHAPES,
    SIDES,
    SIZES,
    Distribution,
    Draft,
    Pair,
    Scene,
    draw_scene,
    generator,
)
from vlground.data.shapes.sets import Split, check_options, check_word
from vlground.errors import VlgroundError

# Each shape and the one that comes with it.
_COUPLES = ("circle", "cross"), ("square", "heart"), ("triangle", "ring"), ("star", "diamond")
PARTNERS = {one: two for pair in _COUPLES for one, two in (pair, pair[::-1])}
_WORLD = "shapes_captions"
_NAME = re.compile(
    rf"{_WORLD}/[^/]+/(?P<distribution>in|out)/(?P<side>\d+)/(?P<partners>[\d.e-]+)/-?\d+/\d+"
)
_COUNT = (2, 4)  # objects before their partners
_INTRODUCED = 0.6  # of the sentences: an object's first; others say more about it
_MORE = {"relation": 0.5, "location": 0.3, "count": 0.2}


class ShapesCaptions:
    """One true caption a scene, of 2 to 6 sentences, on some of its objects in reading order.

    Args:
        samples: How many scenes.
        split: train, val or test; they share no scene.
        distribution: in: no held-out pair of colour and shape is drawn or named; out: every scene
            has one.
        look: plain or shifted.
        side: Of the canvas, 96 to 128 pixels.
        seed: Of everything.
        partners: Chance, 0 to 1, that an object brings its partner shape into the scene.

    Attributes:
        skipped: Always empty.
        checksums: Always empty, since nothing is read from a file.
        objects: Image id -> shapes in the image.
        synonyms: File of words for the shapes.

    Raises:
        VlgroundError: If an option has another value than these.

    >>> sample = ShapesCaptions(1, "test", "in", "plain", 96, seed=0)[0]
    >>> sample.image_id
    'shapes_captions/test/in/96/0.5/0/0'
    """

    def __init__(
        self,
        samples: int,
        split: Split,
        distribution: Distribution,
        look: Look,
        side: int,
        seed: int,
        partners: float = 0.5,
    ) -> None:
        check_options(samples, split, look, side)
        check_word("distribution", distribution, Distribution)
        if not 0 <= partners <= 1:
            raise VlgroundError(f"dataset.partners={partners}: expected 0 to 1")
        self.skipped: Mapping[str, int] = {}
        self.checksums: dict[str, str] = {}
        self.synonyms: str | None = str(SYNONYMS)
        self._look: Look = look
        stem = f"{_WORLD}/{split}/{distribution}/{side}/{float(partners)}/{seed}"
        self._scenes = [scene_of(f"{stem}/{index}") for index in range(samples)]
        said = (write_caption(scene, generator("caption", scene.name)) for scene in self._scenes)
        self._texts = [" ".join(claim.text for claim in claims) for claims in said]
        self.objects: Mapping[str, frozenset[str]] = {
            scene.name: frozenset(thing.shape for thing in scene.things) for scene in self._scenes
        }

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self._scenes[index]
        return Sample(scene.name, scene.name, render(scene, self._look), self._texts[index])


def scene_of(image_id: str) -> Scene:
    """Draw the scene of an image again.

    Args:
        image_id: `shapes_captions/SPLIT/DISTRIBUTION/SIDE/PARTNERS/SEED/INDEX`: all that the scene
            depends on.

    Raises:
        VlgroundError: The image is of another world.
    """
    found = _NAME.fullmatch(image_id)
    if found is None:
        told = "of which captioner_shapes, shapes_oracle and reward=simulated know the scenes"
        raise VlgroundError(f"dataset: {image_id} is no image of {_WORLD}, {told}; choose others")
    distribution: Distribution = "out" if found["distribution"] == "out" else "in"
    scene = draw_scene([image_id], _COUNT, distribution, int(found["side"]))
    return _with_partners(scene, float(found["partners"]))


def write_caption(
    scene: Scene,
    random: Random,
    rates: Mapping[str, float] | None = None,
    sentences: tuple[int, int] = (2, 6),
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

    Returns:
        The claims in order, of objects from top to bottom, then left to right.
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
    return writer.said


def _with_partners(scene: Scene, chance: float) -> Scene:
    """Let each object bring its partner shape, if it is not there and finds a place."""
    random = generator("partners", scene.name)
    draft = Draft(random, scene.side, list(scene.things))
    for thing in scene.things:
        shape, size = PARTNERS[thing.shape], random.choice(SIZES)
        pair = random.choice([pair for pair in _pairs(scene) if pair[1] == shape])
        if random.random() < chance and all(other.shape != shape for other in draft.things):
            draft.place(pair, size, SIDES[size])
    return replace(scene, things=tuple(draft.things))


def _pairs(scene: Scene) -> tuple[Pair, ...]:
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
            pairs = [pair for pair in _pairs(self._scene) if pair[1] in shapes]
            yield [Existence(Description(p[1], p[0], size)) for p in pairs for size in SIZES]

    def _changed(self, number: int) -> Iterator[list[Claim]]:
        thing = self._scene.things[number]
        same = Description(thing.shape, thing.colour, thing.size)
        colours = [colour for colour, shape in _pairs(self._scene) if shape == thing.shape]
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
