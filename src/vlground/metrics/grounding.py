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

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, hypot, inf, isfinite, nan
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

from vlground.errors import VlgroundError
from vlground.geometry import box_to_slices, merge_boxes
from vlground.metrics.peaks import argmax_set, find_peaks, margin, uncertain

# Score -> its worst value, which `empty_map=worst` gives to a map that cannot be scored.
_WORST = dict.fromkeys(["pointing_game", "iou_soft", "iou_binary", "dice_soft", "dice_binary"], 0.0)
_WORST |= {"wdp_soft": 1.0, "wdp_binary": 1.0, "io_ratio": 0.0, "pg_uncertainty": 1.0}
_WORST |= {"io_lift": 0.0, "n_peaks": 0.0, "margin": -1.0}
SCORES = (*_WORST, "area")  # the names of all scores
_Boxes: TypeAlias = Tensor | np.ndarray | list[Any]
_Scores: TypeAlias = dict[str, float]
_BETWEEN = {"manhattan": np.add, "euclidean": np.hypot, "chebyshev": np.maximum}


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
    boxes: Sequence[_Boxes],
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
    # Half precision is too coarse for sums; one map at a time stays in the CPU's cache.
    arrays = (maps.detach() if maps.element_size() > 2 else maps.detach().float()).cpu().numpy()
    n, height, width = arrays.shape
    result = {name: np.full(n, nan) for name in SCORES}
    degenerate, flag = np.zeros(n, dtype=bool), np.full(n, "", dtype="<U12")
    both = np.empty((2, height, width), dtype=np.result_type(arrays.dtype, np.float32))
    for i in range(n):
        reason = _normalise(arrays[i], both[0], options, constant)
        region = _Region.of(boxes[i], height, width, options)
        degenerate[i] = reason not in ("", "uniform")
        if isinstance(region, str):
            flag[i] = region
            continue
        if degenerate[i]:
            flag[i] = reason
            scores = _worst(region, options) if options.empty_map == "worst" else {}
        else:
            scores = _score(both, region, options, uniform=reason == "uniform")
        for name, value in scores.items():
            result[name][i] = value
    return {**result, "degenerate": degenerate, "flag": flag}


def _normalise(raw: np.ndarray, out: np.ndarray, options: QGroundCAM, constant: bool) -> str:
    """Write the normalised map into `out`; "" or "uniform", or why the map cannot be scored."""
    low, high = (raw.min(), raw.max()) if raw.size else (nan, nan)
    if not (low > -1e38 and high < 1e38):  # nor NaN; beyond, max - min overflows
        return "not_finite"
    if high <= 0:
        return "not_positive"
    if low == high:
        out.fill(1.0)
        return "uniform" if constant else "constant"
    if options.normalise == "minmax":
        # Dividing, not multiplying by a reciprocal: the maximum is exactly 1.
        np.divide(np.subtract(raw, low, out=out), high - low, out=out)
    else:
        np.maximum(np.divide(raw, high if options.normalise == "max" else 1, out=out), 0, out=out)
    return ""


@dataclass(frozen=True, eq=False)
class _Region:
    """The truth's pixels: rectangles `(y0, x0, y1, x1)`, their union M `(H, W)` bool, and ΣM."""

    rects: list[tuple[int, int, int, int]]
    mask: np.ndarray
    pixels: int

    @classmethod
    def of(cls, boxes: _Boxes, height: int, width: int, options: QGroundCAM) -> "_Region | str":
        """Merge, clip and rasterise boxes, or say why nothing is left of them."""
        array = boxes.detach().cpu() if isinstance(boxes, Tensor) else boxes
        given = np.asarray(array, dtype=np.float64).reshape(-1, 4).tolist()
        extended = [b for b in given if b[0] < b[2] and b[1] < b[3] and all(map(isfinite, b))]
        seen = [b for b in extended if b[2] > 0 and b[3] > 0 and b[0] < width and b[1] < height]
        if not seen:
            return "box_outside" if extended else "box_empty" if given else "no_box"
        if options.box_merge == "merged":
            seen = merge_boxes(seen).tolist()
        rects, mask = [], np.zeros((height, width), dtype=bool)
        for box in seen:
            rows, columns = box_to_slices(box, height, width, options.box_edge)
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


def _gap(first: int, last: int, size: int) -> np.ndarray:
    """`(size,)` steps from each of `0 … size - 1` to the nearest of `first … last - 1`."""
    i = np.arange(size, dtype=np.float64)
    return np.maximum(np.maximum(first - i, i - last + 1), 0)


def _sums(both: np.ndarray, region: _Region, metric: str) -> np.ndarray:
    """`(2, 3)` ΣA, ΣA·M and ΣA·D of the soft and of the binary map `(2, H, W)`."""
    if metric == "manhattan" and len(region.rects) == 1:
        # D = dy + dx: row sums are all it takes, in single precision (BLAS); rows add up in double.
        (y0, x0, y1, x1), (height, width) = region.rects[0], region.mask.shape
        dx, ones = _gap(x0, x1, width).astype(both.dtype), np.ones(width, dtype=both.dtype)
        dy, rows = _gap(y0, y1, height), np.matmul(both, ones).astype(np.float64)
        inside = np.matmul(both[:, y0:y1, x0:x1], ones[x0:x1]).sum(axis=1, dtype=np.float64)
        sideways = np.matmul(both, dx).sum(axis=1, dtype=np.float64)
        sums = np.stack([rows.sum(axis=1), inside, rows @ dy + sideways], axis=1)
    else:
        weights = np.stack([np.ones(region.mask.shape), region.mask, region.distance(metric)])
        sums = np.matmul(both.reshape(2, -1).astype(np.float64), weights.reshape(3, -1).T)
    sums[:, 1] = np.minimum(sums[:, 1], sums[:, 0])  # rounding must not put more inside than exists
    return sums


def _score(both: np.ndarray, region: _Region, options: QGroundCAM, uniform: bool) -> _Scores:
    """All scores of the normalised map `both[0]`; `both[1]` is room for the binary one."""
    soft, threshold = both[0], options.threshold
    np.copyto(both[1], soft > threshold if options.threshold_strict else soft >= threshold)
    sums = _sums(both, region, options.wdp_distance).tolist()
    pixels, s = region.pixels, options.smooth
    scores = {"area": pixels / region.mask.size}
    for kind, (total, inside, penalty) in zip(("soft", "binary"), sums, strict=True):
        scores[f"iou_{kind}"] = (inside + s) / (total + pixels - inside + s)
        scores[f"dice_{kind}"] = (2 * inside + s) / (total + pixels + s)
        scores[f"wdp_{kind}"] = _wdp([total, inside, penalty], region, options)
    scores["io_ratio"] = sums[0][1] / sums[0][0]  # the soft map's maximum is positive, so is ΣA
    scores["io_lift"] = scores["io_ratio"] / scores["area"]
    if uniform:  # one plateau over all of the map: no place of it is a peak
        return {**scores, "pointing_game": scores["area"], "n_peaks": 0.0}
    return {**scores, **_maxima(soft, region, options)}


def _wdp(sums: list[float], region: _Region, options: QGroundCAM) -> float:
    """Weighted distance penalty; NaN of a map without any activation, which has no distance."""
    total, inside, penalty = sums
    if total <= 0:
        return nan
    if options.wdp_unit == "diagonal":
        penalty /= hypot(*region.mask.shape)
    return {
        "mass": penalty / (penalty + inside),  # D >= 1 px outside, so that not both can be 0
        "area": penalty / (penalty + region.pixels),
        "exponential": -expm1(-penalty / region.pixels),
        "mean": penalty / total,
    }[options.wdp_normalisation]


def _maxima(values: np.ndarray, region: _Region, options: QGroundCAM) -> _Scores:
    """Pointing game and what depends on peaks."""
    tied = region.mask[argmax_set(values, options.tie_tolerance)]
    game = {"expected": tied.mean(), "any": tied.any(), "first": tied[0], "all": tied.all()}
    unit = hypot(*values.shape) if options.peak_unit == "diagonal" else 1.0
    peaks = find_peaks(values, options.peak_threshold, options.peak_distance * unit)
    scores = {"pointing_game": float(game[options.tie]), "n_peaks": float(len(peaks.values))}
    if len(peaks.values):
        inside = region.mask[peaks.rows, peaks.cols]
        scores["margin"] = margin(peaks.values, inside)
        scores["pg_uncertainty"] = float(uncertain(peaks.values, inside, options.tie_tolerance))
    return scores


def _worst(region: _Region, options: QGroundCAM) -> _Scores:
    """What a degenerate map scores with `empty_map=worst`."""
    scores = {**_WORST, "area": region.pixels / region.mask.size}
    if options.wdp_normalisation == "mean":  # not bounded by 1: all activation in the far corner
        far = float(region.distance(options.wdp_distance).max())
        scores["wdp_soft"] = scores["wdp_binary"] = _wdp([1.0, 0.0, far], region, options)
    return scores
