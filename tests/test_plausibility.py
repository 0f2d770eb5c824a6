"""Do plausible and faithful agree: planted correlations beside scipy, and what is left out."""

import numpy as np
import pandas
import pytest
from scipy import stats

from vlground.metrics.faithfulness import SCORES
from vlground.metrics.resampling import FEW_IMAGES
from vlground.plausibility import LOWER, plausibility, plausibility_table


def tables(n: int = 120, images: int = 60) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Faithful maps of which the plausible ones have a low deletion, and insertion is noise."""
    rng = np.random.default_rng(0)
    faithful = pandas.DataFrame({name: rng.normal(size=n) for name in SCORES})
    faithful["id"] = [f"sample {i}" for i in range(n)]
    faithful["image_id"] = [f"image {i % images}" for i in range(n)]
    faithful["text"] = [f"text {i % 7}" for i in range(n)]
    grounded = faithful[["id", "image_id", "text"]].copy()
    grounded["io_ratio"] = np.exp(-faithful["deletion"] + 0.5 * rng.normal(size=n))
    faithful["road_combined"] = -grounded["io_ratio"] + 0.1 * rng.normal(size=n)
    faithful["average_increase"] = (faithful["average_increase"] > 0).astype(float)
    return faithful, grounded


def test_values_are_scipys_whatever_the_order_of_the_rows() -> None:
    faithful, grounded = tables()
    found = plausibility(faithful, [grounded.sample(frac=1, random_state=1)])
    assert [one.faithful for one in found] == list(SCORES)
    for one in found:
        expected = stats.spearmanr(faithful[one.faithful], grounded["io_ratio"]).statistic
        assert one.spearman.value == pytest.approx(expected, abs=1e-12)
        assert one.spearman.low is not None
        assert one.spearman.high is not None
        assert one.spearman.low < expected < one.spearman.high
        assert (one.spearman.n, one.common, one.other_text) == (120, 120, 0)


def test_verdicts_know_which_end_is_better() -> None:
    faithful, grounded = tables()
    verdicts = {one.faithful: one.verdict for one in plausibility(faithful, [grounded])}
    assert verdicts["deletion"] == "yes", "plausible maps have a low deletion, which is good"
    assert verdicts["road_combined"] == "no", "and a low road_combined, which is bad"
    assert verdicts["insertion"] == "open"
    mirrored = faithful.assign(deletion=-faithful["deletion"])
    assert plausibility(mirrored, [grounded])[0].verdict == "no"
    assert set(SCORES) > LOWER


def test_intervals_resample_images_not_samples() -> None:
    faithful, grounded = tables()
    copies, others = (
        pandas.concat([rows.assign(id=rows["id"] + f"/{i}") for i in range(4)])
        for rows in (faithful, grounded)
    )
    once = plausibility(faithful, [grounded])[1].spearman
    often = plausibility(copies, [others])[1].spearman
    assert often.n == 4 * once.n
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-9)


def test_only_pairs_of_numbers_enter() -> None:
    faithful, grounded = tables()
    faithful.loc[:9, "average_drop"] = np.nan
    grounded.loc[5:14, "io_ratio"] = np.nan
    found = {one.faithful: one for one in plausibility(faithful.iloc[:-20], [grounded.iloc[2:]])}
    assert found["deletion"].common == 98
    assert found["deletion"].spearman.n == 88
    assert found["average_drop"].spearman.n == 85
    x, y = faithful["average_drop"][15:100], grounded["io_ratio"][15:100]
    expected = stats.spearmanr(x, y).statistic
    assert found["average_drop"].spearman.value == pytest.approx(expected, abs=1e-12)


def test_a_judge_scores_the_map_of_the_predicted_class() -> None:
    faithful, grounded = tables()
    judged = faithful[["id", "image_id", "text"]].copy()
    judged["label"], judged["predicted"] = judged["text"], "Text_" + judged["text"].str[-1]
    judged["correct"] = 1.0
    judged.loc[:9, ["predicted", "correct"]] = ["another class", 0.0]
    judged.loc[10:14, "predicted"] = "a synonym"  # and right
    judged.loc[15:20, ["label", "correct"]] = ["another text of the image", 1.0]
    judged["score"] = np.round(5 * stats.rankdata(-faithful["deletion"]) / len(faithful))
    judged.loc[100:, "score"] = np.nan
    found = plausibility(faithful, [judged, grounded])
    assert [one.plausible for one in found] == ["io_ratio"] * len(SCORES) + ["score"] * len(SCORES)
    one = found[len(SCORES)]
    assert (one.faithful, one.common, one.other_text, one.spearman.n) == ("deletion", 120, 10, 90)
    kept = slice(10, 100)
    expected = stats.spearmanr(faithful["deletion"][kept], judged["score"][kept]).statistic
    assert one.spearman.value == pytest.approx(expected, abs=1e-12)
    assert one.verdict == "yes"


def test_what_has_no_value_says_why() -> None:
    faithful, grounded = tables(n=19, images=19)
    heads, rows = plausibility_table(plausibility(faithful, [grounded]), "\n")
    assert {len(row) for row in rows} == {len(heads)}
    assert [row[0] for row in rows][:3] == ["deletion ↓", "insertion ↑", "average_drop ↓"]
    assert {row[-1] for row in rows} == {FEW_IMAGES}
    constant = faithful.assign(average_increase=1.0)
    found = {one.faithful: one for one in plausibility(constant, [grounded])}
    assert found["average_increase"].spearman.value is None
    assert found["average_increase"].spearman.reason == "the scores of faithfulness are constant"
    assert "road_lerf" not in {
        one.faithful for one in plausibility(faithful.assign(road_lerf=np.nan), [grounded])
    }
    _, rows = plausibility_table([found["average_increase"]])
    assert rows[0][-2:] == ["–", "the scores of faithfulness are constant"]
    faithful, grounded = tables()
    _, (row, *_) = plausibility_table(plausibility(faithful, [grounded]))
    assert row[2] == "120"
    assert row[-1] == "yes"
    assert "–" in row[3], "with its interval"


def test_tables_that_do_not_belong_together_are_refused() -> None:
    faithful, grounded = tables()
    with pytest.raises(ValueError, match="different images"):
        plausibility(faithful, [grounded.assign(image_id="x")])
    with pytest.raises(ValueError, match="no score of faithfulness"):
        plausibility(grounded, [grounded])
    with pytest.raises(ValueError, match="rows without a column of io_ratio, score"):
        plausibility(faithful, [faithful])
    with pytest.raises(ValueError, match="one-to-one"):
        plausibility(faithful, [pandas.concat([grounded, grounded])])
