"""`task=matching`: train an image-text matching model on the shapes world: true texts and foils."""

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
from vlground.data.sample import Sample
from vlground.data.shapes.stream import TextBatch
from vlground.errors import VlgroundError
from vlground.metrics import matrix
from vlground.models.matching import ImageTextMatching
from vlground.tasks.training import Part, ShapesTraining

_SHORT = 4  # words of "the small red star"


class MatchingTest(ShapesTraining):
    """Training of a model that decides whether a text fits an image: how it is measured.

    See the base class; a row of `table` has the probability of a sample's text and of its foil.
    """

    def on_test_start(self) -> None:
        """Begin with no rows."""
        self._rows: list[dict[str, Any]] = []

    def test_step(self, batch: Batch) -> None:
        """Ask of every sample whether its text and its foil fit."""
        self._rows += [row(sample, f"unreadable image: {why}") for sample, why in batch.unreadable]
        encoded = self.scorer.encode(batch.pixels)
        texts = [sample.text for sample in batch.samples]
        foils = [sample.foil or sample.text for sample in batch.samples]
        match, foil_match = (self.scorer.match(encoded, t, batch.owner) for t in (texts, foils))
        assert match is not None
        assert foil_match is not None
        pairs = zip(match.tolist(), foil_match.tolist(), strict=True)
        for sample, (true, false) in zip(batch.samples, pairs, strict=True):
            found = {"match": true, "foil_match": false if sample.foil else np.nan}
            self._rows.append({**row(sample), **found})

    def on_test_epoch_end(self) -> None:
        """Collect the rows."""
        self.table = pandas.DataFrame(self._rows)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Matching accuracy, with its interval over images."""
        found = matrix.estimates(self.table, 0.5)
        return {name: asdict(one) for name, one in found.items() if one.n}


class Matching(MatchingTest):
    """Trains a scorer that decides whether a text fits an image, which is encoded once."""

    version = 1
    scorer: ImageTextMatching

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model built anew or loaded.

        Raises:
            VlgroundError: If the model is none that decides whether a text fits.
        """
        node = cell.node
        scorer = build(node["model"])
        if not isinstance(scorer, ImageTextMatching):
            name = cell.choices["model"]
            raise VlgroundError(f"model={name}: does not match texts, and cannot be trained to")
        stream = build(node["task"]["stream"])
        return cls(scorer, stream, cell.samples, node["task"], cell.directory)

    def cell_width(self) -> int:
        """See the base class."""
        return int(self.scorer.parts.norm.normalized_shape[0])  # type: ignore

    def cells(self, encoded: Encoded) -> Tensor:
        """The image tokens, without the class token."""
        return encoded.features[:, 1:]

    def towers(self) -> dict[Part, list[nn.Module]]:
        """See the base class."""
        parts = self.scorer.parts
        return {
            "vision": [parts.patches, *parts.blocks, parts.norm],
            "text": [parts.words, *parts.layers, parts.head],
        }

    def layers(self) -> Sequence[nn.Module]:
        """See the base class."""
        return (*self.scorer.parts.blocks, *self.scorer.parts.layers)

    def save(self, folder: Path) -> None:
        """See the base class."""
        self.scorer.save(folder)

    def objective(self, encoded: Encoded, batch: TextBatch) -> Tensor:
        """Cross entropy of match and no match; short and long texts apart, to pad them less."""
        words = torch.tensor([len(text.split()) for text in batch.texts])
        total = torch.zeros((), device=self.device)
        for chosen in (words <= _SHORT, words > _SHORT):
            if chosen.any():
                texts = [batch.texts[number] for number in chosen.nonzero()[:, 0].tolist()]
                logits = self.scorer.logits(encoded, texts, batch.owner[chosen])
                fits = batch.fits[chosen].to(logits.device)
                total = total + nn.functional.cross_entropy(logits, fits, reduction="sum")
        return total / len(words)


def row(sample: Sample, skipped: str | None = None) -> dict[str, Any]:
    """A row of a sample that has no map; a model that decides fills in more.

    Args:
        sample: Which.
        skipped: Why it could not be scored.
    """
    identity = {name: getattr(sample, name) for name in ("id", "image_id", "text", "foil")}
    missing = {"match": np.nan, "foil_match": np.nan, "cell": None, "foil_cell": None}
    flag = None if skipped else ""
    outcome = {
        "truncated": None,
        "foil_truncated": None,
        "degenerate": False,
        "flag": flag,
        "skipped": skipped,
    }
    return {**identity, **missing, **outcome}
