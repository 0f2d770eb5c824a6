"""Where a map is largest: tied maxima, local maxima, non-maximum suppression, uncertainty."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_EIGHT = np.ones((3, 3), dtype=bool)  # a pixel touches its eight neighbours
_FEW = 1000  # up to so many pixels, labelling them beats labelling the image they lie in


@dataclass(frozen=True, eq=False)
class Peaks:
    """Local maxima of one map, largest first (equal ones in row-major order).

    Attributes:
        values: `(p,)` their values.
        rows: `(p,)` row of the pixel that stands for each.
        cols: `(p,)` its column.
    """

    values: np.ndarray
    rows: np.ndarray
    cols: np.ndarray


def argmax_set(values: np.ndarray, tolerance: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of all pixels that share the maximum, in row-major order.

    Args:
        values: `(H, W)` map with a positive maximum.
        tolerance: A pixel shares it from `(1 - tolerance) * max` on.

    >>> argmax_set(np.array([[1.0, 0.0], [0.5, 1.0]]))
    (array([0, 1]), array([0, 1]))
    """
    flat = np.flatnonzero(values >= float(values.max()) * (1.0 - tolerance))
    rows, cols = np.divmod(flat, values.shape[1])
    return rows, cols


def find_peaks(values: np.ndarray, threshold: float, distance: float) -> Peaks:
    """Local maxima above a threshold that survive non-maximum suppression (paper, sec. 3).

    A local maximum is a pixel, or a plateau of equal touching pixels, none of whose eight
    neighbours is larger (the neighbourhood is reconstructed). A plateau counts once, at its pixel
    nearest its centroid (ours; the first in row-major order if several are nearest): its centroid
    itself may lie off a ring-shaped plateau.

    Suppression is greedy: from the largest down, a maximum is kept unless it lies within
    `distance` of one kept before. Of equal maxima that close, the first in row-major order stays.

    Args:
        values: `(H, W)` map.
        threshold: The paper's tau; a maximum has to be larger.
        distance: The paper's delta, Euclidean, in pixels.

    >>> peaks = find_peaks(np.array([[0.9, 0.0, 0.8, 0.0, 1.0]]), threshold=0.7, distance=2)
    >>> peaks.values, peaks.cols
    (array([1. , 0.9]), array([4, 0]))
    """
    rows, cols = local_maxima(values, threshold)
    found = values[rows, cols]
    order = np.argsort(-found, kind="stable")  # stable: equal maxima stay in row-major order
    rows, cols, found = rows[order], cols[order], found[order]
    kept = _suppress(rows, cols, distance)
    return Peaks(found[kept], rows[kept], cols[kept])


def local_maxima(values: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the local maxima larger than `threshold`, in row-major order.

    >>> local_maxima(np.array([[0.0, 1.0, 1.0, 1.0, 0.0, 0.6, 0.0]]), 0.5)
    (array([0, 0]), array([2, 5]))
    """
    height, width = values.shape
    # Upper and lower neighbours first: comparing whole rows is cheap, and hardly any pixel is left
    # for the other six.
    strong = values > threshold
    strong[:-1] &= values[:-1] >= values[1:]
    strong[1:] &= values[1:] >= values[:-1]
    pixels, flat = np.flatnonzero(strong), np.ascontiguousarray(values).ravel()
    around = _neighbours(pixels, height, width)
    largest = np.all(flat[around] <= flat[pixels], axis=0)
    pixels, around = pixels[largest], around[:, largest]
    equal = (flat[around] == flat[pixels]) & (around != pixels)
    if equal.any():
        pixels = _merge_plateaus(pixels, around, equal, height, width)
    rows, cols = np.divmod(pixels, width)
    return rows, cols


def uncertain(values: np.ndarray, inside: np.ndarray, tolerance: float = 0.0) -> bool:
    """Whether equally large top peaks disagree about the box (the paper's PG uncertainty).

    Args:
        values: `(p,)` peak values, at least one.
        inside: `(p,)` whether each lies in the box.
        tolerance: Peaks from `(1 - tolerance) * max` on count as equal to the largest (ours;
            the paper means 0).

    >>> uncertain(np.array([1.0, 1.0, 0.8]), np.array([True, False, False]))
    True
    >>> uncertain(np.array([1.0, 0.99]), np.array([True, False]))
    False
    """
    top = inside[values >= float(values.max()) * (1.0 - tolerance)]
    return bool(top.any() and not top.all())


def margin(values: np.ndarray, inside: np.ndarray) -> float:
    """Largest peak inside the box minus the largest outside; a side without a peak counts 0.

    Ours, in -1..1: what PG uncertainty asks, without depending on exact ties.

    >>> margin(np.array([1.0, 0.75]), np.array([False, True]))
    -0.25
    """
    return float(values[inside].max(initial=0.0)) - float(values[~inside].max(initial=0.0))


def _neighbours(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`(8, p)` flat indices; beyond the edge stands the pixel itself or another neighbour."""
    rows, cols = np.divmod(pixels, width)
    up, down = np.maximum(rows - 1, 0) * width, np.minimum(rows + 1, height - 1) * width
    here = rows * width
    left, right = np.maximum(cols - 1, 0), np.minimum(cols + 1, width - 1)
    above, below = [up + left, up + cols, up + right], [down + left, down + cols, down + right]
    return np.stack([*above, here + left, here + right, *below])


def _merge_plateaus(
    pixels: np.ndarray, around: np.ndarray, equal: np.ndarray, height: int, width: int
) -> np.ndarray:
    """One pixel for each plateau; none for a plateau that rises somewhere at its rim.

    Args:
        pixels: `(p,)` sorted flat indices of pixels no neighbour of which is larger. Two of them
            that touch are therefore equal: a plateau is a connected component of them.
        around: `(8, p)` flat indices of their neighbours.
        equal: `(8, p)` whether that neighbour has the same value.
        height: Of the map.
        width: Of the map.
    """
    image = np.zeros(height * width, dtype=bool)
    image[pixels] = True
    candidate = image[around]
    if len(pixels) > _FEW:
        labels, _ = ndimage.label(image.reshape(height, width), structure=_EIGHT)
        label = labels.ravel()[pixels] - 1
    else:
        place = np.searchsorted(pixels, around)
        label = _components(np.where(equal & candidate, place, np.arange(len(pixels))))
    # An equal neighbour that is no candidate touches something larger: the plateau is a shoulder.
    shoulder = np.zeros(len(pixels), dtype=bool)
    shoulder[label[np.any(equal & ~candidate, axis=0)]] = True
    # Squared distance to the centroid times size squared: whole numbers, so that ties are exact.
    rows, cols = np.divmod(pixels, width)
    size = np.bincount(label).astype(np.float64)[label]
    off_row = size * rows - np.bincount(label, rows)[label]
    off_col = size * cols - np.bincount(label, cols)[label]
    order = np.lexsort((off_row**2 + off_col**2, label))  # stable: row-major among the nearest
    roots, first = np.unique(label[order], return_index=True)
    return np.sort(pixels[order[first[~shoulder[roots]]]])


def _components(linked: np.ndarray) -> np.ndarray:
    """Label nodes by the smallest of their connected component.

    Args:
        linked: `(8, p)` nodes that each node touches, itself where there is none.

    >>> _components(np.array([[0, 2, 1, 0]]))
    array([0, 1, 1, 0])
    """
    label = np.arange(linked.shape[1])
    while True:
        lower = np.minimum(label, label[linked].min(axis=0))
        lower = lower[lower]  # what a node's label has found out meanwhile
        if np.array_equal(lower, label):
            return label
        label = lower


def _suppress(rows: np.ndarray, cols: np.ndarray, distance: float) -> np.ndarray:
    """Indices that survive greedy suppression of points sorted from the largest down."""
    left = np.arange(len(rows))
    kept: list[int] = []
    while len(left):
        first = left[0]
        kept.append(int(first))
        rest = left[1:]
        apart = (rows[rest] - rows[first]) ** 2 + (cols[rest] - cols[first]) ** 2
        left = rest[apart > distance**2]
    return np.array(kept, dtype=np.intp)
