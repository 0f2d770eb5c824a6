"""Boxes of one phrase by several annotators (ours)."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal

import numpy as np

Annotators = Literal["union", "first"]
Boxes = Sequence[Sequence[float]]


def least_agreement(by_annotator: Mapping[str, Boxes]) -> float:
    """The smallest IoU of two annotators, each with the union of their boxes; 1 of one alone.

    >>> least_agreement({"ann": [[0, 0, 2, 2]], "bob": [[0, 0, 2, 1], [0, 0, 1, 2]]})
    0.75
    """
    return min((_iou(*pair) for pair in combinations(by_annotator.values(), 2)), default=1.0)


def joined(by_annotator: Mapping[str, Boxes], how: Annotators) -> list[Sequence[float]]:
    """The boxes that stand for a phrase.

    Args:
        by_annotator: Annotator -> boxes, in the order of the file.
        how: union: the boxes of all; first: those of the annotator named first.
    """
    kept = list(by_annotator.values())
    return [box for boxes in (kept if how == "union" else kept[:1]) for box in boxes]


def _iou(one: Boxes, other: Boxes) -> float:
    """Of two unions of boxes, exact: on the grid of all their edges a box is whole cells."""
    corners = np.array([*one, *other], dtype=float)
    x, y = np.unique(corners[:, 0::2]), np.unique(corners[:, 1::2])
    area = np.diff(y)[:, None] * np.diff(x)
    first, second = (_cells(boxes, x, y) for boxes in (one, other))
    return float(area[first & second].sum() / area[first | second].sum())


def _cells(boxes: Boxes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    inside = np.zeros((len(y) - 1, len(x) - 1), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        rows, columns = np.searchsorted(y, (y0, y1)), np.searchsorted(x, (x0, x1))
        inside[rows[0] : rows[1], columns[0] : columns[1]] = True
    return inside
