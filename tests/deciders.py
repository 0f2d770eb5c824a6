"""Scorers that decide whether a text fits, and data for them, as a user would add them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tests.scorers import PatchScorer, TinyBlip, tokenize
from tests.worlds import planted
from vlground.contracts import Encoded
from vlground.data.sample import Sample


class Decider(PatchScorer):
    """Says that a text fits as far as its cell is bright; reads no more than two words."""

    def __init__(self, size: int = 32) -> None:
        super().__init__(size=size)
        self.asked: list[list[str]] = []

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        self.asked.append(list(texts))
        cells = [tuple(map(int, text.split()[:2])) for text in texts]
        features = encoded.features[owner]
        bright = [f[:, r, c].mean() for f, (r, c) in zip(features, cells, strict=True)]
        return torch.stack(bright).sigmoid()

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        return super().score(encoded, [" ".join(text.split()[:2]) for text in texts], owner)

    def knows(self, text: str) -> bool:
        return len(text.split()) >= 2 and all(word.isdigit() for word in text.split())

    def truncated(self, text: str) -> str | None:
        words = text.split()
        return " ".join(words[:2]) if len(words) > 2 else None


class DecidingBlip(TinyBlip):
    """TinyBlip whose matching head decides, as BLIP's does."""

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        ids, mask = tokenize(texts)
        hidden = self.blip.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=encoded.features[owner]
        ).last_hidden_state
        return self.blip.itm_head(hidden[:, 0]).softmax(dim=1)[:, 1]


class Planted(list[Sample]):
    """Planted cells; some are dimmed, some foils are true, some texts are too long.

    Args:
        images: How many.
        dim: Share of the images that are so dark that the model says no.
        small: Share of the samples whose box is too small for the map: badly grounded.
    """

    def __init__(self, images: int, dim: float, small: float) -> None:
        self.skipped: dict[str, int] = {}
        rng = np.random.default_rng(images)
        for sample in planted(images, (1, 3)):
            assert isinstance(sample.image, np.ndarray)
            if rng.random() < dim:
                sample = replace(sample, image=sample.image // 3)
            if rng.random() < small:
                sample = replace(sample, boxes=sample.boxes + np.array([0, 0, -10, -10]))
            if rng.random() < 0.2:
                sample = replace(sample, foil=sample.text)
            if rng.random() < 0.1:
                sample = replace(sample, text=f"{sample.text} 1")
            self.append(sample)
