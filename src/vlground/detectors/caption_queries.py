"""From queries that score the tokens of captions, as Grounding DINO's do, to what phrases score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from vlground.contracts import Detection
from vlground.detectors.caption_spans import Spans, join_phrases, plain
from vlground.detectors.detection import check_threshold, from_queries
from vlground.errors import VlgroundError

Pool = Literal["mean", "max"]


@dataclass(frozen=True)
class CaptionQueries:
    """How phrases are asked and scored.

    A query's score for a phrase is pooled from its probabilities (sigmoid) of the phrase's tokens;
    the phrase's probability is the largest score of any query (ours).

    Attributes:
        joint: All phrases of an image in one pass, as many as fit; probabilities then depend on
            each other, for the model fuses image and words. False: one pass a phrase.
        pool: Over the tokens of a phrase: `mean`, or `max` as in the original's box threshold.
        threshold: Boxes with a larger score are kept.

    Raises:
        VlgroundError: If an option does not fit.
    """

    joint: bool
    pool: Pool
    threshold: float

    def __post_init__(self) -> None:
        if self.pool not in get_args(Pool):
            raise VlgroundError(f"detector.pool={self.pool}: expected {', '.join(get_args(Pool))}")
        check_threshold(self.threshold)

    def detect(
        self,
        asked: Sequence[str],
        tokenizer: Any,  # noqa: ANN401 - of any class
        longest: int,
        size: tuple[int, int],
        forward: Callable[[str], tuple[Tensor, Tensor]],
    ) -> list[Detection]:
        """Look for the phrases of one image.

        Args:
            asked: In any case.
            tokenizer: See `join_phrases`.
            longest: See `join_phrases`.
            size: Width and height of the original image.
            forward: A caption -> logits `(queries, tokens)` float32 and boxes `(queries, 4)`:
                centre x, centre y, width, height, in parts of the image.

        Returns:
            One detection a phrase; NaN for a phrase without a word.
        """
        words = [word for phrase in asked if (word := plain(phrase))]
        found: dict[str, Detection] = {}
        for spans in join_phrases(words, tokenizer, longest, self.joint):
            logits, boxes = forward(spans.caption)
            found |= self._read(logits.sigmoid(), boxes, spans, size)
        return [found.get(plain(phrase), Detection(float("nan"))) for phrase in asked]

    def _read(
        self, probabilities: Tensor, boxes: Tensor, spans: Spans, size: tuple[int, int]
    ) -> dict[str, Detection]:
        """Of each phrase that has a token."""
        found = {}
        for phrase, tokens in zip(spans.phrases, spans.tokens, strict=True):
            if tokens:
                own = probabilities[:, list(tokens)]
                scores = own.mean(dim=1) if self.pool == "mean" else own.amax(dim=1)
                found[phrase] = from_queries(scores, boxes, size, size, self.threshold)
        return found
