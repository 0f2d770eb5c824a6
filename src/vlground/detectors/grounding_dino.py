"""Grounding DINO (Liu et al. 2023, https://arxiv.org/abs/2303.05499) of transformers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from vlground.contracts import Detection, Detector
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.detectors.caption_queries import CaptionQueries, Pool
from vlground.detectors.pretrained import Dtype, load_detector


class GroundingDinoDetector(Detector):
    """How sure Grounding DINO is of a phrase: the best of its queries over the phrase's tokens.

    Phrases score as `CaptionQueries` says. Logits and boxes are read as they come, so changes in
    transformers' post-processing do not reach them. One image at a time: no result depends on the
    batch.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub; without one the weights may change behind your back.
        joint: See `CaptionQueries`.
        pool: See `CaptionQueries`.
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

        self._queries = CaptionQueries(joint, pool, threshold)
        self.network, self.processor = load_detector(
            GroundingDinoForObjectDetection, pretrained, revision, dtype, device
        )
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
        read = self.processor.image_processor(images=image, return_tensors="pt")
        forward = partial(self._forward, read.to(self.network.device, self.network.dtype))
        return self._queries.detect(
            asked, self.processor.tokenizer, self._longest, image.size, forward
        )

    @torch.inference_mode()
    def _forward(self, pixels: Mapping[str, Tensor], caption: str) -> tuple[Tensor, Tensor]:
        """Logits `(queries, tokens)` and boxes `(queries, 4)`."""
        text = self.processor.tokenizer(caption, return_tensors="pt").to(self.network.device)
        found: Any = self.network(**pixels, **text)
        return found.logits[0].float(), found.pred_boxes[0].float()
