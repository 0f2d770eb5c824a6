"""Which threshold suits a detector, category by category (ours).

    kept        of nouns that their image holds, the share with a presence above the threshold
    rejected    of nouns that it does not hold, the share at or below it
    balanced    the mean of both, averaged over categories

A threshold of its own for every category looks better than it is on the images that it was chosen
on. So it is chosen on one half of the images, by the hash of their ids, and measured on the other,
both ways round; beside it one threshold for all, chosen likewise, and the paper's 0.25.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlground.metrics.discrimination import auc
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.metrics.statistics import Estimate, bootstrap_means

# The range that the paper's next check asks for.
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
PAPER = 0.25  # of Grounding DINO's scores
ALL = "all"


@dataclass(frozen=True, eq=False)
class Asked:
    """`n` pairs of an image and a noun that a detector was asked for, each once.

    Attributes:
        images: `(n,)` id of the image.
        nouns: `(n,)` name of the category.
        presence: `(n,)` probability that it is in the image, 0 to 1, finite.
        there: `(n,)` bool, whether it is.
    """

    images: np.ndarray
    nouns: np.ndarray
    presence: np.ndarray
    there: np.ndarray

    @property
    def categories(self) -> list[str]:
        """Nouns with pairs of both kinds, without which no threshold can be chosen."""
        both = set(self.nouns[self.there].tolist()) & set(self.nouns[~self.there].tolist())
        return sorted(both)


def shares(asked: Asked, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, Estimate]:
    """What each threshold keeps and rejects, with intervals over images.

    Args:
        asked: The pairs.
        thresholds: In 0-1.

    Returns:
        `kept/NOUN/THRESHOLD` and `rejected/NOUN/THRESHOLD`; NOUN `all`: over all pairs, also those
        of categories that are always there, or never.
    """
    columns = dict[str, np.ndarray]()
    for noun in (ALL, *np.unique(asked.nouns).tolist()):
        mine = np.ones(len(asked.nouns), bool) if noun == ALL else asked.nouns == noun
        for threshold in thresholds:
            above = asked.presence > threshold
            kept = np.where(mine & asked.there, above, np.nan)
            rejected = np.where(mine & ~asked.there, ~above, np.nan)
            columns |= {f"kept/{noun}/{threshold:g}": kept}
            columns |= {f"rejected/{noun}/{threshold:g}": rejected}
    return bootstrap_means(columns, asked.images.tolist())


def areas(asked: Asked) -> dict[str, Statistic]:
    """Chance that what is there has a higher presence than what is not, ties half.

    Args:
        asked: The pairs.

    Returns:
        NOUN -> area under the ROC curve of a category, `all` -> of all pairs.
    """
    found = {}
    for noun in (ALL, *asked.categories):
        mine = np.ones(len(asked.nouns), bool) if noun == ALL else asked.nouns == noun
        presence, there = asked.presence[mine], asked.there[mine].astype(float)
        found[noun] = bootstrap(
            lambda w, p=presence, t=there: {"": auc(p, t, w)},  # type: ignore[misc]
            asked.images[mine].tolist(),
        )[""]
    return found


def best(
    asked: Asked, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[dict[str, float], float | None]:
    """The threshold with the highest balanced share, of each category and of all together.

    Args:
        asked: The pairs.
        thresholds: To choose from; of equally good ones the one in the middle.

    Returns:
        Category -> its threshold, and the one for all; nothing and None without a category that has
        pairs of both kinds.
    """
    balance = _balance(asked, thresholds)
    own = {noun: _middle(thresholds, values) for noun, values in balance.items()}
    mean = np.mean(list(balance.values()), axis=0) if balance else None
    return own, None if mean is None else _middle(thresholds, mean)


def gains(asked: Asked, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, Statistic]:
    """What thresholds chosen on other images are worth.

    Args:
        asked: The pairs.
        thresholds: To choose from.

    Returns:
        `balanced/own`, `balanced/common`, `balanced/paper`: the balanced share with a threshold for
        every category, with one for all, and with 0.25; `gain/own`: own less common, `gain/common`:
        common less paper. Intervals are over the images that are measured on, not over what would
        have been chosen on others. Empty if a half has nothing to choose from.
    """
    second = np.array([_half(image) for image in asked.images.tolist()], dtype=bool)
    cut = np.full((2, len(second)), np.nan)
    for half in (second, ~second):
        own, common = best(_part(asked, ~half), thresholds)
        if common is None:
            return {}
        cut[0, half] = [own.get(noun, common) for noun in asked.nouns[half].tolist()]
        cut[1, half] = common
    cuts = {"own": cut[0], "common": cut[1], "paper": np.full(len(second), PAPER)}
    kinds = [
        (asked.nouns == noun) & (asked.there == there)
        for noun in asked.categories
        for there in (True, False)
    ]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for name, values in cuts.items():
            right = (asked.presence > values) == asked.there
            parts = [_share(right[kind], weights[:, kind]) for kind in kinds]
            found[f"balanced/{name}"] = np.mean(parts, axis=0)
        found["gain/own"] = found["balanced/own"] - found["balanced/common"]
        found["gain/common"] = found["balanced/common"] - found["balanced/paper"]
        return found

    return bootstrap(measure, asked.images.tolist())


def _balance(asked: Asked, thresholds: Sequence[float]) -> Mapping[str, np.ndarray]:
    """Category -> `(thresholds,)` balanced share."""
    found = {}
    for noun in asked.categories:
        mine = asked.nouns == noun
        presence, there = asked.presence[mine], asked.there[mine]
        above = presence[None] > np.array(thresholds)[:, None]
        found[noun] = (above[:, there].mean(axis=1) + (~above[:, ~there]).mean(axis=1)) / 2
    return found


def _middle(thresholds: Sequence[float], values: np.ndarray) -> float:
    """Of the thresholds with the highest value the middle one, the lower of two."""
    equal = np.flatnonzero(np.isclose(values, values.max(), rtol=0, atol=1e-12))
    return float(thresholds[equal[(len(equal) - 1) // 2]])


def _share(right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: np.ndarray = (weights @ right.astype(float)) / weights.sum(axis=1)
    return share


def _half(image: str) -> bool:
    return bool(hashlib.sha256(image.encode()).digest()[0] % 2)


def _part(asked: Asked, mine: np.ndarray) -> Asked:
    columns = (asked.images, asked.nouns, asked.presence, asked.there)
    return Asked(*(column[mine] for column in columns))
