"""Sentences about a scene whose errors are known exactly, in ViGoR's five types.

    Existence   "There is a small red star."             hallucination, attribute
    Count       "There are two stars."                   hallucination, attribute
    Relation    "The red star is left of the ring."      hallucination, attribute, relationship
    Location    "The star is in the upper left corner."  hallucination, attribute, location
    Conjecture  "It was probably drawn by a child."      conjecture

The class of an object is its shape. ViGoR names the types and does not define them; these are ours:

    hallucination  a shape is named that is nowhere in the scene
    attribute      the shape is there, but in no such colour or size, or not so often
    relationship   everything is there as described, and so related is no pair of it
    location       likewise, and nothing of it lies there
    conjecture     no picture can show it
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from vlground.data.links import unlinked
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import COLOURS, RELATIONS, SHAPES, SIZES, Relation, Scene, Thing

ErrorType = Literal["hallucination", "attribute", "relationship", "location", "conjecture"]
Errors = frozenset[ErrorType]

ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)

# CHAIR's classes (`metric.synonyms`) of what these sentences name.
SYNONYMS = Path(__file__).with_name("synonyms.txt")

NUMBERS = ("one", "two", "three", "four", "five", "six")
CONJECTURES = (
    "It was probably drawn by a child.",
    "It was probably drawn in the morning.",
    "It may be a part of a game.",
    "It may mean something to someone.",
    "Someone must have enjoyed it.",
    "Someone will change it soon.",
)
# Name -> column and row, of three each, in which an object's centre lies; None: any.
LOCATIONS: dict[str, tuple[int | None, int | None]] = {
    "in the upper left corner": (0, 0),
    "in the upper right corner": (2, 0),
    "in the lower left corner": (0, 2),
    "in the lower right corner": (2, 2),
    "in the middle": (1, 1),
    "on the left side": (0, None),
    "on the right side": (2, None),
    "at the top": (None, 0),
    "at the bottom": (None, 2),
}
_BORDER = 1 / 24  # of the canvas: so far beyond a border an object still counts as on this side


class Claim:
    """A sentence about a scene."""

    @property
    def text(self) -> str:
        """The sentence, with a capital letter and a full stop."""
        raise NotImplementedError

    def errors(self, scene: Scene) -> Errors:
        """Every error that it makes about a scene; none if it is true of it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Existence(Claim):
    """There is such an object, or several.

    Attributes:
        object: With a shape, without a relation, as all descriptions here; `a`.
    """

    object: Description

    @property
    def text(self) -> str:
        """Such as `There is a small red star.`."""
        return f"There is {self.object.text}."

    def errors(self, scene: Scene) -> Errors:
        """Hallucination or attribute."""
        return _missing(self.object, scene)


@dataclass(frozen=True)
class Count(Claim):
    """There are exactly so many objects of a shape.

    Attributes:
        shape: Of the objects.
        number: From 1 to 6.
    """

    shape: str
    number: int

    @property
    def text(self) -> str:
        """Such as `There are two stars.`."""
        many = self.number > 1
        noun = _PLURALS[self.shape] if many else self.shape
        return f"There {'are' if many else 'is'} {NUMBERS[self.number - 1]} {noun}."

    def errors(self, scene: Scene) -> Errors:
        """Hallucination of a shape that is not there; attribute of a wrong number."""
        found = sum(thing.shape == self.shape for thing in scene.things)
        if not found:
            return frozenset({"hallucination"})
        return frozenset() if found == self.number else frozenset({"attribute"})


@dataclass(frozen=True)
class Related(Claim):
    """One object lies so to another one, whichever of those described.

    Attributes:
        subject: `the`.
        relation: As `Scene.relations` defines it.
        anchor: `the`.
    """

    subject: Description
    relation: Relation
    anchor: Description

    @property
    def text(self) -> str:
        """Such as `The red star is left of the blue ring.`."""
        return _capital(f"{self.subject.text} is {self.relation} {self.anchor.text}.")

    def errors(self, scene: Scene) -> Errors:
        """Hallucination and attribute of either, or relationship."""
        missing = _missing(self.subject, scene) | _missing(self.anchor, scene)
        related = replace(self.subject, relation=self.relation, anchor=self.anchor)
        if missing or related.referents(scene):
            return missing
        return frozenset({"relationship"})


@dataclass(frozen=True)
class Located(Claim):
    """An object lies there, whichever of those described.

    Attributes:
        subject: `the`.
        location: One of `LOCATIONS`.
    """

    subject: Description
    location: str

    @property
    def text(self) -> str:
        """Such as `The green cross is in the upper left corner.`."""
        return _capital(f"{self.subject.text} is {self.location}.")

    def errors(self, scene: Scene) -> Errors:
        """Hallucination, attribute or location; near a border both sides are right."""
        missing = _missing(self.subject, scene)
        found = self.subject.referents(scene)
        if missing or any(lies(scene.things[n], self.location, scene.side) for n in found):
            return missing
        return frozenset({"location"})


@dataclass(frozen=True)
class Conjecture(Claim):
    """What no picture shows.

    Attributes:
        sentence: One of `CONJECTURES`.
    """

    sentence: str

    @property
    def text(self) -> str:
        """Such as `It was probably drawn by a child.`."""
        return self.sentence

    def errors(self, scene: Scene) -> Errors:
        """Always conjecture."""
        return frozenset({"conjecture"})


def lies(thing: Thing, location: str, side: int, clearly: bool = False) -> bool:
    """Whether an object lies somewhere, by its centre and thirds of the canvas.

    Args:
        thing: The object.
        location: One of `LOCATIONS`.
        side: Of the canvas, in pixels.
        clearly: 1/24 of the canvas (4 pixels of 96) within the thirds, not so far outside. Captions
            say only what is clearly so or not so at all, so between the two nothing is said.
    """
    border = (-_BORDER if clearly else _BORDER) * side
    return all(
        third is None or _within(centre, third, side, border)
        for centre, third in zip(thing.centre, LOCATIONS[location], strict=True)
    )


def parse(sentence: str) -> Claim | None:
    """The claim whose text a sentence is, links and white space aside; None: it is none of these.

    >>> parse("The red star is left of the ring. ").text
    'The red star is left of the ring.'
    >>> parse("There are two stars.")
    Count(shape='star', number=2)
    >>> parse("There is a unicorn.") is None
    True
    """
    text = unlinked(sentence).strip()
    if text in CONJECTURES:
        return Conjecture(text)
    for pattern in _PATTERNS:
        found = pattern.fullmatch(text)
        if found is not None:
            claim = _claim(found.groupdict())
            return claim if claim.text == text else None  # not `a orange star`
    return None


def _claim(words: dict[str, Any]) -> Claim:
    if "number" in words:
        noun = words["noun"]
        return Count(_SINGULARS.get(noun, noun), NUMBERS.index(words["number"]) + 1)
    if "relation" in words:
        subject, anchor = _description(words, "s", "the"), _description(words, "o", "the")
        return Related(subject, words["relation"], anchor)
    if "location" in words:
        return Located(_description(words, "s", "the"), words["location"])
    return Existence(_description(words, "s", "a"))


def _description(words: dict[str, Any], of: str, article: str) -> Description:
    size, colour, shape = (words[f"{of}_{name}"] for name in ("size", "colour", "shape"))
    return Description(shape, colour, size, article=article)


def _missing(said: Description, scene: Scene) -> Errors:
    """What is wrong about an object before it is said how it lies."""
    if all(thing.shape != said.shape for thing in scene.things):
        return frozenset({"hallucination"})
    return frozenset() if said.referents(scene) else frozenset({"attribute"})


def _within(centre: float, third: int, side: int, border: float) -> bool:
    # The canvas ends are no border.
    low = -side if third == 0 else third * side / 3 - border
    high = 2 * side if third == 2 else (third + 1) * side / 3 + border
    return low <= centre <= high


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _any(name: str, words: tuple[str, ...]) -> str:
    return f"(?P<{name}>{'|'.join(words)})"


def _said(of: str) -> str:
    parts = ("size", SIZES), ("colour", COLOURS)
    before = "".join(f"(?:{_any(f'{of}_{name}', words)} )?" for name, words in parts)
    return before + _any(f"{of}_shape", SHAPES)


_PLURALS = {shape: f"{shape}es" if shape.endswith("s") else f"{shape}s" for shape in SHAPES}
_SINGULARS = {plural: shape for shape, plural in _PLURALS.items()}
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"There is an? {_said('s')}\.",
        rf"There (?:is|are) {_any('number', NUMBERS)} {_any('noun', (*_SINGULARS, *SHAPES))}\.",
        rf"The {_said('s')} is {_any('relation', RELATIONS)} the {_said('o')}\.",
        rf"The {_said('s')} is {_any('location', tuple(LOCATIONS))}\.",
    )
)
