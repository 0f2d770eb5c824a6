"""Is one setting closer to people than another, on the same samples?

Two correlations with the same human scores depend on each other, so that two overlapping
intervals decide nothing: the difference is tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import atanh, sqrt

import numpy as np
from scipy import stats

from vlground.metrics.agreement import paired
from vlground.metrics.correlation import pearson
from vlground.metrics.resampling import Statistic, bootstrap

CLUSTERED = "images have several rows: the test's formula does not hold"


@dataclass(frozen=True)
class Significance:
    """A test statistic with its two-sided p."""

    statistic: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two settings against the same human scores.

    Attributes:
        first: Pearson's r of the first.
        second: Pearson's r of the second.
        difference: First minus second, paired.
        williams: None if not defined, see `reason`.
        steiger: None if not defined.
        reason: Why there is no test, or "".
        p_holm: Williams' p after Holm's correction over all comparisons that were made; None if it
            was not made or the test is not defined.
    """

    first: Statistic
    second: Statistic
    difference: Statistic
    williams: Significance | None
    steiger: Significance | None
    reason: str = ""
    p_holm: float | None = None


def williams(r1: float, r2: float, r12: float, n: int) -> Significance:
    """Williams' t test of two correlations that share a variable (Williams 1959, Steiger 1980).

    Args:
        r1: Correlation of the shared variable with the first.
        r2: With the second.
        r12: Of the first with the second.
        n: Number of independent rows, at least 4.

    >>> round(williams(0.5, 0.4, 0.1, 103).statistic, 2)  # the example of Steiger 1980
    0.89
    """
    determinant = 1 - r1**2 - r2**2 - r12**2 + 2 * r1 * r2 * r12
    spread = 2 * (n - 1) / (n - 3) * determinant + ((r1 + r2) / 2) ** 2 * (1 - r12) ** 3
    t = (r1 - r2) * sqrt((n - 1) * (1 + r12) / spread)
    return Significance(t, float(2 * stats.t.sf(abs(t), n - 3)))


def steiger(r1: float, r2: float, r12: float, n: int) -> Significance:
    """Steiger's z test, with r pooled under the null hypothesis (Steiger 1980, eq. 14).

    Args:
        r1: See `williams`, like the next three; of absolute value below 1.
        r2: See `williams`.
        r12: See `williams`.
        n: See `williams`.
    """
    pooled = ((r1 + r2) / 2) ** 2
    psi = r12 * (1 - 2 * pooled) - 0.5 * pooled * (1 - 2 * pooled - r12**2)
    covariance = psi / (1 - pooled) ** 2
    z = (atanh(r1) - atanh(r2)) * sqrt((n - 3) / (2 - 2 * covariance))
    return Significance(z, float(2 * stats.norm.sf(abs(z))))


def compare(
    people: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    image_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two settings' correlations with people.

    The tests take rows as independent and scores as normal; they are not made where images have
    several rows. The paired bootstrap needs neither.

    Args:
        people: `(n,)` human scores, NaN where there is none.
        first: `(n,)` scores of the judge in the first setting; NaN where it gave none.
        second: `(n,)` in the second setting.
        image_ids: `(n,)` image of each sample.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        All of it over the samples that have all three scores.
    """
    (h, x, y), images = paired([people, first, second], image_ids)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        one, two = pearson(h, x, weights), pearson(h, y, weights)
        return {"first": one, "second": two, "difference": one - two}

    found = bootstrap(measure, images, n_resamples, seed, level)
    r1, r2 = found["first"].value, found["second"].value
    r12 = float(pearson(x, y, np.ones((1, len(x))))[0])
    why = _untestable(r1, r2, r12, images)
    made = Comparison(found["first"], found["second"], found["difference"], None, None, why)
    if why or r1 is None or r2 is None:
        return made
    n = len(h)
    return replace(made, williams=williams(r1, r2, r12, n), steiger=steiger(r1, r2, r12, n))


def compare_grid(
    people: np.ndarray,
    settings: Mapping[str, np.ndarray],
    reference: str,
    image_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Comparison]:
    """Compare every setting of a grid with one of them, with Holm's correction.

    Args:
        people: See `compare`.
        settings: Setting -> `(n,)` scores of the judge.
        reference: The setting the others are compared with; choose it before looking, since the
            best of the grid is the best by chance too.
        image_ids: See `compare`, like the next three.
        n_resamples: See `compare`.
        seed: See `compare`.
        level: See `compare`.

    Returns:
        Every other setting -> setting minus reference.
    """
    found = {
        name: compare(people, scores, settings[reference], image_ids, n_resamples, seed, level)
        for name, scores in settings.items()
        if name != reference
    }
    adjusted = holm({name: made.williams.p for name, made in found.items() if made.williams})
    return {name: replace(made, p_holm=adjusted.get(name)) for name, made in found.items()}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Correct p values for their number (Holm 1979), so that a whole family errs as one test.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def _untestable(r1: float | None, r2: float | None, r12: float, images: list[str]) -> str:
    if len(images) < 4:
        return "fewer than 4 samples have all three scores"
    if r1 is None or r2 is None:
        return "some scores are constant"
    if len(set(images)) < len(images):
        return CLUSTERED
    if max(abs(r1), abs(r2), r12) >= 1 - 1e-12:
        return "a correlation of 1: nothing is left to chance"
    return ""
