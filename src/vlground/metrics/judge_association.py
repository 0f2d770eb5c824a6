"""Does a judge's score of the map go with right predictions: odds, ROC curve, threshold sweep."""

from dataclasses import dataclass
from math import exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from vlground.labels import CELLS
from vlground.metrics.correlation import area_under_curve, pearson
from vlground.metrics.judge_matrix import JudgeMatrix, place, rightness_of
from vlground.metrics.resampling import Statistic, bootstrap

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Association:
    """Whether right predictions are also the well grounded ones.

    Attributes:
        odds_ratio: Odds of high if right over odds of high if wrong, with Woolf's interval; None if
            a row or column of the table is empty.
        phi: φ, Pearson's r of right and high, -1 to 1.
        p: Fisher's exact test, two-sided; None if a row or column of the table is empty.
    """

    odds_ratio: Statistic
    phi: Statistic
    p: float | None


def association(rows: "pandas.DataFrame", options: JudgeMatrix, level: float = 0.95) -> Association:
    """Odds ratio and φ of right and high.

    Args:
        rows: As in `estimates`.
        options: Where high begins.
        level: Coverage of the intervals.

    Returns:
        If one of the cells is empty, a half is added to each of them for the odds ratio
        (Haldane-Anscombe), which would be 0 or infinite.
    """
    placed = place(rows, options)
    inside = np.array([cell is not None for cell in placed], dtype=bool)
    counts = np.array([(placed == name).sum() for name in CELLS], dtype=np.float64)
    right, high = np.isin(placed, CELLS[:2])[inside], np.isin(placed, CELLS[::2])[inside]
    images = rows["image_id"].astype(str)[inside].tolist()
    x, y = right.astype(np.float64), high.astype(np.float64)
    phi = bootstrap(lambda w: {"phi": pearson(x, y, w)}, images, level=level)["phi"]
    table, n = counts.reshape(2, 2), int(counts.sum())
    if not (table.sum(axis=0).all() and table.sum(axis=1).all()):
        nothing = Statistic(None, None, None, n, "all are right, or wrong, or high, or low")
        return Association(nothing, nothing, None)
    a, b, c, d = (counts + 0.5 * (counts == 0).any()).tolist()
    middle, half = log(a * d / (b * c)), sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    half *= float(stats.norm.ppf((1 + level) / 2))
    ratio = Statistic(exp(middle), exp(middle - half), exp(middle + half), n)
    return Association(ratio, phi, float(stats.fisher_exact(table).pvalue))


def sweep(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    """The matrix at every threshold that the scores tell apart.

    Args:
        rows: As in `place`.

    Returns:
        One row a threshold, ascending: `threshold`; the shares of the four cells; and the point of
        the ROC curve of score → right: `hit_rate`, share of the right that are high, and
        `false_alarm_rate`, share of the wrong that are. NaN where there are none.
    """
    import pandas

    right, scores = rightness_of(rows), rows["score"].to_numpy(dtype=np.float64)
    inside = ~np.isnan(right) & ~np.isnan(scores)
    right, scores = right[inside] == 1, scores[inside]
    thresholds = np.unique(scores)
    high = scores[None, :] >= thresholds[:, None]
    counts = [high & right, ~high & right, high & ~right, ~high & ~right]
    table = pandas.DataFrame({"threshold": thresholds})
    with np.errstate(invalid="ignore"):
        for name, cell in zip(CELLS, counts, strict=True):
            table[name] = cell.sum(axis=1) / len(scores)
        table["hit_rate"] = counts[0].sum(axis=1) / right.sum()
        table["false_alarm_rate"] = counts[2].sum(axis=1) / (~right).sum()
    return table


def area(rows: "pandas.DataFrame", level: float = 0.95) -> Statistic:
    """Area under the ROC curve of score → right: 0.5 if the score knows nothing of it.

    Args:
        rows: As in `estimates`.
        level: Coverage of the interval.
    """
    right, scores = rightness_of(rows), rows["score"].to_numpy(dtype=np.float64)
    inside = np.isfinite(right) & np.isfinite(scores)
    images = rows["image_id"].astype(str)[inside].tolist()
    positive, x = right[inside] == 1, scores[inside]
    found = bootstrap(lambda w: {"auc": area_under_curve(x, positive, w)}, images, level=level)
    return found["auc"]
