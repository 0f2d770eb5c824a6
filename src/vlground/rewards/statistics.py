"""What a pool of candidates looks like: columns of candidates, rates, nouns, histograms (ours)."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vlground.metrics.statistics import Estimate, bootstrap_mean
from vlground.rewards.gathering import Gathered
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.signals import Candidates, flags

if TYPE_CHECKING:
    import pandas

_BINS = 30
_TOGETHER = 1000  # images


def columns_of(pool: Gathered, options: VigorReward) -> "pandas.DataFrame":
    """What is held against each candidate, whatever the weights.

    Args:
        pool: All candidates.
        options: Thresholds.

    Returns:
        One row a candidate, by its key (`image id/number`): `sentences`, `wrong_sentences` above τ,
        `unscored_sentences`; distinct `nouns`, those `grounded`; names of those `undetected`, with
        commas between, and of those that the detector cannot tell (`untold`).
    """
    import pandas

    c = pool.candidates
    size = len(c.image)
    wrong = (flags(c.errors, options) > 0).any(axis=1)
    blank = np.isnan(c.errors).any(axis=1)
    distinct: list[dict[int, float]] = [{} for _ in range(size)]
    for owner, noun, presence in zip(
        c.noun_owner.tolist(), c.noun.tolist(), c.presence.tolist(), strict=True
    ):
        distinct[owner][noun] = presence
    threshold = options.noun_threshold
    found = {
        "sentences": np.bincount(c.sentence_owner, minlength=size),
        "wrong_sentences": np.bincount(c.sentence_owner, wrong, minlength=size).astype(int),
        "unscored_sentences": np.bincount(c.sentence_owner, blank, minlength=size).astype(int),
        "nouns": [len(nouns) for nouns in distinct],
        "grounded": [sum(p > threshold for p in nouns.values()) for nouns in distinct],
        "undetected": [
            ", ".join(pool.lemmas[n] for n, p in nouns.items() if p <= threshold)
            for nouns in distinct
        ],
        "untold": [
            ", ".join(pool.lemmas[n] for n, p in nouns.items() if p != p) for nouns in distinct
        ],
    }
    return pandas.DataFrame(found, index=pool.keys)


def estimates(pool: Gathered, options: VigorReward) -> dict[str, Estimate]:
    """How often each branch objects.

    Args:
        pool: All candidates.
        options: Thresholds.

    Returns:
        `wrong_sentences`: share of sentences with an error above τ; `error/TYPE`: of one type;
        `undetected_nouns`: share of mentions; both of those that were told, over all candidates.
    """
    c = pool.candidates
    images = np.array(pool.image_ids, dtype=object)[c.image].astype(str)
    speakers = images[c.sentence_owner].tolist()
    above = flags(c.errors, options)
    found = {"wrong_sentences": bootstrap_mean(above.max(axis=1, initial=-np.inf), speakers)}
    for place, name in enumerate(ERROR_TYPES):
        found[f"error/{name}"] = bootstrap_mean(above[:, place], speakers)
    missing = np.where(np.isnan(c.presence), np.nan, c.presence <= options.noun_threshold)
    found["undetected_nouns"] = bootstrap_mean(missing, images[c.noun_owner].tolist())
    return found


def by_noun(pool: Gathered, options: VigorReward, most: int = 100) -> list[dict[str, Any]]:
    """The nouns that are named most often.

    Args:
        pool: All candidates.
        options: Threshold.
        most: So many nouns.

    Returns:
        One entry a noun: how many `captions` of how many `images` name it; `undetected`: share of
        the images that were told in which it is not; `presence`: mean of their probabilities. None
        where nothing was told.
    """
    size = len(pool.lemmas)
    captions = np.zeros(size, dtype=np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, dtype=np.int64), np.zeros(0))]
    for c in _in_parts(pool):
        named = np.unique(c.noun_owner * size + c.noun) % size
        captions += np.bincount(named, minlength=size)
        pairs, first = np.unique(c.image[c.noun_owner] * size + c.noun, return_index=True)
        found.append((pairs % size, c.presence[first]))
    nouns, presence = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(-captions, kind="stable")[:most]
    entries = []
    for noun in order.tolist():
        mine = presence[nouns == noun]
        told = mine[~np.isnan(mine)]
        missing = float((told <= options.noun_threshold).mean()) if len(told) else None
        mean = float(told.mean()) if len(told) else None
        entry = {"noun": pool.lemmas[noun], "captions": int(captions[noun]), "images": len(mine)}
        entries.append({**entry, "undetected": missing, "presence": mean})
    return entries


def histogram(values: np.ndarray) -> dict[str, list[float]] | None:
    """Counts and edges of the finite values; None of none.

    >>> histogram(np.array([0.0, 1.0, 1.0, np.nan]))["counts"]
    [1, 2]
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    kinds = np.unique(known)
    if len(kinds) <= _BINS and len(kinds) > 1:  # whole numbers, mostly: a bin for each
        middle = (kinds[1:] + kinds[:-1]) / 2
        edges = np.concatenate([[2 * kinds[0] - middle[0]], middle, [2 * kinds[-1] - middle[-1]]])
    else:
        edges = np.histogram_bin_edges(known, min(_BINS, len(kinds)))
    counts, _ = np.histogram(known, edges)
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def candidate_rows(
    rows: "pandas.DataFrame", columns: "pandas.DataFrame", reasons: Mapping[str, str]
) -> "pandas.DataFrame":
    """Rows of candidates with what is held against them.

    Args:
        rows: One a candidate, with `id`, `image_id` and `flag`.
        columns: By id, of those that have scores.
        reasons: Image id -> why its candidates have none.
    """
    joined = rows.join(columns, on="id")
    told = joined["image_id"].map(dict(reasons))
    joined["flag"] = joined["flag"].where((joined["flag"] != "") | told.isna(), told)
    return joined


def _in_parts(pool: Gathered) -> Iterator[Candidates]:
    """Some images at a time: sorting all mentions at once would take most of the memory."""
    images = pool.candidates.image
    for first in range(0, len(pool.image_ids) if pool.lemmas else 0, _TOGETHER):
        ends = np.searchsorted(images, (first, first + _TOGETHER))
        yield pool.part(slice(*ends.tolist())).candidates
