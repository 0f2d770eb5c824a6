"""One image of Flickr30k Entities, from its XML and sentences or from info-ground's JSON."""

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

_Box = tuple[float, float, float, float]
_Phrase = tuple[str, str, list[str]]  # chain, words, types
# `[/EN#<chain>/<type>/<type> some words]`; the last bracket is the one that ends a word.
_PHRASE = re.compile(r"(?<!\S)\[/EN#([^/\s]+)/(\S+)\s+(.*?)\](?!\S)")


@dataclass
class EntitiesImage:
    """What is known of one image: size, boxes as published, chains without boxes, phrases."""

    width: float
    height: float
    boxes: dict[str, list[_Box]] = field(default_factory=dict)
    scene: set[str] = field(default_factory=set)
    sentences: list[list[_Phrase]] = field(default_factory=list)


def phrases_of(text: str) -> list[list[_Phrase]]:
    """The phrases of a sentence file, a list a sentence.

    >>> phrases_of("[/EN#1/people Two men] near [/EN#8/vehicles/scene a bus] .")
    [[('1', 'Two men', ['people']), ('8', 'a bus', ['vehicles', 'scene'])]]
    """
    return [
        [(chain, words, types.split("/")) for chain, types, words in _PHRASE.findall(line)]
        for line in text.split("\n")
        if line.strip()
    ]


def image_of_xml(tree: ElementTree.Element) -> EntitiesImage:
    """What an annotation file says.

    Raises:
        ValueError: The size or a corner of a box is missing or no number.
    """

    def number(element: ElementTree.Element, path: str) -> float:
        return float(element.findtext(path) or "")

    image = EntitiesImage(number(tree, "size/width"), number(tree, "size/height"))
    for element in tree.findall("object"):
        chains = [(name.text or "").strip() for name in element.findall("name")]
        box = element.find("bndbox")
        for chain in chains:
            if box is not None:
                x0, y0, x1, y1 = (number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
                image.boxes.setdefault(chain, []).append((x0, y0, x1, y1))
            elif (element.findtext("scene") or "0").strip() == "1":
                image.scene.add(chain)
    return image


def image_of_json(node: dict[str, Any], sentences: list[dict[str, Any]]) -> EntitiesImage:
    """What info-ground's two files say; the 1 that it subtracts everywhere is added again."""
    image = EntitiesImage(
        node["width"], node["height"], scene={str(chain) for chain in node["scene"]}
    )
    for chain, boxes in node["boxes"].items():
        image.boxes[chain] = [(x0 + 1, y0 + 1, x1 + 1, y1 + 1) for x0, y0, x1, y1 in boxes]
    for sentence in sentences:
        phrases = sentence["phrases"]
        image.sentences.append(
            [(str(p["phrase_id"]), p["phrase"], p["phrase_type"]) for p in phrases]
        )
    return image
