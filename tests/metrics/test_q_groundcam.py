import math
from dataclasses import fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.morphology import local_maxima as skimage_local_maxima

from vlground.errors import VlgroundError
from vlground.metrics import QGroundCAM, q_groundcam
from vlground.metrics.peaks import find_peaks, local_maxima

SCORES = [
    "pointing_game",
    "iou_soft",
    "iou_binary",
    "dice_soft",
    "dice_binary",
    "wdp_soft",
    "wdp_binary",
    "io_ratio",
    "pg_uncertainty",
    "area",
    "io_lift",
    "n_peaks",
    "margin",
]
DEFAULT = QGroundCAM()
# Peaks 50 px apart do not fit on the maps of these tests.
NEAR = QGroundCAM(peak_distance=3)


def choices():
    """(option, value) of every value of every option with a fixed set of values."""
    for name, kind in get_type_hints(QGroundCAM).items():
        values = get_args(kind) if get_origin(kind) is Literal else (False, True)
        if get_origin(kind) is Literal or kind is bool:
            yield from ((name, value) for value in values)


def one(values, boxes, options=NEAR, constant=False):
    result = q_groundcam(torch.as_tensor(values)[None], [boxes], options, constant)
    return {name: array[0] for name, array in result.items()}


def assert_equal(ours, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


def blobs(seed, shape=(24, 20)):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@st.composite
def cases(draw):
    """Small maps: levels of 0.1 have ties, plateaus and values on the thresholds."""
    height, width = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["levels", "binary", "noise", "blocks", "signed"]))
    if kind == "levels":
        values = rng.integers(0, 11, (height, width)) / 10
    elif kind == "binary":
        values = (rng.random((height, width)) > 0.6).astype(float)
    elif kind == "blocks":
        values = np.kron(rng.integers(0, 5, (height, width)) / 4, np.ones((2, 2)))
    else:
        values = rng.random((height, width)) - (0.4 if kind == "signed" else 0)
    # Both corners and the centre in use, whatever is drawn: never constant, never all negative.
    values[0, 0], values[-1, -1] = values.min() - 0.1 * (kind == "signed"), 1
    height, width = values.shape
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        # Quarters: edges on pixels, on their centres, and between.
        x0 = draw(st.integers(-8, 4 * width - 9)) / 4
        y0 = draw(st.integers(-8, 4 * height - 9)) / 4
        size = draw(st.tuples(st.integers(8, 40), st.integers(8, 40)))
        boxes.append([x0, y0, x0 + size[0] / 4, y0 + size[1] / 4])
    return values.astype(np.float32), boxes


@st.composite
def any_options(draw):
    values = {}
    for name, kind in get_type_hints(QGroundCAM).items():
        if get_origin(kind) is Literal:
            values[name] = draw(st.sampled_from(get_args(kind)))
    values["threshold_strict"] = draw(st.booleans())
    values["threshold"] = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    values["tie_tolerance"] = draw(st.sampled_from([0.0, 0.04, 0.25]))
    values["peak_threshold"] = draw(st.sampled_from([0.0, 0.45, 0.7]))
    values["smooth"] = draw(st.sampled_from([0.0, 0.001, 1.0]))
    far = [0.0, 0.13, 0.4] if values["peak_unit"] == "diagonal" else [0, 1, 2, 3.5, 5]
    values["peak_distance"] = draw(st.sampled_from(far))
    return QGroundCAM(**values)


@settings(max_examples=300, deadline=None)
@given(cases(), any_options())
def test_equals_the_literal_formulas_for_any_options(case, options):
    values, boxes = case
    # In double precision both sides round alike, so that levels on a threshold stay there.
    ours = one(values.astype(float), boxes, options)
    if ours["flag"]:  # a box beside the map, or an inward one between pixels
        assert not any(map(any, reference.mask(boxes, *values.shape, options)))
        return
    assert_equal(ours, reference.scores(values.astype(float).tolist(), boxes, options))


@pytest.mark.parametrize(("name", "value"), list(choices()))
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_literal_formulas_for_each_choice(name, value, seed):
    changed = {"peak_unit": {"peak_distance": 0.1}}.get(name, {}) if value == "diagonal" else {}
    options = replace(NEAR, **{name: value}, **changed)
    values = np.round(blobs(seed), 1) if seed else blobs(seed)
    boxes = [[2.3, 3.5, 9.5, 11.2], [7.7, 8.1, 15.9, 21.0]]
    expected = reference.scores(values.astype(float).tolist(), boxes, options)
    ours = one(values, boxes, options)
    assert set(expected) == set(SCORES)
    assert_equal(ours, expected)


@settings(max_examples=100, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.45, 0.7]), st.sampled_from([0, 1, 2.5, 4]))
def test_peaks_equal_literal_and_skimage(case, threshold, distance):
    values = case[0]
    peaks = find_peaks(values, threshold, distance)
    found = list(zip(peaks.values.tolist(), peaks.rows, peaks.cols, strict=True))
    # float32 against the same rounded threshold
    expected = reference.peaks(values.tolist(), float(np.float32(threshold)), distance)
    assert found == expected
    # skimage calls plateaus that touch the edge maxima too, and labels whole plateaus
    labels, _ = ndimage.label(skimage_local_maxima(values), structure=np.ones((3, 3)))
    theirs = np.unique(labels[(labels > 0) & (values > np.float32(threshold))])
    rows, cols = local_maxima(values, threshold)
    assert sorted(labels[rows, cols]) == sorted(theirs)


def test_peaks_equal_peak_local_max_on_smooth_noise():
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 60)), 2)
    values = (values - values.min()) / np.ptp(values)
    maxima = peak_local_max(values, min_distance=1, threshold_abs=0.5, exclude_border=False)
    rows, cols = local_maxima(values, 0.5)
    assert len(rows) > 5
    assert sorted(zip(rows, cols, strict=True)) == sorted(map(tuple, maxima))


@pytest.mark.parametrize(("metric", "cdt"), [("manhattan", "taxicab"), ("chebyshev", "chessboard")])
@pytest.mark.parametrize("merge", ["merged", "any"])
def test_distance_equals_scipy_cdt(metric, cdt, merge):
    values, boxes = blobs(3), [[3, 2, 8, 6], [12, 15, 17, 20]]
    options = replace(NEAR, wdp_distance=metric, box_merge=merge, normalise="none")
    mask = np.array(reference.mask(boxes, *values.shape, options), dtype=bool)
    penalty = (values * ndimage.distance_transform_cdt(~mask, cdt)).sum()
    expected = penalty / (penalty + values[mask].sum())
    assert one(values, boxes, options)["wdp_soft"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("merge", ["merged", "any"])
def test_distance_equals_scipy_edt(merge):
    values, boxes = blobs(3), [[3, 2, 8, 6], [12, 15, 17, 20]]
    options = replace(NEAR, wdp_distance="euclidean", box_merge=merge, normalise="none")
    mask = np.array(reference.mask(boxes, *values.shape, options), dtype=bool)
    penalty = (values * ndimage.distance_transform_edt(~mask)).sum()
    expected = penalty / (penalty + values[mask].sum())
    assert one(values, boxes, options)["wdp_soft"] == pytest.approx(expected, rel=1e-5)


def test_by_hand():
    values = torch.tensor([[1.0, 0.0, 0.0, 0.5]])
    scores = one(values, [[0, 0, 2, 1]], QGroundCAM(smooth=0))
    # A·M = 1, A = 1.5, M = 2, P = 0.5 · 2
    assert scores["iou_soft"] == pytest.approx(1 / 2.5)
    assert scores["dice_soft"] == pytest.approx(2 / 3.5)
    assert scores["wdp_soft"] == pytest.approx(1 / 2)
    assert scores["wdp_binary"] == pytest.approx(2 / 3)
    assert scores["io_ratio"] == pytest.approx(2 / 3)
    assert scores["io_lift"] == pytest.approx(4 / 3)
    assert scores["area"] == 0.5
    assert (scores["pointing_game"], scores["pg_uncertainty"], scores["n_peaks"]) == (1, 0, 1)


def figure_1(values=(1.0, 1.0, 1.0)):
    """Three peaks 60 px or more apart: inside, outside, and on the border of BOX."""
    ys, xs = np.mgrid[:200, :200]
    peaks = [(100, 60), (100, 180), (30, 99)]
    maps = [v * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 50) for v, (y, x) in zip(values, peaks)]  # noqa: B905
    return np.max(maps, axis=0)


BOX = [[20, 20, 100, 150]]  # the third peak is its last column


class TestUncertainty:
    def test_three_equal_peaks_in_out_and_on_the_border(self):
        scores = one(figure_1(), BOX, DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"], scores["margin"]) == (3, 1, 0)
        assert scores["pointing_game"] == pytest.approx(2 / 3)  # the border pixel is inside
        ties = {t: one(figure_1(), BOX, QGroundCAM(tie=t))["pointing_game"] for t in
                ("any", "all", "first")}  # fmt: skip
        assert ties == {"any": 1, "all": 0, "first": 1}

    def test_equal_peaks_all_inside_are_certain(self):
        scores = one(figure_1((1, 0, 1)), BOX, DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"], scores["margin"]) == (2, 0, 1)

    def test_equal_peaks_all_outside_are_certain(self):
        scores = one(figure_1((0.8, 1, 0)), BOX, DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"]) == (2, 0)
        assert scores["margin"] == pytest.approx(-0.2, abs=1e-6)

    def test_nearly_equal_peaks_need_the_tolerance(self):
        values = figure_1((1, 0.98, 0))
        assert one(values, BOX, DEFAULT)["pg_uncertainty"] == 0
        assert one(values, BOX, QGroundCAM(tie_tolerance=0.01))["pg_uncertainty"] == 0
        tolerant = one(values, BOX, QGroundCAM(tie_tolerance=0.03))
        assert tolerant["pg_uncertainty"] == 1
        assert 0 < tolerant["pointing_game"] < 1

    def test_lower_peaks_do_not_count(self):
        values = figure_1((1, 0.9, 0.9))
        scores = one(values, BOX, DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"]) == (3, 0)

    def test_peaks_within_delta_are_one(self):
        values = np.zeros((1, 110), dtype=np.float32)
        values[0, [0, 50, 101]] = 1, 1, 0.9
        scores = one(values, [[0, 0, 20, 1]], DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"]) == (2, 0)  # 50 px is within
        values[0, [50, 51]] = 0, 1
        scores = one(values, [[0, 0, 20, 1]], DEFAULT)
        assert (scores["n_peaks"], scores["pg_uncertainty"]) == (2, 1)  # 51 px is not

    def test_a_plateau_is_one_peak_and_a_shoulder_none(self):
        values = np.zeros((7, 9), dtype=np.float32)
        values[1:4, 1:4] = 1  # plateau: its centre
        values[5, 5:8], values[5, 8] = 0.8, 0.9  # shoulder of a peak
        peaks = find_peaks(values, 0.7, 0)
        assert list(zip(peaks.rows, peaks.cols, strict=True)) == [(2, 2), (5, 8)]

    def test_a_ring_is_one_peak_on_the_ring(self):
        values = np.zeros((5, 5), dtype=np.float32)
        values[1:4, 1:4] = 1
        values[2, 2] = 0.5
        peaks = find_peaks(values, 0.7, 0)
        assert list(zip(peaks.rows, peaks.cols, strict=True)) == [(1, 2)]

    @pytest.mark.parametrize("size", [21, 61])  # few and many pixels are labelled differently
    def test_a_winding_plateau_is_one_peak(self, size):
        values = np.zeros((size, size), dtype=np.float32)
        values[::2] = 1
        values[1::4, -1] = values[3::4, 0] = 1
        assert len(find_peaks(values, 0.7, 0).values) == 1

    def test_many_plateaus_equal_the_literal_version(self):
        grid = np.random.default_rng(0).integers(0, 5, (16, 16)) / 4
        values = np.kron(grid, np.ones((4, 4)))
        peaks = find_peaks(values, 0.3, 6)
        found = list(zip(peaks.values.tolist(), peaks.rows, peaks.cols, strict=True))
        assert len(found) > 10
        assert found == reference.peaks(values.tolist(), 0.3, 6)

    def test_no_peak_above_the_threshold_leaves_it_undefined(self):
        scores = one(0.5 * figure_1(), BOX, QGroundCAM(normalise="none"))
        assert (scores["n_peaks"], scores["flag"]) == (0, "")
        assert np.isnan([scores["pg_uncertainty"], scores["margin"]]).all()
        assert scores["pointing_game"] == pytest.approx(2 / 3)


INSIDE = [[2, 2, 9, 9]]
PEAK = np.where(np.arange(144).reshape(12, 12) == 30, 3.0, blobs(0, (12, 12)))


class TestDegenerateMap:
    @pytest.mark.parametrize(
        ("values", "flag"),
        [
            (np.full((12, 12), 0.3), "constant"),
            (np.zeros((12, 12)), "not_positive"),
            (-blobs(0, (12, 12)), "not_positive"),
            (np.where(PEAK == 3, np.nan, PEAK), "not_finite"),
            (np.where(PEAK == 3, np.inf, PEAK), "not_finite"),
            (np.where(PEAK == 3, -np.inf, PEAK), "not_finite"),
            (np.full((12, 12), np.nan), "not_finite"),
            (np.where(PEAK == 3, 3.4e38, -3.4e38).astype(np.float32), "not_finite"),
        ],
        ids=["constant", "zero", "negative", "nan", "inf", "minus_inf", "all_nan", "overflow"],
    )
    def test_is_flagged_and_never_scored(self, values, flag):
        scores = one(values, INSIDE)
        assert (scores["flag"], scores["degenerate"]) == (flag, True)
        assert np.isnan([scores[name] for name in SCORES]).all()

    def test_scores_worst_on_request(self):
        scores = one(np.zeros((12, 12)), INSIDE, QGroundCAM(empty_map="worst"))
        assert (scores["flag"], scores["degenerate"]) == ("not_positive", True)
        assert [scores[n] for n in ("pointing_game", "io_ratio", "iou_soft", "dice_binary")] == [
            0
        ] * 4
        assert [scores[n] for n in ("wdp_soft", "wdp_binary", "pg_uncertainty")] == [1] * 3
        assert scores["area"] == 49 / 144

    def test_worst_mean_distance_is_the_farthest_pixel(self):
        options = QGroundCAM(empty_map="worst", wdp_normalisation="mean")
        assert one(np.zeros((12, 12)), INSIDE, options)["wdp_soft"] == 6  # (11, 11) to (8, 8)

    def test_does_not_touch_its_batch_mates(self):
        maps = torch.stack([torch.as_tensor(PEAK), torch.full((12, 12), math.nan)]).float()
        scores = q_groundcam(maps, [INSIDE, INSIDE], NEAR)
        assert scores["flag"].tolist() == ["", "not_finite"]
        assert scores["io_ratio"][0] == one(maps[0], INSIDE)["io_ratio"]


class TestDegenerateBox:
    @pytest.mark.parametrize(
        ("boxes", "flag"),
        [
            ([], "no_box"),
            (np.zeros((0, 4)), "no_box"),
            ([[12, 0, 15, 4]], "box_outside"),
            ([[-4, 0, 0, 4]], "box_outside"),
            ([[3, 3, 3, 6]], "box_empty"),
            ([[6, 3, 3, 6]], "box_empty"),
            ([[math.nan, 3, 3, 6]], "box_empty"),
            ([[0, 0, math.inf, 6]], "box_empty"),
            ([[3.6, 3, 4.4, 6]], "box_empty"),
        ],
        ids=["none", "array", "right", "left", "thin", "reversed", "nan", "inf", "between_centres"],
    )
    @pytest.mark.parametrize("empty_map", ["exclude", "worst"])
    def test_is_flagged_and_never_scored(self, boxes, flag, empty_map):
        scores = one(PEAK, boxes, QGroundCAM(empty_map=empty_map))
        assert (scores["flag"], scores["degenerate"]) == (flag, False)
        assert np.isnan([scores[name] for name in SCORES]).all()

    def test_hides_no_degenerate_map(self):
        scores = one(np.zeros((12, 12)), [], QGroundCAM(empty_map="worst"))
        assert (scores["flag"], scores["degenerate"]) == ("no_box", True)
        assert np.isnan([scores[name] for name in SCORES]).all()

    @pytest.mark.parametrize("merge", ["merged", "any"])
    def test_is_left_out_beside_a_good_one(self, merge):
        options = replace(NEAR, box_merge=merge)
        spoilt = [*INSIDE, [20, 20, 30, 30], [5, 5, 5, 5], [math.nan, 0, 9, 9]]
        assert one(PEAK, spoilt, options) == one(PEAK, INSIDE, options)

    def test_partly_outside_is_clipped(self):
        assert one(PEAK, [[-5, -3.2, 4, 5]]) == one(PEAK, [[0, 0, 4, 5]])
        assert one(PEAK, [[6, 7, 1e30, 13]]) == one(PEAK, [[6, 7, 12, 12]])

    def test_full_image(self):
        scores = one(PEAK, [[0, 0, 12, 12]])
        assert scores["area"] == scores["pointing_game"] == 1
        assert scores["io_ratio"] == pytest.approx(1)
        assert scores["wdp_soft"] == scores["wdp_binary"] == 0

    @pytest.mark.parametrize(
        ("edge", "pixels"), [("centre", (2, 5)), ("outward", (1, 5)), ("inward", (2, 4))]
    )
    def test_edges_become_pixels(self, edge, pixels):
        values = torch.eye(8)
        scores = one(values, [[1.6, 1.6, 4.9, 4.9]], replace(NEAR, box_edge=edge))
        first, last = pixels
        assert scores["area"] * 64 == (last - first) ** 2

    def test_several_boxes_any_or_merged(self):
        values = np.zeros((10, 10), dtype=np.float32)
        values[5, 5] = 1  # between the boxes
        boxes = [[0, 0, 3, 3], [7, 7, 10, 10]]
        merged = one(values, boxes, replace(NEAR, box_merge="merged"))
        union = one(values, boxes, replace(NEAR, box_merge="any"))
        assert (merged["area"], merged["pointing_game"], merged["wdp_soft"]) == (1, 1, 0)
        assert (union["area"], union["pointing_game"], union["wdp_soft"]) == (0.18, 0, 1)
        mean = replace(NEAR, box_merge="any", wdp_normalisation="mean")
        assert one(values, boxes, mean)["wdp_soft"] == 4  # to (7, 7), the nearer one

    def test_overlapping_boxes_count_once(self):
        options = replace(NEAR, box_merge="any")
        assert one(PEAK, INSIDE * 2, options)["area"] == one(PEAK, INSIDE, options)["area"]


class TestEdgeCases:
    def test_single_bright_pixel(self):
        values = np.zeros((9, 9))
        values[4, 4] = 7
        hit, miss = one(values, [[4, 4, 5, 5]]), one(values, [[0, 0, 2, 2]])
        perfect = [
            "pointing_game",
            "iou_soft",
            "dice_soft",
            "iou_binary",
            "dice_binary",
            "io_ratio",
        ]
        assert [hit[name] for name in perfect] == [1.0] * 6
        assert hit["wdp_soft"] == hit["wdp_binary"] == 0
        assert (miss["pointing_game"], miss["io_ratio"], miss["wdp_soft"]) == (0, 0, 1)

    def test_map_of_one_pixel_is_constant(self):
        assert one([[1.0]], [[0, 0, 1, 1]])["flag"] == "constant"
        assert one([[1.0]], [[0, 0, 1, 1]], constant=True)["pointing_game"] == 1

    def test_tied_pixels(self):
        values = np.zeros((6, 6))
        values[0, :4] = 1
        games = {t: one(values, [[0, 0, 1, 6]], replace(NEAR, tie=t))["pointing_game"]
                 for t in ("expected", "any", "first", "all")}  # fmt: skip
        assert games == {"expected": 0.25, "any": 1, "first": 1, "all": 0}

    def test_binary_map_without_a_pixel(self):
        scores = one(0.1 * PEAK, INSIDE, QGroundCAM(normalise="none"))
        assert scores["flag"] == ""
        assert np.isnan(scores["wdp_binary"])
        assert scores["iou_binary"] == pytest.approx(0.001 / 49.001)  # a measured miss
        assert scores["wdp_soft"] > 0

    @pytest.mark.parametrize("normalisation", ["mass", "area", "exponential", "mean"])
    def test_wdp_of_no_activation_is_never_perfect(self, normalisation):
        options = QGroundCAM(normalise="none", wdp_normalisation=normalisation)
        assert np.isnan(one(0.1 * PEAK, INSIDE, options)["wdp_binary"])

    def test_binary_map_strictness(self):
        values = np.array([[0.0, 0.5, 1.0]])
        loose = one(values, [[1, 0, 2, 1]], QGroundCAM(smooth=0))
        strict = one(values, [[1, 0, 2, 1]], QGroundCAM(smooth=0, threshold_strict=True))
        assert (loose["iou_binary"], strict["iou_binary"]) == (0.5, 0)

    @pytest.mark.parametrize("normalise", ["max", "none"])
    def test_negative_values_count_as_zero(self, normalise):
        values = torch.tensor([[1.0, -1.0, 0.5]])
        options = QGroundCAM(normalise=normalise)
        assert one(values, [[0, 0, 1, 1]], options) == one(
            values.clamp(min=0), [[0, 0, 1, 1]], options
        )

    def test_empty_batch(self):
        scores = q_groundcam(torch.zeros(0, 4, 4), [])
        assert set(scores) == {*SCORES, "degenerate", "flag"}
        assert all(len(array) == 0 for array in scores.values())

    def test_lengths_must_agree(self):
        with pytest.raises(ValueError, match="1 boxes"):
            q_groundcam(torch.zeros(2, 4, 4), [INSIDE])


class TestUniformBaseline:
    @pytest.mark.parametrize("tie", ["expected", "any", "first", "all"])
    @pytest.mark.parametrize("normalise", ["minmax", "max", "none"])
    def test_scores_the_area(self, tie, normalise):
        options = QGroundCAM(tie=tie, normalise=normalise)
        scores = one(torch.full((8, 10), 0.25), [[1, 1, 5, 3]], options, constant=True)
        assert (scores["flag"], scores["degenerate"]) == ("", False)
        assert scores["area"] == scores["pointing_game"] == scores["io_ratio"] == 0.1
        assert scores["io_lift"] == 1
        assert scores["iou_soft"] == pytest.approx(0.1, rel=1e-3)
        assert scores["n_peaks"] == 0
        assert np.isnan([scores["pg_uncertainty"], scores["margin"]]).all()

    def test_zero_map_stays_degenerate(self):
        assert one(torch.zeros(8, 8), INSIDE, constant=True)["flag"] == "not_positive"

    def test_does_not_change_maps_that_are_not_constant(self):
        assert one(PEAK, INSIDE, constant=True) == one(PEAK, INSIDE)


class TestInvariance:
    @pytest.mark.parametrize("options", [NEAR, replace(NEAR, wdp_distance="euclidean")])
    def test_batch_equals_single_calls(self, options):
        maps = torch.from_numpy(np.stack([np.round(blobs(s), 1 + s % 3) for s in range(6)]))
        boxes = [np.array([[s, 1.5, 9.25 + s, 14]]) for s in range(6)]
        batch = q_groundcam(maps, boxes, options)
        for i in range(6):
            single = q_groundcam(maps[i : i + 1], boxes[i : i + 1], options)
            for name in batch:
                np.testing.assert_array_equal(batch[name][i], single[name][0])

    @pytest.mark.parametrize("normalise", ["minmax", "max"])
    @pytest.mark.parametrize("factor", [3, 1e-6, 1e6])
    def test_scale(self, normalise, factor):
        options = replace(NEAR, normalise=normalise)
        values = blobs(5).astype(float)
        assert_equal(one(values * factor, INSIDE, options),
                     {n: one(values, INSIDE, options)[n] for n in SCORES})  # fmt: skip

    def test_offset_of_minmax(self):
        values = np.round(blobs(5).astype(float), 2)
        assert_equal(one(values + 8, INSIDE), {n: one(values, INSIDE)[n] for n in SCORES})

    def test_diagonal_units_do_not_depend_on_the_resolution(self):
        values, box = blobs(6, (12, 12)), np.array([[2, 3, 7, 8]])
        options = QGroundCAM(wdp_unit="diagonal", wdp_distance="euclidean",
                             wdp_normalisation="mean")  # fmt: skip
        maps = {k: np.kron(values, np.ones((k, k))) for k in (8, 16)}
        scores = {k: one(maps[k], k * box, options)["wdp_soft"] for k in maps}
        assert scores[16] == pytest.approx(scores[8], rel=0.02)
        raw = replace(options, wdp_unit="pixels")
        pixels = {k: one(maps[k], k * box, raw)["wdp_soft"] for k in maps}
        assert pixels[16] == pytest.approx(2 * pixels[8], rel=0.02)

    @settings(max_examples=60, deadline=None)
    @given(cases(), any_options())
    def test_scores_stay_in_range(self, case, options):
        options = replace(options, normalise="minmax", wdp_normalisation="mass")
        scores = one(*case, options)
        for name in SCORES[:10]:
            assert np.isnan(scores[name]) or 0 <= scores[name] <= 1, name

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
    def test_types(self, dtype):
        values = torch.from_numpy(np.round(blobs(7) * 64)).to(dtype)
        assert_equal(one(values, INSIDE), {n: one(values.float(), INSIDE)[n] for n in SCORES})

    def test_half_precision_sums_are_not_half(self):
        values = torch.ones(100, 100, dtype=torch.float16)
        values[0, 0] = 0
        assert one(values, [[0, 0, 50, 100]])["io_ratio"] == pytest.approx(4999 / 9999, rel=1e-6)

    def test_boxes_of_any_kind(self):
        for boxes in (INSIDE, np.array(INSIDE), torch.tensor(INSIDE), torch.tensor(INSIDE).half()):
            assert one(PEAK, boxes) == one(PEAK, INSIDE)

    def test_leaves_the_maps_alone_and_takes_gradients(self):
        maps = torch.from_numpy(np.stack([blobs(1), -blobs(2)])).requires_grad_()
        before = maps.detach().clone()
        q_groundcam(maps.transpose(1, 2), [INSIDE, INSIDE])
        assert torch.equal(maps, before)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_cuda(self):
        values = torch.from_numpy(blobs(7))
        assert one(values.cuda(), torch.tensor(INSIDE).cuda()) == one(values, INSIDE)


class TestOptions:
    @pytest.mark.parametrize("name", [field.name for field in fields(QGroundCAM)])
    @pytest.mark.parametrize("value", ["foo", None, -1, math.nan, math.inf])
    def test_illegal_values_name_the_option(self, name, value):
        with pytest.raises(VlgroundError, match=rf"^metric\.{name}={value}: expected"):
            QGroundCAM(**{name: value})

    def test_lists_what_was_expected(self):
        with pytest.raises(VlgroundError, match=r"tie=foo: expected one of expected, any, first"):
            QGroundCAM(tie="foo")

    def test_a_distance_of_50_diagonals_is_refused(self):
        with pytest.raises(VlgroundError, match=r"peak_distance=50\.0.*peak_unit=diagonal"):
            QGroundCAM(peak_unit="diagonal")

    @pytest.mark.parametrize(("name", "value"), list(choices()))
    def test_every_choice_is_legal(self, name, value):
        near = {"peak_distance": 0.1} if value == "diagonal" else {}
        assert getattr(QGroundCAM(**{name: value}, **near), name) == value
