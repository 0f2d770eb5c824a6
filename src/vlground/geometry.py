"""Original image ↔ model input ↔ map grid, and boxes into masks; no other module does either.

Coordinates are continuous: pixel `j` covers `[j, j + 1)`, its centre is `j + 0.5`, and a change of
resolution is a plain affine map. Boxes are `x0, y0, x1, y1`, half open.
"""

import math
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vlground.errors import VlgroundError

Boxes = NDArray[np.float64]
Edge = Literal["centre", "outward", "inward"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
Target = Literal["original", "input", "native"]


def box_to_slices(
    box: ArrayLike, height: int, width: int, edge: Edge = "centre"
) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a box holds.

    Args:
        box: `x0, y0, x1, y1` in pixels; may reach beyond the image.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        edge: Which pixels count where the box cuts through them: those whose `centre` it holds,
            all that it touches (`outward`), or only those that lie wholly inside (`inward`).

    Returns:
        Slices with `0 <= start <= stop`; equal where the box holds no pixel.

    Raises:
        ValueError: Not one box, a coordinate that is not finite, or another `edge`.

    >>> box_to_slices([0.4, 1.0, 2.6, 9.0], height=4, width=4)
    (slice(1, 4, None), slice(0, 3, None))
    """
    (single,) = _as_boxes(box)
    if not np.isfinite(single).all():
        raise ValueError(f"box {single.tolist()}: a coordinate is not finite")
    x0, y0, x1, y1 = single.tolist()
    return _pixels(y0, y1, height, edge), _pixels(x0, x1, width, edge)


def boxes_to_mask(boxes: ArrayLike, height: int, width: int, edge: Edge = "centre") -> Tensor:
    """Union of `(k, 4)` boxes as a `(height, width)` bool mask on the CPU; see `box_to_slices`.

    >>> boxes_to_mask([[0, 0, 2, 1], [1, 1, 2, 2]], height=2, width=3).int().tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    mask = torch.zeros(height, width, dtype=torch.bool)
    for box in _as_boxes(boxes):
        mask[box_to_slices(box, height, width, edge)] = True
    return mask


def merge_boxes(boxes: ArrayLike) -> Boxes:
    """The one box that encloses all: `(k, 4)` to `(1, 4)`, and `(0, 4)` to `(0, 4)`.

    This is the merging of MDETR's Flickr30k Entities evaluation, used by Q-GroundCAM.

    >>> merge_boxes([[0, 5, 2, 6], [1, 1, 4, 2]]).tolist()
    [[0.0, 1.0, 4.0, 6.0]]
    """
    array = _as_boxes(boxes)
    if not len(array):
        return array
    return np.concatenate([array[:, :2].min(axis=0), array[:, 2:].max(axis=0)])[None]


@dataclass(frozen=True, slots=True)
class Frame:
    """How one image became one model input: `input = original * scale + offset` on each axis.

    A map of `(gh, gw)` cells lies over the model input: cell `(r, c)` covers rows
    `[r * input_height / gh, (r + 1) * input_height / gh)`, and columns likewise.

    Attributes:
        height: Of the original image, in pixels.
        width: Of the original image, in pixels.
        input_height: Of the model input, in pixels.
        input_width: Of the model input, in pixels.
        scale_y: Input pixels per original pixel, downwards.
        scale_x: Input pixels per original pixel, to the right.
        offset_y: Input row of the original's upper edge; negative where it was cropped away.
        offset_x: Input column of the original's left edge.
    """

    height: int
    width: int
    input_height: int
    input_width: int
    scale_y: float
    scale_x: float
    offset_y: float = 0.0
    offset_x: float = 0.0

    @classmethod
    def squash(cls, height: int, width: int, size: int) -> Self:
        """Stretch the whole image to `size × size`, whatever its aspect."""
        return cls._placed(height, width, size, size, size)

    @classmethod
    def letterbox(cls, height: int, width: int, size: int) -> Self:
        """Fit the longer side into `size` and pad the shorter one evenly."""
        fit = size / max(height, width)
        rows, columns = max(1, round(height * fit)), max(1, round(width * fit))
        return cls._placed(height, width, size, rows, columns)

    @classmethod
    def centre_crop(cls, height: int, width: int, size: int, crop_fraction: float = 1.0) -> Self:
        """Bring the shorter side to `size / crop_fraction`, then cut the central `size × size`.

        Rounding is that of torchvision's Resize and CenterCrop, as CLIP and timm use them.
        """
        shorter = math.floor(size / crop_fraction)
        if height <= width:
            return cls._placed(height, width, size, shorter, int(shorter * width / height))
        return cls._placed(height, width, size, int(shorter * height / width), shorter)

    @classmethod
    def _placed(cls, height: int, width: int, size: int, rows: int, columns: int) -> Self:
        """The image resized to `rows × columns`, centred in `size × size` (padded or cropped)."""
        top, left = (-float(round((side - size) / 2)) + 0.0 for side in (rows, columns))
        return cls(height, width, size, size, rows / height, columns / width, top, left)

    @property
    def resized(self) -> tuple[int, int]:
        """Rows and columns of the whole image at the scale of the model input."""
        return round(self.height * self.scale_y), round(self.width * self.scale_x)

    def boxes_to_input(self, boxes: ArrayLike) -> Boxes:
        """`(k, 4)` boxes of the original in pixels of the model input, not clipped to it."""
        scales, offsets = self._affine()
        return _as_boxes(boxes) * scales + offsets

    def boxes_to_original(self, boxes: ArrayLike) -> Boxes:
        """`(k, 4)` boxes of the model input in pixels of the original, not clipped to it."""
        scales, offsets = self._affine()
        return (_as_boxes(boxes) - offsets) / scales

    def boxes_to_grid(self, boxes: ArrayLike, rows: int, columns: int) -> Boxes:
        """`(k, 4)` boxes of the original in cells of a `rows × columns` map, not clipped to it."""
        cells: Boxes = np.array([columns / self.input_width, rows / self.input_height] * 2)
        return self.boxes_to_input(boxes) * cells

    def visible(self) -> tuple[float, float, float, float]:
        """The part `x0, y0, x1, y1` of the original that the model saw.

        >>> Frame.centre_crop(height=100, width=200, size=50).visible()
        (50.0, 0.0, 150.0, 100.0)
        """
        whole = [[0, 0, self.input_width, self.input_height]]
        x0, y0, x1, y1 = self.boxes_to_original(whole)[0].tolist()
        return max(x0, 0.0), max(y0, 0.0), min(x1, float(self.width)), min(y1, float(self.height))

    def grid_to_pixels(
        self,
        maps: Tensor,
        target: Target = "original",
        mode: Interpolation = "bilinear",
        clip: bool = False,
    ) -> Tensor:
        """Interpolate maps from their native grid, exactly for every preprocessing.

        Squashed images give what `torch.nn.functional.interpolate(align_corners=False)` gives
        (`nearest` is torch's `nearest-exact`: the cell under the pixel's centre). Letterbox padding
        is cut away; original pixels whose centre the model never saw are 0. Differentiable. A value
        that is not finite spreads over the whole map.

        Args:
            maps: `(n, gh, gw)`; half precision is computed and returned in float32.
            target: Pixels of the `original` image, of the model `input` (with its padding), or the
                `native` grid (a copy).
            mode: `bilinear`, `bicubic` (a = -0.75) or `nearest`.
            clip: Clamp each map to its native range, which bicubic overshoots.

        Returns:
            `(n, height, width)` of the target.

        Raises:
            VlgroundError: `target` or `mode` is none of those named.
        """
        _one_of("metric.resolution", target, get_args(Target))
        _one_of("metric.resize", mode, get_args(Interpolation))
        if maps.dtype not in (torch.float32, torch.float64):
            maps = maps.float()
        if target == "native":
            return maps.clone()  # as for the others, the caller may write into the result
        y, x = self._axes(target)
        matrix_y, ys = _weights(y, maps.shape[-2], mode, maps.dtype, maps.device)
        matrix_x, xs = _weights(x, maps.shape[-1], mode, maps.dtype, maps.device)
        # Mixed precision would round the weights to 8 bits; a score must not depend on it.
        with torch.autocast(maps.device.type, enabled=False):
            pixels = matrix_y @ maps @ matrix_x.T
        if clip:
            low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
            pixels = pixels.clamp(low, high)
        if pixels.shape[-2:] == (y.pixels, x.pixels):
            return pixels
        out = pixels.new_zeros(len(maps), y.pixels, x.pixels)
        out[:, ys, xs] = pixels
        return out

    def to_list(self) -> list[float]:
        """The eight numbers, for storage beside a map."""
        return list(astuple(self))

    @classmethod
    def from_list(cls, numbers: list[float]) -> Self:
        """Inverse of `to_list`, also from an array of floats.

        >>> Frame.from_list([30.0, 40.0, 20.0, 20.0, 0.5, 0.5, 2.0, 0.0])  # doctest: +ELLIPSIS
        Frame(height=30, width=40, input_height=20, input_width=20, scale_y=0.5, ...)
        """
        return cls(*map(int, numbers[:4]), *map(float, numbers[4:]))

    def _affine(self) -> tuple[Boxes, Boxes]:
        """Scales and offsets of `x0, y0, x1, y1`."""
        scales, offsets = [self.scale_x, self.scale_y], [self.offset_x, self.offset_y]
        return np.array(scales * 2), np.array(offsets * 2)

    def _axes(self, target: Target) -> tuple["_Axis", "_Axis"]:
        """The target's rows and columns."""
        if target == "input":
            height, width = self.input_height, self.input_width
            return _Axis(height, height, 1.0, 0.0), _Axis(width, width, 1.0, 0.0)
        rows = _Axis(self.height, self.input_height, self.scale_y, self.offset_y)
        return rows, _Axis(self.width, self.input_width, self.scale_x, self.offset_x)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis: pixel `j` has its centre at `(j + 0.5) * scale + offset` of the model input."""

    pixels: int
    extent: int  # of the model input
    scale: float
    offset: float


@lru_cache(maxsize=256)
def _weights(
    axis: _Axis, cells: int, mode: Interpolation, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, slice]:
    """Matrix `(seen pixels, cells)` that interpolates one axis, and the slice of seen pixels.

    Rows sum to 1; the cells at the edges are repeated outwards. The tolerances keep a centre that
    lies on an edge on its right side in spite of rounding.
    """
    centres = (np.arange(axis.pixels) + 0.5) * axis.scale + axis.offset
    seen = np.flatnonzero((centres > -1e-9) & (centres < axis.extent - 1e-9))
    at = centres[seen] * (cells / axis.extent)  # cell c covers [c, c + 1)
    if mode == "nearest":
        first, taps = np.floor(at + 1e-9), np.ones((1, len(at)))
    else:
        first = np.floor(at - 0.5)
        t = at - 0.5 - first
        taps = np.stack([1 - t, t]) if mode == "bilinear" else _cubic(t)
        first = first - (len(taps) // 2 - 1)
    matrix = np.zeros((len(at), cells))
    for shift, tap in enumerate(taps):
        cell = np.clip(first + shift, 0, cells - 1).astype(int)
        matrix[np.arange(len(at)), cell] += tap
    start = int(seen[0]) if len(seen) else 0
    # Outside inference mode, or a matrix cached there could never take part in a gradient.
    with torch.inference_mode(False):
        return torch.tensor(matrix, dtype=dtype, device=device), slice(start, start + len(seen))


def _cubic(t: NDArray[np.float64], a: float = -0.75) -> NDArray[np.float64]:
    """Keys' four taps at fraction `t` between the second and the third: `(4, pixels)`."""
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (1 + t, 2 - t)]
    return np.stack([far[0], *near, far[1]])


def _pixels(low: float, high: float, length: int, edge: Edge) -> slice:
    """Pixels of one axis between two coordinates."""
    if edge == "centre":
        first, end = math.ceil(low - 0.5), math.ceil(high - 0.5)
    elif edge == "outward":
        first, end = math.floor(low), math.ceil(high)
    elif edge == "inward":
        first, end = math.ceil(low), math.floor(high)
    else:
        raise ValueError(f"edge={edge}: expected centre, outward or inward")
    start = min(max(first, 0), length)
    return slice(start, min(max(end, start), length))


def _as_boxes(boxes: ArrayLike) -> Boxes:
    array = np.atleast_2d(np.asarray(boxes, dtype=np.float64))
    if not array.size:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes of shape {array.shape}: expected (k, 4)")
    return array


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise VlgroundError(f"{option}={value}: expected {', '.join(allowed)}")
