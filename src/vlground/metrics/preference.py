"""Mean preference rank of systems that answered the same samples, and who wins against whom.

ViGoR reports mean ranks of four systems (3.24, 2.55, 2.24 and 1.97, which add up to 10: every
sample ranks all four); who ranks and what becomes of ties is not known, so it is an option here.
The order in which a judge sees the answers is drawn, since judges like what they read first.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vlground.errors import VlgroundError
from vlground.metrics.statistics import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import pandas

Tie = Literal["average", "best", "worst"]


@dataclass(frozen=True)
class Preference:
    """Options of the ranks.

    Attributes:
        tie: Systems with equal scores share the mean of their ranks, or all get the best of them,
            or the worst (only the mean keeps the sum of the ranks).
        seed: Of the order in which answers are shown; recorded with the results.

    >>> Preference(tie="first")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.tie=first: expected one of average, best, worst
    """

    tie: Tie = "average"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tie not in get_args(Tie):
            expected = ", ".join(get_args(Tie))
            raise VlgroundError(f"metric.tie={self.tie}: expected one of {expected}")


def shown_order(seed: int, sample_id: str, systems: Sequence[str]) -> list[str]:
    """The order in which a judge sees the systems' answers, from (seed, sample id) alone.

    Every order is as likely as any other, and that in which systems are named does not matter.

    >>> shown_order(0, "7", ["a", "b", "c"]) == shown_order(0, "7", ["c", "b", "a"])
    True
    """
    return sorted(systems, key=lambda system: _digest(seed, sample_id, system))


def _digest(seed: int, sample_id: str, system: str) -> str:
    return hashlib.sha256(repr((seed, sample_id, system)).encode()).hexdigest()


def ranks(scores: Mapping[str, float], tie: Tie = "average") -> dict[str, float]:
    """Rank of each system on one sample, 1 the best.

    Args:
        scores: System -> score, higher is better.
        tie: See `Preference`.

    >>> ranks({"a": 3.0, "b": 5.0, "c": 3.0})
    {'a': 2.5, 'b': 1.0, 'c': 2.5}
    """
    found = {}
    for system, score in scores.items():
        better = sum(other > score for other in scores.values())
        equal = sum(other == score for other in scores.values())
        last = {"average": (equal - 1) / 2, "best": 0, "worst": equal - 1}[tie]
        found[system] = float(better + 1 + last)
    return found


def rows_of(
    scores: Mapping[str, Mapping[str, float]],
    image_of: Mapping[str, str],
    options: Preference = Preference(),
) -> "pandas.DataFrame":
    """Ranks of every sample.

    Args:
        scores: System -> sample id -> score, higher is better; NaN or nothing without one.
        image_of: Sample id -> image id, of all samples.
        options: Ties and the order shown.

    Returns:
        A row a sample: `id`, `image_id`, `shown` (systems in the order shown, with commas between),
        `complete` (all systems have a score) and `rank_<system>`, NaN unless complete: ranks among
        fewer systems would not compare.
    """
    import pandas

    systems = list(scores)
    rows = []
    for name, image_id in image_of.items():
        given = {system: scores[system].get(name, np.nan) for system in systems}
        complete = all(map(isfinite, given.values()))
        placed = ranks(given, options.tie) if complete else dict.fromkeys(systems, np.nan)
        shown = ",".join(shown_order(options.seed, name, systems))
        row = {"id": name, "image_id": image_id, "shown": shown, "complete": complete}
        rows.append(row | {f"rank_{system}": placed[system] for system in systems})
    columns = ["id", "image_id", "shown", "complete", *(f"rank_{system}" for system in systems)]
    return pandas.DataFrame(rows, columns=columns)


def mean_ranks(rows: "pandas.DataFrame", seed: int = 0) -> dict[str, Estimate]:
    """Mean rank of each system over the complete samples, with intervals over images.

    Args:
        rows: As `rows_of` makes them.
        seed: Of the bootstrap.
    """
    images = rows["image_id"].astype(str).tolist()
    return {
        name.removeprefix("rank_"): bootstrap_mean(rows[name].to_numpy(float), images, seed=seed)
        for name in rows.columns
        if name.startswith("rank_")
    }


def wins(rows: "pandas.DataFrame", seed: int = 0) -> dict[tuple[str, str], Estimate]:
    """How often each system ranks above each other one, a tie counting half.

    Args:
        rows: As `rows_of` makes them.
        seed: Of the bootstrap.

    Returns:
        (first, second) -> share of the complete samples that first wins, for each pair once.
    """
    images = rows["image_id"].astype(str).tolist()
    names = [name for name in rows.columns if name.startswith("rank_")]
    found = {}
    for first, second in combinations(names, 2):
        ahead = rows[second].to_numpy(float) - rows[first].to_numpy(float)
        won = np.where(np.isnan(ahead), np.nan, (np.sign(ahead) + 1) / 2)
        pair = (first.removeprefix("rank_"), second.removeprefix("rank_"))
        found[pair] = bootstrap_mean(won, images, seed=seed)
    return found


def first_place_bias(rows: "pandas.DataFrame", seed: int = 0) -> Estimate:
    """Mean rank of whatever was shown first; a judge without a habit gives (systems + 1) / 2.

    Args:
        rows: As `rows_of` makes them.
        seed: Of the bootstrap.
    """
    shown = [order.split(",")[0] for order in rows["shown"]]
    values = [rows[f"rank_{system}"].iloc[row] for row, system in enumerate(shown)]
    images = rows["image_id"].astype(str).tolist()
    return bootstrap_mean(np.array(values, dtype=float), images, seed=seed)
