"""One candidate with all that is held against it, sentence by sentence and noun by noun."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.rewards.refinement import Refined, refine
from vlground.rewards.sentences import Sentence
from vlground.rewards.signals import flags
from vlground.store import Evidence


@dataclass(frozen=True, slots=True)
class Mention:
    """A noun in a caption.

    Attributes:
        sentence: Number of its sentence.
        start: First character in the caption.
        end: End in the caption, half-open.
        lemma: What the detector was asked for.
        presence: Its probability; NaN: the detector cannot tell.
    """

    sentence: int
    start: int
    end: int
    lemma: str
    presence: float


@dataclass(frozen=True, eq=False)
class Described:
    """A candidate and its stored scores.

    Attributes:
        text: The caption.
        sentences: Of it.
        errors: `(s, 6)` probabilities in the order of `ERROR_TYPES`; NaN: not scored.
        mentions: Nouns in order; none if no detector was asked.
    """

    text: str
    sentences: list[Sentence]
    errors: np.ndarray
    mentions: list[Mention]

    def refined(self, options: VigorReward) -> Refined:
        """The caption without the sentences that are held against it."""
        undetected = [0] * len(self.sentences)
        for mention in self.mentions:
            undetected[mention.sentence] += mention.presence <= options.noun_threshold
        return refine(self.sentences, undetected, self.errors, options)

    def wrong(self, kept: Sequence[int], options: VigorReward) -> tuple[float, ...]:
        """Of each kept sentence 1 if an error is above τ, else 0; NaN: not scored."""
        above = flags(self.errors, options).max(axis=1, initial=0)
        return tuple(above[list(kept)].tolist())

    def missing(self, kept: Sequence[int], options: VigorReward) -> tuple[float, ...]:
        """Of each noun in kept sentences 1 if it is not detected, else 0; NaN: cannot tell."""
        mine = [one.presence for one in self.mentions if one.sentence in kept]
        return tuple(p if np.isnan(p) else float(p <= options.noun_threshold) for p in mine)


def described(
    texts: Mapping[int, str], nouns: Evidence | None, sentences: Evidence | None
) -> dict[int, Described]:
    """Candidates of an image with what is stored of them.

    Args:
        texts: Number -> caption, of those that are wanted.
        nouns: Evidence of the nouns of all; None: no detector was asked.
        sentences: Evidence of the sentences of all; None: nobody was asked.
    """
    errors: Any = None if sentences is None else sentences["errors"]
    known = nouns or sentences
    assert known is not None
    places: Any = known["sentences"]
    found: dict[int, Described] = {}
    for index, text in texts.items():
        mine = places[:, 0] == index
        cuts = places[mine][:, 1:].tolist()
        pieces = [Sentence(start, text[start:end]) for start, end in cuts]
        unknown = np.full((len(pieces), len(ERROR_TYPES)), np.nan)
        own = unknown if errors is None else errors[mine]
        found[index] = Described(text, pieces, own, _mentions(nouns, index))
    return found


def _mentions(nouns: Evidence | None, index: int) -> list[Mention]:
    if nouns is None:
        return []
    places: Any = nouns["mentions"]
    lemmas: Any = nouns["lemmas"]
    presence: Any = nouns["presence"]
    return [
        Mention(sentence, start, end, lemmas[noun], float(presence[noun]))
        for _, sentence, start, end, noun in places[places[:, 0] == index].tolist()
    ]
