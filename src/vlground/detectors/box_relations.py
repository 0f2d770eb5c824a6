"""Relations from the boxes of their objects: a detector that can say what lies where (ours).

    a red star left of a ring ──▶ a red star ──Detector──▶ boxes ┐
                                  a ring     ──Detector──▶ boxes ┴─ does a pair of them lie so?

Rules are simple and in pixels of the image; what a speaker means by `on` or `behind` is not asked.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import ClassVar

import numpy as np

from vlground.contracts import Detection, Detector
from vlground.data.sample import Sample

_Rule = Callable[[np.ndarray, np.ndarray], bool]


def _towards(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """From the centre of a box to that of another."""
    x, y = ((b[:2] + b[2:]) - (a[:2] + a[2:])) / 2
    return float(x), float(y)


def _horizontal(sign: int) -> _Rule:
    def holds(a: np.ndarray, b: np.ndarray) -> bool:
        x, y = _towards(a, b)
        return sign * x > 0 and abs(x) >= abs(y)

    return holds


def _vertical(sign: int) -> _Rule:
    def holds(a: np.ndarray, b: np.ndarray) -> bool:
        x, y = _towards(a, b)
        return sign * y > 0 and abs(y) >= abs(x)

    return holds


def _inside(a: np.ndarray, b: np.ndarray) -> bool:
    """Nine tenths of the box lie in the other one."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return bool(width > 0 and height > 0 and width * height >= 0.9 * np.prod(a[2:] - a[:2]))


def _next_to(a: np.ndarray, b: np.ndarray) -> bool:
    """The gap is smaller than half the mean side of both boxes, and neither is in the other."""
    gap = float(np.maximum(b[:2] - a[2:], a[:2] - b[2:]).max())
    side = float(np.concatenate([a[2:] - a[:2], b[2:] - b[:2]]).mean())
    return gap < side / 2 and not _inside(a, b) and not _inside(b, a)


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("left of", "to the left of"), _horizontal(1)),
    **dict.fromkeys(("right of", "to the right of"), _horizontal(-1)),
    **dict.fromkeys(("above", "over"), _vertical(1)),
    **dict.fromkeys(("below", "under", "beneath"), _vertical(-1)),
    **dict.fromkeys(("inside", "in"), _inside),
    **dict.fromkeys(("next to", "beside", "near"), _next_to),
}
_SAID = "|".join(map(re.escape, _RULES))
_TRIPLET = re.compile(rf"(.+?) ({_SAID}) ((?:an?|the) .+)")


class BoxRelations(Detector):
    """Looks for objects, and for relations among the boxes of objects.

    A triplet (`a red star left of a ring`) is as sure as the pair of boxes that lies so, which is
    as sure as the less sure of the two; 0 if no pair does. Where one of the objects has no box, it
    is as sure as the less sure object. Every other phrase goes to the detector as it is.

    Args:
        detector: Of objects, with boxes.
    """

    version: ClassVar[int] = 1

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for phrases in images.

        Args:
            samples: A batch.
            phrases: Of each sample.

        Returns:
            Of each sample one detection a phrase; of a triplet with the subject's boxes that lie
            so, and NaN where the detector cannot tell one of its objects.
        """
        parts = [[_parts(phrase) for phrase in asked] for asked in phrases]
        wanted = [list(dict.fromkeys(chain.from_iterable(map(_objects, one)))) for one in parts]
        found = self._detector.detect(samples, wanted)
        return [
            [_answer(one, dict(zip(names, told, strict=True))) for one in asked]
            for asked, names, told in zip(parts, wanted, found, strict=True)
        ]


def _parts(phrase: str) -> tuple[str, ...]:
    """Subject, relation and object of a triplet, with their links; another phrase alone."""
    triplet = _TRIPLET.fullmatch(" ".join(phrase.casefold().split()))
    return (phrase,) if triplet is None else triplet.groups()


def _objects(parts: tuple[str, ...]) -> tuple[str, ...]:
    return parts[::2]


def _answer(parts: tuple[str, ...], told: dict[str, Detection]) -> Detection:
    if len(parts) == 1:
        return told[parts[0]]
    one, relation, other = told[parts[0]], parts[1], told[parts[2]]
    surest = min(one.probability, other.probability)
    if math.isnan(one.probability + other.probability):
        return Detection(math.nan)
    if not len(one.boxes) or not len(other.boxes):
        return Detection(surest)
    scores = np.zeros(len(one.boxes), np.float32)
    for place, score in _holding(one, other, _RULES[relation]):
        scores[place] = max(scores[place], score)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    return Detection(float(scores.max()), one.boxes[order], scores[order])


def _holding(one: Detection, other: Detection, rule: _Rule) -> Iterator[tuple[int, float]]:
    """Subject's boxes that lie so to a box of the object, and how sure the pair is."""
    for place, a in enumerate(one.boxes):
        for number, b in enumerate(other.boxes):
            if not np.array_equal(a, b) and rule(a, b):
                yield place, float(min(one.scores[place], other.scores[number]))
