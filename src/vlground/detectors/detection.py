"""`Detection`, what a detector says of one phrase in one image."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vlground.errors import VlgroundError


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.float32)


def _no_scores() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Detection:
    """How sure a detector is that a phrase is in an image, and where.

    Attributes:
        probability: In 0-1; NaN where the detector cannot tell, which is neither yes nor no.
        boxes: `(k, 4)` float32, `x0, y0, x1, y1` in pixels of the original image, half-open, the
            likeliest first.
        scores: `(k,)` float32 in 0-1, of the boxes.
    """

    probability: float
    boxes: np.ndarray = field(default_factory=_no_boxes)
    scores: np.ndarray = field(default_factory=_no_scores)


def from_queries(
    scores: Tensor, boxes: Tensor, side: tuple[float, float], size: tuple[int, int], cut: float
) -> Detection:
    """What a detector with queries says of one phrase.

    Args:
        scores: `(queries,)` in 0-1.
        boxes: `(queries, 4)` centre x, centre y, width, height, in parts of `side`.
        side: Width and height in original pixels of what the detector saw, padding included.
        size: Width and height of the original image.
        cut: Boxes with a larger score are kept.
    """
    best = float(scores.max())
    order = scores.argsort(descending=True)
    order = order[scores[order] > cut]
    centre, extent = boxes[order, :2], boxes[order, 2:]
    corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=1)
    corners = corners * torch.tensor([*side, *side]).to(corners)
    width, height = size
    corners[:, 0::2] = corners[:, 0::2].clamp(0, width)
    corners[:, 1::2] = corners[:, 1::2].clamp(0, height)
    return Detection(best, corners.float().cpu().numpy(), scores[order].float().cpu().numpy())


def check_threshold(threshold: float) -> None:
    """Refuse a threshold outside 0-1.

    Raises:
        VlgroundError: In one line.
    """
    if not 0 <= threshold <= 1:
        raise VlgroundError(f"detector.threshold={threshold}: expected 0 to 1")
