"""Grounding DINO (Liu et al. 2023, https://arxiv.org/abs/2303.05499) of transformers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from vlground.contracts import Detection, Detector
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.detectors.caption_spans import Spans, join_phrases, plain
from vlground.detectors.detection import check_threshold, from_queries
from vlground.detectors.pretrained import load_detector
from vlground.errors import VlgroundError

Pool = Literal["mean", "max"]
Dtype = Literal["float32", "bfloat16", "float16"]


class GroundingDinoDetector(Detector):
    """How sure Grounding DINO is of a phrase: the best of its queries over the phrase's tokens.

    A query's score for a phrase is pooled from its probabilities (sigmoid) of the phrase's tokens;
    the phrase's probability is the largest score of any query (ours). Logits and boxes are read as
    they come, so changes in transformers' post-processing do not reach them. One image at a time:
    no result depends on the batch.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub; without one the weights may change behind your back.
        joint: All phrases of an image in one pass, as many as fit; probabilities then depend on
            each other, for the model fuses image and words. False: one pass a phrase.
        pool: Over the tokens of a phrase: `mean`, or `max` as in the original's box threshold.
        threshold: Boxes with a larger score are kept (0.25 in ViGoR).
        dtype: Of weights: float32, bfloat16 or float16.
        device: Where it runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If an option does not fit, or there is no such model.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        pretrained: str,
        revision: str | None = None,
        joint: bool = True,
        pool: Pool = "mean",
        threshold: float = 0.25,
        dtype: Dtype = "float32",
        device: str | None = None,
    ) -> None:
        from transformers import GroundingDinoForObjectDetection

        check_pool(pool)
        check_threshold(threshold)
        if dtype not in get_args(Dtype):
            raise VlgroundError(f"detector.dtype={dtype}: expected {', '.join(get_args(Dtype))}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network, self.processor = load_detector(
            GroundingDinoForObjectDetection, pretrained, revision, getattr(torch, dtype)
        )
        self.network.to(self.device)
        self._joint, self._pool, self._threshold = joint, pool, threshold
        self._longest = int(self.network.config.max_text_len)

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for phrases in images.

        Args:
            samples: A batch.
            phrases: Of each sample, in any case.

        Returns:
            Of each sample one detection a phrase; NaN for a phrase without a word.

        Raises:
            ImageError: If an image cannot be read.
        """
        return [
            self._detect(load_image(sample), asked)
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    def _detect(self, image: Image.Image, asked: Sequence[str]) -> list[Detection]:
        tokenizer = self.processor.tokenizer
        words = [word for phrase in asked if (word := plain(phrase))]
        found: dict[str, Detection] = {}
        captions = join_phrases(words, tokenizer, self._longest, self._joint)
        pixels = self._pixels(image) if captions else {}
        for spans in captions:
            logits, boxes = self._forward(pixels, spans)
            found |= read_queries(logits, boxes, spans, image.size, self._pool, self._threshold)
        return [found.get(plain(phrase), Detection(float("nan"))) for phrase in asked]

    def _pixels(self, image: Image.Image) -> Mapping[str, Tensor]:
        read = self.processor.image_processor(images=image, return_tensors="pt")
        made: Mapping[str, Tensor] = read.to(self.device, self.network.dtype)
        return made

    @torch.inference_mode()
    def _forward(self, pixels: Mapping[str, Tensor], spans: Spans) -> tuple[Tensor, Tensor]:
        """Logits `(queries, tokens)` and boxes `(queries, 4)`."""
        text = self.processor.tokenizer(spans.caption, return_tensors="pt").to(self.device)
        found: Any = self.network(**pixels, **text)
        return found.logits[0].float(), found.pred_boxes[0].float()


def check_pool(pool: str) -> None:
    """Refuse a pooling that is neither.

    Raises:
        VlgroundError: In one line.
    """
    if pool not in get_args(Pool):
        raise VlgroundError(f"detector.pool={pool}: expected {', '.join(get_args(Pool))}")


def read_queries(
    logits: Tensor,
    boxes: Tensor,
    spans: Spans,
    size: tuple[int, int],
    pool: Pool,
    threshold: float,
) -> dict[str, Detection]:
    """What queries say of each phrase of a caption.

    Args:
        logits: `(queries, tokens)` float32.
        boxes: `(queries, 4)` centre x, centre y, width, height, in parts of the image.
        spans: The caption that was read. A phrase without a token is not among what is returned.
        size: Width and height of the original image.
        pool: See `GroundingDinoDetector`.
        threshold: See `GroundingDinoDetector`.
    """
    probabilities = logits.sigmoid()
    found = {}
    for phrase, tokens in zip(spans.phrases, spans.tokens, strict=True):
        if not tokens:
            continue
        own = probabilities[:, list(tokens)]
        scores = own.mean(dim=1) if pool == "mean" else own.amax(dim=1)
        found[phrase] = from_queries(scores, boxes, size, size, threshold)
    return found
