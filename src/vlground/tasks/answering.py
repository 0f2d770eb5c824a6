"""`task=answering`: train a LLaVA-type model on the shapes world to say yes or no."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Encoded
from vlground.data.shapes.stream import TextBatch
from vlground.errors import VlgroundError
from vlground.models.generative import GenerativeScorer
from vlground.tasks.matching import MatchingTest
from vlground.tasks.training import Part


class Answering(MatchingTest):
    """Trains a generative model to answer whether a text is true of an image.

    Pretraining sees what the projector gives; after it the whole model predicts the answer, among
    all words that it knows. See the base class.
    """

    version = 1
    scorer: GenerativeScorer

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model built anew or loaded.

        Raises:
            VlgroundError: If the model is none that answers, or does not offer its projector.
        """
        node, name = cell.node, cell.choices["model"]
        scorer = build(node["model"])
        if not isinstance(scorer, GenerativeScorer) or not scorer.answers:
            raise VlgroundError(
                f"model={name}: does not answer yes or no, and cannot be trained to"
            )
        if not scorer.features:
            raise VlgroundError(f"model.features=false: task={cell.choices['task']} needs true")
        stream = build(node["task"]["stream"])
        return cls(scorer, stream, cell.samples, node["task"], cell.directory)

    def cell_width(self) -> int:
        """See the base class."""
        return int(self.scorer.network.config.text_config.hidden_size)

    def cells(self, encoded: Encoded) -> Tensor:
        """What the projector gives of each cell."""
        return encoded.features

    def towers(self) -> dict[Part, list[nn.Module]]:
        """See the base class."""
        model = self.scorer.network.model
        return {
            "vision": [model.vision_tower, model.multi_modal_projector],
            "text": [model.language_model, self.scorer.network.lm_head],
        }

    def layers(self) -> Sequence[nn.Module]:
        """See the base class."""
        model = self.scorer.network.model
        return (*model.vision_tower.encoder.layers, *model.language_model.layers)

    def save(self, folder: Path) -> None:
        """See the base class."""
        self.scorer.save(folder)

    def objective(self, encoded: Encoded, batch: TextBatch) -> Tensor:
        """Cross entropy of the answer."""
        logits = self.scorer.answer_logits(encoded, batch.texts, batch.owner)
        yes, no = self.scorer.answers
        right = torch.where(batch.fits.bool(), yes, no).to(logits.device)
        return nn.functional.cross_entropy(logits, right)
