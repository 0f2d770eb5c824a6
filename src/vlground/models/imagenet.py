"""Class names of ImageNet-1k, and which classes a text names."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


def class_indices(text: str) -> tuple[int, ...]:
    """ImageNet-1k classes that a text names, in ascending order.

    A text names every class that has it among its lemmas ("taxi", "beagle", "crane": the bird and
    the machine), or all classes of a written group, the 20 classes of Pascal VOC ("bird": 59). A
    group wins over a lemma of the same name; today there is no such name. Upper case and
    underscores do not count.

    Args:
        text: A class name in any data set's spelling.

    Returns:
        Indices in 0–999; empty if there is no counterpart ("person").

    >>> class_indices("space_shuttle"), class_indices("Cat"), class_indices("person")
    ((812,), (281, 282, 283, 284, 285), ())
    """
    return _table().get(_plain(text), ())


def class_names() -> list[str]:
    """The 1000 names: each class's first lemma, but for five that would not be unique.

    `class_indices` knows them all. A few are another class's further lemma too ("missile" is also
    a "projectile"), so it may name more than the one.
    """
    unique: dict[str, str] = _written()["unique_names"]
    return [unique.get(str(index), lemmas[0]) for index, lemmas in enumerate(_lemmas())]


@cache
def _table() -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for index, (name, lemmas) in enumerate(zip(class_names(), _lemmas(), strict=True)):
        for lemma in (name, *lemmas):
            found.setdefault(_plain(lemma), set()).add(index)
    table = {text: tuple(sorted(indices)) for text, indices in found.items()}
    first = {_plain(name): index for index, name in enumerate(class_names())}
    for group, members in _written()["groups"].items():
        indices: set[int] = set()
        for member in members:
            # A range with both ends, or the first lemma of one class.
            low, high = member if isinstance(member, list) else [first[_plain(member)]] * 2
            indices.update(range(low, high + 1))
        table[_plain(group)] = tuple(sorted(indices))
    return table


@cache
def _lemmas() -> list[list[str]]:
    """WordNet's lemmas of each class, in ImageNet-1k's order, as timm lists them."""
    from timm.data import ImageNetInfo  # slow to import, and needed only for classifiers

    info = ImageNetInfo()
    descriptions = (info.index_to_description(index) for index in range(info.num_classes()))
    return [description.split(", ") for description in descriptions]


@cache
def _written() -> dict[str, Any]:
    text = files("vlground.models").joinpath("imagenet_groups.json").read_text("utf-8")
    written: dict[str, Any] = json.loads(text)
    return written


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").lower().split())
