"""Removal of a winner's hallucinated sentences before fine-tuning (ViGoR, refinement module).

The paper removes "sentences with hallucinated nouns". What triggers a removal, and whether a
caption may become empty, are options (not stated).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.sentences import Sentence
from vlground.rewards.signals import inaccuracy


@dataclass(frozen=True)
class Refined:
    """A caption without the sentences that were held against it.

    Attributes:
        text: The kept pieces of the caption, joined, to the character.
        kept: Numbers of the sentences that stayed, ascending.
        removed: Numbers of the others.
        spared: How many of the kept ones stayed only because of `keep_at_least`.
    """

    text: str
    kept: tuple[int, ...]
    removed: tuple[int, ...]
    spared: int

    @property
    def emptied(self) -> bool:
        """Whether nothing is left of a caption that had sentences."""
        return bool(self.removed) and not self.text.strip()


def refine(
    sentences: Sequence[Sentence],
    undetected: Sequence[int],
    errors: np.ndarray | None,
    options: VigorReward,
) -> Refined:
    """Remove sentences.

    Args:
        sentences: Of one caption, from `split`.
        undetected: `(s,)`, nouns of each sentence that were not detected.
        errors: `(s, 6)` probabilities in the order of `ERROR_TYPES`; None or NaN: not known, and a
            sentence is not removed for what is not known.
        options: `refine`, `keep_at_least`, and what calls a sentence inaccurate.
    """
    if errors is None:
        errors = np.full((len(sentences), len(ERROR_TYPES)), np.nan)
    missing = np.asarray(undetected, dtype=np.float64)
    against = np.zeros(len(sentences))
    bad = np.zeros(len(sentences), dtype=bool)
    if options.refine in ("nouns", "either"):
        bad |= missing > 0
        against += missing
    if options.refine in ("sentences", "either"):
        bad |= _inaccurate(errors, options)
        against += np.nan_to_num(inaccuracy(errors, options))
    spared = max(0, min(options.keep_at_least, len(sentences)) - int((~bad).sum()))
    # Those with the least against them, earlier ones first: captions go wrong towards their end.
    order = np.flatnonzero(bad)[np.argsort(against[bad], kind="stable")]
    bad[order[:spared]] = False
    kept = tuple(np.flatnonzero(~bad).tolist())
    text = "".join(sentences[i].text for i in kept)
    return Refined(text, kept, tuple(np.flatnonzero(bad).tolist()), spared)


def _inaccurate(errors: np.ndarray, options: VigorReward) -> np.ndarray:
    """Whether an error that has a weight is above τ, also where penalties are probabilistic."""
    weights = np.array([float(options.error_weights.get(name, 1)) for name in ERROR_TYPES])
    return np.asarray(((errors > options.sentence_threshold) & (weights > 0)).any(axis=1))
