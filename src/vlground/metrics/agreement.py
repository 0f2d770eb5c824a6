"""How well a judge's scores agree with people's, with intervals over images.

    pearson      straight line (the paper's figure)          spearman  order, by ranks
    kendall      order, by pairs of samples; τ-b             kappa     Cohen's, quadratic weights
    concordance  Lin's: 1 only if the scores are equal       bias      mean of judge - people
    mae          mean of |judge - people|

Pearson, Spearman and Kendall do not see a judge that is too kind by a constant; the others do.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vlground.metrics.correlation import concordance, kendall, mean, pearson, spearman
from vlground.metrics.resampling import Statistic, bootstrap

AGREEMENT = ("pearson", "spearman", "kendall", "kappa", "concordance", "bias", "mae")
HIGHEST = 5  # of the judge's scale, which begins at 0


class _Pairs(NamedTuple):
    """Scores of the samples that all have a score, and the samples' images."""

    columns: list[np.ndarray]
    image_ids: list[str]


def agreement(
    judge: np.ndarray,
    people: np.ndarray,
    image_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Statistic]:
    """Agreement of two columns of scores.

    κ is of integers: scores of either side are rounded to the nearest, halves upwards, see
    `rounded`. Of integers it equals the concordance, so a difference of the two is rounding alone.

    Args:
        judge: `(n,)`, 0-5; NaN where the judge gave no score.
        people: `(n,)`, 0-5, the mean of the annotators of each sample; NaN where there is none.
        image_ids: `(n,)` image of each sample.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        Statistics of `AGREEMENT` over the samples that both scored.

    Raises:
        ValueError: Lengths differ.

    >>> scores = np.array([0.0, 2.0, 5.0])
    >>> found = agreement(scores, scores + 1, ["a", "b", "c"])
    >>> found["pearson"].value, found["bias"].value
    (1.0, -1.0)
    """
    (x, y), images = paired([judge, people], image_ids)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "pearson": pearson(x, y, weights),
            "spearman": spearman(x, y, weights),
            "kendall": kendall(x, y, weights),
            "kappa": concordance(rounded(x), rounded(y), weights),
            "concordance": concordance(x, y, weights),
            "bias": mean(x - y, weights),
            "mae": mean(np.abs(x - y), weights),
        }

    return explained(bootstrap(measure, images, n_resamples, seed, level), undefined(x, y))


def rounded(scores: np.ndarray) -> np.ndarray:
    """Integers 0-5: the nearest, halves upwards (not to even, which would favour 0, 2 and 4).

    >>> rounded(np.array([0.4, 0.5, 2.5, 5.0])).tolist()
    [0.0, 1.0, 3.0, 5.0]
    """
    return np.clip(np.floor(scores + 0.5), 0, HIGHEST)


def paired(columns: Sequence[np.ndarray], image_ids: Sequence[str]) -> _Pairs:
    """The rows in which no column is NaN.

    Raises:
        ValueError: Lengths differ.
    """
    table = [np.asarray(column, dtype=np.float64) for column in columns]
    if {len(column) for column in table} != {len(image_ids)}:
        lengths = [len(column) for column in table]
        raise ValueError(f"columns of {lengths} scores for {len(image_ids)} image ids")
    whole = np.asarray(~np.isnan(table).any(axis=0))
    return _Pairs([column[whole] for column in table], images_of(image_ids, whole))


def images_of(image_ids: Sequence[str], kept: np.ndarray) -> list[str]:
    """The images of the rows that are kept, `(n,)` bool."""
    return [image_ids[row] for row in np.flatnonzero(kept).tolist()]


def undefined(
    first: np.ndarray,
    second: np.ndarray,
    one: str = "the judge's scores",
    other: str = "people's scores",
    rows: str = "samples",
) -> str:
    """Why a coefficient of these pairs has no value.

    Args:
        first: `(n,)` finite.
        second: `(n,)` finite.
        one: What the first are, in the plural.
        other: What the second are.
        rows: What the pairs are of.
    """
    if len(first) < 2:
        return f"fewer than 2 {rows} have both"
    if np.ptp(first) == 0:
        return f"{one} are constant"
    return f"{other} are constant" if np.ptp(second) == 0 else "undefined"


def explained(found: dict[str, Statistic], why: str) -> dict[str, Statistic]:
    """The statistics, with why some have no value."""
    return {k: replace(v, reason=why) if v.value is None else v for k, v in found.items()}
