"""Links: boxes that a text gives behind its phrases, which say where each of them is (ours).

    "The red star[12,30,28,46] is left of the ring[50,31,76,57]."
        text    The red star is left of the ring.
        links   12 -> [12,30,28,46]   32 -> [50,31,76,57]

Numbers are `x0,y0,x1,y1` in pixels of the original image, half-open. ViGoR leaves explicit links
between words and regions to later work; models that write boxes have syntaxes of their own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_LINK = re.compile(r"\s*\[" + ",".join([_NUMBER] * 4) + r"\]")


@dataclass(frozen=True, slots=True)
class Parted:
    """A text and its links, apart.

    Attributes:
        text: Without links.
        links: Offset in `text` -> the links that stood there, as `link` writes them.
    """

    text: str
    links: dict[int, str]
    _cuts: tuple[tuple[int, int], ...]

    def before(self, offset: int) -> int:
        """The offset in the linked text; where a link stood, that before it."""
        return offset + sum(length for place, length in self._cuts if place < offset)

    def behind(self, offset: int) -> int:
        """The offset in the linked text; where a link stood, that behind it."""
        return offset + sum(length for place, length in self._cuts if place <= offset)


def link(box: Sequence[float]) -> str:
    """Write a link.

    >>> link([12, 30.5, 28, 46.0])
    '[12,30.5,28,46]'
    """
    return f"[{','.join(f'{number:g}' for number in box)}]"


def part(text: str) -> Parted:
    """Take the links out of a text, with white space before them.

    >>> found = part("A star [1,2,3,4].")
    >>> found.text, found.links, found.behind(6)
    ('A star.', {6: '[1,2,3,4]'}, 16)
    """
    pieces, links, cuts = list[str](), dict[int, str](), list[tuple[int, int]]()
    length = end = 0
    for found in _LINK.finditer(text):
        pieces.append(text[end : found.start()])
        length += len(pieces[-1])
        end = found.end()
        links[length] = links.get(length, "") + link([float(one) for one in found.groups()])
        cuts.append((length, len(found.group())))
    return Parted("".join([*pieces, text[end:]]), links, tuple(cuts))


def unlinked(text: str) -> str:
    """A text without its links.

    >>> unlinked("The ring[1,2,3,4] is white.")
    'The ring is white.'
    """
    return _LINK.sub("", text)


def linked_boxes(text: str) -> np.ndarray:
    """The boxes of all links of a text, in order, `(k, 4)` float64.

    >>> linked_boxes("a ring[1,2,3,4]").tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """
    return np.array([found.groups() for found in _LINK.finditer(text)], float).reshape(-1, 4)
