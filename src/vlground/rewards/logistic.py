"""Logistic regression on sparse rows, with a penalty chosen on rows that are left out (ours)."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

_STEPS = 500  # of L-BFGS; 12,000 captions need about 200


def fit(columns: sparse.csr_array, labels: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Make the log loss small, with half the penalty times the squared weights beside it.

    Convex and started from 0, so it depends on nothing that is drawn.

    Args:
        columns: `(n, k)`, n rows.
        labels: `(n,)` in 0-1; a share counts as so much of an error.
        penalty: Above 0; the bias has none.

    Returns:
        `(k,)` float32 weights, 0 of columns that no row has, and the bias.
    """
    used = np.unique(columns.indices)
    rows = columns[:, used].tocsr()
    across = rows.T.tocsr()

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights, logits = point[:-1], rows @ point[:-1] + point[-1]
        off = expit(logits) - labels
        value = log_loss(logits, labels).sum() + penalty / 2 * (weights @ weights)
        return float(value), np.append(across @ off + penalty * weights, off.sum())

    start = np.zeros(len(used) + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    weights = np.zeros(columns.shape[1], dtype=np.float32)
    weights[used] = found[:-1]
    return weights, float(found[-1])


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`(n,)` natural, of labels in 0-1."""
    return np.asarray(np.logaddexp(0, logits) - labels * logits)


def best_penalty(
    columns: sparse.csr_array, labels: np.ndarray, left_out: np.ndarray, penalties: Sequence[float]
) -> float:
    """The penalty with the lowest log loss on rows that are left out of training.

    Args:
        columns: `(n, k)`.
        labels: `(n,)` in 0-1, also of the rows that are left out: those it is trained on, no truth.
        left_out: `(n,)` bool, of some rows and not of all.
        penalties: To choose from; one alone is taken without trying.
    """
    if len(penalties) == 1:
        return penalties[0]
    kept, found = columns[~left_out], []
    for penalty in penalties:
        weights, bias = fit(kept, labels[~left_out], penalty)
        logits = columns[left_out] @ weights.astype(np.float64) + bias
        found.append(log_loss(logits, labels[left_out]).mean())
    return penalties[int(np.argmin(found))]
