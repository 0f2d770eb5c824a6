"""From evidence, one piece a candidate, to flat arrays over all of them."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.signals import Candidates


@dataclass(frozen=True, eq=False)
class Scored:
    """Stored scores of one candidate.

    Attributes:
        image_id: Of its image.
        index: Its number within the image.
        words: Its length.
        errors: `(s, 6)` probabilities in the order of `ERROR_TYPES`, a row a sentence.
        lemmas: `(m,)` nouns it mentions.
        presence: `(m,)` probability that each is in the image.
    """

    image_id: str
    index: int
    words: int
    errors: np.ndarray
    lemmas: Sequence[str]
    presence: np.ndarray


@dataclass(frozen=True, eq=False)
class Gathered:
    """All candidates of a pool.

    Attributes:
        candidates: Flat, in the order in which they came.
        image_ids: Number of an image -> its id, in the order of their first candidates.
        lemmas: Number of a lemma -> the lemma.
    """

    candidates: Candidates
    image_ids: list[str]
    lemmas: list[str]

    @property
    def keys(self) -> list[str]:
        """Name of each candidate, for `pool_hash`."""
        pairs = zip(self.candidates.image.tolist(), self.candidates.index.tolist(), strict=True)
        return [f"{self.image_ids[image]}/{index}" for image, index in pairs]

    def part(self, rows: slice) -> "Gathered":
        """Some candidates that follow each other.

        Args:
            rows: From the first one to the end, half-open.
        """
        return Gathered(self.candidates.part(rows), self.image_ids, self.lemmas)


def gather(scored: Iterable[Scored]) -> Gathered:
    """Read candidates one by one; no more than their numbers stays in memory.

    Args:
        scored: In any order.
    """
    images: dict[str, int] = {}
    lemmas: dict[str, int] = {}
    facts, sentences, nouns, noun = (array("i") for _ in range(4))
    errors, presence = array("d"), array("d")
    for c, one in enumerate(scored):
        facts.extend((images.setdefault(one.image_id, len(images)), one.index, one.words))
        sentences.extend([c] * len(one.errors))
        errors.frombytes(np.ascontiguousarray(one.errors, dtype=np.float64).tobytes())
        nouns.extend([c] * len(one.lemmas))
        noun.extend(lemmas.setdefault(lemma, len(lemmas)) for lemma in one.lemmas)
        presence.frombytes(np.ascontiguousarray(one.presence, dtype=np.float64).tobytes())
    table = np.frombuffer(facts, dtype=np.int32).astype(np.int64).reshape(-1, 3)
    candidates = Candidates(
        table[:, 0],
        table[:, 1],
        table[:, 2],
        np.frombuffer(sentences, dtype=np.int32),
        np.frombuffer(errors, dtype=np.float64).reshape(-1, len(ERROR_TYPES)),
        np.frombuffer(nouns, dtype=np.int32),
        np.frombuffer(noun, dtype=np.int32),
        np.frombuffer(presence, dtype=np.float64),
    )
    return Gathered(candidates, list(images), list(lemmas))


def errors_of(scores: Sequence[dict[str, float]]) -> np.ndarray:
    """What a sentence scorer says of one caption, as an array.

    Args:
        scores: A sentence each: error type -> probability; empty of one it cannot score.

    Returns:
        `(s, 6)` in the order of `ERROR_TYPES`; 0 of a type that it does not know, NaN throughout
        of a sentence without any.

    >>> errors_of([{"attribute": 0.5}, {}])[:, :2].tolist()
    [[0.0, 0.5], [nan, nan]]
    """
    rows = [[score.get(name, 0.0) if score else np.nan for name in ERROR_TYPES] for score in scores]
    return np.array(rows, dtype=np.float64).reshape(-1, len(ERROR_TYPES))
