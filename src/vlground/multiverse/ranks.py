"""How stable an order of models is over settings, and how much of it is sampling noise (ours).

The order of a setting is the sign of every difference of two models' means. By choice it is stable
if no setting turns a sign; beyond noise a sign is decided if the paired bootstrap over images of
the difference leaves 0 outside the middle 95 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vlground.labels import COLUMNS
from vlground.metrics.statistics import MIN_IMAGES
from vlground.multiverse.gathering import Universe
from vlground.multiverse.grid import Grid

_RESAMPLES = 1000
_CHUNK = 2**21  # resampled means held at once: 16 MB a model
_TIE = 1e-12  # the same mean added up in another order


@dataclass(frozen=True, eq=False)
class Stability:
    """One score on one data set, under its settings; the first of them is the default.

    Attributes:
        dataset: The data set's name.
        score: The score's name.
        models: m names.
        means: `(m, settings)`.
        pairs: Two places in `models` each.
        signs: `(pairs, settings)` 1 where the first of a pair is better, -1 worse, 0 equal.
        decided: The same beyond noise: 0 where it is not decided; None below 20 images.
        published: `(pairs,)` signs of the published numbers; None if not all models have one.
    """

    dataset: str
    score: str
    models: Sequence[str]
    means: np.ndarray
    pairs: Sequence[tuple[int, int]]
    signs: np.ndarray
    decided: np.ndarray | None
    published: np.ndarray | None

    @property
    def same(self) -> float:
        """Share of the settings in which the whole order is the default's."""
        return float(np.all(self.signs == self.signs[:, :1], axis=0).mean())

    @property
    def as_published(self) -> float | None:
        """Share of the settings in which the whole order is the published one."""
        if self.published is None:
            return None
        return float(np.all(self.signs == self.published[:, None], axis=0).mean())

    @property
    def tau(self) -> np.ndarray:
        """`(settings,)` Kendall's tau-b to the default order; NaN where either has no order."""
        default, signs = self.signs[:, 0].astype(float), self.signs.astype(float)
        length = np.sqrt((default**2).sum() * (signs**2).sum(axis=0))
        with np.errstate(invalid="ignore"):
            return np.asarray(default @ signs / length)

    @property
    def first(self) -> np.ndarray:
        """`(m,)` share of the settings in which each model is better than all others."""
        wins = np.zeros(self.means.shape, dtype=int)
        for (a, b), signs in zip(self.pairs, self.signs, strict=True):
            wins[a] += signs == 1
            wins[b] += signs == -1
        return np.asarray((wins == len(self.models) - 1).mean(axis=1))


def stabilities(universe: Universe, published: Sequence[dict[str, float]]) -> Iterator[Stability]:
    """Every score of a data set that at least two models have.

    Args:
        universe: The models.
        published: Score -> published number, of each model.
    """
    images = sorted({image for sums in universe.sums for image in sums.images})
    weights = _weights(len(images)) if len(images) >= MIN_IMAGES else None
    pairs = list(combinations(range(len(universe.models)), 2))
    for name in universe.sums[0].sums:
        better = -1.0 if "↓" in COLUMNS[name] else 1.0
        tables = [(one.sums[name], one.counts[name]) for one in universe.sums]
        means = np.stack([_means(sums, counts) for sums, counts in tables])
        if np.isnan(means).any():
            continue  # a model without a single scored map; its counts say so
        signs = np.stack([_sign(better * (means[a] - means[b])) for a, b in pairs])
        numbers = [mine.get(name) for mine in published]
        yield Stability(
            universe.dataset,
            name,
            universe.models,
            means,
            pairs,
            signs,
            None if weights is None else _decided(tables, pairs, weights) * int(better),
            _published(numbers, pairs, better),
        )


def blame(grid: Grid, one: Stability) -> dict[str, tuple[float, float]]:
    """How often an option alone changes the order.

    Returns:
        Option -> share of the settings in which another value of it gives another order, and in
        which it turns a pair that is decided beyond noise both before and after.
    """
    found = {}
    for option, values in grid.touching(one.score):
        near = grid.neighbours(one.score, option)
        changed, turned, counted = 0, 0, 0
        for setting, others in enumerate(near):
            if not others:
                continue
            counted += 1
            now = one.signs[:, [setting]]
            changed += bool((one.signs[:, others] != now).any())
            if one.decided is not None:
                turned += bool((one.decided[:, others] * one.decided[:, [setting]] < 0).any())
        if counted and len(values) > 1:
            found[option] = changed / counted, turned / counted
    return found


def _means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums.sum(axis=0) / counts.sum(axis=0))


def _sign(difference: np.ndarray) -> np.ndarray:
    return np.where(np.abs(difference) <= _TIE, 0, np.sign(difference)).astype(np.int8)


def _weights(images: int) -> np.ndarray:
    """`(resamples, images)` how often each image is drawn."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(images, size=(_RESAMPLES, images))
    drawn += np.arange(_RESAMPLES)[:, None] * images
    times = np.bincount(drawn.ravel(), minlength=_RESAMPLES * images)
    return times.reshape(_RESAMPLES, images).astype(np.float64)


def _decided(
    tables: Sequence[tuple[np.ndarray, np.ndarray]],
    pairs: Sequence[tuple[int, int]],
    weights: np.ndarray,
) -> np.ndarray:
    """`(pairs, settings)` signs of the differences whose 95 % interval leaves 0 outside."""
    settings = tables[0][0].shape[1]
    found = np.zeros((len(pairs), settings), dtype=np.int8)
    step = max(1, _CHUNK // len(weights))
    for start in range(0, settings, step):
        part = slice(start, start + step)
        with np.errstate(invalid="ignore"):
            means = [
                (weights @ sums[:, part]) / (weights @ counts[:, part]) for sums, counts in tables
            ]
        for number, (a, b) in enumerate(pairs):
            difference = means[a] - means[b]
            above, below = (difference > _TIE).mean(axis=0), (difference < -_TIE).mean(axis=0)
            found[number, part] = (above >= 0.975).astype(np.int8) - (below >= 0.975)
    return found


def _published(
    numbers: Sequence[float | None], pairs: Sequence[tuple[int, int]], better: float
) -> np.ndarray | None:
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    return np.array([np.sign(better * (known[a] - known[b])) for a, b in pairs], dtype=np.int8)
