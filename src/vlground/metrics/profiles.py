"""Search for an unknown artefact by place: where do the maps of one class differ from the others'?

A mark that is always in the same corner draws the maps of its class there. Single maps are too
noisy to see it; the mean over a data set is not. Each map is replaced by the ranks of its cells,
so that no map counts for more than another, and a class is compared with the mean of the other
classes, each weighing the same (after OSCAR, arXiv 2512.18888; the test is ours).

It finds artefacts that keep their place. Those that move are a matter of
`vlground.metrics.clusters`. An excess is a suspicion: objects of a class may keep their place too,
hence `objects`; and an intervention has to confirm it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, eq=False)
class Profile:
    """Where the maps of a class are higher than those of the others.

    Attributes:
        excess: `(h, w)` mean rank of the class minus the others', -1 to 1; NaN of a cell that is
            never outside the object in some class.
        p: `(h, w)` one-sided, that of the largest of all cells of all classes if labels are
            shuffled: below 0.05, the whole search gives a false alarm in 5 % of data sets. NaN as
            `excess`.
        n: Number of maps of the class.
    """

    excess: np.ndarray
    p: np.ndarray
    n: int

    def suspects(self, level: float = 0.05) -> list[tuple[int, int]]:
        """Row and column of the cells with p up to `level`, the largest excess first."""
        cells = np.argwhere(self.p <= level)
        order = np.argsort(-self.excess[tuple(cells.T)], kind="stable")
        return [(int(row), int(column)) for row, column in cells[order]]


def ranks(maps: np.ndarray, objects: np.ndarray | None = None) -> np.ndarray:
    """The rank of each cell within its map.

    Args:
        maps: `(n, h, w)` raw maps.
        objects: `(n, h, w)` bool, cells of the object, which are left out; None for no object.

    Returns:
        `(n, h, w)` in 0-1, the share of the map's cells that are lower, ties by halves; NaN of
        cells of the object, and of maps that are constant or not finite.

    >>> ranks(np.array([[[0.0, 5.0, 5.0, 9.0]]])).tolist()
    [[[0.125, 0.5, 0.5, 0.875]]]
    """
    table = np.array(maps, dtype=np.float64).reshape(len(maps), -1)
    table[~np.isfinite(table).all(axis=1)] = np.nan
    table[table.min(axis=1) == table.max(axis=1)] = np.nan
    if objects is not None:
        table[np.asarray(objects, dtype=bool).reshape(table.shape)] = np.nan
    count = (~np.isnan(table)).sum(axis=1, keepdims=True)
    ranked = stats.rankdata(table, axis=1, nan_policy="omit") - 0.5
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ranked / count).reshape(maps.shape)


def profiles(
    maps: np.ndarray,
    labels: Sequence[str],
    objects: np.ndarray | None = None,
    n_permutations: int = 1000,
    seed: int = 0,
) -> dict[str, Profile]:
    """Compare the maps of each class with those of the others.

    Args:
        maps: `(n, h, w)` raw maps on one grid, one an image.
        labels: `(n,)` class of each, two classes or more.
        objects: See `ranks`; with it, the search is outside the object alone.
        n_permutations: Number of shuffled labellings.
        seed: Seed of the shuffling.

    Returns:
        Class -> profile. Maps that are constant or not finite count nowhere.

    Raises:
        ValueError: Fewer than two classes have a map.
    """
    ranked = ranks(maps, objects).reshape(len(maps), -1)
    usable = ~np.isnan(ranked).all(axis=1)
    names, which = np.unique(np.asarray(labels, dtype=str)[usable], return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"maps of {len(names)} classes: there is nothing to compare with")
    there = ~np.isnan(ranked[usable])
    values = np.where(there, ranked[usable], 0.0)
    count = np.maximum(there.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    spread = np.sqrt(np.where(there, (values - mean) ** 2, 0).sum(axis=0) / count)
    weights = there.astype(np.float64)
    excess, z = _excess(values, weights, which, spread)
    rng, larger = np.random.default_rng(seed), np.ones_like(z)
    for _ in range(n_permutations):
        _, shuffled = _excess(values, weights, rng.permutation(which), spread)
        larger += np.nanmax(shuffled, initial=-np.inf) >= z
    p = np.where(np.isnan(z), np.nan, larger / (n_permutations + 1))
    excess, p = (table.reshape(len(names), *maps.shape[1:]) for table in (excess, p))
    sizes = np.bincount(which)
    return {str(c): Profile(excess[i], p[i], int(sizes[i])) for i, c in enumerate(names)}


def _excess(
    values: np.ndarray, weights: np.ndarray, which: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`(classes, cells)` mean of a class minus that of the others, and the same over its error."""
    member = (which[None, :] == np.arange(which.max() + 1)[:, None]).astype(np.float64)
    counts, others = member @ weights, len(member) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        means, variances = (member @ values) / counts, 1 / counts
        excess = means - (means.sum(axis=0) - means) / others
        error = np.sqrt(variances + (variances.sum(axis=0) - variances) / others**2) * spread
        z = np.where(np.isfinite(error) & (error > 0), excess / error, np.nan)
    return np.where(np.isnan(z), np.nan, excess), z
