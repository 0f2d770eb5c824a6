"""The penalty of rejection sampling as a reward: captions are scored while they are written."""

from collections.abc import Sequence

import numpy as np

from vlground.contracts import Detector, SentenceScorer
from vlground.data.sample import Sample
from vlground.errors import ImageError, VlgroundError
from vlground.rewards.gathering import Scored, errors_of, gather
from vlground.rewards.nouns import NounFinder
from vlground.rewards.options import VigorReward
from vlground.rewards.selection import penalties
from vlground.rewards.sentences import split
from vlground.rewards.signals import signals


class CaptionReward:
    """Minus the combined penalty, by the same streams and options as `task=rejection_sampling`.

    Args:
        samples: Of the images that captions are written about.
        finder: Of nouns.
        detector: Looks for them; None with metric.streams=[sentences].
        scorer: Of sentences; None with metric.streams=[nouns].
        metric: How both become a penalty. There is no pool of all candidates here: either
            normalise=none, or statistics of one that was measured before (pool=frozen).

    Raises:
        VlgroundError: If a stream has nobody behind it, or a pool is asked for.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        finder: NounFinder,
        detector: Detector | None,
        scorer: SentenceScorer | None,
        metric: VigorReward,
    ) -> None:
        for stream, known in (("nouns", detector), ("sentences", scorer)):
            if stream in metric.streams and known is None:
                option = {"nouns": "detector", "sentences": "reward"}[stream]
                raise VlgroundError(f"{option}=none: metric.streams has {stream}; choose one")
        if metric.normalise != "none" and metric.pool != "frozen":
            told = "captions are scored as they are written; expected metric.normalise=none"
            more = "or metric.pool=frozen metric.statistics=pool.json of task=rejection_sampling"
            raise VlgroundError(f"metric.pool={metric.pool}: {told}, {more}")
        self.samples, self.finder, self.metric = samples, finder, metric
        self.detector = detector if "nouns" in metric.streams else None
        self.scorer = scorer if "sentences" in metric.streams else None

    def __call__(self, places: Sequence[int], texts: Sequence[str]) -> list[float]:
        """Score captions.

        Args:
            places: Of their images among the samples.
            texts: One a place.

        Returns:
            One number a caption, higher is better. What rejection sampling would not take (an empty
            caption, or one of which nothing is known) gets one less than the worst of all (ours).
        """
        scored: list[Scored | None] = [None] * len(texts)
        for place in dict.fromkeys(places):
            mine = [row for row, one in enumerate(places) if one == place]
            found = self._scored(self.samples[place], [texts[row].strip() for row in mine])
            for row, one in zip(mine, found, strict=True):
                scored[row] = one
        candidates = gather(one for one in scored if one is not None).candidates
        total = -penalties(candidates, signals(candidates, self.metric), self.metric).total
        known = total[~np.isnan(total)]
        worst = float(known.min()) if len(known) else 0.0
        reward: list[float] = np.where(np.isnan(total), worst - 1, total).tolist()
        return reward

    def _scored(self, sample: Sample, texts: Sequence[str]) -> list[Scored]:
        """Captions of one image, which each model looks at once."""
        sentences = [[one.text for one in split(text)] for text in texts]
        lemmas = [
            [noun.lemma for sentence in said for noun in self.finder.find(sentence)]
            for said in sentences
        ]
        presence = self._presence(sample, list(dict.fromkeys(n for one in lemmas for n in one)))
        errors: list[list[dict[str, float]]] = [[{} for _ in said] for said in sentences]
        if self.scorer is not None:
            errors = self.scorer.score([sample] * len(texts), sentences)
        return [
            Scored(
                sample.image_id,
                index,
                len(text.split()),
                errors_of(errors[index]),
                lemmas[index],
                np.array([presence[noun] for noun in lemmas[index]], dtype=np.float64),
            )
            for index, text in enumerate(texts)
        ]

    def _presence(self, sample: Sample, nouns: Sequence[str]) -> dict[str, float]:
        if self.detector is None or not nouns:
            return dict.fromkeys(nouns, float("nan"))
        try:
            (found,) = self.detector.detect([sample], [nouns])
        except ImageError as error:
            raise VlgroundError(f"task.data: {error}") from error
        return {noun: one.probability for noun, one in zip(nouns, found, strict=True)}
