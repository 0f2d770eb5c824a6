"""Coefficients of pairs of scores under row weights, for `vlground.metrics.resampling`.

Each takes x and y `(n,)`, finite, and weights `(b, n)`, how often each row is drawn; each returns
`(b,)`, NaN where it is undefined. A weight of 2 counts like two equal rows.
"""

import numpy as np

_COLUMNS = 512  # columns of the sign matrix of Kendall's tau held at once
_ROUNDING = 1e-12  # a standard deviation this far below the mean is rounding, not variation


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's r; undefined if x or y is constant.

    >>> pearson(np.array([0.0, 1.0, 5.0]), np.array([1.0, 3.0, 11.0]), np.ones((1, 3))).round(9)
    array([1.])
    """
    _, _, var_x, var_y, cov = _moments(x, y, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = cov / np.sqrt(var_x * var_y)
    return np.where((var_x > 0) & (var_y > 0), np.clip(r, -1, 1), np.nan)


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's ρ: Pearson's r of the ranks, ties at their mean rank."""
    return pearson(_midranks(x, weights), _midranks(y, weights), weights)


def kendall(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Kendall's τ-b; undefined if x or y is constant.

    Its cost grows with the square of the number of distinct pairs, hence slowly for ratings.
    """
    pairs, which = np.unique(np.stack([x, y], axis=1), axis=0, return_inverse=True)
    w = _grouped(weights, which.ravel(), len(pairs))
    total = np.zeros(len(w))
    # Integers below 2 ** 24 are exact in single precision, which doubles the speed.
    single = w.astype(np.float32)
    for start in range(0, len(pairs), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        sign = np.sign(pairs[:, None, 0] - pairs[None, part, 0])
        sign *= np.sign(pairs[:, None, 1] - pairs[None, part, 1])
        total += ((single @ sign.astype(np.float32)).astype(np.float64) * w[:, part]).sum(axis=1)
    n = w.sum(axis=1)
    untied = [n**2 - (_grouped(weights, *_levels(v)) ** 2).sum(axis=1) for v in (x, y)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.minimum(*untied) > 0, total / np.sqrt(untied[0] * untied[1]), np.nan)


def concordance(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lin's concordance 2·cov / (var_x + var_y + (mean_x - mean_y)²), moments over n (Lin 1989).

    Undefined only if x and y are the same constant. Of integers it is Cohen's κ with quadratic
    weights.
    """
    mean_x, mean_y, var_x, var_y, cov = _moments(x, y, weights)
    spread = var_x + var_y + (mean_x - mean_y) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 2 * cov / spread, np.nan)


def mean(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of x; undefined without rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weights @ x) / weights.sum(axis=1)


def area_under_curve(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability that a positive row scores higher than a negative one, ties a half.

    Args:
        score: `(n,)`.
        positive: `(n,)` bool.
        weights: `(b, n)`.

    Returns:
        `(b,)`, the area under the ROC curve; NaN without a positive or without a negative row.
    """
    levels = _levels(score)
    hits = _grouped(weights * positive, *levels)
    misses = _grouped(weights * ~positive, *levels)
    below = np.cumsum(misses, axis=1) - misses / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return (hits * below).sum(axis=1) / (hits.sum(axis=1) * misses.sum(axis=1))


def _moments(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, variances over n and covariance, each `(b,)`; x and y `(n,)` or `(b, n)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = weights / weights.sum(axis=1, keepdims=True)
    mean_x, mean_y = (share * x).sum(axis=1), (share * y).sum(axis=1)
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    var_x, var_y = (share * dx * dx).sum(axis=1), (share * dy * dy).sum(axis=1)
    var_x[var_x <= _ROUNDING**2 * (1 + mean_x**2)] = 0
    var_y[var_y <= _ROUNDING**2 * (1 + mean_y**2)] = 0
    return mean_x, mean_y, var_x, var_y, (share * dx * dy).sum(axis=1)


def _levels(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Which of the distinct values, in ascending order, each row has, and how many there are."""
    values, which = np.unique(x, return_inverse=True)
    return which, len(values)


def _grouped(weights: np.ndarray, which: np.ndarray, count: int) -> np.ndarray:
    """`(b, count)` sums of the weights of each group, all of which have rows."""
    if count == len(which):
        grouped = np.empty_like(weights)
        grouped[:, which] = weights
        return grouped
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(count))
    return np.add.reduceat(weights[:, order], starts, axis=1)


def _midranks(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(b, n)` ranks from 1 on, ties at their mean rank."""
    which, count = _levels(x)
    tied = _grouped(weights, which, count)
    return (np.cumsum(tied, axis=1) - (tied - 1) / 2)[:, which]
