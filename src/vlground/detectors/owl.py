"""OWLv2 (Minderer et al. 2023, https://arxiv.org/abs/2306.09683) of transformers."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from vlground.contracts import Detection, Detector
from vlground.data.images import load_image
from vlground.data.links import unlinked
from vlground.data.sample import Sample
from vlground.detectors.detection import check_threshold, from_queries
from vlground.detectors.pretrained import Dtype, load_detector
from vlground.errors import VlgroundError


class Owlv2Detector(Detector):
    """How sure OWLv2 is of a phrase: the best of its patches.

    The image is read once, and each phrase by itself, so the probability of one does not depend on
    the others.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub; without one the weights may change behind your back.
        template: What is asked of a phrase, which stands for `{}`.
        threshold: Boxes with a larger score are kept. OWLv2's own default is 0.1; 0.25 is ViGoR's,
            of Grounding DINO.
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
        template: str = "a photo of a {}",
        threshold: float = 0.1,
        dtype: Dtype = "float32",
        device: str | None = None,
    ) -> None:
        from transformers import Owlv2ForObjectDetection

        check_threshold(threshold)
        if template.count("{}") != 1:
            raise VlgroundError(f"detector.template={template!r}: expected one {{}}")
        self.network, self.processor = load_detector(
            Owlv2ForObjectDetection, pretrained, revision, dtype, device
        )
        self._template, self._threshold = template, threshold
        self._longest = int(self.network.config.text_config.max_position_embeddings)

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for phrases in images.

        Args:
            samples: A batch.
            phrases: Of each sample; one that is longer than the model reads is cut.

        Returns:
            Of each sample one detection a phrase; NaN for an empty one.

        Raises:
            ImageError: If an image cannot be read.
        """
        return [
            self._detect(load_image(sample), asked)
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    def _detect(self, image: Image.Image, asked: Sequence[str]) -> list[Detection]:
        words = [word for word in dict.fromkeys(map(_plain, asked)) if word]
        found: dict[str, Detection] = {}
        if words:
            scores, boxes = self._forward(image, words)
            longer = float(max(image.size))  # the image is padded to a square
            for text, column in zip(words, scores.unbind(dim=1), strict=True):
                found[text] = from_queries(
                    column, boxes, (longer, longer), image.size, self._threshold
                )
        return [found.get(_plain(phrase), Detection(float("nan"))) for phrase in asked]

    @torch.inference_mode()
    def _forward(self, image: Image.Image, words: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Probabilities `(patches, phrases)` and boxes `(patches, 4)`."""
        text = self.processor.tokenizer(
            [self._template.format(word) for word in words],
            padding="max_length",
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        ).to(self.network.device)
        read = self.processor.image_processor(images=image, return_tensors="pt")
        found: Any = self.network(**read.to(self.network.device, self.network.dtype), **text)
        return found.logits[0].float().sigmoid(), found.pred_boxes[0].float()


def _plain(phrase: str) -> str:
    return " ".join(unlinked(phrase).lower().split())
