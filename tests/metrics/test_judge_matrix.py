"""The judge's matrix, its odds and curves, and the judge's sanity."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy import stats
from scipy.stats.contingency import odds_ratio
from sklearn.metrics import roc_auc_score, roc_curve

from vlground.errors import VlgroundError
from vlground.labels import CELLS
from vlground.metrics.judge_association import area, association, sweep
from vlground.metrics.judge_matrix import (
    JUDGE_MATRIX,
    READINGS,
    JudgeMatrix,
    estimates,
    per_class,
    place,
    tally,
)
from vlground.metrics.judge_sanity import CONTROLS, sanity
from vlground.metrics.proportions import wilson
from vlground.metrics.statistics import bootstrap_mean
from vlground.run import CONF

OPTIONS = JudgeMatrix()


def table(n: int = 200, seed: int = 0) -> pandas.DataFrame:
    """Samples whose score goes with being right; every tenth has no score."""
    rng = np.random.default_rng(seed)
    correct = rng.random(n) < 0.7
    score = np.clip(np.round(2 + correct + 1.5 * rng.normal(size=n)), 0, 5)
    outcome = np.array(["score"] * n, dtype=object)
    for i, name in enumerate(("refusal", "error", "degenerate", "error")):
        outcome[i::40] = name
    score[outcome != "score"] = np.nan
    columns = {"id": range(n), "image_id": range(n), "correct": correct, "score": score}
    return pandas.DataFrame(columns | {"outcome": outcome, "label": rng.choice(["cat", "dog"], n)})


def test_cells_by_hand() -> None:
    rows = pandas.DataFrame(
        {"correct": [True, True, False, False, True, None], "score": [2.5, 2.4, 5, 0, None, 3]}
    )
    assert place(rows).tolist() == [*CELLS, None, None]
    assert place(rows, JudgeMatrix(threshold=2)).tolist()[:2] == ["correct_high"] * 2
    rows["correct"] = rows["correct"].astype("boolean")  # with pandas' own missing value
    assert place(rows).tolist() == [*CELLS, None, None]


def test_a_sample_without_a_score_is_never_low() -> None:
    rows = table()
    everything = estimates(rows)
    scored = rows[rows["score"].notna()]
    assert len(scored) == 180
    for name in (*CELLS, "judge_score"):
        assert everything[name] == estimates(scored)[name]
        assert everything[name].n == 180
    assert everything["accuracy"].n == 200
    assert everything["accuracy"] == wilson(int(rows["correct"].sum()), 200)


def test_estimates_by_counting() -> None:
    rows = table()
    found = estimates(rows)
    assert tuple(found) == JUDGE_MATRIX
    high, scored = rows["score"] >= 2.5, rows["score"].notna()
    counts = [
        (rows["correct"] & high & scored).sum(),
        (rows["correct"] & ~high & scored).sum(),
        (~rows["correct"] & high & scored).sum(),
        (~rows["correct"] & ~high & scored).sum(),
    ]
    for name, count in zip(CELLS, counts, strict=True):
        assert found[name] == wilson(int(count), 180)
    assert sum(found[name].value for name in CELLS) == pytest.approx(1)
    assert found["judge_score"].value == pytest.approx(rows["score"].mean())


def test_images_with_several_rows_get_the_bootstrap() -> None:
    rows = table(40)
    several = pandas.concat([rows] * 6, ignore_index=True)
    one, six = estimates(rows)["correct_high"], estimates(several)["correct_high"]
    assert six.value == one.value
    flags = (place(several) == "correct_high").astype(float)
    flags[several["score"].isna()] = np.nan
    assert six == bootstrap_mean(flags, several["image_id"].astype(str).tolist())
    rows_alone = wilson(int(np.nansum(flags)), six.n)
    assert six.high - six.low > 1.5 * (rows_alone.high - rows_alone.low)


def test_classes_are_counted_apart() -> None:
    rows = table()
    found = per_class(rows)
    assert list(found) == ["cat", "dog"]
    assert found["dog"] == estimates(rows[rows["label"] == "dog"])
    placed = place(rows)
    for name in CELLS:
        count = sum(round(found[c][name].value * found[c][name].n) for c in found)
        assert count == (placed == name).sum()


def test_the_tally_adds_up_and_names_outcomes() -> None:
    rows = table()
    rows["correct"] = rows["correct"].astype(object)
    rows.loc[10, "correct"] = None
    rows.loc[11, "score"] = np.nan  # "score" without one
    found = tally(rows)
    assert sum(found.values()) == len(rows)
    assert (found["refusal"], found["error"], found["degenerate"]) == (5, 10, 5)
    assert (found["no label"], found["no score"]) == (1, 1)
    json.dumps(found)


def test_nothing_scored() -> None:
    rows = table(30).assign(score=np.nan, outcome="error")
    found = estimates(rows)
    assert all(found[name].n == 0 and found[name].low is None for name in CELLS)
    assert found["accuracy"].n == 30
    assert tally(rows)["error"] == 30
    assert association(rows, OPTIONS).p is None
    assert area(rows).value is None
    assert len(sweep(rows)) == 0


def test_every_cell_has_a_reading() -> None:
    assert tuple(READINGS) == CELLS
    assert len(set(READINGS.values())) == 4


@pytest.mark.parametrize("threshold", [-0.1, 5.1, True, "3", None, float("nan")])
def test_a_threshold_off_the_scale_is_refused(threshold: Any) -> None:
    with pytest.raises(VlgroundError, match=r"metric.threshold="):
        JudgeMatrix(threshold)


def test_the_options_file_says_the_defaults() -> None:
    assert instantiate(OmegaConf.load(CONF / "metric" / "judge_matrix.yaml")) == JudgeMatrix()


# Right and high


def test_association_equals_scipy() -> None:
    rows = table()
    found = association(rows, OPTIONS)
    placed = place(rows)
    counts = np.array([(placed == name).sum() for name in CELLS]).reshape(2, 2)
    reference = odds_ratio(counts, kind="sample")
    interval = reference.confidence_interval(0.95)
    ratio = found.odds_ratio
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx(
        (reference.statistic, interval.low, interval.high)
    )
    assert found.p == pytest.approx(stats.fisher_exact(counts).pvalue)
    kept = rows[rows["score"].notna()]
    phi = np.corrcoef(kept["correct"], kept["score"] >= 2.5)[0, 1]
    assert found.phi.value == pytest.approx(phi)
    assert found.phi.low < phi < found.phi.high
    assert found.phi.value**2 == pytest.approx(
        stats.chi2_contingency(counts, correction=False).statistic / counts.sum()
    )


def test_association_of_an_empty_cell_and_of_an_empty_row() -> None:
    correct = [True] * 12 + [False] * 8
    score = [5.0] * 12 + [5.0] * 3 + [0.0] * 5
    rows = pandas.DataFrame({"image_id": range(20), "correct": correct, "score": score})
    found = association(rows, OPTIONS).odds_ratio
    assert found.value == pytest.approx(12.5 * 5.5 / (0.5 * 3.5))
    nothing = association(rows.assign(correct=True), OPTIONS)
    assert (nothing.odds_ratio.value, nothing.phi.value, nothing.p) == (None, None, None)
    assert nothing.odds_ratio.reason
    json.dumps(asdict(nothing), allow_nan=False)


def test_sweep_and_area_equal_scikit_learn() -> None:
    rows = table()
    kept = rows[rows["score"].notna()]
    found = sweep(rows).set_index("threshold")
    false_alarms, hits, thresholds = roc_curve(
        kept["correct"], kept["score"], drop_intermediate=False
    )
    for x, y, threshold in zip(false_alarms[1:], hits[1:], thresholds[1:], strict=True):
        row = found.loc[threshold]
        assert (row["false_alarm_rate"], row["hit_rate"]) == pytest.approx((x, y))
    np.testing.assert_allclose(found[list(CELLS)].sum(axis=1), 1)
    for threshold, row in found.iterrows():
        shares = estimates(rows, JudgeMatrix(threshold))
        assert [row[c] for c in CELLS] == pytest.approx([shares[c].value for c in CELLS])
    auc = area(rows)
    assert auc.value == pytest.approx(roc_auc_score(kept["correct"], kept["score"]))
    assert 0.5 < auc.low < auc.value < auc.high
    assert area(rows.assign(correct=True)).value is None


# Sanity


def judged(n: int = 40, blind: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
    """A judge who sees what is shown, but for the controls it is blind to."""
    rng = np.random.default_rng(0)
    levels = {"own": 4, "full": 4.5, "black": 0, "random": 2, "complement": 1, "shuffled_label": 1}
    levels |= dict.fromkeys(blind, 4)
    return {
        name: {str(i): float(np.clip(level + rng.normal(), 0, 5)) for i in range(n)}
        for name, level in levels.items()
    }


def image_of(n: int = 40) -> dict[str, str]:
    return {str(i): f"image {i}" for i in range(n)}


def test_a_judge_that_sees_is_sound() -> None:
    found = sanity(judged(), image_of())
    assert (found.verdict, found.failed, found.open) == ("sound", (), {})
    assert tuple(found.differences) == CONTROLS  # the whole image is no control
    assert "full" in found.means
    assert all(d.difference.low > 0 for d in found.differences.values())
    assert found.sentence.startswith("sound")


@pytest.mark.parametrize("control", CONTROLS)
def test_a_judge_that_is_blind_to_one_control_is_unsound(control: str) -> None:
    found = sanity(judged(blind=(control,)), image_of())
    assert (found.verdict, found.failed) == ("unsound", (f"own > {control}",))
    assert found.sentence == f"unsound: not shown that own > {control}"


def test_a_judge_that_likes_every_picture_is_unsound() -> None:
    scores = {name: dict.fromkeys(image_of(), 5.0) for name in ("own", *CONTROLS)}
    assert sanity(scores, image_of()).failed == tuple(f"own > {c}" for c in CONTROLS)


def test_what_was_not_run_or_is_too_small_is_undecided() -> None:
    scores = judged()
    del scores["random"]
    scores["black"] = dict.fromkeys(image_of(), float("nan"))
    found = sanity(scores, image_of())
    assert found.verdict == "undecided"
    assert found.open["own > random"] == "not run"
    assert found.open["own > black"] == "no sample has both scores"
    assert found.failed == ()
    few = sanity(judged(19), image_of(19))
    assert few.verdict == "undecided"
    assert set(few.open.values()) == {"fewer than 20 images"}
    few_blind = judged(19) | {"black": judged(19)["own"]}
    assert sanity(few_blind, image_of(19)).failed == (), "few images accuse nobody"
    assert sanity(judged() | {"black": judged()["own"]}, image_of()).failed == ("own > black",)


def test_differences_are_paired_by_sample() -> None:
    """A judge's severity differs between samples far more than between own and control."""
    rng = np.random.default_rng(1)
    level = {i: rng.uniform(1, 5) for i in image_of()}
    scores = {"own": level} | {c: {i: v - 0.1 for i, v in level.items()} for c in CONTROLS}
    scores["random"] = dict(reversed(scores["random"].items()))
    found = sanity(scores, image_of())
    assert found.verdict == "sound"
    assert found.means["own"].low < found.means["random"].high
