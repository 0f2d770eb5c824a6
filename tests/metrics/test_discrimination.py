"""AUC, average precision and calibration error, against their definitions and scikit-learn."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vlground.metrics.discrimination import (
    auc,
    average_precision,
    calibration_error,
    discrimination,
)


def drawn(n: int = 80, ties: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities with ties, labels, and how often each row is drawn."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, n)
    probabilities = (rng.integers(0, ties, n) + 2 * labels) / (ties + 2)
    return probabilities, labels, rng.integers(0, 4, (5, n)).astype(float)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    probabilities, labels, weights = drawn()
    for row, found in zip(weights, auc(probabilities, labels, weights), strict=True):
        p, y = (np.repeat(one, row.astype(int)) for one in (probabilities, labels))
        pairs = [(a > b) + (a == b) / 2 for a, b in product(p[y == 1], p[y == 0])]
        assert found == pytest.approx(np.mean(pairs))
        assert found == pytest.approx(roc_auc_score(y, p))


def test_average_precision_takes_equal_probabilities_as_one_step() -> None:
    probabilities, labels, weights = drawn()
    told = average_precision(probabilities, labels, weights)
    for row, found in zip(weights, told, strict=True):
        assert found == pytest.approx(
            average_precision_score(labels, probabilities, sample_weight=row)
        )


def test_calibration_error_is_the_distance_in_each_bin_by_its_size() -> None:
    probabilities, labels, weights = drawn()
    told = calibration_error(probabilities, labels, weights)
    for row, found in zip(weights, told, strict=True):
        p, y = (np.repeat(one, row.astype(int)) for one in (probabilities, labels))
        off = 0.0
        for low in np.arange(10) / 10:
            inside = (p >= low) & ((p < low + 0.1 - 1e-12) | ((low == 0.9) & (p == 1)))
            if inside.any():
                off += inside.mean() * abs(p[inside].mean() - y[inside].mean())
        assert found == pytest.approx(off)


def test_what_is_undefined_is_nan() -> None:
    one = np.ones((1, 2))
    told = np.array([0.2, 0.7])
    assert np.isnan(auc(told, np.ones(2), one)).all()
    assert np.isnan(auc(told, np.zeros(2), one)).all()
    assert np.isnan(average_precision(told, np.zeros(2), one)).all()
    nothing = np.zeros((1, 0))
    for curve in (auc, average_precision, calibration_error):
        assert np.isnan(curve(nothing[0], nothing[0], nothing)).all()


def test_a_model_stands_beside_its_blind_baseline_on_the_same_images() -> None:
    rng = np.random.default_rng(0)
    images = [str(i // 3) for i in range(180)]
    labels = rng.integers(0, 2, 180).astype(float)
    good, poor = 0.4 * labels + 0.6 * rng.random(180), 0.2 * labels + 0.8 * rng.random(180)
    found = discrimination("any", {"": good, "blind": poor}, labels, images)
    assert set(found) == {
        *("auc/any", "average_precision/any", "ece/any", "gain/auc/any"),
        *("blind/auc/any", "blind/average_precision/any", "blind/ece/any"),
        "gain/average_precision/any",
    }
    own, blind, gain = (found[f"{of}auc/any"] for of in ("", "blind/", "gain/"))
    assert gain.value == pytest.approx(own.value - blind.value)  # type: ignore[operator]
    assert own.low < own.value < own.high  # type: ignore[operator]
    assert own.n == 180
    # Paired: narrower than the two intervals side by side.
    width, apart = gain.high - gain.low, blind.high - blind.low + own.high - own.low  # type: ignore[operator]
    assert width < apart
    assert set(discrimination("any", {"": good}, labels, images)) == {
        *("auc/any", "average_precision/any", "ece/any"),
    }


def test_labels_of_several_people_count_as_shares_in_calibration_alone() -> None:
    labels = np.array([0.5, 0.75, 0.0, 1.0])
    told = discrimination("any", {"": labels}, labels, list("abcd"))
    assert told["ece/any"].value == pytest.approx(0)
    assert told["auc/any"].value == 1  # half is no majority
