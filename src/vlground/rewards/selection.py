"""One penalty a candidate, and the best of n (ViGoR §3.3, reconstructed; ties ours)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlground.errors import VlgroundError
from vlground.rewards.normalisation import (
    PoolStatistics,
    normalised,
    normalised_by_image,
    read_statistics,
    spread,
)
from vlground.rewards.options import STREAMS, VigorReward
from vlground.rewards.signals import Candidates, Signals, signals


@dataclass(frozen=True, eq=False)
class Penalties:
    """What `c` candidates are held against; lower is better.

    Attributes:
        sentences: `(c,)` normalised H; 0 if the stream does not count.
        nouns: `(c,)` normalised D, without λ; 0 if the stream does not count.
        total: `(c,)` sentences + λ · nouns; NaN if a stream that counts has no score, or of an
            empty caption that may not be taken.
    """

    sentences: np.ndarray
    nouns: np.ndarray
    total: np.ndarray


@dataclass(frozen=True, eq=False)
class Selection:
    """The best and the worst candidate of each of `k` images, by number of the image.

    Attributes:
        winner: `(k,)` int64, row of the candidate; -1 if the image has none with a penalty.
        worst: `(k,)` int64, row of the candidate with the highest penalty; -1 if no penalty is
            higher than the winner's.
        tied: `(k,)` int64, candidates that share the lowest penalty.
        scored: `(k,)` int64, candidates with a penalty.
    """

    winner: np.ndarray
    worst: np.ndarray
    tied: np.ndarray
    scored: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """Images by what became of them: `ties` are those in which the tie order decided."""
        return {
            "images": len(self.winner),
            "no_candidate_scored": int((self.winner < 0).sum()),
            "ties": int((self.tied > 1).sum()),
            "all_tied": int(((self.scored > 1) & (self.worst < 0)).sum()),
        }


def measure(pool: str, found: Signals, options: VigorReward) -> PoolStatistics:
    """Statistics of a whole pool, to be written and read by `pool=frozen`.

    Args:
        pool: Its `pool_hash`; the caller refuses a shard.
        found: Signals of all its candidates.
        options: That they were counted with.
    """
    return PoolStatistics(pool, options.counted, spread(found.sentences), spread(found.nouns))


def penalties(candidates: Candidates, found: Signals, options: VigorReward) -> Penalties:
    """Normalise both streams and combine them.

    Args:
        candidates: Whose images are the pools of `pool=image`.
        found: Their signals.
        options: Normalisation, pool, λ.

    Raises:
        VlgroundError: Frozen statistics cannot be read, or were counted with other options.
    """
    frozen = None if options.statistics is None else _frozen(options)
    scaled = []
    for stream in STREAMS:
        values: np.ndarray = getattr(found, stream)
        if stream not in options.streams:
            scaled.append(np.zeros(len(values)))
        elif options.pool == "image":
            scaled.append(normalised_by_image(values, candidates.image, options.normalise))
        else:
            over = spread(values) if frozen is None else getattr(frozen, stream)
            scaled.append(normalised(values, over, options.normalise))
    total = scaled[0] + options.noun_weight * scaled[1]
    if not options.take_empty:
        total = np.where(candidates.words == 0, np.nan, total)
    return Penalties(scaled[0], scaled[1], total)


def select(
    candidates: Candidates, found: Signals, total: np.ndarray, options: VigorReward
) -> Selection:
    """Take the lowest penalty of each image.

    Args:
        candidates: Their images, indices and lengths.
        found: Their grounded nouns.
        total: `(c,)` penalties, NaN of those that cannot be taken.
        options: Tie order. The worst candidate is the last one of the same order.
    """
    images = int(candidates.image.max(initial=-1)) + 1
    rows = np.flatnonzero(~np.isnan(total))
    keys = {"grounded": -found.grounded, "longer": -candidates.words, "shorter": candidates.words}
    ties = [keys[name][rows] for name in reversed(options.tie_order)]
    image = candidates.image[rows]
    order = np.lexsort((candidates.index[rows], *ties, total[rows], image))
    rows, image = rows[order], image[order]
    scored = np.bincount(image, minlength=images)
    ends = np.cumsum(scored)
    first, last = ends - scored, ends - 1
    there = scored > 0
    winner, worst = np.full(images, -1), np.full(images, -1)
    winner[there], worst[there] = rows[first[there]], rows[last[there]]
    best = np.full(images, np.nan)
    best[there] = total[winner[there]]
    tied = np.bincount(image, total[rows] == best[image], minlength=images).astype(np.int64)
    worst[tied == scored] = -1
    return Selection(winner, worst, tied, scored)


def rank(candidates: Candidates, options: VigorReward) -> tuple[Signals, Penalties, Selection]:
    """From stored scores to winners: count, normalise, combine, select."""
    found = signals(candidates, options)
    penalty = penalties(candidates, found, options)
    return found, penalty, select(candidates, found, penalty.total, options)


def agreement(selections: Mapping[str, Selection]) -> dict[tuple[str, str], float]:
    """How often two settings take the same winner.

    Args:
        selections: Setting -> its winners, all of the same candidates.

    Returns:
        Pair of settings -> share, 0..1, of the images in which both have a winner; NaN if there is
        none.
    """
    shares = {}
    names = list(selections)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = selections[one].winner, selections[other].winner
            both = (a >= 0) & (b >= 0)
            shares[one, other] = float((a == b)[both].mean()) if both.any() else float("nan")
    return shares


def _frozen(options: VigorReward) -> PoolStatistics:
    frozen = read_statistics(Path(str(options.statistics)))
    changed = [name for name, value in options.counted.items() if frozen.counted.get(name) != value]
    if changed:
        named = ", ".join(changed)
        told = f"measured with another {named}; measure them again or change it back"
        raise VlgroundError(f"metric.statistics={options.statistics}: {told}")
    return frozen
