"""Bias: interventions, doses, alarms, and the search for artefacts that nobody named."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_score

from vlground.metrics.bias import (
    detection,
    dose_response,
    intervention,
    mass_inside,
    sign_flip,
)
from vlground.metrics.clusters import clusters, rand_index, representatives, silhouette
from vlground.metrics.profiles import profiles, ranks
from vlground.metrics.proportions import wilson
from vlground.metrics.statistics import bootstrap_mean


def names(n):
    return [str(i) for i in range(n)]


# Interventions


def test_an_intervention_by_counting():
    rng = np.random.default_rng(0)
    before, n = rng.integers(0, 3, 60), 60
    after = np.where(rng.random(n) < 0.5, 2, before)
    without = rng.normal(size=n)
    with_ = without + 0.5 + 0.1 * rng.normal(size=n)
    with_[:4] = np.nan  # the model failed on them
    found = intervention(with_, without, after, before, names(n), target=2)
    assert found.difference == bootstrap_mean(with_ - without, names(n))
    assert 0.4 < found.difference.low < found.difference.high < 0.6
    assert found.flips == wilson(int((after != before)[4:].sum()), 56)
    others = before[4:] != 2
    assert found.into == wilson(int((after[4:] == 2)[others].sum()), int(others.sum()))
    assert found.p == pytest.approx(1 / 10_001)
    assert intervention(with_, without, after, before, names(n)).into is None


@pytest.mark.parametrize("n", [1, 5, 12])
def test_sign_flip_equals_all_signs(n):
    for seed in range(5):
        values = np.random.default_rng(seed).normal(size=n).round(1) + 0.2
        all_signs = [np.dot(signs, values) for signs in product([-1, 1], repeat=n)]
        reference = np.mean(np.abs(all_signs) >= abs(values.sum()) - 1e-9)
        assert sign_flip(values, names(n)) == reference


def test_sign_flip_of_many_images_equals_scipy():
    values = np.random.default_rng(3).normal(size=60) + 0.25
    reference = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=20_000, rng=0
    )
    found = sign_flip(values, names(60))
    assert found == pytest.approx(reference.pvalue, abs=0.01)
    assert found == sign_flip(values, names(60))
    assert found != sign_flip(values, names(60), seed=1)


def test_sign_flip_flips_images_and_not_rows():
    values = np.random.default_rng(3).normal(size=10) + 0.8
    often = sign_flip(np.repeat(values, 30), np.repeat(names(10), 30).tolist())
    assert often == sign_flip(values, names(10))
    spoilt = np.append(values, np.nan)
    assert sign_flip(spoilt, [*names(10), "other"]) == sign_flip(values, names(10))
    assert sign_flip(np.array([np.nan]), ["a"]) is None


@pytest.mark.parametrize("n", [10, 40])
def test_sign_flip_keeps_its_level(n):
    rng = np.random.default_rng(0)
    p = [sign_flip(rng.standard_t(3, size=n), names(n), seed) for seed in range(200)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.09


# Doses and alarms


def test_dose_response_over_models():
    rates = np.repeat([0, 0.25, 0.5, 0.75, 0.95], 5)
    signal = rates**3 + 0.05 * np.random.default_rng(0).normal(size=25)
    found = dose_response(rates, signal, names(25))
    assert found["pearson"].value == pytest.approx(stats.pearsonr(rates, signal)[0])
    assert found["spearman"].value == pytest.approx(stats.spearmanr(rates, signal)[0])
    assert 0.5 < found["spearman"].low < found["spearman"].value < found["spearman"].high <= 1
    seeds = np.tile(names(5), 5).tolist()
    assert dose_response(rates, signal, seeds)["pearson"].low is None  # five things to resample
    spoilt = np.where(np.arange(25) == 3, np.nan, signal)
    assert dose_response(rates, spoilt, names(25))["pearson"].n == 24
    flat = dose_response(rates, np.ones(25), names(25))["pearson"]
    assert (flat.value, flat.reason) == (None, "the signals are constant")


def test_detection_by_counting():
    rng = np.random.default_rng(0)
    calibration, clean, poisoned = rng.normal(size=30), rng.normal(size=20), rng.normal(1, size=25)
    found = detection(calibration, clean, poisoned, false_alarm_rate=0.2)
    assert found.threshold == np.sort(calibration)[24]  # ⌈31 · 0.8⌉ = 25
    assert found.nominal == pytest.approx(6 / 31)
    assert found.power == wilson(int((poisoned > found.threshold).sum()), 25)
    assert found.false_alarms == wilson(int((clean > found.threshold).sum()), 20)
    truth = np.repeat([0, 1], [20, 25])
    assert found.auc.value == pytest.approx(roc_auc_score(truth, np.append(clean, poisoned)))
    assert found.auc.low < found.auc.value < found.auc.high


@pytest.mark.parametrize("n", [5, 19, 40])
def test_false_alarms_keep_to_what_was_promised(n):
    rng = np.random.default_rng(0)
    rates = [
        detection(rng.exponential(size=n), rng.exponential(size=40), np.ones(1)) for _ in range(400)
    ]
    measured = np.mean([found.false_alarms.value for found in rates])
    assert measured == pytest.approx(rates[0].nominal, abs=0.025)
    assert rates[0].nominal <= 0.05 or n < 19


def test_the_place_of_the_threshold_is_not_left_to_rounding():
    found = detection(np.arange(149.0), np.ones(2), np.ones(2), false_alarm_rate=0.18)
    assert found.threshold == 122  # the 123rd: ⌈150 · 0.82⌉


def test_detection_needs_clean_models_and_finite_signals():
    with pytest.raises(ValueError, match="calibrate"):
        detection(np.array([]), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="finite"):
        detection(np.ones(2), np.ones(2), np.array([1.0, np.nan]))
    assert detection(np.ones(2), np.array([]), np.ones(2)).auc.value is None


def test_mass_inside_of_maps_by_hand():
    flat = [[4, 0, 0, 0], [1, 1, 1, 1], [2, -5, 1, 1], [0, 0, 0, -1], [1, 2, 3, np.nan]]
    maps = np.array(flat, dtype=float).reshape(5, 2, 2)
    inside = np.zeros((5, 2, 2), dtype=bool)
    inside[:, 0, 0] = True
    found = mass_inside(maps, inside)
    np.testing.assert_allclose(found["mass"], [1, 0.25, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(found["lift"], [4, 1, 2, np.nan, np.nan])
    np.testing.assert_array_equal(found["area"], 0.25)
    half = mass_inside(maps[:2], np.full((2, 2, 2), 0.5))
    np.testing.assert_allclose(half["lift"], 1)
    assert np.isnan(mass_inside(maps[:1], np.zeros((1, 2, 2)))["lift"]).all()


# Places


def test_ranks_by_hand():
    maps = np.array([[[1.0, 2.0], [3.0, 2.0]], [[7, 7], [7, 7]], [[0, np.inf], [1, 2]]])
    found = ranks(maps)
    np.testing.assert_allclose(found[0], [[0.125, 0.5], [0.875, 0.5]])
    assert np.isnan(found[1:]).all()
    objects = np.zeros((3, 2, 2), dtype=bool)
    objects[0, 1, 0] = True
    np.testing.assert_allclose(ranks(maps, objects)[0], [[1 / 6, 2 / 3], [np.nan, 2 / 3]])


@given(st.integers(0, 1000))
def test_ranks_do_not_depend_on_the_scale(seed):
    maps = np.random.default_rng(seed).normal(size=(3, 4, 5))
    np.testing.assert_array_equal(ranks(maps), ranks(np.exp(maps)))
    np.testing.assert_allclose(ranks(maps).mean(axis=(1, 2)), 0.5)


def drawn(n=90, seed=0, dot=0.0):
    """Maps of three classes with an object that wanders; of "b", some with a dot in the corner."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], n, p=[0.5, 0.2, 0.3])
    maps = rng.random((n, 6, 6))
    objects = np.zeros((n, 6, 6), dtype=bool)
    for i, (row, column) in enumerate(rng.integers(0, 5, (n, 2))):
        objects[i, row : row + 2, column : column + 2] = True
    maps += 2 * objects
    dotted = (labels == "b") & (rng.random(n) < dot)
    maps[dotted, 5, 5] += 3
    return maps, labels.tolist(), objects


@pytest.mark.parametrize("known", [False, True])
def test_a_mark_in_a_corner_is_found(known):
    maps, labels, objects = drawn(150, dot=0.8)
    found = profiles(maps, labels, objects if known else None, n_permutations=200)
    assert list(found) == ["a", "b", "c"]
    assert found["b"].suspects() == [(5, 5)]
    assert found["a"].suspects() == found["c"].suspects() == []
    assert found["b"].excess[5, 5] > 0.2
    assert found["b"].p[5, 5] == pytest.approx(1 / 201)  # the data are one of the labellings
    assert found["b"].n == labels.count("b")


def test_excess_equals_means_of_ranks():
    maps, labels, objects = drawn(60)
    maps[0] = 1  # constant: counts nowhere
    ranked, which = ranks(maps, objects), np.array(labels)
    mean = {c: np.nanmean(ranked[which == c], axis=0) for c in "abc"}
    found = profiles(maps, labels, objects, n_permutations=5)
    for c in "abc":
        others = np.mean([mean[o] for o in "abc" if o != c], axis=0)
        np.testing.assert_allclose(found[c].excess, mean[c] - others)


def test_clean_classes_raise_few_alarms():
    alarms = 0
    for seed in range(100):
        maps, labels, _ = drawn(60, seed)
        found = profiles(maps, labels, n_permutations=99, seed=seed)
        alarms += any(profile.suspects() for profile in found.values())
    assert alarms <= 11  # 5 expected; 12 or more: one in a hundred


def test_where_the_object_always_lies_is_no_suspect():
    rng = np.random.default_rng(0)
    maps, objects = rng.random((80, 5, 5)), np.zeros((80, 5, 5), dtype=bool)
    labels = ["low"] * 40 + ["free"] * 40
    objects[:40, 3:, :3] = True  # objects of one class stand at the bottom
    maps += 3 * objects
    plain = profiles(maps, labels, n_permutations=100)["low"]
    assert (4, 1) in plain.suspects()
    outside = profiles(maps, labels, objects, n_permutations=100)["low"]
    assert outside.suspects() == []
    assert np.isnan(outside.excess[3:, :3]).all()
    assert np.isfinite(outside.excess[:3]).all()


def test_one_class_has_nothing_to_compare_with():
    with pytest.raises(ValueError, match="1 classes"):
        profiles(np.random.default_rng(0).random((5, 2, 2)), ["a"] * 5)


# Looks


def blobs(sizes, seed=0, apart=6.0):
    rng = np.random.default_rng(seed)
    centres = apart * np.eye(len(sizes), 10)
    which = np.repeat(np.arange(len(sizes)), sizes)
    return centres[which] + rng.normal(size=(len(which), 10)), which


@pytest.mark.parametrize("sizes", [(70, 30), (40, 60, 25), (120,)])
def test_kinds_of_crops_are_found(sizes):
    features, which = blobs(sizes)
    found = clusters(features)
    assert found.sizes.tolist() == sorted(sizes, reverse=True)
    assert adjusted_rand_score(which, found.labels) == 1
    if len(sizes) == 1:
        assert (found.silhouette, found.stability) == (None, None)
    else:
        assert found.stability > 0.95
        assert found.silhouette == pytest.approx(silhouette_score(features, found.labels))
        assert found.eigengap > 0.4
    again = clusters(features)
    assert again.stability == found.stability
    np.testing.assert_array_equal(again.labels, found.labels)


def test_clusters_of_equal_crops():
    features = np.repeat(np.eye(3), [30, 20, 10], axis=0)
    assert clusters(features).sizes.tolist() == [30, 20, 10]


def test_a_made_up_partition_is_less_stable():
    features = np.random.default_rng(0).normal(size=(150, 2))
    found = clusters(features)
    assert found.stability is None or found.stability < 0.9
    assert found.eigengap < 0.2


def test_too_few_or_broken_features():
    with pytest.raises(ValueError, match="7 samples"):
        clusters(np.zeros((7, 2)))
    with pytest.raises(ValueError, match="finite"):
        clusters(np.full((20, 2), np.nan))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=20))
def test_rand_index_equals_scikit_learn(pairs):
    first, second = np.array(pairs).T
    assert rand_index(first, second) == pytest.approx(adjusted_rand_score(first, second))


def test_silhouette_with_a_lonely_sample():
    features, which = blobs((10, 12, 1))
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert silhouette(distances, which) == pytest.approx(silhouette_score(features, which))


def test_representatives_are_the_nearest_to_the_middle():
    features = np.array([[0.0], [1.0], [5.0], [20.0], [21.0]])
    found = representatives(features, np.array([0, 0, 0, 1, 1]), 2)
    assert found[0].tolist() == [1, 0]
    assert found[1].tolist() == [3, 4]
