"""What is held against candidates: their nouns that a detector misses, their sentences' errors.

Both are stored once an image, under its picture and its candidates' texts:

    nouns        sentences (s, 3): candidate, start, end       mentions (m, 5): candidate,
                 sentence, start, end, noun                    lemmas: k names; presence (k,)
                 boxes (b, 4), box_scores (b,), box_nouns (b,)
    sentences    sentences (s, 3); errors (s, 6), in the order of `ERROR_TYPES`
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vlground.config import build
from vlground.contracts import Caption, Detection, Detector, SentenceScorer
from vlground.data.sample import Sample
from vlground.errors import ImageError
from vlground.rewards.gathering import Scored, errors_of
from vlground.rewards.nouns import NounFinder
from vlground.rewards.sentences import split
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.images import ImageEvidence
from vlground.tasks.sampling import Sampling
from vlground.weights import pinned


class _OfCaptions(ImageEvidence):
    """What the two kinds of evidence share.

    Args:
        node: Of the model that is asked, which is loaded if evidence is missing.
        sampling: The candidates.
        store: Where the evidence is kept.
    """

    def __init__(self, node: Mapping[str, Any], sampling: Sampling, store: EvidenceStore) -> None:
        super().__init__(sampling.images, store, sampling.batch_size)
        self.node, self.sampling = node, sampling
        self.failed: dict[str, str] = {}

    def missing(self, sample: Sample) -> bool:
        """Whether nothing is known of an image that has a candidate."""
        key = self.sampling.key(sample)
        return key not in self.store and bool(_written(self.sampling.captions(sample)))

    def keys(self, sample: Sample) -> list[str]:
        """Of an image and its candidates."""
        return [self.sampling.key(sample)]

    def of(self, sample: Sample) -> Evidence | None:
        """What is stored of an image's candidates; None: nothing."""
        key = self.sampling.key(sample)
        if key not in self.store:
            return None
        return self.store[key]


class NounScores(_OfCaptions):
    """Nouns of candidates, and how sure a detector is of each.

    All nouns of an image are asked for at once, whichever candidate names them.

    Args:
        node: Of the detector.
        sampling: The candidates.
        store: Where the evidence is kept.
        finder: Of nouns.
    """

    def __init__(
        self,
        node: Mapping[str, Any],
        sampling: Sampling,
        store: EvidenceStore,
        finder: NounFinder,
    ) -> None:
        super().__init__(node, sampling, store)
        self.finder = finder
        self.detector: Detector | None = None

    def predict_step(self, batch: list[Sample]) -> list[tuple[str, Evidence]]:
        """Find the nouns of a batch, and look for them."""
        if self.detector is None:  # here, where each process knows its device
            with torch.inference_mode(False):  # some of them differentiate
                self.detector = build(pinned(self.node))
        captions = [self.sampling.captions(sample) for sample in batch]
        found = [nouns_of(of_one, self.finder) for of_one in captions]
        asked = [list(evidence["lemmas"]) for evidence in found]  # type: ignore[arg-type]
        made = []
        for sample, evidence, detections in zip(
            batch, found, self._detect(batch, asked), strict=True
        ):
            if isinstance(detections, str):
                self.failed[sample.image_id] = detections
            else:
                made.append((self.sampling.key(sample), evidence | _detected(detections)))
        return made

    def _detect(
        self, samples: Sequence[Sample], asked: Sequence[Sequence[str]]
    ) -> list[list[Detection] | str]:
        """Detections of each sample, or why its image could not be read."""
        assert self.detector is not None
        try:
            return list(self.detector.detect(samples, asked))
        except ImageError as error:
            if len(samples) == 1:
                return [f"unreadable image: {error.reason}"]
            pairs = zip(samples, asked, strict=True)
            return [self._detect([sample], [nouns])[0] for sample, nouns in pairs]


class SentenceScores(_OfCaptions):
    """Probability of each error type of each sentence."""

    scorer: SentenceScorer | None = None

    def counted(self) -> Mapping[str, int]:
        """Annotations or sentences that say nothing."""
        return {} if self.scorer is None else dict(self.scorer.counts)

    def predict_step(self, batch: list[Sample]) -> list[tuple[str, Evidence]]:
        """Score the sentences of a batch, all captions of an image one after the other."""
        if self.scorer is None:
            self.scorer = build(self.node)
        captions = [self.sampling.captions(sample) for sample in batch]
        owners = [
            (sample, one.text)
            for sample, of_one in zip(batch, captions, strict=True)
            for one in _written(of_one).values()
        ]
        pieces = [[sentence.text for sentence in split(text)] for _, text in owners]
        told = iter(self.scorer.score([sample for sample, _ in owners], pieces))
        made: list[tuple[str, Evidence]] = []
        for sample, of_one in zip(batch, captions, strict=True):
            rows = [errors_of(next(told)) for _ in _written(of_one)]
            places = sentences_of(of_one)
            evidence: Evidence = {"sentences": places, "errors": _stacked(rows)}
            made.append((self.sampling.key(sample), evidence))
        return made


def nouns_of(captions: Sequence[Caption], finder: NounFinder) -> Evidence:
    """Sentences and nouns of an image's candidates, without what a detector says.

    Args:
        captions: Candidates; those without a caption are left out.
        finder: Of nouns.
    """
    lemmas: dict[str, int] = {}
    mentions: list[tuple[int, int, int, int, int]] = []
    for candidate, caption in _written(captions).items():
        for number, sentence in enumerate(split(caption.text)):
            for noun in finder.find(sentence.text):
                place = sentence.start + noun.start, sentence.start + noun.end
                known = lemmas.setdefault(noun.lemma, len(lemmas))
                mentions.append((candidate, number, *place, known))
    return {
        "sentences": sentences_of(captions),
        "mentions": np.array(mentions, dtype=np.int32).reshape(-1, 5),
        "lemmas": list(lemmas),
    }


def scored_of(
    sample: Sample,
    captions: Sequence[Caption],
    nouns: Evidence | None,
    sentences: Evidence | None,
) -> Iterator[Scored]:
    """The stored scores of an image's candidates, for `gather`.

    Args:
        sample: Of the image.
        captions: Its candidates; those without a caption are left out.
        nouns: Evidence of its nouns; None: no detector was asked.
        sentences: Evidence of its sentences; None: nobody was asked.
    """
    mentions: Any = None if nouns is None else nouns["mentions"]
    presence: Any = None if nouns is None else nouns["presence"]
    lemmas: Any = None if nouns is None else nouns["lemmas"]
    errors: Any = None if sentences is None else sentences["errors"]
    known = nouns or sentences
    assert known is not None
    owner: Any = known["sentences"]
    for index, caption in _written(captions).items():
        own = owner[:, 0] == index
        mine = [] if mentions is None else mentions[mentions[:, 0] == index][:, 4].tolist()
        yield Scored(
            sample.image_id,
            index,
            len(caption.text.split()),
            errors_of([{}] * int(own.sum())) if errors is None else errors[own],
            [lemmas[noun] for noun in mine],
            np.array([presence[noun] for noun in mine], dtype=np.float64),
        )


def sentences_of(captions: Sequence[Caption]) -> np.ndarray:
    """Candidate, start and end of every sentence.

    Args:
        captions: Candidates; those without a caption are left out.

    Returns:
        `(s, 3)` int32.
    """
    found = [
        (index, sentence.start, sentence.end)
        for index, caption in _written(captions).items()
        for sentence in split(caption.text)
    ]
    return np.array(found, dtype=np.int32).reshape(-1, 3)


def _detected(detections: Sequence[Detection]) -> Evidence:
    counts = [len(one.boxes) for one in detections]
    return {
        "presence": np.array([one.probability for one in detections], dtype=np.float64),
        "boxes": _stacked([one.boxes.reshape(-1, 4) for one in detections]).astype(np.float32),
        "box_scores": _stacked([one.scores for one in detections]).astype(np.float32),
        "box_nouns": np.repeat(np.arange(len(detections), dtype=np.int32), counts),
    }


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array after the other; an empty one of none."""
    return np.concatenate(parts) if len(parts) else np.zeros(0)


def _written(captions: Sequence[Caption]) -> dict[int, Caption]:
    """Number -> candidate, of those that are captions, also empty ones."""
    return {index: caption for index, caption in enumerate(captions) if not caption.problem}
