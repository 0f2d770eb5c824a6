"""How well people agree among themselves, which bounds how well a judge can agree with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from vlground.metrics.agreement import images_of
from vlground.metrics.correlation import pearson
from vlground.metrics.ratings import mean_of
from vlground.metrics.resampling import Statistic, bootstrap

Level = Literal["nominal", "ordinal", "interval"]
_FEWEST = 3  # samples that two columns of scores share; two always lie on a line


@dataclass(frozen=True)
class Ceiling:
    """What `ceiling` finds.

    Attributes:
        scores: Statistics by name.
        left_out: Annotator -> why they do not enter `others` and `ceiling`.
    """

    scores: dict[str, Statistic]
    left_out: dict[str, str]


def krippendorff(
    scores: np.ndarray,
    image_ids: Sequence[str],
    measurement: Level = "ordinal",
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Statistic:
    """Krippendorff's α = 1 - observed over expected disagreement (Krippendorff 2011).

    1 is perfect, 0 what chance would give. Missing scores are allowed; a sample with one score
    alone tells nothing. The interval resamples images (ours; Krippendorff draws pairs of scores).

    Args:
        scores: `(n, a)`, as in `vlground.metrics.ratings.Ratings`.
        image_ids: `(n,)` image of each sample.
        measurement: How much two scores differ: nominal, at all; ordinal, by the scores between
            them; interval, by the square of their difference.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the interval.

    Returns:
        Its `n` is the number of samples with two scores or more.

    >>> alike = np.array([[0.0, 0.0], [5.0, 5.0]])
    >>> krippendorff(alike, ["a", "b"], "nominal").value
    1.0
    """
    several = (~np.isnan(scores)).sum(axis=1) >= 2
    kept, images = scores[several], images_of(image_ids, several)
    values, which = np.unique(kept[~np.isnan(kept)], return_inverse=True)
    if len(values) < 2:
        reason = "no sample has two scores" if not len(values) else "all scores are equal"
        return Statistic(None, None, None, len(kept), reason)
    counts = np.zeros((len(kept), len(values)))
    np.add.at(counts, (np.nonzero(~np.isnan(kept))[0], which), 1)
    # Every score is compared with the others of its sample, and weighs the same in all.
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(len(values))
    pairs /= (counts.sum(axis=1) - 1)[:, None, None]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        observed = (weights @ pairs.reshape(len(kept), -1)).reshape(-1, len(values), len(values))
        total = observed.sum(axis=2)
        distance = _distance(values, total, measurement)
        expected = (total[:, :, None] * total[:, None, :] * distance).sum(axis=(1, 2))
        disagreement = (total.sum(axis=1) - 1) * (observed * distance).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"alpha": 1 - disagreement / expected}

    return bootstrap(measure, images, n_resamples, seed, level)["alpha"]


def ceiling(
    judge: np.ndarray,
    scores: np.ndarray,
    annotators: Sequence[str],
    image_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Ceiling:
    """How well an annotator agrees with the others, and the judge in the annotator's place.

    Args:
        judge: `(n,)`, 0-5; samples where it is NaN are left out.
        scores: `(n, a)`, as in `vlground.metrics.ratings.Ratings`.
        annotators: `(a,)` names of the columns.
        image_ids: `(n,)` image of each sample.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        `pearson`, r of the judge with the mean of all annotators. `ceiling`, r of an annotator with
        the mean of the others, averaged over annotators. `others`, r of the judge with these same
        means on the same samples, averaged: like against like. `over_ceiling = others / ceiling`,
        above 1 for a judge that stands for the others better than a person does (ours).
        `between`, mean r of two annotators. `reliability` of the mean of k annotators,
        `k·r / (1 + (k - 1)·r)` (Spearman-Brown; r = `between`, k the mean number of scores a
        sample). `disattenuated = pearson / sqrt(reliability)`, r with people's scores without their
        noise (Spearman 1904); it may exceed 1, and the judge's own noise is not taken out.
    """
    whole = ~np.isnan(judge) & ~np.isnan(scores).all(axis=1)
    x, table = np.asarray(judge, dtype=np.float64)[whole], scores[whole]
    rests = [mean_of(np.delete(table, j, axis=1)) for j in range(table.shape[1])]
    reasons = [_useless(table[:, j], rest) for j, rest in enumerate(rests)]
    used = [j for j, why in enumerate(reasons) if not why]
    # Pairs of columns, of whose correlations the mean is taken.
    own = [(table[:, j], rests[j]) for j in used]
    instead = [(np.where(np.isnan(table[:, j]), np.nan, x), rests[j]) for j in used]
    between = [(table[:, i], table[:, j]) for i, j in combinations(used, 2)]
    between = [pair for pair in between if not _useless(*pair)]
    overall = [(x, mean_of(table))]
    k = float((~np.isnan(table)).sum(axis=1).mean()) if len(table) else 0.0

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        r, top = _mean_r(between, weights), _mean_r(own, weights)
        others, judged = _mean_r(instead, weights), _mean_r(overall, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            reliability = k * r / (1 + (k - 1) * r)
            positive = np.where(reliability > 0, reliability, np.nan)
            over = others / np.where(top > 0, top, np.nan)
        return {
            "pearson": judged,
            "ceiling": top,
            "others": others,
            "over_ceiling": over,
            "between": r,
            "reliability": reliability,
            "disattenuated": judged / np.sqrt(positive),
        }

    found = bootstrap(measure, images_of(image_ids, whole), n_resamples, seed, level)
    left_out = {name: why for name, why in zip(annotators, reasons, strict=True) if why}
    return Ceiling({name: _explained(found[name], len(used)) for name in found}, left_out)


def _distance(values: np.ndarray, total: np.ndarray, measurement: Level) -> np.ndarray:
    """Squared distances `(b, v, v)` of values that occur `total` `(b, v)` times."""
    apart = values[:, None] - values[None, :]
    if measurement == "interval":
        return np.broadcast_to(apart**2, (len(total), *apart.shape))
    if measurement == "nominal":
        return np.broadcast_to((apart != 0).astype(np.float64), (len(total), *apart.shape))
    middle = np.cumsum(total, axis=1) - total / 2  # so that the ends of a range count by halves
    return (middle[:, :, None] - middle[:, None, :]) ** 2


def _useless(first: np.ndarray, others: np.ndarray) -> str:
    """Why an annotator's scores have no correlation with others, or ""."""
    there = ~np.isnan(first) & ~np.isnan(others)
    if there.sum() < _FEWEST:
        return f"shares fewer than {_FEWEST} samples with others"
    if np.ptp(first[there]) == 0:
        return "gives constant scores"
    return "the others give constant scores" if np.ptp(others[there]) == 0 else ""


def _mean_r(pairs: list[tuple[np.ndarray, np.ndarray]], weights: np.ndarray) -> np.ndarray:
    """`(b,)` mean of the Pearson's r of each pair, over the rows in which neither is NaN."""
    found = []
    for first, second in pairs:
        there = ~np.isnan(first) & ~np.isnan(second)
        found.append(pearson(first[there], second[there], weights[:, there]))
    return np.mean(found, axis=0) if found else np.full(len(weights), np.nan)


def _explained(statistic: Statistic, used: int) -> Statistic:
    if statistic.value is not None:
        return statistic
    few = "fewer than 2 annotators whose scores vary share samples"
    return replace(statistic, reason=few if used < 2 else "undefined: no positive agreement")
