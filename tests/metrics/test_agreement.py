"""Agreement of a judge with people, against scipy, scikit-learn and literal loops."""

import json
import time
from dataclasses import asdict
from itertools import combinations, product

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from vlground.errors import VlgroundError
from vlground.metrics import correlation
from vlground.metrics.agreement import AGREEMENT, agreement, rounded
from vlground.metrics.alternative import alternative_annotator
from vlground.metrics.dependent import CLUSTERED, compare, compare_grid, holm, steiger, williams
from vlground.metrics.proportions import mcnemar, share, wilson
from vlground.metrics.ratings import ratings
from vlground.metrics.reliability import ceiling, krippendorff
from vlground.metrics.resampling import FEW_IMAGES, UNSTABLE, bootstrap


def names(n):
    return [f"image_{i:05}" for i in range(n)]


def scored(n=300, seed=0, noise=1.0, whole=True):
    """A judge's and people's scores of n images."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 5, n)
    judge, people = (np.clip(truth + noise * rng.normal(size=n), 0, 5) for _ in range(2))
    return (judge.round(), people.round()) if whole else (judge, people)


def lin(x, y):
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


REFERENCES = {
    "pearson": lambda x, y: stats.pearsonr(x, y)[0],
    "spearman": lambda x, y: stats.spearmanr(x, y)[0],
    "kendall": lambda x, y: stats.kendalltau(x, y, variant="b")[0],
    "kappa": lambda x, y: cohen_kappa_score(
        np.floor(x + 0.5), np.floor(y + 0.5), labels=range(6), weights="quadratic"
    ),
    "concordance": lin,
    "bias": lambda x, y: (x - y).mean(),
    "mae": lambda x, y: np.abs(x - y).mean(),
}


@pytest.mark.parametrize("name", AGREEMENT)
@pytest.mark.parametrize("whole", [True, False])
def test_values_equal_scipy_and_scikit_learn(name, whole):
    for seed in range(5):
        x, y = scored(57, seed, whole=whole)
        found = agreement(x + 0.25 * (x < 4), y, names(57), n_resamples=1)
        reference = REFERENCES[name](x + 0.25 * (x < 4), y)
        assert found[name].value == pytest.approx(reference, abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman", "kendall", "concordance"])
@given(
    arrays(float, 9, elements=st.sampled_from([0.0, 1.0, 2.5, 5.0])),
    arrays(float, 9, elements=st.sampled_from([0.0, 2.0, 4.5])),
    arrays(int, (3, 9), elements=st.integers(0, 3)),
)
@settings(max_examples=60, deadline=None)
def test_weighted_rows_equal_repeated_rows(name, x, y, times):
    coefficient = getattr(correlation, name)
    weights = times + np.eye(9, dtype=int)[:3]  # no row of weights is empty
    found = coefficient(x, y, weights.astype(float))
    for value, row in zip(found, weights, strict=True):
        repeated = np.repeat(x, row), np.repeat(y, row)
        flat = [np.ptp(column) == 0 for column in repeated]
        if any(flat) and (name != "concordance" or np.ptp(np.concatenate(repeated)) == 0):
            assert np.isnan(value)
        else:
            assert value == pytest.approx(REFERENCES[name](*repeated), abs=1e-9)


def test_kendall_of_more_pairs_than_one_block():
    x, y = scored(1500, whole=False)
    found = correlation.kendall(x, y, np.ones((1, 1500)))
    assert found[0] == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)


def test_area_under_curve_equals_scikit_learn():
    score, other = scored(90)
    positive = other > 2
    times = np.random.default_rng(0).integers(0, 3, (4, 90))
    found = correlation.area_under_curve(score, positive, times.astype(float))
    for value, row in zip(found, times, strict=True):
        reference = roc_auc_score(np.repeat(positive, row), np.repeat(score, row))
        assert value == pytest.approx(reference)


def test_intervals_equal_a_loop_over_images():
    x, y = scored(90)
    images = [f"{i // 3}" for i in range(90)]
    rng, values = np.random.default_rng(1), {name: [] for name in AGREEMENT}
    for _ in range(1500):
        drawn = rng.integers(30, size=30)
        rows = (3 * drawn[:, None] + np.arange(3)).ravel()
        for name in AGREEMENT:
            values[name].append(REFERENCES[name](x[rows], y[rows]))
    found = agreement(x, y, images, n_resamples=4000)
    for name in AGREEMENT:
        low, high = np.quantile(values[name], [0.025, 0.975])
        tolerance = 0.1 * (high - low)
        assert found[name].low == pytest.approx(low, abs=tolerance), name
        assert found[name].high == pytest.approx(high, abs=tolerance), name


def test_intervals_are_over_images_whatever_the_order_of_rows():
    x, y = scored(60)
    x, y = np.repeat(x, 10), np.repeat(y, 10)
    images = np.repeat(names(60), 10).tolist()
    found = agreement(x, y, images)["pearson"]
    rows = agreement(x, y, names(600))["pearson"]
    assert found.value == pytest.approx(rows.value)
    assert found.high - found.low > 2 * (rows.high - rows.low)
    order = np.random.default_rng(2).permutation(600)
    again = agreement(x[order], y[order], [images[i] for i in order])["pearson"]
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize(("n", "has"), [(19, False), (20, True)])
def test_no_interval_below_20_images(n, has):
    x, y = scored(40)
    spoilt = np.where(np.arange(40) < n, x, np.nan)  # images without a score do not count
    found = agreement(spoilt, y, names(40))
    for name, statistic in found.items():
        assert statistic.n == n
        assert statistic.value == pytest.approx(REFERENCES[name](x[:n], y[:n]), abs=1e-9)
        assert (statistic.low is not None, statistic.reason == "") == (has, has)
        assert has or statistic.reason == FEW_IMAGES


def test_what_is_not_defined_has_a_reason_and_is_no_nan():
    x, _ = scored(30)
    flat = np.full(30, 4.0)
    found = agreement(flat, x, names(30))
    assert found["pearson"].value is None
    assert found["kendall"].reason == "the judge's scores are constant"
    assert found["concordance"].value == found["kappa"].value == 0  # defined, and worthless
    assert agreement(x, flat, names(30))["spearman"].reason == "people's scores are constant"
    assert agreement(flat, flat, names(30))["kappa"].value is None
    nothing = agreement(np.full(3, np.nan), x[:3], names(3))
    assert nothing["mae"].reason == "fewer than 2 samples have both"
    for result in (found, nothing):
        json.dumps({k: asdict(v) for k, v in result.items()}, allow_nan=False)


def test_a_constant_that_is_no_binary_fraction_is_constant():
    flat = np.full(30, 0.1 + 0.2)
    assert agreement(flat, scored(30)[0], names(30))["pearson"].value is None


def test_a_statistic_that_resamples_lose_has_no_interval():
    x = np.zeros(40)
    x[0] = 5  # constant in about a third of the resamples
    found = agreement(x, scored(40)[1], names(40))
    assert found["pearson"].value is not None
    assert (found["pearson"].low, found["pearson"].reason) == (None, UNSTABLE)
    assert found["mae"].low is not None


def test_halves_are_rounded_upwards():
    assert rounded(np.array([0.5, 1.5, 2.5, 4.5, 4.49])).tolist() == [1, 2, 3, 5, 4]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 image ids"):
        agreement(np.zeros(3), np.zeros(3), ["a", "b"])


def test_2000_rows_take_a_second_or_so():
    x, y = scored(2000, whole=False)
    start = time.perf_counter()
    agreement(x, y, [str(i // 2) for i in range(2000)])
    assert time.perf_counter() - start < 8  # 0.5 s alone; other jobs share the machine


# People among themselves


def test_a_long_table_becomes_a_matrix():
    table = pandas.DataFrame(
        {"id": [2, 1, 1, 3], "annotator": ["B", "A", "B", "A"], "score": ["1", "0", 5, None]}
    )
    found = ratings(table)
    assert (found.ids, found.annotators) == (("1", "2"), ("A", "B"))
    np.testing.assert_array_equal(found.scores, [[0, 5], [np.nan, 1]])
    assert found.mean.tolist() == [2.5, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": [1, 6]}, "B on s: 6 is no number from 0 to 5"),
        ({"score": [1, "good"]}, "B on s: good is no number"),
        ({"annotator": ["A", "A"]}, "A scored s twice"),
        ({"annotator": None}, "no column annotator; there are id, score"),
    ],
)
def test_a_table_that_is_wrong_is_said_to_be(change, message):
    columns = {"id": ["s", "s"], "annotator": ["A", "B"], "score": [1, 2]} | change
    table = pandas.DataFrame({k: v for k, v in columns.items() if v is not None})
    with pytest.raises(VlgroundError, match=message):
        ratings(table)


def people(n=120, annotators=4, seed=0, missing=0.2, noise=1.0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 5, n)[:, None]
    scores = np.clip((truth + noise * rng.normal(size=(n, annotators))).round(), 0, 5)
    scores[rng.random(scores.shape) < missing] = np.nan
    return scores


def alpha(scores, measurement):
    """Krippendorff's α, literally: all pairs within samples against all pairs."""
    units = [[v for v in row if not np.isnan(v)] for row in scores]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]

    def apart(a, b):
        if measurement == "nominal":
            return float(a != b)
        if measurement == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= v <= high for v in values)
        return (between - (values.count(a) + values.count(b)) / 2) ** 2 * (a != b)

    within = 0.0
    for unit in units:
        pairs = [apart(unit[i], unit[j]) for i, j in product(range(len(unit)), repeat=2) if i != j]
        within += sum(pairs) / (len(unit) - 1)
    n = len(values)
    overall = sum(apart(values[i], values[j]) for i, j in product(range(n), repeat=2) if i != j)
    return 1 - (within / n) / (overall / (n * (n - 1)))


@pytest.mark.parametrize("measurement", ["nominal", "ordinal", "interval"])
def test_krippendorff_equals_a_double_loop(measurement):
    for seed in range(3):
        scores = people(25, 4, seed, missing=0.35)
        found = krippendorff(scores, names(25), measurement)
        assert found.value == pytest.approx(alpha(scores, measurement), abs=1e-12)
        assert found.n == ((~np.isnan(scores)).sum(axis=1) > 1).sum()


@pytest.mark.parametrize(
    ("measurement", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_of_his_own_example(measurement, value):
    """Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C."""
    rows = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    table = [[np.nan if v == "." else float(v) for v in row.split()] for row in rows]
    assert krippendorff(np.array(table).T, names(12), measurement).value == pytest.approx(
        value, abs=5e-4
    )


def test_krippendorff_interval_equals_a_loop():
    scores = people(60, 3)
    rng = np.random.default_rng(3)
    values = [
        krippendorff(scores[rng.integers(60, size=60)], names(60), n_resamples=0).value
        for _ in range(800)
    ]
    found = krippendorff(scores, names(60), n_resamples=4000)
    low, high = np.quantile(values, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_krippendorff_without_pairs_or_without_variation():
    assert krippendorff(np.array([[1, np.nan]]), ["a"]).reason == "no sample has two scores"
    assert krippendorff(np.full((30, 2), 3.0), names(30)).reason == "all scores are equal"


def test_ceiling_equals_literal_correlations():
    scores = people(80, 4, missing=0.1)
    judge = people(80, 1, seed=1, missing=0)[:, 0]
    found = ceiling(judge, scores, list("ABCD"), names(80))
    own, instead = [], []
    for j in range(4):
        rest = pandas.DataFrame(np.delete(scores, j, axis=1)).mean(axis=1).to_numpy()
        both = ~np.isnan(scores[:, j]) & ~np.isnan(rest)
        own.append(stats.pearsonr(scores[both, j], rest[both])[0])
        instead.append(stats.pearsonr(judge[both], rest[both])[0])
    between = pandas.DataFrame(scores).corr().to_numpy()[np.triu_indices(4, 1)].mean()
    k = (~np.isnan(scores)).sum() / 80
    mean = pandas.DataFrame(scores).mean(axis=1)
    reliability = k * between / (1 + (k - 1) * between)
    expected = {
        "ceiling": np.mean(own),
        "others": np.mean(instead),
        "over_ceiling": np.mean(instead) / np.mean(own),
        "between": between,
        "reliability": reliability,
        "pearson": stats.pearsonr(judge, mean)[0],
        "disattenuated": stats.pearsonr(judge, mean)[0] / np.sqrt(reliability),
    }
    assert {k: v.value for k, v in found.scores.items()} == pytest.approx(expected, abs=1e-12)
    assert all(v.low < v.value < v.high for v in found.scores.values())
    assert found.left_out == {}


def test_disattenuation_takes_out_peoples_noise():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    scores = truth[:, None] + 1.5 * rng.normal(size=(4000, 3))
    judge = truth + 0.5 * rng.normal(size=4000)
    found = ceiling(judge, scores, list("ABC"), names(4000), n_resamples=20).scores
    assert found["pearson"].value < 0.75
    assert found["disattenuated"].value == pytest.approx(1 / np.sqrt(1.25), abs=0.02)
    assert found["over_ceiling"].value > 1.3  # the judge is better than any of these people


def test_annotators_who_say_nothing_are_left_out_and_named():
    scores = people(40, 4, missing=0)
    scores[:, 1] = 3
    scores[2:, 2] = np.nan
    found = ceiling(scores[:, 0], scores, list("ABCD"), names(40))
    assert set(found.left_out) == {"B", "C"}
    assert found.left_out["B"] == "gives constant scores"
    alone = ceiling(scores[:, 0], scores[:, :1], ["A"], names(40))
    assert alone.scores["ceiling"].value is None
    assert "fewer than 2 annotators" in alone.scores["ceiling"].reason


# The alternative-annotator test


def literal_alt_test(judge, scores, score, epsilon, q):
    """As the paper writes it down, in loops; the procedure of Benjamini-Yekutieli as thresholds."""
    p, advantage = [], []
    for left in range(scores.shape[1]):
        differences, wins = [], []
        for i in range(len(judge)):
            others = [scores[i, k] for k in range(scores.shape[1]) if k != left]
            others = [v for v in others if not np.isnan(v)]
            if not others or np.isnan(scores[i, left]):
                continue
            of_judge, of_human = score(judge[i], others), score(scores[i, left], others)
            differences.append(float(of_human >= of_judge) - float(of_judge >= of_human))
            wins.append(of_judge >= of_human)
        p.append(stats.ttest_1samp(differences, epsilon, alternative="less").pvalue)
        advantage.append(np.mean(wins))
    m = len(p)
    limit = np.arange(1, m + 1) / m * q / (1 / np.arange(1, m + 1)).sum()
    below = np.flatnonzero(np.sort(p) <= limit)
    rejected = below.max() + 1 if len(below) else 0
    return rejected / m, np.mean(advantage), p


SCORES = {
    "rmse": lambda own, others: -np.sqrt(np.mean([(own - v) ** 2 for v in others])),
    "accuracy": lambda own, others: np.mean([own == v for v in others]),
}


@pytest.mark.parametrize("alignment", ["rmse", "accuracy"])
@pytest.mark.parametrize("noise", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_alternative_annotator_equals_the_papers_procedure(alignment, noise, epsilon):
    truth = np.random.default_rng(5).uniform(0, 5, 70)
    rng = np.random.default_rng(6)
    scores = np.clip((truth[:, None] + rng.normal(size=(70, 4))).round(), 0, 5)
    scores[rng.random((70, 4)) < 0.1] = np.nan
    judge = np.clip((truth + noise * rng.normal(size=70)).round(), 0, 5)
    found = alternative_annotator(judge, scores, list("ABCD"), names(70), alignment, epsilon)
    rate, advantage, p = literal_alt_test(judge, scores, SCORES[alignment], epsilon, 0.05)
    assert found.winning_rate == rate
    assert found.advantage == pytest.approx(advantage)
    assert [duel.p for duel in found.duels] == pytest.approx(p, rel=1e-6)
    assert found.passed == (rate >= 0.5)


def test_accuracy_is_of_rounded_scores():
    scores = people(40, 3, missing=0)
    whole = alternative_annotator(scores[:, 0], scores, list("ABC"), names(40), "accuracy")
    near = np.clip(scores[:, 0] - 0.4, 0, 5)
    assert alternative_annotator(near, scores, list("ABC"), names(40), "accuracy") == whole
    assert alternative_annotator(near, scores, list("ABC"), names(40)) != whole


def test_a_judge_of_the_truth_passes_and_one_of_noise_does_not():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 5, 100)
    scores = np.clip((truth[:, None] + rng.normal(size=(100, 3))).round(), 0, 5)
    good = alternative_annotator(truth, scores, list("ABC"), names(100))
    bad = alternative_annotator(rng.uniform(0, 5, 100), scores, list("ABC"), names(100))
    assert (good.winning_rate, good.passed) == (1.0, True)
    assert (bad.winning_rate, bad.passed) == (0.0, False)
    assert bad.advantage < 0.5 < good.advantage
    assert good.notes == ()


def test_few_items_and_few_annotators_are_said():
    scores = people(60, 3, missing=0)
    scores[29:, 2] = np.nan
    found = alternative_annotator(scores[:, 0], scores, list("ABC"), names(60))
    assert found.left_out == {"C": "shares 29 images, below 30"}
    assert len(found.duels) == 2
    assert "fewer than 3 annotators" in found.notes[0]
    nobody = alternative_annotator(scores[:9, 0], scores[:9], list("ABC"), names(9))
    assert (nobody.winning_rate, nobody.passed) == (None, None)


def test_samples_of_one_image_are_no_more_evidence():
    scores, judge = people(40, 3, missing=0), people(40, 1, seed=9, missing=0)[:, 0]
    once = alternative_annotator(judge, scores, list("ABC"), names(40))
    images = np.repeat(names(40), 10).tolist()
    often = alternative_annotator(
        np.repeat(judge, 10), np.repeat(scores, 10, axis=0), list("ABC"), images
    )
    assert [duel.p for duel in often.duels] == pytest.approx([duel.p for duel in once.duels])


# Settings against each other


def test_tests_of_dependent_correlations_equal_published_examples():
    t = williams(0.5, 0.4, 0.1, 103)  # Steiger 1980: t = 0.89, p = 0.37
    assert (round(t.statistic, 2), round(t.p, 2)) == (0.89, 0.37)
    z = steiger(0.5, 0.4, 0.1, 103)
    assert z.p == pytest.approx(t.p, abs=0.01)
    assert williams(0.4, 0.5, 0.1, 103).statistic == pytest.approx(-t.statistic)


def test_tests_of_dependent_correlations_keep_their_level():
    rng, p = np.random.default_rng(0), []
    for _ in range(1500):
        h = rng.normal(size=60)
        shared = rng.normal(size=60)
        x, y = (h + shared + rng.normal(size=60) for _ in range(2))
        r = np.corrcoef([h, x, y])
        p.append([test(r[0, 1], r[0, 2], r[1, 2], 60).p for test in (williams, steiger)])
    np.testing.assert_allclose((np.array(p) < 0.05).mean(axis=0), 0.05, atol=0.015)


def test_a_paired_comparison_sees_what_two_intervals_do_not():
    rng = np.random.default_rng(0)
    h = rng.normal(size=200)
    first = h + rng.normal(size=200)
    second = first + 0.7 * rng.normal(size=200)
    found = compare(h, first, second, names(200))
    assert found.first.low < found.second.high  # they overlap
    assert found.difference.low > 0
    assert found.williams.p < 0.01
    assert found.williams.p == pytest.approx(found.steiger.p, abs=0.01)
    assert found.first.value - found.second.value == pytest.approx(found.difference.value)
    missing = np.where(np.arange(200) < 3, np.nan, second)
    again = compare(h, first, missing, names(200))
    assert again.first.n == again.second.n == 197


def test_no_formula_for_rows_that_depend_on_each_other():
    h, x = scored(60, whole=False)
    found = compare(h, x, x[::-1], [str(i // 2) for i in range(60)])
    assert (found.williams, found.steiger, found.reason) == (None, None, CLUSTERED)
    assert found.difference.low is not None
    assert "correlation of 1" in compare(h, h, x, names(60)).reason
    assert "constant" in compare(h, np.zeros(60), x, names(60)).reason


def test_a_grid_is_corrected_for_its_size():
    rng = np.random.default_rng(0)
    h = rng.normal(size=80)
    settings_ = {str(k): h + (0.8 + 0.1 * k) * rng.normal(size=80) for k in range(6)}
    found = compare_grid(h, settings_, "0", names(80), n_resamples=20)
    assert "0" not in found
    assert len(found) == 5
    expected = holm({name: made.williams.p for name, made in found.items()})
    assert {name: made.p_holm for name, made in found.items()} == expected


@given(st.lists(st.sampled_from([0.0, 0.001, 0.008, 0.012, 0.02, 0.03, 0.2, 1.0]), max_size=8))
def test_holm_rejects_as_its_step_down_procedure_does(p):
    found = holm({str(i): value for i, value in enumerate(p)})
    open_, rejected = sorted(range(len(p)), key=p.__getitem__), set()
    for rank, i in enumerate(open_):
        if p[i] * (len(p) - rank) > 0.05:
            break
        rejected.add(str(i))
    assert {name for name, value in found.items() if value <= 0.05} == rejected


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 10), (89, 104)])
def test_wilson_equals_scipy(k, n):
    for level in (0.9, 0.95):
        found = wilson(k, n, level)
        reference = stats.binomtest(k, n).proportion_ci(level, method="wilson")
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
        assert 0 <= found.low <= found.value <= found.high <= 1
    assert wilson(0, 0).low is None


def test_acceptance_is_of_the_decided_and_knows_of_images():
    decided = np.array([1.0, 1.0, 0.0, np.nan] * 10)
    assert share(decided, names(40)) == wilson(20, 30)
    repeated = share(np.repeat(decided, 5), np.repeat(names(40), 5).tolist())
    assert repeated.value == pytest.approx(2 / 3)
    assert repeated.high - repeated.low > 1.5 * (wilson(100, 150).high - wilson(100, 150).low)


def test_mcnemar_equals_all_ways_to_fall():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2, 30).astype(float) for _ in range(2))
    first[:3] = np.nan
    found = mcnemar(first, second)
    b, c = found.only_first, found.only_second
    assert b == sum(first[3:] > second[3:])
    assert c == sum(first[3:] < second[3:])
    assert found.n == 27
    ways = [sum(way) for way in product([0, 1], repeat=b + c)]
    extreme = np.mean([min(w, b + c - w) <= min(b, c) for w in ways])
    assert found.p == pytest.approx(extreme)
    assert mcnemar(second, second).p == 1


def test_differences_are_paired_in_the_bootstrap():
    h, x = scored(100)

    def measure(weights):
        one = correlation.pearson(h, x, weights)
        return {"one": one, "two": one - 0.1, "difference": one - (one - 0.1)}

    found = bootstrap(measure, names(100))
    assert found["difference"].high - found["difference"].low < 1e-12
    assert found["one"].high - found["one"].low > 0.05


def test_every_pair_of_annotators_counts_once():
    scores = people(50, 3, missing=0)
    found = ceiling(scores[:, 0], scores, list("ABC"), names(50)).scores["between"]
    pairs = [stats.pearsonr(scores[:, i], scores[:, j])[0] for i, j in combinations(range(3), 2)]
    assert found.value == pytest.approx(np.mean(pairs))
