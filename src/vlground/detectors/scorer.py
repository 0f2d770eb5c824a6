"""A detector of claims: a model that decides whether a text fits an image (ours)."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch

from vlground.contracts import Detection, Detector, Scorer
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.detectors.phrases import folded
from vlground.errors import VlgroundError

_ARTICLES = ("a", "an", "the")


class ScorerDetector(Detector):
    """Asks a scorer whether phrases fit an image: objects, attributes, relations; without boxes.

    The image is encoded once for all its phrases. It answers what Grounding DINO cannot: whether
    the star is red, and whether it lies left of the ring.

    Args:
        scorer: The model. One that decides gives its probability (`Scorer.match`).
        centre: Of a scorer that only ranks, such as CLIP: the score at which a text is as likely to
            fit as not; the probability is σ(score - centre). Its scores must be of one scale over
            images. None: the scorer decides.
        article: Put `a` or `an` before a phrase that has no article, as the texts of matching
            models do.
        device: Where it runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If `centre` is given to a scorer that decides, or to none that ranks.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        scorer: Scorer,
        centre: float | None = None,
        article: bool = True,
        device: str | None = None,
    ) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._scorer = scorer.eval().requires_grad_(False).to(self._device)
        self._centre, self._article = centre, article

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Ask of each sample's image whether its phrases fit.

        Args:
            samples: A batch.
            phrases: Of each sample.

        Returns:
            Of each sample one detection a phrase, without boxes; NaN for an empty phrase, or one
            that the model does not know or would not read to its end.

        Raises:
            ImageError: If an image cannot be read.
            VlgroundError: If the scorer only ranks and there is no centre, or the other way round.
        """
        return [
            self._of_image(sample, [with_article(folded(one), self._article) for one in asked])
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    @torch.no_grad()
    def _of_image(self, sample: Sample, texts: Sequence[str]) -> list[Detection]:
        pixels, _ = self._scorer.preprocess(load_image(sample.image))
        known = [text for text in dict.fromkeys(texts) if self._reads(text)]
        if not known:
            return [Detection(math.nan) for _ in texts]
        encoded = self._scorer.encode(pixels[None].to(self._device))
        owner = torch.zeros(len(known), dtype=torch.long, device=self._device)
        match = self._scorer.match(encoded, known, owner)
        if (match is None) != (self._centre is not None):
            what = "only ranks texts; expected" if match is None else "decides itself; expected no"
            name = type(self._scorer).__name__
            raise VlgroundError(
                f"detector.centre={self._centre}: {name} {what} score at which a text fits"
            )
        if match is None:
            assert self._centre is not None
            match = torch.sigmoid(self._scorer.score(encoded, known, owner) - self._centre)
        chances = dict(zip(known, match.float().tolist(), strict=True))
        return [Detection(chances.get(text, math.nan)) for text in texts]

    def _reads(self, text: str) -> bool:
        known = bool(text) and self._scorer.knows(text)
        return known and self._scorer.truncated(text) is None


def with_article(phrase: str, article: bool = True) -> str:
    """A phrase as the texts of matching models are.

    Args:
        phrase: Folded.
        article: Put `a` or `an` before one that has no article.

    >>> with_article("orange star"), with_article("the star"), with_article("")
    ('an orange star', 'the star', '')
    """
    if not phrase or not article or phrase.partition(" ")[0] in _ARTICLES:
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
