"""Means of rows with bootstrap intervals over images, and paired comparisons of two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MIN_IMAGES = 20  # percentile intervals of fewer images are too narrow to be worth showing
_CHUNK = 2**18  # drawn indices held at once: 2 MB, and as much again for their counts


@dataclass(frozen=True)
class Estimate:
    """A mean of rows with its percentile interval.

    Attributes:
        value: Mean of the rows that are not NaN; NaN if there is none.
        low: Lower end of the interval; None if fewer than 20 images have a row.
        high: Upper end, or None.
        n: Number of rows that entered.
    """

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean of first minus second over the samples that both runs have.

    Attributes:
        difference: Its estimate; `difference.n` leaves out samples where either value is NaN.
        common: Number of ids in both runs, NaN or not.
    """

    difference: Estimate
    common: int


def bootstrap_mean(
    values: np.ndarray,
    image_ids: Sequence[str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Mean of rows, with an interval that resamples images: rows of one image are dependent.

    Args:
        values: `(n,)`; NaN rows are dropped and do not count in `n`.
        image_ids: `(n,)` image of each row.
        n_resamples: Number of bootstrap resamples.
        seed: The same seed gives the same interval, whatever the order of the rows.
        level: Coverage of the interval.

    >>> bootstrap_mean(np.array([0.0, 1.0, np.nan]), ["a", "b", "c"])
    Estimate(value=0.5, low=None, high=None, n=2)
    """
    return bootstrap_means({"": values}, image_ids, n_resamples, seed, level)[""]


def bootstrap_means(
    columns: Mapping[str, np.ndarray],
    image_ids: Sequence[str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """`bootstrap_mean` of several columns of one table.

    A resample draws as many images as there are, with replacement; its mean is the sum of their
    sums over the sum of their counts, so an image drawn twice brings all its rows twice. Columns
    that have values for the same images share their resamples. A column's estimate does not
    depend on which other columns are asked for.

    Args:
        columns: Name -> `(n,)` values; NaN rows are dropped column by column.
        image_ids: `(n,)` image of each row.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the interval.

    Raises:
        ValueError: A column and `image_ids` differ in length.
    """
    _, images = np.unique(np.asarray(image_ids, dtype=str), return_inverse=True)
    tables: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, column in columns.items():
        values = np.asarray(column, dtype=np.float64)
        if values.shape != images.shape:
            raise ValueError(f"{name}: {values.shape} values for {len(images)} image ids")
        tables[name] = _per_image(values, images)
    return bootstrap_sums(tables, n_resamples, seed, level)


def bootstrap_sums(
    tables: Mapping[str, tuple[np.ndarray, np.ndarray]],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """`bootstrap_means` of rows that are already added up image by image.

    Args:
        tables: Name -> `(k,)` sum of an image's rows and `(k,)` their number, images by ascending
            id; those with 0 rows are left out.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the interval.

    >>> bootstrap_sums({"": (np.array([3.0, 0.0]), np.array([4, 0]))})
    {'': Estimate(value=0.75, low=None, high=None, n=4)}
    """
    groups: dict[bytes, list[str]] = {}
    for name, (_, counts) in tables.items():
        groups.setdefault((counts > 0).tobytes(), []).append(name)
    estimates: dict[str, Estimate] = {}
    for names in groups.values():
        sums = np.stack([tables[name][0] for name in names], axis=1)
        counts = np.stack([tables[name][1] for name in names], axis=1)
        present = counts[:, 0] > 0
        means = _estimates(sums[present], counts[present], n_resamples, seed, level)
        estimates.update(zip(names, means, strict=True))
    return {name: estimates[name] for name in tables}


def paired_difference(
    first: Mapping[str, float],
    second: Mapping[str, float],
    image_of: Mapping[str, str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """How much larger `first` is than `second` on the samples they share.

    Args:
        first: Sample id -> value; NaN where the sample has none.
        second: The same of the other run.
        image_of: Sample id -> image id, for all shared ids.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the interval.

    >>> paired_difference({"1": 0.5, "2": 1.0}, {"2": 0.25, "3": 0.0}, {"2": "a"})
    PairedDifference(difference=Estimate(value=0.75, low=None, high=None, n=1), common=1)
    """
    ids = sorted(first.keys() & second.keys())
    differences = np.array([first[i] - second[i] for i in ids], dtype=np.float64)
    images = [image_of[i] for i in ids]
    estimate = bootstrap_mean(differences, images, n_resamples, seed, level)
    return PairedDifference(estimate, len(ids))


def _per_image(values: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the rows of each image that are not NaN."""
    n_images = int(images.max()) + 1 if len(images) else 0
    # Added up in one order whatever the order of the rows, to the last bit.
    order = np.lexsort((values, images))
    order = order[~np.isnan(values[order])]
    sums = np.bincount(images[order], values[order], minlength=n_images)
    return sums, np.bincount(images[order], minlength=n_images)


def _estimates(
    sums: np.ndarray, counts: np.ndarray, n_resamples: int, seed: int, level: float
) -> list[Estimate]:
    """Estimates of the columns of `(images, columns)` sums and counts, all counts positive."""
    n_images, n_columns = sums.shape
    totals = counts.sum(axis=0)
    if n_images == 0:
        return [Estimate(float("nan"), None, None, 0)] * n_columns
    values = sums.sum(axis=0) / totals
    if n_images < MIN_IMAGES:
        return [Estimate(float(v), None, None, int(n)) for v, n in zip(values, totals, strict=True)]
    means = _resampled_means(sums, counts, n_resamples, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return [
        Estimate(float(v), float(lo), float(hi), int(n))
        for v, lo, hi, n in zip(values, low, high, totals, strict=True)
    ]


def _resampled_means(
    sums: np.ndarray, counts: np.ndarray, n_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """`(n_resamples, columns)` means of resampled images."""
    n_images, n_columns = sums.shape
    table = np.concatenate([sums, counts], axis=1)
    means = np.empty((n_resamples, n_columns))
    chunk = max(1, _CHUNK // n_images)
    for start in range(0, n_resamples, chunk):
        size = min(chunk, n_resamples - start)
        # Counting drawn indices gives multinomial weights several times faster than drawing them.
        drawn = rng.integers(n_images, size=(size, n_images))
        drawn += np.arange(size)[:, None] * n_images
        weights = np.bincount(drawn.ravel(), minlength=size * n_images)
        resampled = weights.reshape(size, n_images).astype(np.float64) @ table
        means[start : start + size] = resampled[:, :n_columns] / resampled[:, n_columns:]
    return means
