"""A sentence scorer that `task=reward_model` trained: ViGoR's human branch."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, get_args

import torch

from vlground.contracts import SentenceScorer
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError, VlgroundError
from vlground.models.dialogue import Dtype
from vlground.rewards.network import SentenceReward
from vlground.rewards.options import ERROR_TYPES

log = logging.getLogger("vlground")


class TrainedSentences(SentenceScorer):
    """Scores sentences with a reward model; how it reads them is part of what was saved.

    Each image is read once for all of its captions, and each caption once for all of its sentences.

    Args:
        pretrained: A folder that the task wrote (`model/` of its run, or `task.export`).
        batch_size: Images read at once; no result depends on it but for rounding.
        dtype: Of weights: float32, bfloat16 or float16.
        device: Where it runs; None: a GPU if there is one.

    Attributes:
        counts: Reason -> sentences without a score, as often as they were asked for.

    Raises:
        VlgroundError: If an option does not fit, or there is no reward model.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        pretrained: str,
        batch_size: int = 8,
        dtype: Dtype = "float32",
        device: str | None = None,
    ) -> None:
        if dtype not in get_args(Dtype):
            raise VlgroundError(f"reward.dtype={dtype}: expected {', '.join(get_args(Dtype))}")
        if batch_size < 1:
            raise VlgroundError(f"reward.batch_size={batch_size}: expected a positive number")
        self.model = SentenceReward.load(pretrained, getattr(torch, dtype))
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._images = batch_size
        self.counts: Counter[str] = Counter()

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Probability of each error type for each sentence.

        Args:
            samples: n samples; the captions of one image are scored together.
            sentences: Of each, all sentences of one caption from `split`.

        Returns:
            n lists, one entry a sentence: error type -> probability; empty of a sentence that is
            blank, lies behind the longest caption, or whose image cannot be read, which is counted.
        """
        places: dict[str, list[int]] = {}
        for place, sample in enumerate(samples):
            places.setdefault(sample.id, []).append(place)
        found: list[list[dict[str, float]]] = [[] for _ in samples]
        images = list(places.values())
        for start in range(0, len(images), self._images):
            self._score(images[start : start + self._images], samples, sentences, found)
        return found

    def _score(
        self,
        images: Sequence[Sequence[int]],
        samples: Sequence[Sample],
        sentences: Sequence[Sequence[str]],
        found: list[list[dict[str, float]]],
    ) -> None:
        read, able = [], []
        for places in images:
            try:
                read.append(self.model.read(load_image(samples[places[0]])))
                able.append(places)
            except ImageError as error:
                for place in places:
                    found[place] = [{} for _ in sentences[place]]
                    self._count(f"unreadable image: {error.reason}", len(sentences[place]))
        if not able:
            return
        told = self.model.probabilities(read, [[sentences[p] for p in places] for places in able])
        for places, of_image in zip(able, told, strict=True):
            for place, rows in zip(places, of_image, strict=True):
                found[place] = [self._named(row) for row in rows.tolist()]

    def _named(self, row: Sequence[float]) -> dict[str, float]:
        if row[0] != row[0]:
            self._count("blank, or behind the longest caption", 1)
            return {}
        named = dict(zip(self.model.types, row, strict=True))
        return {name: named[name] for name in ERROR_TYPES if name in named}

    def _count(self, reason: str, sentences: int) -> None:
        if reason not in self.counts:
            log.warning("reward: sentences without a score: %s", reason)
        self.counts[reason] += sentences
