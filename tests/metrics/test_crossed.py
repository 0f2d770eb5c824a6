"""Scores of several models on the same images: sums by image, means over models, differences."""

import numpy as np
import pandas
import pytest

from vlground.metrics import chair, image_sums, mme, pope
from vlground.metrics.crossed import Crossed, Ratios, crossed
from vlground.metrics.statistics import Estimate

IMAGES = [f"i{number}" for number in range(40)]


def ratios(parts: np.ndarray, wholes: np.ndarray | None = None) -> Ratios:
    known = np.ones(len(parts)) if wholes is None else wholes
    return Ratios(parts[:, None].astype(float), known[:, None].astype(float), np.ones(1))


def width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low


def draw(seed: int, mean: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, len(IMAGES))


def test_one_model_is_the_bootstrap_of_its_mean() -> None:
    values = draw(0, 2.0)
    found = crossed({"a": {"m": ratios(values)}}, {})["a"]
    assert found.mean == found.each["m"]
    assert found.mean.value == pytest.approx(values.mean())
    spread = values.std() / np.sqrt(len(values))
    assert found.mean.low == pytest.approx(values.mean() - 1.96 * spread, abs=0.2 * spread)
    assert found.mean.high == pytest.approx(values.mean() + 1.96 * spread, abs=0.2 * spread)


def test_models_that_differ_widen_the_interval_of_their_mean() -> None:
    values = draw(1, 0.0)
    alike = crossed({"a": {m: ratios(values) for m in "xyz"}}, {})["a"].mean
    apart = {m: ratios(values + shift) for m, shift in zip("xyz", (-5, 0, 5), strict=True)}
    wide = crossed({"a": apart}, {})["a"]
    assert wide.mean.value == pytest.approx(alike.value)
    assert width(wide.mean) > 5 * width(alike)
    assert [round(one.value - alike.value) for one in wide.each.values()] == [-5, 0, 5]
    inner = wide.each["y"]
    assert (inner.low, inner.high) == pytest.approx((alike.low, alike.high), abs=0.1)


def test_a_difference_is_paired_by_image_and_model() -> None:
    noise = {m: draw(seed, 0.0) for seed, m in enumerate("xyz")}
    scores = {
        "before": {m: ratios(noise[m] + 3) for m in "xyz"},
        "after": {m: ratios(noise[m] + 2.5) for m in "xyz"},
    }
    found = crossed(scores, {"d": ("after", "before")})
    assert found["d"].mean == Estimate(
        pytest.approx(-0.5), pytest.approx(-0.5), pytest.approx(-0.5), len(IMAGES)
    )
    assert found["d"].side == -1
    assert found["after"].side == 1
    assert width(found["after"].mean) > 0.3


def test_a_model_without_a_score_is_left_out_and_nothing_is_decided_without_an_interval() -> None:
    scores = {
        "one": {"x": ratios(draw(0, 1.0)), "y": ratios(draw(1, 9.0))},
        "other": {"x": ratios(draw(2, 0.0))},
        "undefined": {"x": ratios(np.zeros(len(IMAGES)), np.zeros(len(IMAGES)))},
    }
    found = crossed(scores, {"d": ("one", "other")})
    assert list(found) == ["one", "other", "d"]
    assert list(found["d"].each) == ["x"]
    assert found["d"].mean == found["d"].each["x"]
    assert found["d"].side == 1
    few = crossed({"a": {"x": ratios(np.ones(19))}}, {})["a"]
    assert few == Crossed(Estimate(1.0, None, None, 19), {"x": Estimate(1.0, None, None, 19)})
    assert few.side == 0


def test_sums_of_captions_give_the_scores_of_chair() -> None:
    rng = np.random.default_rng(0)
    mentions = rng.integers(0, 5, len(IMAGES))
    rows = pandas.DataFrame(
        {
            "image_id": IMAGES,
            "mentions": mentions,
            "hallucinated": np.minimum(mentions, rng.integers(0, 3, len(IMAGES))),
            "objects": 4,
            "found": rng.integers(0, 5, len(IMAGES)),
            "words": rng.integers(0, 30, len(IMAGES)),
        }
    )
    expected = chair.estimates(rows)
    found = image_sums.captions(rows, IMAGES[::-1])
    assert list(found) == list(expected)
    for name, one in found.items():
        assert one.of(np.ones((1, len(IMAGES))))[0] == pytest.approx(expected[name].value), name
    rows = rows.assign(sentences=5, unparsed=1, wrong=2)
    wrong = image_sums.captions(rows, IMAGES)["wrong_sentences"]
    assert wrong.of(np.ones((1, len(IMAGES))))[0] == 0.5


def test_sums_of_questions_give_the_scores_of_pope_and_mme() -> None:
    rng = np.random.default_rng(0)
    outcomes = np.array(["tp", "fp", "tn", "fn", "unknown", "no answer"])
    lines = [(image, c) for image in IMAGES for c in ("random", "popular") for _ in range(4)]
    rows = pandas.DataFrame(lines, columns=["image_id", "category"])
    rows["outcome"] = rng.choice(outcomes, len(rows), p=[0.3, 0.1, 0.3, 0.1, 0.1, 0.1])
    rows["label"] = ["yes" if one in ("tp", "fn") else "no" for one in rows["outcome"]]
    expected = {name: one.value for name, one in pope.estimates(rows).items()}
    for name, one in image_sums.pope(rows, IMAGES).items():
        assert one.of(np.ones((1, len(IMAGES))))[0] == pytest.approx(expected[name]), name
    lines = [
        (image, c, k, a) for k, image in enumerate(IMAGES) for c in ("count", "color") for a in "yn"
    ]
    rows = pandas.DataFrame(lines, columns=["image_id", "category", "pair", "label"])
    rows["prediction"] = rng.choice(np.array(["y", "n", None], dtype=object), len(rows))
    expected = {name: one.value for name, one in mme.estimates(rows).items()}
    found = image_sums.mme(rows, IMAGES)
    assert set(found) == {"count/score", "color/score", "total"}
    for name, one in found.items():
        value = one.of(np.ones((1, len(IMAGES))))[0]
        total = expected["count/score"] + expected["color/score"]
        assert value == pytest.approx(total if name == "total" else expected[name]), name
