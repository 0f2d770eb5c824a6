"""Right or wrong × well or badly grounded in a judge's eyes (AutoXplain, arXiv 2508.20227).

A classifier is right if the class it predicts is the sample's. What its map shows is well grounded
(high) if the judge scores it from the threshold on:

                        score >= threshold      score < threshold
    prediction right    correct_high            correct_low
    prediction wrong    wrong_high              wrong_low

The judge is asked of the predicted class. A sample without a score (a refusal, an error, a map that
was not sent) is in none of the four, never low; it is counted by what became of it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.errors import VlgroundError
from vlground.labels import CELLS
from vlground.metrics.matrix import cells
from vlground.metrics.proportions import share
from vlground.metrics.statistics import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import pandas

JUDGE_MATRIX = ("accuracy", *CELLS, "judge_score")
READINGS = {
    "correct_high": "Right, and for a visible reason: the part shown depicts the class.",
    "correct_low": "Right, but not for a reason that can be seen: the part shown does not support "
    "the class. Many of these hint at a shortcut, such as the background or a mark.",
    "wrong_high": "Wrong, though the part shown does look like the predicted class: a look-alike, "
    "a second object, a doubtful label, or a head that errs on good evidence.",
    "wrong_low": "Wrong twice: neither the class nor the part shown fits. The model did not find "
    "the object.",
}


@dataclass(frozen=True)
class JudgeMatrix:
    """Options of the matrix.

    Attributes:
        threshold: From this score on a sample is high (2.5 in the authors' code, so 3, 4 and 5 of
            the integers; the paper does not say).

    >>> JudgeMatrix(threshold=6)
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.threshold=6: expected a number from 0 to 5
    """

    threshold: float = 2.5

    def __post_init__(self) -> None:
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not number or not 0 <= self.threshold <= 5:
            raise VlgroundError(f"metric.threshold={self.threshold}: expected a number from 0 to 5")


def place(rows: "pandas.DataFrame", options: JudgeMatrix = JudgeMatrix()) -> np.ndarray:
    """The cell of each sample `(n,)`; None of one without a score or without a label.

    Args:
        rows: With `correct` (whether the prediction is right; None or NaN without a label) and
            `score` (0-5, or NaN).
        options: Where high begins.

    >>> import pandas
    >>> rows = pandas.DataFrame({"correct": [True, False, True], "score": [2.5, 1.0, None]})
    >>> place(rows).tolist()
    ['correct_high', 'wrong_low', None]
    """
    return cells(rightness_of(rows), rows["score"].to_numpy(dtype=np.float64), options.threshold)


def estimates(
    rows: "pandas.DataFrame", options: JudgeMatrix = JudgeMatrix()
) -> dict[str, Estimate]:
    """Accuracy, the share of each cell and the mean score.

    Args:
        rows: As in `place`, and `image_id`.
        options: Where high begins.

    Returns:
        Estimates of `JUDGE_MATRIX`. The accuracy is over all samples with a label, whatever became
        of the judge; the cells' shares are over the samples that have a cell, and add up to 1.
        Shares have Wilson's interval, or the bootstrap's where images have several rows.
    """
    placed, images = place(rows, options), rows["image_id"].astype(str).tolist()
    outside = np.array([cell is None for cell in placed], dtype=bool)
    found = {"accuracy": share(rightness_of(rows), images)}
    for name in CELLS:
        found[name] = share(np.where(outside, np.nan, placed == name), images)
    scores = rows["score"].to_numpy(dtype=np.float64)
    return found | {"judge_score": bootstrap_mean(scores, images)}


def per_class(
    rows: "pandas.DataFrame", options: JudgeMatrix = JudgeMatrix(), by: str = "label"
) -> dict[str, dict[str, Estimate]]:
    """`estimates` of each class.

    Args:
        rows: As in `estimates`, and the column `by`.
        options: Where high begins.
        by: Column of the class: of the label, or of the prediction.
    """
    return {str(name): estimates(part, options) for name, part in rows.groupby(by, sort=True)}


def tally(rows: "pandas.DataFrame", options: JudgeMatrix = JudgeMatrix()) -> dict[str, int]:
    """How many samples are in each cell, and what became of the others.

    Args:
        rows: As in `place`, and `outcome`: score, or what else became of the sample (refusal,
            error, degenerate, …).
        options: Where high begins.

    Returns:
        The four cells; `no label`, scored but neither right nor wrong; then every outcome other
        than a score. The sum is the number of rows.

    >>> import pandas
    >>> columns = {"correct": [True, True], "score": [4, None], "outcome": ["score", "refusal"]}
    >>> tally(pandas.DataFrame(columns))  # doctest: +NORMALIZE_WHITESPACE
    {'correct_high': 1, 'correct_low': 0, 'wrong_high': 0, 'wrong_low': 0, 'no label': 0,
     'refusal': 1}
    """
    placed, scored = place(rows, options), rows["score"].notna().to_numpy()
    found = {name: int((placed == name).sum()) for name in CELLS}
    found["no label"] = int(scored.sum()) - sum(found.values())
    outcomes = rows["outcome"][~scored].replace("score", "no score").fillna("no score")
    return found | {str(name): int(count) for name, count in outcomes.value_counts().items()}


def rightness_of(rows: "pandas.DataFrame") -> np.ndarray:
    """Whether each prediction is right `(n,)`: 1.0 or 0.0, NaN without a label."""
    return np.asarray(rows["correct"].astype("float64").to_numpy())
