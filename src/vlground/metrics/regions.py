"""The truth's pixels: boxes merged, clipped and rasterised, and the distance to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from vlground.geometry import Edge, box_to_slices, merge_boxes

Boxes: TypeAlias = Tensor | np.ndarray | list[Any]
_BETWEEN = {"manhattan": np.add, "euclidean": np.hypot, "chebyshev": np.maximum}


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of one sample's boxes.

    Attributes:
        rects: Rectangles `(y0, x0, y1, x1)`.
        mask: `(H, W)` bool, their union M.
        pixels: ΣM.
    """

    rects: Sequence[tuple[int, int, int, int]]
    mask: np.ndarray
    pixels: int
    _weights: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, boxes: Boxes, height: int, width: int, merge: str, edge: Edge) -> "Region | str":
        """Merge, clip and rasterise boxes, or say why nothing is left of them.

        Args:
            boxes: `(k, 4)` of `x0, y0, x1, y1` in pixels of the map, half-open.
            height: Of the map.
            width: Of the map.
            merge: `merged`, into the enclosing box, or `any`: their union.
            edge: Which pixels count where a box cuts through them, see `box_to_slices`.

        Returns:
            The region; or no_box, box_outside, or box_empty (also NaN or reversed corners, or no
            pixel of its own).
        """
        array = boxes.detach().cpu() if isinstance(boxes, Tensor) else boxes
        given = np.asarray(array, dtype=np.float64).reshape(-1, 4).tolist()
        extended = [b for b in given if b[0] < b[2] and b[1] < b[3] and all(map(isfinite, b))]
        seen = [b for b in extended if b[2] > 0 and b[3] > 0 and b[0] < width and b[1] < height]
        if not seen:
            return "box_outside" if extended else "box_empty" if given else "no_box"
        if merge == "merged":
            seen = merge_boxes(seen).tolist()
        rects, mask = [], np.zeros((height, width), dtype=bool)
        for box in seen:
            rows, columns = box_to_slices(box, height, width, edge)
            if rows.start < rows.stop and columns.start < columns.stop:
                rects.append((rows.start, columns.start, rows.stop, columns.stop))
                mask[rows, columns] = True
        return cls(rects, mask, int(np.count_nonzero(mask))) if rects else "box_empty"

    def distance(self, metric: str) -> np.ndarray:
        """D, `(H, W)` distance in pixels to the nearest pixel of the region, 0 inside."""
        nearest = np.full(self.mask.shape, inf)
        for y0, x0, y1, x1 in self.rects:
            dy, dx = _gap(y0, y1, len(nearest))[:, None], _gap(x0, x1, len(nearest[0]))
            np.minimum(nearest, _BETWEEN[metric](dy, dx), out=nearest)
        return nearest

    def sums(self, both: np.ndarray, metric: str) -> np.ndarray:
        """`(2, 3)` ΣA, ΣA·M and ΣA·D of the soft and of the binary map `(2, H, W)`."""
        if metric == "manhattan" and len(self.rects) == 1:
            # D = dy + dx: row sums are all it takes, in single precision (BLAS); rows add up in
            # double.
            (y0, x0, y1, x1), (height, width) = self.rects[0], self.mask.shape
            dx, ones = _gap(x0, x1, width).astype(both.dtype), np.ones(width, dtype=both.dtype)
            dy, rows = _gap(y0, y1, height), np.matmul(both, ones).astype(np.float64)
            inside = np.matmul(both[:, y0:y1, x0:x1], ones[x0:x1]).sum(axis=1, dtype=np.float64)
            sideways = np.matmul(both, dx).sum(axis=1, dtype=np.float64)
            sums = np.stack([rows.sum(axis=1), inside, rows @ dy + sideways], axis=1)
        else:
            if metric not in self._weights:
                weights = [np.ones(self.mask.shape), self.mask, self.distance(metric)]
                self._weights[metric] = np.stack(weights).reshape(3, -1).T
            sums = np.matmul(both.reshape(2, -1).astype(np.float64), self._weights[metric])
        # Rounding must not put more inside than exists.
        sums[:, 1] = np.minimum(sums[:, 1], sums[:, 0])
        return sums


def _gap(first: int, last: int, size: int) -> np.ndarray:
    """`(size,)` steps from each of `0 … size - 1` to the nearest of `first … last - 1`."""
    i = np.arange(size, dtype=np.float64)
    return np.maximum(np.maximum(first - i, i - last + 1), 0)
