"""From the queries of a detector to what it says of a phrase."""

import torch
from torch import Tensor

from vlground.contracts import Detection
from vlground.errors import VlgroundError


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
