"""`task=contrastive`: train CLIP on the shapes world: which text belongs to which image."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas
import torch
from torch import Tensor, nn

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Encoded
from vlground.data.batches import Batch
from vlground.data.shapes.stream import TextBatch
from vlground.errors import VlgroundError
from vlground.metrics.statistics import bootstrap_mean
from vlground.models.clip import ClipScorer
from vlground.tasks.matching import row
from vlground.tasks.training import Part, ShapesTraining

_LARGEST_SCALE = np.log(100.0)  # of the logits, as in CLIP


class Contrastive(ShapesTraining):
    """Trains CLIP with every text that is true of an image as its positive.

    In CLIP's own loss a batch has one text an image; here several are true of one image, and one of
    several, as in UniCL (Yang et al. 2022, https://arxiv.org/abs/2204.03610). Foils that are true
    of no image of the batch are negatives. See the base class; a row of `table` says whether the
    sample's text scores higher than its foil.
    """

    version = 1
    scorer: ClipScorer

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model built anew or loaded.

        Raises:
            VlgroundError: If the model is no CLIP with a ResNet.
        """
        node = cell.node
        scorer = build(node["model"])
        if not isinstance(scorer, ClipScorer) or scorer.target_layers[-1].name != "layer4":
            name = cell.choices["model"]
            raise VlgroundError(f"model={name}: task=contrastive trains CLIP with a ResNet")
        stream = build(node["task"]["stream"])
        return cls(scorer, stream, cell.samples, node["task"], cell.directory)

    def cell_width(self) -> int:
        """See the base class."""
        return int(self.scorer.network.visual.attnpool.q_proj.in_features)

    def cells(self, encoded: Encoded) -> Tensor:
        """The last feature map's cells."""
        return encoded.features.flatten(2).transpose(1, 2)

    def towers(self) -> dict[Part, list[nn.Module]]:
        """See the base class."""
        network = self.scorer.network
        vision, text = network.visual, [network.transformer, network.token_embedding]
        own = nn.ParameterList(
            [network.positional_embedding, network.text_projection, network.logit_scale]
        )
        return {"vision": [vision], "text": [*text, network.ln_final, own]}

    def layers(self) -> Sequence[nn.Module]:
        """See the base class; Muon is for matrices, and a ResNet's weights are none."""
        return (*self.scorer.network.transformer.resblocks, self.scorer.network.visual.attnpool)

    def save(self, folder: Path) -> None:
        """See the base class."""
        self.scorer.save(folder)

    def on_train_start(self) -> None:
        """Batch normalisation learns its statistics; there is no dropout."""
        self.scorer.train()
        # A third faster on a CPU.
        self.scorer.network.visual.to(memory_format=torch.channels_last)

    def objective(self, encoded: Encoded, batch: TextBatch) -> Tensor:
        """Cross entropy from images to their texts, and from texts to their images."""
        texts, truth = batch.truth()
        return contrastive_loss(self.scorer.scores_of_all(encoded, texts), truth.to(self.device))

    def on_before_zero_grad(self, optimizer: object) -> None:
        """Keep the scale of the logits at 100 at most."""
        self.scorer.network.logit_scale.data.clamp_(0, _LARGEST_SCALE)

    def on_test_start(self) -> None:
        """Begin with no rows."""
        self._rows: list[dict[str, Any]] = []

    def test_step(self, batch: Batch) -> None:
        """Ask of every sample whether its text scores higher than its foil."""
        self._rows += [row(sample, f"unreadable image: {why}") for sample, why in batch.unreadable]
        encoded = self.scorer.encode(batch.pixels)
        texts = [sample.text for sample in batch.samples]
        foils = [sample.foil or sample.text for sample in batch.samples]
        true = self.scorer.score(encoded, texts, batch.owner)
        false = self.scorer.score(encoded, foils, batch.owner)
        for sample, ranked in zip(batch.samples, (true > false).tolist(), strict=True):
            found = {"ranking_accuracy": float(ranked) if sample.foil else np.nan}
            self._rows.append({**row(sample), **found})

    def on_test_epoch_end(self) -> None:
        """Collect the rows."""
        self.table = pandas.DataFrame(self._rows)

    def scores(self) -> dict[str, dict[str, Any]]:
        """How often a text scores higher than its foil, with the interval over images."""
        values = self.table["ranking_accuracy"].to_numpy(dtype=float)
        found = bootstrap_mean(values, self.table["image_id"].tolist())
        return {"ranking_accuracy": asdict(found)} if found.n else {}


def contrastive_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """UniCL's cross entropy, each direction averaged over what has a positive.

    Args:
        logits: `(b, t)` of images and texts.
        truth: `(b, t)` bool, whether the text is true of the image.

    Returns:
        Half the sum of both directions.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> float(contrastive_loss(logits, torch.eye(2).bool())) == float(
    ...     nn.functional.cross_entropy(logits, torch.arange(2))
    ... )
    True
    """
    total = logits.new_zeros(())
    for scores, true in ((logits, truth), (logits.T, truth.T)):
        asked = true.any(dim=1)
        target = true[asked].to(logits)
        target = target / target.sum(dim=1, keepdim=True)
        total = total + 0.5 * nn.functional.cross_entropy(scores[asked], target)
    return total
