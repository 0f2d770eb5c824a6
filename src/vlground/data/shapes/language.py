"""What can be said of a scene: descriptions with their referents, so that truth is computed.

    Description(colour, shape, size, relation, anchor) ── text() ──▶ "the star left of the cross"
                                                       └─ referents(scene) ──▶ [2]

A foil is a description without referents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from vlground.data.shapes.scene import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Pair,
    Relation,
    Scene,
    Thing,
)

# The words of all texts, in the order of the miniatures' vocabulary.
WORDS = (
    *("a", "an", "the", "of", "to", "next", "left", "right", "above", "below", "inside", "object"),
    *SIZES,
    *COLOURS,
    *SHAPES,
)


@dataclass(frozen=True)
class Description:
    """Some attributes of an object, and perhaps how it lies to another one.

    Attributes:
        shape: Of the object; None: any ("object").
        colour: Likewise, not said if None.
        size: Likewise.
        relation: To the anchor.
        anchor: The other object's description, if there is a relation.
        article: `a` (said `an` where the next word asks for it), or `the` of one object only.
    """

    shape: str | None
    colour: str | None = None
    size: str | None = None
    relation: Relation | None = None
    anchor: "Description | None" = None
    article: str = "a"

    @property
    def text(self) -> str:
        """The words.

        >>> anchor = Description("cross", article="the")
        >>> Description("star", "red", None, "left of", anchor, "the").text
        'the red star left of the cross'
        >>> Description("star", "orange").text
        'an orange star'
        """
        words = [word for word in (self.size, self.colour, self.shape or "object") if word]
        article = "an" if self.article == "a" and words[0][0] in "aeiou" else self.article
        said = " ".join([article, *words, *([self.relation] if self.relation else [])])
        return said if self.anchor is None else f"{said} {self.anchor.text}"

    def referents(self, scene: Scene) -> list[int]:
        """Places of the objects that it is true of."""
        found = [number for number, thing in enumerate(scene.things) if self._fits(thing)]
        if self.relation is None or self.anchor is None:
            return found
        anchors = self.anchor.referents(scene)
        return [
            number
            for number in found
            if any(
                self.relation in scene.relations(number, other)
                for other in anchors
                if other != number
            )
        ]

    def _fits(self, thing: Thing) -> bool:
        said = ((self.shape, thing.shape), (self.colour, thing.colour), (self.size, thing.size))
        return all(word in (None, true) for word, true in said)


def phrase(pair: Pair) -> Description:
    """`a red star`."""
    return Description(pair[1], pair[0])


def referring(scene: Scene, number: int) -> list[Description]:
    """Every way to say `the …` that is true of one object and of no other.

    A relation is said only to an anchor that is unique itself, and only where shape (and colour)
    alone would not do.
    """
    thing = scene.things[number]
    said = [
        Description(thing.shape, colour, size, article="the")
        for colour in (None, thing.colour)
        for size in (None, thing.size)
    ]
    unique = [one for one in said if one.referents(scene) == [number]]
    for plain in (said[0], said[2]):
        if plain in unique:
            continue
        for other, relation in _around(scene, number):
            anchor = _definite(scene, other)
            if anchor is None:
                continue
            related = replace(plain, relation=relation, anchor=anchor)
            if related.referents(scene) == [number]:
                unique.append(related)
    return unique


def triplets(scene: Scene) -> Iterator[tuple[int, int, Description]]:
    """Every `a red star left of a blue ring`: subject, object and description.

    Only of objects whose colour and shape are unique in the scene.
    """
    pairs = scene.pairs
    for number, thing in enumerate(scene.things):
        if pairs.count(thing.pair) > 1:
            continue
        for other, relation in _around(scene, number):
            anchor = scene.things[other]
            if pairs.count(anchor.pair) == 1:
                said = replace(phrase(thing.pair), relation=relation, anchor=phrase(anchor.pair))
                yield number, other, said


def foil(
    random: Random, scene: Scene, true: Description, pairs: Sequence[Pair]
) -> Description | None:
    """A description that is true of nothing in the scene.

    Half of the time it differs in one attribute (colour, shape, size, relation, or subject and
    object exchanged), otherwise all that is said is drawn anew.

    Args:
        random: Its only source of chance.
        scene: What it is false of.
        true: The description that it stands for.
        pairs: Colours and shapes that may be named together.

    Returns:
        None if none was found, as for a scene that holds nearly everything.
    """
    one_only = random.random() < 0.5
    for _ in range(50):
        said = _one_changed(random, true) if one_only else _all_changed(random, true, pairs)
        if said != true and _allowed(said, pairs) and not said.referents(scene):
            return said
    return None


def _one_changed(random: Random, true: Description) -> Description:
    changes = [replace(true, shape=random.choice(SHAPES))]
    if true.colour is not None:
        changes.append(replace(true, colour=random.choice(COLOURS)))
    if true.size is not None:
        changes.append(replace(true, size=SIZES[1 - SIZES.index(true.size)]))
    if true.relation is not None and true.anchor is not None:
        changes.append(replace(true, relation=random.choice(RELATIONS)))
        changes.append(replace(true, anchor=_one_changed(random, true.anchor)))
        mine, other = (replace(one, relation=None, anchor=None) for one in (true, true.anchor))
        changes.append(replace(other, relation=true.relation, anchor=mine))
    return random.choice(changes)


def _all_changed(random: Random, true: Description, pairs: Sequence[Pair]) -> Description:
    colour, shape = random.choice(pairs)
    return replace(
        true,
        shape=shape,
        colour=None if true.colour is None else colour,
        size=None if true.size is None else random.choice(SIZES),
        relation=None if true.relation is None else random.choice(RELATIONS),
        anchor=None if true.anchor is None else _all_changed(random, true.anchor, pairs),
    )


def _allowed(said: Description, pairs: Sequence[Pair]) -> bool:
    """Whether a text names no colour and shape together that may not be."""
    if said.anchor is not None and not _allowed(said.anchor, pairs):
        return False
    return said.colour is None or said.shape is None or (said.colour, said.shape) in pairs


def _around(scene: Scene, number: int) -> Iterator[tuple[int, Relation]]:
    for other in range(len(scene.things)):
        if other != number:
            for relation in scene.relations(number, other):
                yield other, relation


def _definite(scene: Scene, number: int) -> Description | None:
    """The shortest `the …` without a relation, if there is one."""
    thing = scene.things[number]
    for colour in (None, thing.colour):
        said = Description(thing.shape, colour, article="the")
        if said.referents(scene) == [number]:
            return said
    return None
