"""From a raw map to relevance v in 0-1 on the pixels of the original image."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vlground.errors import VlgroundError
from vlground.geometry import Frame, box_to_slices

Normalise = Literal["native", "image"]
Resize = Literal["bicubic", "bilinear", "nearest"]

NORMALISE: Sequence[Normalise] = ("native", "image")
RESIZE: Sequence[Resize] = ("bicubic", "bilinear", "nearest")


def one_of(option: str, value: str, allowed: Sequence[str]) -> None:
    """Make sure that `mask.option` has one of the values it can have.

    Raises:
        VlgroundError: It has not.
    """
    if value not in allowed:
        raise VlgroundError(f"mask.{option}={value}: expected {', '.join(allowed)}")


def check_number(option: str, value: object) -> None:
    """Make sure that `mask.option` is a number.

    Raises:
        VlgroundError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise VlgroundError(f"mask.{option}={value}: expected a number")


def maskable(grid: Tensor) -> str | None:
    """Why a raw map shows nothing that could be masked; None if it does.

    The reasons are the flags of `q_groundcam`: not_finite, not_positive (maximum <= 0), constant.

    >>> maskable(torch.zeros(2, 2)), maskable(torch.ones(2, 2)), maskable(torch.eye(2))
    ('not_positive', 'constant', None)
    """
    low, high = torch.aminmax(grid.float()) if grid.numel() else (torch.nan, torch.nan)
    low, high = float(low), float(high)
    if not (low > -1e38 and high < 1e38):  # nor NaN; beyond, high - low overflows
        return "not_finite"
    if high <= 0:
        return "not_positive"
    return "constant" if low == high else None


def relevance(
    grid: Tensor,
    frame: Frame,
    normalise: Normalise = "native",
    resize: Resize = "bicubic",
    clip: bool = True,
) -> Tensor:
    """Normalise and resize a map.

    Args:
        grid: `(gh, gw)` raw map, see `maskable`.
        frame: Where it lies in the image.
        normalise: Min-max on the map's own grid before it is resized (`native`), or after it, over
            the pixels that the model saw (`image`).
        resize: `bicubic` as Pillow's (a = -0.5, and the kernel cut off at the map's edge; the
            metric's has a = -0.75), or `bilinear` or `nearest` as of `Frame.grid_to_pixels`.
        clip: To 0-1, which bicubic overshoots.

    Returns:
        `(height, width)` float32 on the CPU; 0 where the model saw nothing.

    Raises:
        ValueError: The map is not maskable.
    """
    reason = maskable(grid)
    if reason:
        raise ValueError(f"a map that is {reason} cannot be masked")
    grid = grid.detach().cpu().float()
    low, high = grid.min(), grid.max()
    values = (grid - low) / (high - low)
    if resize == "bicubic":
        values = _bicubic(values, frame)
    else:
        values = frame.grid_to_pixels(values[None], mode=resize)[0]
    if normalise == "image":
        seen = values[box_to_slices(frame.visible(), frame.height, frame.width)]
        least, most = torch.aminmax(seen)
        seen.sub_(least).div_((most - least).clamp(min=1e-12))  # a pixel or two may all be equal
    return values.clamp_(0, 1) if clip else values


def _bicubic(grid: Tensor, frame: Frame) -> Tensor:
    rows, columns = box_to_slices(frame.visible(), frame.height, frame.width)
    step_y, step_x = grid.shape[0] / frame.input_height, grid.shape[1] / frame.input_width
    down = _weights(
        len(grid), rows.start, rows.stop, frame.scale_y * step_y, frame.offset_y * step_y
    )
    across = _weights(
        grid.shape[1], columns.start, columns.stop, frame.scale_x * step_x, frame.offset_x * step_x
    )
    values = down @ grid @ across.T
    if values.shape == (frame.height, frame.width):
        return values
    out = torch.zeros(frame.height, frame.width)
    out[rows, columns] = values
    return out


@lru_cache(maxsize=256)
def _weights(cells: int, start: int, stop: int, step: float, offset: float) -> Tensor:
    """Matrix `(seen pixels, cells)` of Pillow's bicubic filter, antialiased where it shrinks.

    Args:
        cells: Of the map on this axis.
        start: First pixel of the original that the model saw.
        stop: The one after the last.
        step: Cells a pixel.
        offset: Of the original's edge from the map's, in cells.
    """
    centres = (np.arange(start, stop) + 0.5) * step + offset
    away = np.abs(np.arange(cells) + 0.5 - centres[:, None]) / max(step, 1.0)
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    matrix = np.where(away < 1, near, np.where(away < 2, far, 0.0))
    matrix /= matrix.sum(axis=1, keepdims=True)
    return torch.tensor(matrix, dtype=torch.float32)
