"""How well probabilities tell errors from the rest, with intervals over images.

    auc                 chance that an error has a higher probability than what is none, ties half
                        (Hanley & McNeil 1982)
    average_precision   precision at each error, the highest probability first, their mean
    ece                 expected calibration error: what is said minus what is so, in ten bins of
                        equal width (Guo et al. 2017)

The curves take probabilities and labels `(n,)`, finite, and weights `(b, n)`, how often each row is
drawn; each returns `(b,)`, NaN where it is undefined. A weight of 2 counts like two equal rows.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlground.metrics.resampling import Statistic, bootstrap

BINS = 10
BLIND, GAIN = "blind", "gain"  # names of the baseline's scores, and of the distance to them

Curve = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def auc(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, in 0-1; undefined unless there is an error and what is none.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.ones((1, 4)))
    array([0.75])
    """
    right, wrong = _by_probability(probabilities, labels, weights)
    below = right.cumsum(axis=1) - right / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        area: np.ndarray = (wrong * below).sum(axis=1) / (wrong.sum(axis=1) * right.sum(axis=1))
    return area


def average_precision(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mean precision over errors, in 0-1; equal probabilities are one step; undefined without any.

    >>> average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.ones((1, 4)))
    array([0.83333333])
    """
    right, wrong = (one[:, ::-1] for one in _by_probability(probabilities, labels, weights))
    found, all_found = wrong.cumsum(axis=1), (right + wrong).cumsum(axis=1)
    precision = np.divide(found, all_found, out=np.zeros_like(found), where=all_found > 0)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = (wrong * precision).sum(axis=1) / wrong.sum(axis=1)
    return mean


def calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Expected calibration error, in 0-1; undefined without rows.

    >>> calibration_error(np.array([0.9, 0.95]), np.array([1, 0]), np.ones((1, 2))).round(3)
    array([0.425])
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    member = np.eye(BINS)[bins]
    off = np.abs(weights @ (member * (probabilities - labels)[:, None])).sum(axis=1)
    with np.errstate(invalid="ignore"):
        error: np.ndarray = off / weights.sum(axis=1)
    return error


def auc_within(
    name: str,
    probabilities: np.ndarray,
    wrong: np.ndarray,
    right: np.ndarray,
    kinds: np.ndarray,
    image_ids: np.ndarray,
    n_resamples: int = 1000,
) -> dict[str, Statistic]:
    """The AUC within each kind of sentence, their mean by the number of wrong ones (ours).

    Without that, who doubts all sentences about relations would seem to know the wrong ones.

    Args:
        name: Of the statistic.
        probabilities: `(n,)` finite, that a sentence is wrong.
        wrong: `(n,)` bool, with the error in question.
        right: `(n,)` bool, without any; sentences that are neither are left out.
        kinds: `(n,)` str.
        image_ids: `(n,)` str.
        n_resamples: Number of bootstrap resamples.

    Returns:
        Name -> the AUC, 0-1; undefined if no kind has both.
    """
    both = [kind for kind in np.unique(kinds) if (right & (kinds == kind)).any()]
    kept = (wrong | right) & np.isin(kinds, both)
    doubts, labels, own = probabilities[kept], wrong[kept].astype(float), kinds[kept]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        area = np.zeros(len(weights))
        counted = np.zeros(len(weights))
        for kind in both:
            mine = own == kind
            count = weights[:, mine] @ labels[mine]
            one = auc(doubts[mine], labels[mine], weights[:, mine])
            area += np.where(np.isnan(one), 0, one * count)
            counted += np.where(np.isnan(one), 0, count)
        return {name: np.divide(area, counted, out=np.full_like(area, np.nan), where=counted > 0)}

    return bootstrap(measure, image_ids[kept].tolist(), n_resamples)


CURVES: Mapping[str, Curve] = {
    "auc": auc,
    "average_precision": average_precision,
    "ece": calibration_error,
}


def discrimination(
    name: str,
    probabilities: Mapping[str, np.ndarray],
    labels: np.ndarray,
    image_ids: Sequence[str],
) -> dict[str, Statistic]:
    """Every curve of one error type, of a model and of its blind baseline.

    Args:
        name: Of the error type.
        probabilities: "" -> `(n,)` in 0-1 of the model; `blind` -> of its baseline, if there is
            one.
        labels: `(n,)` share of people who mark the error, in 0-1; more than half make it one for
            `auc` and `average_precision`.
        image_ids: `(n,)` image of each row.

    Returns:
        `auc/NAME`, `average_precision/NAME`, `ece/NAME`; the same after `blind/`; and
        `gain/auc/NAME`, `gain/average_precision/NAME`: how much higher the model is, on the same
        resamples.
    """
    marked = (labels > 0.5).astype(float)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for curve, compute in CURVES.items():
            truth = labels if compute is calibration_error else marked
            for of, told in probabilities.items():
                found["/".join(filter(None, (of, curve, name)))] = compute(told, truth, weights)
            if BLIND in probabilities and compute is not calibration_error:
                own, other = (f"{curve}/{name}", f"{BLIND}/{curve}/{name}")
                found[f"{GAIN}/{own}"] = found[own] - found[other]
        return found

    return bootstrap(measure, image_ids)


def _by_probability(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`(b, k)` weights of what is no error, and of errors, at each distinct probability, rising."""
    order = np.argsort(probabilities, kind="stable")
    _, starts = np.unique(probabilities[order], return_index=True)
    wrong = weights[:, order] * (labels[order] > 0.5)
    return tuple(  # type: ignore[return-value]
        np.add.reduceat(one, starts, axis=1) if len(starts) else np.zeros((len(weights), 0))
        for one in (weights[:, order] - wrong, wrong)
    )
