"""What is true of a scene, from its pixels' masks and the words alone: literal, slow, separate."""

from collections.abc import Iterator

import numpy as np

from vlground.data.shapes.render import mask_of
from vlground.data.shapes.scene import Scene

COLOURS = {"red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"}
SHAPES = {"circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond"}
RELATIONS = ("left of", "right of", "above", "below", "inside", "next to")


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """`x0, y0, x1, y1`, half-open, of the pixels that are set."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def holds(scene: Scene, relation: str, subject: int, object_: int) -> bool:
    """Whether a relation is true of two objects."""
    masks = [mask_of(scene.things[number], scene.side) for number in (subject, object_)]
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = map(extent, masks)
    within = bx0 < ax0 and by0 < ay0 and ax1 < bx1 and ay1 < by1
    around = ax0 < bx0 and ay0 < by0 and bx1 < ax1 and by1 < ay1
    if within or around or relation == "inside":
        return relation == "inside" and within
    right, down = (ax0 + ax1 - bx0 - bx1) / 2, (ay0 + ay1 - by0 - by1) / 2
    if relation == "next to":
        rows = max(by0 - ay1, ay0 - by1)
        columns = max(bx0 - ax1, ax0 - bx1)
        return max(rows, columns) < 8 * scene.side / 96
    if relation in ("left of", "right of"):
        away = ax1 <= bx0 if relation == "left of" else ax0 >= bx1
        return away and abs(right) >= 1.5 * abs(down)
    away = ay1 <= by0 if relation == "above" else ay0 >= by1
    return away and abs(down) >= 1.5 * abs(right)


def split(text: str) -> tuple[str, str | None, str]:
    """A sentence's subject, relation and object."""
    for relation in RELATIONS:
        subject, found, other = text.partition(f" {relation} ")
        if found:
            return subject, relation, other
    return text, None, ""


def referents(scene: Scene, text: str) -> list[int]:
    """Places of the objects that a text is true of."""
    subject, relation, other = split(text)
    ones = list(_named(scene, subject))
    if relation is None:
        return ones
    return [
        one
        for one in ones
        if any(one != two and holds(scene, relation, one, two) for two in _named(scene, other))
    ]


def named_pairs(text: str) -> set[tuple[str, str]]:
    """Every colour and shape that a text says of one object."""
    subject, relation, other = split(text)
    colours = [word for word in subject.split() if word in COLOURS]
    shapes = [word for word in subject.split() if word in SHAPES]
    found = {(colour, shape) for colour in colours for shape in shapes}
    return found | named_pairs(other) if relation else found


def _named(scene: Scene, words: str) -> Iterator[int]:
    article, *attributes = words.split()
    assert article in ("a", "an", "the")
    for number, thing in enumerate(scene.things):
        if set(attributes) <= {thing.size, thing.colour, thing.shape, "object"}:
            yield number
