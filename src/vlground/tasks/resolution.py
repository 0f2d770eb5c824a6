"""Native maps and boxes in the resolution that a metric scores them in."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vlground.geometry import Frame
from vlground.metrics.grounding import QGroundCAM


def at_resolution(
    maps: Tensor, frame: Frame, boxes: Sequence[np.ndarray], metric: QGroundCAM
) -> tuple[Tensor, list[np.ndarray], QGroundCAM]:
    """Native maps and their boxes in the resolution that the metric scores them in.

    Args:
        maps: `(n, gh, gw)` raw maps.
        frame: Of all n images.
        boxes: n arrays `(k, 4)` in pixels of the original image.
        metric: Options of the suite, those of resizing among them.

    Returns:
        `(n, height, width)`, the n arrays in its pixels, and the options of what is left to do.
    """
    native = maps
    options = metric
    if metric.resize_order == "normalise_first" and metric.normalise != "none":
        native = _normalised(maps, metric.normalise)
        options = replace(metric, normalise="none")
    pixels = frame.grid_to_pixels(native, metric.resolution, metric.resize, metric.resize_clip)
    fill = _degenerate(maps)
    spoilt = fill.isfinite() | fill.isnan()
    pixels[spoilt] = fill[spoilt, None, None].to(pixels.dtype)
    return pixels, _move(boxes, frame, metric, maps.shape), options


def _degenerate(maps: Tensor) -> Tensor:
    """What stands for each degenerate map (NaN, 0 or 1 everywhere), and infinity for the others."""
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    fill = torch.full_like(low, torch.inf)
    fill[low == high] = 1.0
    fill[high <= 0] = 0.0
    fill[~torch.isfinite(maps).all(dim=2).all(dim=1)] = torch.nan
    return fill


def _normalised(maps: Tensor, how: str) -> Tensor:
    low = maps.amin(dim=(1, 2), keepdim=True)
    high = maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low) if how == "minmax" else (maps / high).clamp(min=0)


def _move(
    boxes: Sequence[np.ndarray], frame: Frame, metric: QGroundCAM, shape: torch.Size
) -> list[np.ndarray]:
    if metric.resolution == "input":
        return [frame.boxes_to_input(box) for box in boxes]
    if metric.resolution == "native":
        return [frame.boxes_to_grid(box, shape[1], shape[2]) for box in boxes]
    return list(boxes)
