"""The alternative-annotator test: may a judge stand in for a person (Calderon et al., ACL 2025)?

Leave one annotator out. Is the judge at least as close to the others as that annotator is? Over
the samples, that is a pair of shares: how often the judge is as close or closer (W_judge), and how
often the annotator is (W_human); ties count for both. The judge wins against the annotator if
W_human - W_judge is below ε, by a one-sided t test, at a false discovery rate of `q` over the
annotators (Benjamini-Yekutieli). It passes if it wins against half of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from vlground.metrics.agreement import images_of, rounded
from vlground.metrics.statistics import Estimate, bootstrap_mean

MIN_ITEMS = 30  # below, the t test's normality is not given (paper)
_TIE = 1e-9  # the same distance computed in another order


@dataclass(frozen=True)
class Duel:
    """The judge in the place of one annotator.

    Attributes:
        annotator: Who was left out.
        advantage: W_judge: how often the judge is as close to the others, or closer.
        human: W_human: how often the annotator is.
        p: Of the t test, before the correction.
        wins: Whether the judge wins.
    """

    annotator: str
    advantage: Estimate
    human: Estimate
    p: float
    wins: bool


@dataclass(frozen=True)
class AltTest:
    """What `alternative_annotator` finds.

    Attributes:
        winning_rate: ω, the share of annotators that the judge wins against; None without any.
        advantage: ρ, mean of W_judge over annotators: the chance that the judge is as close as a
            person picked at random, or closer; for comparing judges.
        passed: Whether ω >= 0.5; None if ω is.
        duels: One an annotator.
        left_out: Annotator -> why they are not in it.
        notes: What weakens the result.
    """

    winning_rate: float | None
    advantage: float | None
    passed: bool | None
    duels: tuple[Duel, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]


class _Compared(NamedTuple):
    """`(i,)` of the images on which one annotator can be compared; shares of their samples."""

    judge: np.ndarray
    human: np.ndarray


def alternative_annotator(
    judge: np.ndarray,
    scores: np.ndarray,
    annotators: Sequence[str],
    image_ids: Sequence[str],
    alignment: Literal["rmse", "accuracy"] = "rmse",
    epsilon: float = 0.2,
    q: float = 0.05,
) -> AltTest:
    """Run the test.

    Several samples of one image are averaged before the t test (ours; the paper's are independent).

    Args:
        judge: `(n,)`, 0-5; NaN where it gave no score, and the sample is left out.
        scores: `(n, a)`, as in `vlground.metrics.ratings.Ratings`.
        annotators: `(a,)` names of the columns.
        image_ids: `(n,)` image of each sample.
        alignment: How close a score is to those of the others: rmse, the root of its mean squared
            distance; accuracy, the share of them that it equals, after rounding to integers
            (halves upwards).
        epsilon: What a person costs more: 0.2 for experts, 0.15 for skilled annotators, 0.1 for
            crowd workers (paper).
        q: False discovery rate (paper: 0.05).

    >>> people = np.tile(np.arange(40.0)[:, None] % 6, 3)
    >>> images = [str(i) for i in range(40)]
    >>> found = alternative_annotator(people[:, 0], people, list("ABC"), images)
    >>> found.winning_rate, found.advantage, found.passed
    (1.0, 1.0, True)
    """
    shares, left_out = {}, {}
    for j, annotator in enumerate(annotators):
        compared = _compare(judge, scores, j, image_ids, alignment)
        if len(compared.judge) < MIN_ITEMS:
            left_out[annotator] = f"shares {len(compared.judge)} images, below {MIN_ITEMS}"
        else:
            shares[annotator] = compared
    notes = ["fewer than 3 annotators: weak, there is no group to stand for"] * (len(shares) < 3)
    if not shares:
        return AltTest(None, None, None, (), left_out, tuple(notes))
    p = np.array([_p(both.human - both.judge, epsilon) for both in shares.values()])
    wins = stats.false_discovery_control(p, method="by") <= q
    duels = tuple(
        Duel(name, _mean(both.judge), _mean(both.human), float(p[i]), bool(wins[i]))
        for i, (name, both) in enumerate(shares.items())
    )
    advantage = float(np.mean([duel.advantage.value for duel in duels]))
    rate = float(wins.mean())
    return AltTest(rate, advantage, rate >= 0.5, duels, left_out, tuple(notes))


def _compare(
    judge: np.ndarray, scores: np.ndarray, left_out: int, image_ids: Sequence[str], alignment: str
) -> _Compared:
    """How often, an image, the judge and the annotator are at least as close as the other."""
    own, others = scores[:, left_out], np.delete(scores, left_out, axis=1)
    used = ~np.isnan(judge) & ~np.isnan(own) & ~np.isnan(others).all(axis=1)
    if not used.any():
        return _Compared(np.zeros(0), np.zeros(0))
    distance = [_distance(x[used], others[used], alignment) for x in (judge, own)]
    _, image = np.unique(images_of(image_ids, used), return_inverse=True)
    count = np.bincount(image)
    as_close = distance[0] <= distance[1] + _TIE, distance[1] <= distance[0] + _TIE
    return _Compared(*(np.bincount(image, closer) / count for closer in as_close))


def _distance(one: np.ndarray, others: np.ndarray, alignment: str) -> np.ndarray:
    """`(n,)` mean squared distance to the others, or share of them that differ."""
    if alignment == "accuracy":
        apart = (rounded(one)[:, None] != rounded(others)).astype(np.float64)
    else:  # its root is monotone, so there is no need to draw it
        apart = (one[:, None] - others) ** 2
    there = ~np.isnan(others)
    return np.asarray(np.where(there, apart, 0).sum(axis=1) / there.sum(axis=1))


def _p(difference: np.ndarray, epsilon: float) -> float:
    """One-sided p of mean(difference) < ε; certain if the differences are all the same."""
    if np.ptp(difference) == 0:
        return 0.0 if difference[0] < epsilon else 1.0
    return float(stats.ttest_1samp(difference, epsilon, alternative="less").pvalue)


def _mean(shares: np.ndarray) -> Estimate:
    return bootstrap_mean(shares, [str(i) for i in range(len(shares))])
