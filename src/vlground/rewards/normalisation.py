"""Normalisation of a stream over a pool of candidates (ViGoR §3.3; what is not stated is ours)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vlground.errors import VlgroundError
from vlground.whole import write_json

Normalise = Literal["variance", "std", "rank", "none"]
_CONSTANT = 1e-12  # of the variance, relative to the squared mean: what rounding leaves of 0


@dataclass(frozen=True)
class Spread:
    """How one stream is spread over a pool.

    Attributes:
        n: Candidates with a score.
        mean: Of their values.
        variance: Of their values, divided by n.
        values: The values that occur, ascending.
        counts: How often each does.
    """

    n: int
    mean: float
    variance: float
    values: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def constant(self) -> bool:
        """Whether the stream tells candidates apart at all."""
        return self.n == 0 or self.variance <= _CONSTANT * max(1.0, self.mean**2)


@dataclass(frozen=True)
class PoolStatistics:
    """What `pool=frozen` reads: spreads measured once over a whole pool.

    Attributes:
        pool: Its `pool_hash`.
        counted: `VigorReward.counted` when it was measured.
        sentences: Spread of H.
        nouns: Spread of D.
    """

    pool: str
    counted: dict[str, object]
    sentences: Spread
    nouns: Spread

    def write(self, path: Path) -> None:
        """Write them as JSON, whole or not at all."""
        write_json(path, asdict(self))


def read_statistics(path: Path) -> PoolStatistics:
    """Read what `PoolStatistics.write` wrote.

    Raises:
        VlgroundError: The file is not there or is another one.
    """
    try:
        content = json.loads(path.expanduser().read_text(encoding="utf-8"))
        streams = {name: content[name] for name in ("sentences", "nouns")}
        for stream in streams.values():
            stream["values"], stream["counts"] = tuple(stream["values"]), tuple(stream["counts"])
        spreads = {name: Spread(**stream) for name, stream in streams.items()}
        return PoolStatistics(str(content["pool"]), dict(content["counted"]), **spreads)
    except (OSError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        told = f"no statistics of a pool: {reason}"
        raise VlgroundError(f"metric.statistics={path}: {told}") from error


def spread(values: np.ndarray) -> Spread:
    """Measure a stream; the order of the candidates changes no bit of it.

    Args:
        values: `(c,)`; NaN is left out.
    """
    values = np.sort(values[~np.isnan(values)])
    if not len(values):
        return Spread(0, 0.0, 0.0, (), ())
    found, counts = np.unique(values, return_counts=True)
    mean, variance = float(values.mean()), float(values.var())
    return Spread(len(values), mean, variance, tuple(found.tolist()), tuple(counts.tolist()))


def normalised(values: np.ndarray, over: Spread, how: Normalise) -> np.ndarray:
    """Bring a stream to a scale that the other one shares.

    Args:
        values: `(c,)`, NaN where there is no score.
        over: The pool's spread, of these values or frozen.
        how: variance `x / Var`, std `x / √Var`, rank: the share of the pool below, half of those
            equal included; none: as they are.

    Returns:
        `(c,)`; 0 of a constant stream, NaN where `values` are.

    >>> x = np.array([0.0, 2.0, 2.0, 4.0])
    >>> normalised(x, spread(x), "variance").tolist(), normalised(x, spread(x), "rank").tolist()
    ([0.0, 1.0, 1.0, 2.0], [0.125, 0.5, 0.5, 0.875])
    """
    if over.constant:
        return np.where(np.isnan(values), np.nan, 0.0)
    if how == "none":
        return values
    if how == "rank":
        known, below = np.array(over.values), np.concatenate([[0], np.cumsum(over.counts)])
        left, right = (np.searchsorted(known, values, side) for side in ("left", "right"))
        return np.where(np.isnan(values), np.nan, (below[left] + below[right]) / (2 * over.n))
    return values / (over.variance if how == "variance" else np.sqrt(over.variance))


def normalised_by_image(values: np.ndarray, image: np.ndarray, how: Normalise) -> np.ndarray:
    """As `normalised`, with a pool of its own for each image.

    Args:
        values: `(c,)`, NaN where there is no score.
        image: `(c,)` int, from 0 on.
        how: See `normalised`.

    Returns:
        `(c,)`; 0 where an image's candidates are all alike.
    """
    known = ~np.isnan(values)
    x, group = values[known], image[known]
    n = np.bincount(group)
    mean = np.bincount(group, x) / np.maximum(n, 1)
    variance = np.bincount(group, (x - mean[group]) ** 2) / np.maximum(n, 1)
    constant = variance <= _CONSTANT * np.maximum(1.0, mean**2)
    scaled = x
    if how == "rank":
        scaled = _ranks(x, group) / n[group]
    elif how != "none":
        safe = np.where(constant, 1.0, variance)
        scaled = x / (safe if how == "variance" else np.sqrt(safe))[group]
    result = np.full(len(values), np.nan)
    result[known] = np.where(constant[group], 0.0, scaled)
    return result


def _ranks(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """How many of its group lie below each value, half of those equal (itself too) included."""
    order = np.lexsort((x, group))
    sorted_x, sorted_group = x[order], group[order]
    new_group = np.diff(sorted_group, prepend=-1) != 0
    new_run = new_group | (np.diff(sorted_x, prepend=np.nan) != 0)
    places = np.arange(len(x))
    run = np.cumsum(new_run) - 1
    first = places[new_run]
    last = np.append(first[1:], len(x))
    begin = places[new_group][np.cumsum(new_group) - 1]
    ranks = np.empty(len(x))
    ranks[order] = (first + last)[run] / 2 - begin
    return ranks
