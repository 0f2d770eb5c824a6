"""Bootstrap over images of any statistic that can be computed from weighted rows (ours).

`vlground.metrics.statistics` does the same for means, which need only sums an image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from vlground.metrics.statistics import MIN_IMAGES

FEW_IMAGES = f"fewer than {MIN_IMAGES} images: no interval"
UNSTABLE = "undefined in more than 5 % of the resamples: no interval"
_CHUNK = 2**18  # weights held at once: 2 MB, and a few arrays of that size in each statistic


@dataclass(frozen=True)
class Statistic:
    """A statistic with its percentile interval; never NaN, so it can be written as JSON.

    Attributes:
        value: Of all rows; None if it is not defined for them.
        low: Lower end of the interval, or None.
        high: Upper end, or None.
        n: Number of rows that entered.
        reason: Why there is no value, or no interval; "" if there are both.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str = ""


def bootstrap(
    measure: Callable[[np.ndarray], dict[str, np.ndarray]],
    image_ids: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Statistic]:
    """Statistics of rows with percentile intervals that resample images.

    A resample draws as many images as there are, with replacement, and every image brings all its
    rows. All statistics of one call share their resamples, so differences of them are paired.
    Resamples in which a statistic is undefined are left out; from 5 % of them on it gets no
    interval.

    Args:
        measure: From weights `(b, n)`, how often each row is drawn, to statistics `(b,)`, NaN where
            undefined. Weights of 1 stand for the rows themselves.
        image_ids: `(n,)` image of each row, none of which may lack a value.
        n_resamples: Number of bootstrap resamples.
        seed: The same seed and images give the same resamples, whatever the order of the rows.
        level: Coverage of the intervals.

    Returns:
        Statistics by name; `reason` is "undefined" where there is no value.

    >>> bootstrap(lambda w: {"sum": w.sum(axis=1)}, ["a", "b"])["sum"].value
    2.0
    """
    _, images = np.unique(np.asarray(image_ids, dtype=str), return_inverse=True)
    n = len(images)
    values = {name: float(value[0]) for name, value in measure(np.ones((1, n))).items()}
    n_images = int(images.max()) + 1 if n else 0
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in values}
    if n_images >= MIN_IMAGES:
        for weights in _weights(images, n_images, n_resamples, seed):
            for name, resampled in measure(weights).items():
                drawn[name].append(resampled)
    return {name: _statistic(value, drawn[name], n, level) for name, value in values.items()}


def _weights(images: np.ndarray, n_images: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Chunks `(b, n)` of how often each row is drawn, `count` in all."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(images))
    for start in range(0, count, chunk):
        size = min(chunk, count - start)
        picked = rng.integers(n_images, size=(size, n_images))
        picked += np.arange(size)[:, None] * n_images
        times = np.bincount(picked.ravel(), minlength=size * n_images).reshape(size, n_images)
        yield times[:, images].astype(np.float64)


def _statistic(value: float, parts: list[np.ndarray], n: int, level: float) -> Statistic:
    if not isfinite(value):
        return Statistic(None, None, None, n, "undefined")
    if not parts:
        return Statistic(value, None, None, n, FEW_IMAGES)
    resampled = np.concatenate(parts)
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < 0.95 * len(resampled):
        return Statistic(value, None, None, n, UNSTABLE)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Statistic(value, float(low), float(high), n)
