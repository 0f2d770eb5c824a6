"""Labelled sentences of candidates, flat, and their split by image (ours)."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

import numpy as np

from vlground.rewards.gathering import Scored

Level = Literal["sentence", "caption"]


@dataclass(frozen=True, eq=False)
class LabelledSentences:
    """`n` sentences, those of a candidate together and in order.

    Attributes:
        image_ids: `(n,)` of str.
        candidates: `(n,)` int64, number of the candidate within its image.
        texts: `n` sentences.
        labels: `(n,)` share of people who mark an error of any type, in 0-1; NaN: nobody judged.
    """

    image_ids: np.ndarray
    candidates: np.ndarray
    texts: Sequence[str]
    labels: np.ndarray

    @classmethod
    def of(cls, told: Iterable[tuple[Scored, Sequence[str]]]) -> Self:
        """Gather candidates.

        Args:
            told: Of each its scores and its sentences. One without sentences leaves no trace.
        """
        images, candidates, texts, labels = list[str](), list[int](), list[str](), list[float]()
        for one, sentences in told:
            images += [one.image_id] * len(sentences)
            candidates += [one.index] * len(sentences)
            texts += sentences
            labels += one.errors.max(axis=1, initial=0).tolist()
        numbers = np.array(candidates, dtype=np.int64)
        return cls(np.array(images, dtype=str), numbers, texts, np.array(labels, dtype=np.float64))

    @property
    def spans(self) -> Iterator[tuple[tuple[str, int], int, int]]:
        """Image id and number of each candidate, its first row and the one behind its last."""
        for start, end in pairwise([*self._starts.tolist(), len(self.texts)]):
            yield (str(self.image_ids[start]), int(self.candidates[start])), start, end

    def part(self, rows: np.ndarray) -> Self:
        """Some of the sentences.

        Args:
            rows: `(n,)` bool.
        """
        texts = [text for text, kept in zip(self.texts, rows.tolist(), strict=True) if kept]
        return type(self)(self.image_ids[rows], self.candidates[rows], texts, self.labels[rows])

    def targets(self, level: Level) -> np.ndarray:
        """What each sentence is trained to say.

        Args:
            level: sentence: its own label (fine-grained); caption: the highest label of its caption
                (holistic, as if people had said of whole captions whether they err).

        Returns:
            `(n,)` in 0-1; NaN where nobody judged.
        """
        if level == "sentence" or not len(self.texts):
            return self.labels
        starts = self._starts
        highest = np.fmax.reduceat(self.labels, starts)
        return np.repeat(highest, np.diff([*starts, len(self.texts)]))

    @property
    def _starts(self) -> np.ndarray:
        """`(c,)` first row of each candidate."""
        if not len(self.texts):
            return np.zeros(0, dtype=np.int64)
        other = self.image_ids[1:] != self.image_ids[:-1]
        other |= self.candidates[1:] != self.candidates[:-1]
        return np.flatnonzero(np.concatenate([[True], other]))


def held_out(image_ids: np.ndarray, share: float, seed: int, of: str = "test") -> np.ndarray:
    """Which rows belong to images that are left out, drawn by a hash of (seed, image id).

    Args:
        image_ids: `(n,)` of str.
        share: Of the images, in 0-1, rounded to whole ones.
        seed: Of the split.
        of: What for; two splits of one seed do not follow from each other.

    Returns:
        `(n,)` bool; all rows of an image are the same.
    """
    names, images = np.unique(image_ids, return_inverse=True)
    places = [_place(of, seed, str(name)) for name in names]
    order = sorted(range(len(names)), key=places.__getitem__)
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[: round(share * len(names))]] = True
    return np.asarray(chosen[images])


def _place(of: str, seed: int, image_id: str) -> bytes:
    content = f"held out/{of}/{seed}/{image_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=8).digest()
