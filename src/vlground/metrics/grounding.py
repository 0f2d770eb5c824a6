"""The Q-GroundCAM metric suite (arXiv 2404.19128): how well activation maps lie in boxes.

With the normalised map A, the mask M of the ground truth box and the distance D to the box:

    iou_soft      (ΣA·M + s) / (ΣA + ΣM - ΣA·M + s)               paper, after Monteux (2019)
    dice_soft     (2·ΣA·M + s) / (ΣA + ΣM + s)                    paper, after Monteux (2019)
    wdp_soft      P / (P + ΣA·M),  P = ΣA·D·(1 - M)               reconstructed
    io_ratio      σ(ln(I / O)) = I / (I + O),  I = ΣA·M, O = ΣA·(1 - M)       reconstructed
    *_binary      the same of the map [A >= 0.5]                  paper
    pointing_game whether the maximum of A lies in the box        paper
    pg_uncertainty whether equal top peaks lie in and out of it   paper

All lie in 0..1 for maps in 0..1; lower is better for wdp and pg_uncertainty only. The paper's code
is not public and its equations are only known from pictures, hence "reconstructed".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, hypot, inf, nan
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

from vlground.errors import VlgroundError
from vlground.metrics.activations import Activation, as_array, room
from vlground.metrics.peaks import Peaks, margin, uncertain
from vlground.metrics.regions import Boxes, Region

# Score -> its worst value, which `empty_map=worst` gives to a map that cannot be scored.
_WORST = dict.fromkeys(["pointing_game", "iou_soft", "iou_binary", "dice_soft", "dice_binary"], 0.0)
_WORST |= {"wdp_soft": 1.0, "wdp_binary": 1.0, "io_ratio": 0.0, "pg_uncertainty": 1.0}
_WORST |= {"io_lift": 0.0, "n_peaks": 0.0, "margin": -1.0}
SCORES = (*_WORST, "area")  # the names of all scores


@dataclass(frozen=True)
class QGroundCAM:
    """Every choice that the paper leaves open; the defaults are its reconstruction.

    Attributes:
        normalise: minmax `(A - min) / (max - min)` (reconstructed), max `A / max`, or none (IoU and
            Dice then exceed 1 where A does); the last two with negative values set to 0 (ours).
        threshold: Of the binary map (paper).
        threshold_strict: `>` instead of `>=` (the paper does not say).
        box_merge: Several boxes become one enclosing box (paper, for Flickr30k Entities) or the
            union of all (AMC's "any"). Boxes that hold nothing of the image are left out.
        box_edge: A pixel counts if its centre is in the box, or any of it, or all of it (ours).
        tie: Pointing game of pixels that share the maximum: the fraction inside, which a random
            pick scores on average (paper: "must randomly pick"); 1 if any is inside (Quantus); the
            first in row-major order (AMC); 1 if all are (ours).
        tie_tolerance: From `(1 - tie_tolerance) * max` on pixels and peaks tie (ours; paper: 0).
        peak_threshold: tau; peaks are larger (paper).
        peak_distance: delta; closer peaks are suppressed (paper).
        peak_unit: Of delta: pixels of the map (paper) or its diagonal (ours).
        wdp_distance: To the nearest pixel of the box: manhattan (reconstructed) or another (ours).
        wdp_unit: Pixels (reconstructed) or the map's diagonal, free of the resolution (ours).
        wdp_normalisation: mass `P / (P + ΣA·M)` (reconstructed), area `P / (P + ΣM)` and
            exponential `1 - exp(-P / ΣM)` (as consistent with the paper's table), or mean `P / ΣA`,
            which with euclidean and diagonal is the scale-free reading of others.
        smooth: s of IoU and Dice (paper, after Monteux; his Dice doubles it, ours does not).
        empty_map: A degenerate map scores NaN, or the worst value (ours); flagged either way.
        resize: How the pipeline brings a map to `resolution` (ours, like the next three).
        resize_order: Normalise after resizing, so that the maximum is exactly 1 (gScoreCAM's
            code), or before.
        resize_clip: Whether it clips the result to the range before, as skimage does; makes ties.
        resolution: That of the original image, of the model's input, or of the native grid.
        match_threshold: From this probability on a model says that a text fits (ours), see
            `vlground.metrics.matrix`, like the next one.
        high_io_ratio: From this IO_ratio on a map is well grounded (ours: the paper draws no such
            matrix).

    >>> QGroundCAM(tie="foo")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.tie=foo: expected one of expected, any, first, all
    """

    normalise: Literal["minmax", "max", "none"] = "minmax"
    threshold: float = 0.5
    threshold_strict: bool = False
    box_merge: Literal["merged", "any"] = "merged"
    box_edge: Literal["centre", "outward", "inward"] = "centre"
    tie: Literal["expected", "any", "first", "all"] = "expected"
    tie_tolerance: float = 0.0
    peak_threshold: float = 0.7
    peak_distance: float = 50.0
    peak_unit: Literal["pixels", "diagonal"] = "pixels"
    wdp_distance: Literal["manhattan", "euclidean", "chebyshev"] = "manhattan"
    wdp_unit: Literal["pixels", "diagonal"] = "pixels"
    wdp_normalisation: Literal["mass", "area", "exponential", "mean"] = "mass"
    smooth: float = 0.001
    empty_map: Literal["exclude", "worst"] = "exclude"
    resize: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    resize_order: Literal["resize_first", "normalise_first"] = "resize_first"
    resize_clip: bool = False
    resolution: Literal["original", "input", "native"] = "original"
    match_threshold: float = 0.5
    high_io_ratio: float = 0.5

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if get_origin(kind) is Literal:
                legal, expected = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
            elif kind is bool:
                legal, expected = isinstance(value, bool), "true or false"
            elif name == "smooth" or (name == "peak_distance" and self.peak_unit != "diagonal"):
                legal, expected = number and 0 <= value < inf, "a finite number from 0 on"
            else:  # 50 diagonals would suppress every peak without a word
                legal, expected = number and 0 <= value <= 1, "a number from 0 to 1"
                expected += " with metric.peak_unit=diagonal" * (name == "peak_distance")
            if not legal:
                raise VlgroundError(f"metric.{name}={value}: expected {expected}")


def q_groundcam(
    maps: Tensor,
    boxes: Sequence[Boxes],
    options: QGroundCAM = QGroundCAM(),
    constant: bool = False,
) -> dict[str, np.ndarray]:
    """Score maps against boxes.

    Args:
        maps: `(n, H, W)` raw maps in the resolution of the boxes, on any device.
        boxes: n arrays `(k, 4)` of `x0, y0, x1, y1`, half-open: pixel `j` covers `[j, j + 1)`.
        options: The metric's choices.
        constant: The CAM declares itself constant (uniform baseline): a positive constant map is
            taken as A ≡ 1, with ties by expectation, so that pointing_game = io_ratio = area.

    Returns:
        `(n,)` arrays: the float64 scores of the module's docstring; `area`, the fraction of the map
        in the box; `io_lift = io_ratio / area`, 1 for a uniform map; `n_peaks`, peaks left by NMS;
        `margin`, the best peak inside minus the best outside; `degenerate` bool, whether the map
        cannot be scored; and `flag`, the reason why a row is not scored or "". Of the box: no_box,
        box_outside, box_empty (also NaN or reversed corners, or no pixel of its own); else of the
        map: not_finite, not_positive (maximum <= 0), constant. Flagged rows are NaN throughout.
        Single scores are NaN where undefined: WDP of a binary map without a pixel, pg_uncertainty
        and margin of a map without a peak (a constant one has none).

    >>> import torch
    >>> scores = q_groundcam(torch.tensor([[[4.0, 0.0], [0.0, 1.0]]]), [[[0, 0, 1, 1]]])
    >>> {name: scores[name].item() for name in ("pointing_game", "io_ratio", "area", "flag")}
    {'pointing_game': 1.0, 'io_ratio': 0.8, 'area': 0.25, 'flag': ''}
    """
    if maps.ndim != 3 or len(maps) != len(boxes):
        raise ValueError(f"maps {tuple(maps.shape)} and {len(boxes)} boxes: expected (n, H, W), n")
    arrays = as_array(maps)
    n, height, width = arrays.shape
    result = {name: np.full(n, nan) for name in SCORES}
    degenerate, flag = np.zeros(n, dtype=bool), np.full(n, "", dtype="<U12")
    both = room(arrays)
    for i in range(n):
        activation = Activation.of(arrays[i], both, options.normalise, constant)
        region = Region.of(boxes[i], height, width, options.box_merge, options.box_edge)
        degenerate[i] = isinstance(activation, str)
        flag[i] = next((why for why in (region, activation) if isinstance(why, str)), "")
        for name in SCORES:
            result[name][i] = score(name, activation, region, options)
    return {**result, "degenerate": degenerate, "flag": flag}


def score(
    name: str, activation: Activation | str, region: Region | str, options: QGroundCAM
) -> float:
    """One score of one sample.

    Args:
        name: One of `SCORES`.
        activation: Its map normalised as `options` say, or why there is none.
        region: Its boxes merged as `options` say, or why there is none.
        options: The metric's choices.

    Returns:
        The score; NaN where `q_groundcam` says so.
    """
    if isinstance(region, str):
        return nan
    if isinstance(activation, str):
        return _worst(name, region, options) if options.empty_map == "worst" else nan
    return _FORMULAS[name](activation, region, options)


def _sums(activation: Activation, region: Region, options: QGroundCAM) -> list[list[float]]:
    """ΣA, ΣA·M and ΣA·D of the soft and of the binary map."""
    how = options.wdp_distance, options.threshold, options.threshold_strict
    return activation.sums(region, *how)


def _area(activation: Activation, region: Region, options: QGroundCAM) -> float:
    return region.pixels / region.mask.size


def _io_ratio(activation: Activation, region: Region, options: QGroundCAM) -> float:
    total, inside, _ = _sums(activation, region, options)[0]
    return inside / total  # the soft map's maximum is positive, so is ΣA


def _iou(sums: list[float], region: Region, options: QGroundCAM) -> float:
    (total, inside, _), s = sums, options.smooth
    return (inside + s) / (total + region.pixels - inside + s)


def _dice(sums: list[float], region: Region, options: QGroundCAM) -> float:
    (total, inside, _), s = sums, options.smooth
    return (2 * inside + s) / (total + region.pixels + s)


def _wdp(sums: list[float], region: Region, options: QGroundCAM) -> float:
    """Weighted distance penalty; NaN of a map without any activation, which has no distance."""
    total, inside, penalty = sums
    if total <= 0:
        return nan
    if options.wdp_unit == "diagonal":
        penalty /= hypot(*region.mask.shape)
    if options.wdp_normalisation == "mass":
        return penalty / (penalty + inside)  # D >= 1 px outside, so that not both can be 0
    if options.wdp_normalisation == "area":
        return penalty / (penalty + region.pixels)
    if options.wdp_normalisation == "exponential":
        return -expm1(-penalty / region.pixels)
    return penalty / total


def _pointing_game(activation: Activation, region: Region, options: QGroundCAM) -> float:
    if activation.uniform:
        return _area(activation, region, options)
    tied = region.mask[activation.tied(options.tie_tolerance)]
    if options.tie == "first":
        return float(tied[0])
    return float({"expected": tied.mean, "any": tied.any, "all": tied.all}[options.tie]())


def _peaks(activation: Activation, region: Region, options: QGroundCAM) -> Peaks | None:
    """Peaks; None of a uniform map: one plateau over all of it, so that no place is a peak."""
    if activation.uniform:
        return None
    unit = hypot(*region.mask.shape) if options.peak_unit == "diagonal" else 1.0
    return activation.peaks(options.peak_threshold, options.peak_distance * unit)


def _n_peaks(activation: Activation, region: Region, options: QGroundCAM) -> float:
    peaks = _peaks(activation, region, options)
    return 0.0 if peaks is None else float(len(peaks.values))


def _margin(activation: Activation, region: Region, options: QGroundCAM) -> float:
    peaks = _peaks(activation, region, options)
    if peaks is None or not len(peaks.values):
        return nan
    return margin(peaks.values, region.mask[peaks.rows, peaks.cols])


def _pg_uncertainty(activation: Activation, region: Region, options: QGroundCAM) -> float:
    peaks = _peaks(activation, region, options)
    if peaks is None or not len(peaks.values):
        return nan
    inside = region.mask[peaks.rows, peaks.cols]
    return float(uncertain(peaks.values, inside, options.tie_tolerance))


def _of(which: int, formula: "_OfSums") -> "_Formula":
    """A formula of the sums of the soft (0) or of the binary map (1)."""
    return lambda activation, region, options: formula(
        _sums(activation, region, options)[which], region, options
    )


_OfSums = Callable[[list[float], Region, QGroundCAM], float]
_Formula = Callable[[Activation, Region, QGroundCAM], float]
_FORMULAS: Mapping[str, _Formula] = {
    "pointing_game": _pointing_game,
    "iou_soft": _of(0, _iou),
    "iou_binary": _of(1, _iou),
    "dice_soft": _of(0, _dice),
    "dice_binary": _of(1, _dice),
    "wdp_soft": _of(0, _wdp),
    "wdp_binary": _of(1, _wdp),
    "io_ratio": _io_ratio,
    "pg_uncertainty": _pg_uncertainty,
    "io_lift": lambda *three: _io_ratio(*three) / _area(*three),
    "n_peaks": _n_peaks,
    "margin": _margin,
    "area": _area,
}


def _worst(name: str, region: Region, options: QGroundCAM) -> float:
    """What a degenerate map scores with `empty_map=worst`."""
    if name == "area":
        return region.pixels / region.mask.size
    if name.startswith("wdp") and options.wdp_normalisation == "mean":
        # Not bounded by 1: all activation in the far corner.
        far = float(region.distance(options.wdp_distance).max())
        return _wdp([1.0, 0.0, far], region, options)
    return _WORST[name]
