"""Captioners, and the detectors and sentence scorers that hold their captions against images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from vlground.data.sample import Sample


@dataclass(frozen=True)
class Caption:
    """What was written about an image, or why nothing was.

    Attributes:
        text: As it was written, without special tokens and without space around it.
        log_probabilities: Natural, of the text's tokens in order, each given those before it, of
            the model as it is: before temperature and top-p. The end token is not among them. None
            where they are not known.
        cut_off: It reached the longest length before its end.
        problem: Why there is no caption, in words that are counted (`429`, `refusal`); then `text`
            is "" and says nothing. "" if there is one, even an empty one.
        model: Id of the model as a server returned it; None elsewhere.
    """

    text: str
    log_probabilities: tuple[float, ...] | None = None
    cut_off: bool = False
    problem: str = ""
    model: str | None = None


class Captioner:
    """Writes candidates: captions of which one may be better than another.

    Attributes:
        counts: Reason -> number of records that became no caption, of one that reads a file.
        version: Raised when its captions change.
    """

    version: ClassVar[int] = 1
    counts: Mapping[str, int] = MappingProxyType({})

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """Write the candidates `first` … `n - 1` of each sample's image.

        Candidate `i` of an image depends on (seed, image, prompt, i) alone: not on n, nor on the
        others, unless the captioner says so.

        Args:
            samples: A batch.
            prompts: What is asked of each.
            n: Candidates of an image.
            seed: Of all that is drawn.
            first: Those before it are known already.
        """
        raise NotImplementedError


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.float32)


def _no_scores() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Detection:
    """How sure a detector is that a phrase is in an image, and where.

    Attributes:
        probability: In 0-1; NaN where the detector cannot tell, which is neither yes nor no.
        boxes: `(k, 4)` float32, `x0, y0, x1, y1` in pixels of the original image, half-open, the
            likeliest first.
        scores: `(k,)` float32 in 0-1, of the boxes.
    """

    probability: float
    boxes: np.ndarray = field(default_factory=_no_boxes)
    scores: np.ndarray = field(default_factory=_no_scores)


class Detector:
    """Says of phrases whether, and where, they are in an image.

    Attributes:
        version: Raised when its numbers change.
    """

    version: ClassVar[int] = 1

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for the phrases of each sample in its image, in their order."""
        raise NotImplementedError


class SentenceScorer:
    """Says of sentences which errors they make about an image.

    Attributes:
        counts: Reason -> number of annotations or sentences that say nothing.
        version: Raised when its numbers change.
    """

    version: ClassVar[int] = 1
    counts: Mapping[str, int] = MappingProxyType({})

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Error type -> probability, of each sentence of each sample's caption; empty: unknown."""
        raise NotImplementedError
