"""From stored evidence to scores: maps by the suite, decisions by the matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.labels import TEXTS
from vlground.metrics.grounding import SCORES, QGroundCAM, q_groundcam
from vlground.metrics.matrix import cells, rightness
from vlground.store import Evidence

# Of `rows.parquet`: what the sample is, its scores, and what stood in their way.
Columns = dict[str, np.ndarray]
IDENTITY = ("id", "image_id", "text", "foil")
MATCHES = ("match", "foil_match")
CUT = ("truncated", "foil_truncated")
_WORDS = ("cell", "foil_cell", *CUT, "flag", "skipped")
COLUMNS = [*IDENTITY, *SCORES, *MATCHES, "degenerate", *_WORDS]


def columns_of(samples: Sequence[Sample], given: Mapping[str, Any]) -> Columns:
    """`COLUMNS` of some samples; arrays, because a thousand small tables take much memory.

    Args:
        samples: Of the rows.
        given: The columns that are known; what is not given is undefined.
    """
    n = len(samples)
    columns: dict[str, Any] = dict.fromkeys((*SCORES, *MATCHES), np.full(n, np.nan))
    columns |= dict.fromkeys(_WORDS, [None] * n) | {"degenerate": np.zeros(n, dtype=bool)}
    columns |= {name: [getattr(s, name) for s in samples] for name in IDENTITY}
    columns |= given
    words = (*IDENTITY, *_WORDS)
    return columns | {name: np.array(columns[name], dtype=object) for name in words}


def score_evidence(group: Sequence[tuple[Sample, Evidence]], metric: QGroundCAM) -> Columns:
    """Rows of samples whose maps and images have the same size.

    Args:
        group: Samples with their evidence, none of them skipped.
        metric: Options of the suite.
    """
    first: Mapping[str, Any] = group[0][1]
    maps = torch.stack([torch.from_numpy(evidence["map"].copy()) for _, evidence in group])  # type: ignore
    boxes = [sample.boxes for sample, _ in group]
    columns = score_maps(maps, Frame.from_list(first["frame"]), boxes, metric, first["constant"])
    given: dict[str, Any] = {name: [evidence.get(name) for _, evidence in group] for name in CUT}
    for name in MATCHES:
        given[name] = np.array([evidence.get(name, np.nan) for _, evidence in group])
    io_ratio = np.where(columns["flag"] == "", columns["io_ratio"], np.nan)
    given |= decisions(given, io_ratio, metric)
    return columns_of([sample for sample, _ in group], columns | given)


def score_maps(
    maps: Tensor,
    frame: Frame,
    boxes: Sequence[np.ndarray],
    metric: QGroundCAM,
    constant: bool = False,
) -> dict[str, np.ndarray]:
    """Score native maps of images of one size.

    Whether a map is degenerate is judged on its native grid: interpolation makes a constant map
    constant but for rounding, and min-max normalisation would blow that up into a picture.

    Args:
        maps: `(n, gh, gw)` raw maps.
        frame: Of all n images.
        boxes: n arrays `(k, 4)` in pixels of the original image.
        metric: Options of the suite, those of resizing among them.
        constant: Whether the CAM declares itself constant.

    Returns:
        `(n,)` columns, see `q_groundcam`.
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
    return q_groundcam(pixels, _move(boxes, frame, metric, maps.shape), options, constant)


def decisions(
    match: Mapping[str, np.ndarray], io_ratio: np.ndarray, metric: QGroundCAM
) -> dict[str, np.ndarray]:
    """The cells of the matrix that samples are in, by the metric's two thresholds.

    Args:
        match: Column of `TEXTS` -> `(n,)` probabilities, NaN where there is none.
        io_ratio: `(n,)`, NaN where the map is not scored.
        metric: Its thresholds.

    Returns:
        Column of `TEXTS` -> `(n,)` names of cells, or None.
    """
    found = {}
    for text, (chance, cell) in TEXTS.items():
        right = rightness(match[chance], text == "matched", metric.match_threshold)
        found[cell] = cells(right, io_ratio, metric.high_io_ratio)
    return found


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
