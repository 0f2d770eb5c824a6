"""Shares of samples with intervals, and whether two paired shares differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from scipy import stats

from vlground.metrics.statistics import Estimate, bootstrap_mean


@dataclass(frozen=True)
class McNemar:
    """Two paired yes-or-no columns.

    Attributes:
        only_first: Number of samples with yes in the first alone.
        only_second: In the second alone.
        n: Number of samples that have both.
        p: Two-sided, exact.
    """

    only_first: int
    only_second: int
    n: int
    p: float


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927), which holds for few samples too.

    Args:
        successes: Number of samples that count.
        n: Number of samples, independent of each other.
        level: Coverage of the interval.

    Returns:
        Its value is NaN and its ends None without samples.

    >>> estimate = wilson(0, 10)
    >>> estimate.value, round(estimate.high, 4)
    (0.0, 0.2775)
    """
    if n == 0:
        return Estimate(nan, None, None, 0)
    z, share = float(stats.norm.ppf((1 + level) / 2)), successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Rounding must not put the end above a share of 0, nor below one of 1.
    low = 0.0 if successes == 0 else middle - half
    return Estimate(share, low, 1.0 if successes == n else middle + half, n)


def share(
    flags: np.ndarray, image_ids: Sequence[str], level: float = 0.95, seed: int = 0
) -> Estimate:
    """A share of samples: Wilson's interval, or the bootstrap where images have several rows.

    Rows of one image depend on each other, which Wilson's formula knows nothing of (ours).

    Args:
        flags: `(n,)` 1.0 or 0.0; NaN rows are dropped (undecided).
        image_ids: `(n,)` image of each row.
        level: Coverage of the interval.
        seed: Seed of the bootstrap.

    >>> share(np.array([1.0, 0.0, np.nan]), ["a", "b", "c"]).value
    0.5
    """
    values = np.asarray(flags, dtype=np.float64)
    there = ~np.isnan(values)
    images = {image_ids[row] for row in np.flatnonzero(there).tolist()}
    if len(images) < there.sum():
        return bootstrap_mean(values, image_ids, seed=seed, level=level)
    return wilson(int(values[there].sum()), int(there.sum()), level)


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test: are two paired shares the same (McNemar 1947; binomial)?

    Args:
        first: `(n,)` 1.0 or 0.0; NaN where undecided.
        second: `(n,)`, the same of the same samples, one an image.

    >>> mcnemar(np.array([1.0] * 6 + [np.nan]), np.array([0.0] * 6 + [1.0]))
    McNemar(only_first=6, only_second=0, n=6, p=0.03125)
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = int((~np.isnan(x) & ~np.isnan(y)).sum())
    b, c = int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())
    p = float(stats.binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    return McNemar(b, c, n, p)
