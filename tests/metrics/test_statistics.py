import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from vlground.metrics.statistics import (
    Estimate,
    PairedDifference,
    bootstrap_mean,
    bootstrap_means,
    paired_difference,
)


def table(n_images=200, seed=0, rows=8):
    """Rows that depend on their image, and the images' ids."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, rows + 1, n_images)
    images = np.repeat(np.arange(n_images), counts)
    values = rng.normal(size=n_images)[images] + 0.3 * rng.normal(size=len(images))
    return values, [f"image_{i}" for i in images]


def test_one_row_an_image_equals_scipy():
    values = np.random.default_rng(1).exponential(size=150)
    ours = bootstrap_mean(values, [str(i) for i in range(150)], n_resamples=20000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=0)
    assert ours.value == pytest.approx(values.mean())
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_equals_resampling_images_in_a_loop(level):
    values, images = table(60)
    rows = {}
    for value, image in zip(values, images, strict=True):
        rows.setdefault(image, []).append(value)
    groups, rng = list(rows.values()), np.random.default_rng(5)
    means = []
    for _ in range(6000):
        drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        means.append(np.mean([value for group in drawn for value in group]))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    ours = bootstrap_mean(values, images, n_resamples=6000, level=level)
    width = high - low
    assert ours.low == pytest.approx(low, abs=0.06 * width)
    assert ours.high == pytest.approx(high, abs=0.06 * width)


def test_interval_is_over_images_not_rows():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    images = np.repeat(np.arange(50), 20).astype(str)
    by_image = bootstrap_mean(values, images)
    by_row = bootstrap_mean(values, np.arange(1000).astype(str))
    assert by_image.high - by_image.low > 3 * (by_row.high - by_row.low)


def test_covers_the_truth():
    hits = 0
    for seed in range(200):
        values, images = table(80, seed)
        estimate = bootstrap_mean(values, images, n_resamples=300)
        hits += estimate.low <= 0 <= estimate.high
    assert 0.89 <= hits / 200 <= 0.99


def test_does_not_depend_on_the_order_of_rows():
    values, images = table()
    order = np.random.default_rng(3).permutation(len(values))
    shuffled = bootstrap_mean(values[order], [images[i] for i in order])
    assert shuffled == bootstrap_mean(values, images)  # to the last bit


def test_seed_decides():
    values, images = table()
    assert bootstrap_mean(values, images, seed=1) == bootstrap_mean(values, images, seed=1)
    assert bootstrap_mean(values, images, seed=1).low != bootstrap_mean(values, images, seed=2).low


def test_nan_rows_are_dropped():
    values, images = table()
    spoilt = np.concatenate([[np.nan], values, [np.nan] * 2])
    ids = [images[0], *images, "elsewhere", images[5]]
    assert bootstrap_mean(spoilt, ids) == bootstrap_mean(values, images)
    assert bootstrap_mean(spoilt, ids).n == len(values)


@pytest.mark.parametrize(("n_images", "has_interval"), [(19, False), (20, True)])
def test_no_interval_below_20_images(n_images, has_interval):
    values, images = table(n_images)
    spoilt = np.concatenate([values, np.full(30, np.nan)])  # images without a value do not count
    estimate = bootstrap_mean(spoilt, [*images, *(f"none_{i}" for i in range(30))])
    assert (estimate.low is not None, estimate.high is not None) == (has_interval,) * 2
    assert estimate.value == pytest.approx(values.mean())


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_to_average(values):
    estimate = bootstrap_mean(np.array(values), ["a", "b"][: len(values)])
    assert np.isnan(estimate.value)
    assert (estimate.low, estimate.high, estimate.n) == (None, None, 0)


def test_constant_values_have_an_interval_of_no_width():
    estimate = bootstrap_mean(np.full(90, 0.25), [str(i // 3) for i in range(90)])
    assert estimate == Estimate(0.25, 0.25, 0.25, 90)


def test_columns_equal_single_calls_and_share_resamples():
    values, images = table()
    spoilt = np.where(np.asarray(images) == "image_3", np.nan, values)
    columns = {"b": values, "a": spoilt, "shifted": values + 1}
    means = bootstrap_means(columns, images)
    assert list(means) == list(columns)
    for name, column in columns.items():
        assert means[name].n == bootstrap_mean(column, images).n
        np.testing.assert_allclose(
            [means[name].value, means[name].low, means[name].high],
            [getattr(bootstrap_mean(column, images), k) for k in ("value", "low", "high")],
            rtol=1e-12,
        )
    assert means["shifted"].low == pytest.approx(means["b"].low + 1)
    assert means["a"].n < means["b"].n


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="score"):
        bootstrap_means({"score": np.zeros(3)}, ["a", "b"])


def test_paired_difference_uses_common_samples_only():
    values, images = table()
    image_of = {f"sample_{i}": image for i, image in enumerate(images)}
    ids = list(image_of)
    first = dict(zip(ids, values, strict=True))
    second = {i: first[i] - 0.5 for i in reversed(ids[10:])} | {"other": 9.0}
    second[ids[20]] = float("nan")
    result = paired_difference(first, second, image_of)
    assert isinstance(result, PairedDifference)
    assert (result.common, result.difference.n) == (len(ids) - 10, len(ids) - 11)
    estimate = result.difference
    # far narrower than either run's own interval: what varies between images cancels
    np.testing.assert_allclose([estimate.value, estimate.low, estimate.high], 0.5, rtol=1e-9)
    swapped = paired_difference(second, first, image_of).difference
    assert swapped.value == pytest.approx(-0.5)


def test_paired_difference_of_nothing_in_common():
    result = paired_difference({"1": 0.0}, {"2": 0.0}, {"1": "a", "2": "b"})
    assert (result.common, result.difference.n) == (0, 0)


def test_large_tables_are_quick_and_small():
    rng = np.random.default_rng(0)
    columns = {str(i): rng.random(14481) for i in range(12)}
    images = [str(i) for i in rng.integers(1000, size=14481)]
    start = time.perf_counter()
    bootstrap_means(columns, images)
    assert time.perf_counter() - start < 5  # 0.1 s; generous, as other jobs share the machine
    tracemalloc.start()
    bootstrap_means(columns, images)
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()
