"""From stored scores of sentences and nouns to two numbers a candidate: H and D (reconstructed).

Everything is flat: one array a column, and for each sentence and noun the candidate that owns it.
No model is asked, so a sweep over options reads the store and recomputes this.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlground.rewards.options import ERROR_TYPES, VigorReward

_TOGETHER = 8192  # candidates


@dataclass(frozen=True, eq=False)
class Candidates:
    """Stored scores of `c` candidates with `s` sentences and `m` nouns in all.

    Attributes:
        image: `(c,)` int64, number of the candidate's image; those of an image may lie anywhere.
        index: `(c,)` int64, number of the candidate within its image.
        words: `(c,)` int64, length.
        sentence_owner: `(s,)` int32, candidate of each sentence, ascending.
        errors: `(s, 6)` probabilities in the order of `ERROR_TYPES`; 0 of a type that the scorer
            does not know, NaN throughout if it could not score the sentence.
        noun_owner: `(m,)` int32, candidate of each mention of a noun, ascending.
        noun: `(m,)` int32, number of its lemma.
        presence: `(m,)` probability that it is in the image; NaN if the detector could not say.
    """

    image: np.ndarray
    index: np.ndarray
    words: np.ndarray
    sentence_owner: np.ndarray
    errors: np.ndarray
    noun_owner: np.ndarray
    noun: np.ndarray
    presence: np.ndarray

    def part(self, rows: slice) -> "Candidates":
        """Some that follow each other.

        Args:
            rows: From the first one to the end, half-open.
        """
        ends = rows.start, rows.stop
        sentences = slice(*np.searchsorted(self.sentence_owner, ends))
        nouns = slice(*np.searchsorted(self.noun_owner, ends))
        return Candidates(
            self.image[rows],
            self.index[rows],
            self.words[rows],
            self.sentence_owner[sentences].astype(np.int64) - rows.start,
            self.errors[sentences],
            self.noun_owner[nouns].astype(np.int64) - rows.start,
            self.noun[nouns].astype(np.int64),
            self.presence[nouns],
        )


@dataclass(frozen=True, eq=False)
class Signals:
    """What the streams hold against each of `c` candidates, before any normalisation.

    Attributes:
        sentences: `(c,)` H, NaN if a sentence of it has no score.
        nouns: `(c,)` D, NaN if a noun of it has no score.
        grounded: `(c,)` nouns that were detected.
        n_sentences: `(c,)` sentences that there are.
        n_nouns: `(c,)` nouns that there are, distinct or mentions as the option has it.
    """

    sentences: np.ndarray
    nouns: np.ndarray
    grounded: np.ndarray
    n_sentences: np.ndarray
    n_nouns: np.ndarray


def inaccuracy(errors: np.ndarray, options: VigorReward) -> np.ndarray:
    """What each sentence adds to H.

    Args:
        errors: `(s, 6)`, see `Candidates`.
        options: Score, threshold, weights.

    Returns:
        `(s,)` from 0 on; NaN of a sentence without a score.
    """
    weights = np.array([float(options.error_weights.get(name, 1)) for name in ERROR_TYPES])
    scores = errors if options.sentence_score == "probabilistic" else flags(errors, options)
    weighted = scores * weights
    total = weighted.max(axis=1) if options.errors == "max" else weighted.sum(axis=1)
    return np.asarray(total)


def flags(errors: np.ndarray, options: VigorReward) -> np.ndarray:
    """1.0 where an error's probability is above τ, else 0.0; NaN stays.

    Args:
        errors: Probabilities, any shape.
        options: τ.
    """
    above = (errors > options.sentence_threshold).astype(np.float64)
    return np.where(np.isnan(errors), np.nan, above)


def signals(candidates: Candidates, options: VigorReward) -> Signals:
    """Count what both streams hold against each candidate.

    Args:
        candidates: Stored scores.
        options: What counts, and how.
    """
    size = len(candidates.image)
    # All nouns at once would take several times the memory of the pool.
    rows = [slice(at, min(at + _TOGETHER, size)) for at in range(0, max(size, 1), _TOGETHER)]
    parts = [_signals(candidates.part(some), options) for some in rows]
    columns = ("sentences", "nouns", "grounded", "n_sentences", "n_nouns")
    return Signals(*(np.concatenate([getattr(one, name) for one in parts]) for name in columns))


def _signals(candidates: Candidates, options: VigorReward) -> Signals:
    c = len(candidates.image)
    owner, presence = candidates.noun_owner, candidates.presence
    if options.nouns == "distinct":
        lemmas = int(candidates.noun.max(initial=0)) + 1
        _, kept = np.unique(owner * lemmas + candidates.noun, return_index=True)
        owner, presence = owner[kept], presence[kept]
    detected = presence > options.noun_threshold
    missing = 1 - presence if options.noun_score == "probabilistic" else 1.0 - detected
    missing = np.where(np.isnan(presence), np.nan, missing)
    faults = inaccuracy(candidates.errors, options)
    h, n_sentences = _summed(candidates.sentence_owner, faults, c, options)
    d, n_nouns = _summed(owner, missing, c, options)
    if options.amount == "rates":
        h, d = h / np.maximum(n_sentences, 1), d / np.maximum(n_nouns, 1)
    return Signals(h, d, np.bincount(owner[detected], minlength=c), n_sentences, n_nouns)


def _summed(
    owner: np.ndarray, values: np.ndarray, size: int, options: VigorReward
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of each candidate's values, and how many there are; NaN where one should know more."""
    known = ~np.isnan(values)
    if options.unknown == "refuse":
        known[:] = True
    count = np.bincount(owner[known], minlength=size)
    total = np.bincount(owner[known], values[known], minlength=size)
    nothing = (count == 0) & (np.bincount(owner, minlength=size) > 0)
    return np.where(nothing, np.nan, total), count


def pool_hash(keys: Sequence[str], found: Signals) -> str:
    """Identity of a pool: which candidates, and what is held against each, in any order.

    Args:
        keys: `c` names, one a candidate, that are the same in every run (`image_id/index`).
        found: Of the same candidates.

    Returns:
        16 hex digits. Statistics over a part of a pool have another one.
    """
    pairs = zip(keys, found.sentences.tolist(), found.nouns.tolist(), strict=True)
    lines = sorted(f"{key}\t{h!r}\t{d!r}" for key, h, d in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
