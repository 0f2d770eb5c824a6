"""What selection and refinement gained: the same images, each with four captions (ours).

first     candidate 0, or the first that is a caption at all
random    one of all captions, drawn from (seed, image): the control
winner    the lowest penalty
refined   the winner without the sentences that were held against it
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vlground.metrics.chair import Chair, counts_of
from vlground.metrics.statistics import Estimate, bootstrap_sums

ARMS = ("first", "random", "winner", "refined")
# What is counted of every caption: a part of a whole, added up over captions.
_RATIOS = (
    *("chair_i", "chair_s", "recall", "words", "empty"),
    *("wrong_sentences", "undetected_nouns"),
)


@dataclass(frozen=True)
class Taken:
    """A caption that an arm takes.

    Attributes:
        image_id: Of its image.
        text: The caption.
        wrong: Of each of its sentences whether the sentence scorer calls it wrong; NaN: not told.
        missing: Of each noun mentioned whether the detector misses it; NaN: not told.
    """

    image_id: str
    text: str
    wrong: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()


def drawn(seed: int, image_id: str, candidates: Sequence[int]) -> int:
    """One of an image's candidates by chance, from (seed, image) alone.

    >>> drawn(0, "7", [1, 3]) == drawn(0, "7", [1, 3])
    True
    """
    text = f"random pick/{seed}/{image_id}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return candidates[number % len(candidates)]


class ArmCounts:
    """Adds up what the captions of arms are like; of a caption only numbers stay.

    Args:
        objects: Image id -> what is in it; empty: not known.
        options: Of CHAIR.
    """

    def __init__(self, objects: Mapping[str, Iterable[str]], options: Chair) -> None:
        self._objects, self._known = objects, options.vocabulary
        self._images: dict[str, int] = {}
        self._owners: dict[str, array[int]] = {}
        self._counts: dict[str, array[float]] = {}
        self._last: tuple[str, dict[str, dict[str, int]]] = ("", {})

    def add(self, arm: str, taken: Taken) -> None:
        """Count one caption."""
        owner = self._images.setdefault(taken.image_id, len(self._images))
        self._owners.setdefault(arm, array("i")).append(owner)
        pairs = (*self._chair(taken), *_told(taken))
        self._counts.setdefault(arm, array("d")).extend(n for pair in pairs for n in pair)

    def _chair(self, taken: Taken) -> list[tuple[float, float]]:
        """Part and whole of `chair_i`, `chair_s` and `recall`; nothing of an unknown image."""
        if taken.image_id not in self._objects:
            return [(0, 0)] * 3
        if self._last[0] != taken.image_id:
            self._last = (taken.image_id, {})
        known = self._last[1]
        if taken.text not in known:  # arms often take the same one
            known[taken.text] = counts_of(taken.text, self._objects[taken.image_id], self._known)
        n = known[taken.text]
        return [
            (n["hallucinated"], n["mentions"]),
            (n["hallucinated"] > 0, 1),
            (n["found"], n["objects"]),
        ]

    def estimates(self) -> dict[str, Estimate]:
        """What the captions of each arm are like, with intervals over images.

        Returns:
            `ARM/…`: where objects are known `chair_i`, `chair_s` and `recall`; `words`; `empty`, a
            share; `wrong_sentences` and `undetected_nouns`, shares by what the branches said, so
            neither is a truth.
        """
        ranks = {image: place for place, image in enumerate(sorted(self._images))}
        place_of = np.array([ranks[image] for image in self._images], dtype=np.int64)
        tables: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for arm, numbers in self._counts.items():
            counts = np.frombuffer(numbers, dtype=np.float64).reshape(-1, len(_RATIOS), 2)
            owners = place_of[np.frombuffer(self._owners[arm], dtype=np.int32)]
            for column, name in enumerate(_RATIOS):
                part, whole = (
                    np.bincount(owners, counts[:, column, side], minlength=len(place_of))
                    for side in (0, 1)
                )
                if whole.any():
                    tables[f"{arm}/{name}"] = part, whole.astype(np.int64)
        return bootstrap_sums(tables)


def estimates(
    arms: Mapping[str, Sequence[Taken]], objects: Mapping[str, frozenset[str]], options: Chair
) -> dict[str, Estimate]:
    """What the captions of arms are like, see `ArmCounts.estimates`.

    Args:
        arms: Arm -> what it takes of every image.
        objects: Image id -> what is in it; empty: not known.
        options: Of CHAIR.
    """
    counts = ArmCounts(objects, options)
    for arm, taken in arms.items():
        for one in taken:
            counts.add(arm, one)
    return counts.estimates()


def _told(taken: Taken) -> list[tuple[float, float]]:
    """What needs no truth: `words`, `empty`, `wrong_sentences`, `undetected_nouns`."""
    words = len(taken.text.split())
    found: list[tuple[float, float]] = [(words, 1), (words == 0, 1)]
    for values in (taken.wrong, taken.missing):
        known = [value for value in values if value == value]  # NaN is not equal to itself
        found.append((sum(known), len(known)))
    return found
