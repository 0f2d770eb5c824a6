"""A normalised map, and what several scores, or several settings, ask of it: computed once."""

from collections.abc import Hashable
from math import nan
from typing import Any

import numpy as np
from torch import Tensor

from vlground.metrics.peaks import Peaks, argmax_set, find_peaks
from vlground.metrics.regions import Region


class Activation:
    """One normalised map.

    Args:
        both: `(2, H, W)` the normalised map A, and room for the binary one.
        uniform: Whether it is A ≡ 1 of a CAM that declares itself constant.
    """

    def __init__(self, both: np.ndarray, uniform: bool = False) -> None:
        self.both = both
        self.uniform = uniform
        self._binary: Hashable = None  # of which threshold both[1] is
        self._known: dict[Hashable, Any] = {}

    @classmethod
    def of(
        cls, raw: np.ndarray, both: np.ndarray, normalise: str, constant: bool
    ) -> "Activation | str":
        """Normalise a map, or say why it cannot be scored.

        Args:
            raw: `(H, W)`.
            both: `(2, H, W)`, overwritten; the activation lives in it.
            normalise: `minmax`, `max` or `none`.
            constant: The CAM declares itself constant.

        Returns:
            The activation; or not_finite, not_positive (maximum <= 0) or constant.
        """
        out = both[0]
        low, high = (raw.min(), raw.max()) if raw.size else (nan, nan)
        if not (low > -1e38 and high < 1e38):  # nor NaN; beyond, max - min overflows
            return "not_finite"
        if high <= 0:
            return "not_positive"
        if low == high:
            out.fill(1.0)
            return cls(both, uniform=True) if constant else "constant"
        if normalise == "minmax":
            # Dividing, not multiplying by a reciprocal: the maximum is exactly 1.
            np.divide(np.subtract(raw, low, out=out), high - low, out=out)
        else:
            np.maximum(np.divide(raw, high if normalise == "max" else 1, out=out), 0, out=out)
        return cls(both)

    def sums(
        self, region: Region, distance: str, threshold: float, strict: bool
    ) -> list[list[float]]:
        """ΣA, ΣA·M and ΣA·D of the soft and of the binary map, see `Region.sums`."""
        # Strictness says nothing where no pixel lies on the threshold.
        strict = strict and self._on(threshold)
        key = region, distance, threshold, strict
        if key not in self._known:
            if self._binary != (threshold, strict):
                soft = self.both[0]
                np.copyto(self.both[1], soft > threshold if strict else soft >= threshold)
                self._binary = threshold, strict
            self._known[key] = region.sums(self.both, distance).tolist()
        found: list[list[float]] = self._known[key]
        return found

    def tied(self, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the pixels that share the maximum, see `argmax_set`."""
        if ("tied", tolerance) not in self._known:
            self._known["tied", tolerance] = argmax_set(self.both[0], tolerance)
        found: tuple[np.ndarray, np.ndarray] = self._known["tied", tolerance]
        return found

    def peaks(self, threshold: float, distance: float) -> Peaks:
        """Its peaks, see `find_peaks`."""
        key = "peaks", threshold, distance
        if key not in self._known:
            self._known[key] = find_peaks(self.both[0], threshold, distance)
        found: Peaks = self._known[key]
        return found

    def _on(self, threshold: float) -> bool:
        """Whether a pixel has exactly this value."""
        if ("on", threshold) not in self._known:
            self._known["on", threshold] = bool((self.both[0] == threshold).any())
        return bool(self._known["on", threshold])


def as_array(maps: Tensor) -> np.ndarray:
    """Maps on the CPU; half precision is too coarse for sums."""
    return (maps.detach() if maps.element_size() > 2 else maps.detach().float()).cpu().numpy()


def room(arrays: np.ndarray) -> np.ndarray:
    """`(2, H, W)` room for one map of `(n, H, W)`: one at a time stays in the CPU's cache."""
    return np.empty((2, *arrays.shape[1:]), dtype=np.result_type(arrays.dtype, np.float32))
