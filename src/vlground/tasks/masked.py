"""Scores of M, how much of each pixel a mask shows, in the place of the map that it is made of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import Mask
from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.masks.relevance import maskable
from vlground.metrics.grounding import QGroundCAM, q_groundcam


def shown(mask: Mask, grid: Tensor, frame: Frame, sample: Sample) -> tuple[Tensor | None, str]:
    """M, or why there is none.

    A map that is the same everywhere has no M, although the CAM may declare it: nothing in it can
    be shown more than the rest. An M that is the same everywhere shows either all of the image (1),
    as `mask=full` does, or nothing in particular.

    Args:
        mask: Makes M.
        grid: `(gh, gw)` raw map.
        frame: Where it lies in the image.
        sample: Of the map.

    Returns:
        `(height, width)` float32 in 0-1, or None; and the reason (not_finite, not_positive,
        constant), "" if there is M. The reasons are the flags of `q_groundcam`.
    """
    reason = maskable(grid)
    if reason:
        return None, reason
    weights = mask.weights(grid, frame, sample)
    low, high = (float(end) for end in torch.aminmax(weights))
    if low == high and low != 1:
        return None, "constant" if high > 0 else "not_positive"
    return weights, ""


def score_shown(
    maps: Tensor, frame: Frame, samples: Sequence[Sample], metric: QGroundCAM, mask: Mask
) -> dict[str, np.ndarray]:
    """Score M of native maps of images of one size, as A would be scored (ours).

    M is scored as it is, in 0-1 on the original image: `metric.normalise` and the options of
    resizing say nothing here, the mask has its own. Where M is 1 everywhere it is scored like the
    map of the uniform baseline.

    Args:
        maps: `(n, gh, gw)` raw maps.
        frame: Of all n images.
        samples: n samples.
        metric: Options of the suite.
        mask: Makes M.

    Returns:
        `(n,)` columns, see `q_groundcam`.
    """
    found = [shown(mask, grid, frame, sample) for grid, sample in zip(maps, samples, strict=True)]
    nothing = torch.full((frame.height, frame.width), torch.nan)
    weights = torch.stack([nothing if m is None else m for m, _ in found])
    options = replace(metric, normalise="none", resolution="original")
    columns = q_groundcam(weights, [sample.boxes for sample in samples], options, constant=True)
    # What has no M went in as NaN; a flag of the box stands before one of the map.
    reasons = np.array([reason for _, reason in found], dtype=columns["flag"].dtype)
    absent = (columns["flag"] == "not_finite") & (reasons != "")
    return {**columns, "flag": np.where(absent, reasons, columns["flag"])}
