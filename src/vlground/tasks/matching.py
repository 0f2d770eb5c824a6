"""`task=matching`: train an image-text matching model on the shapes world; how miniatures are made.

epochs of pretraining   the vision tower learns which colours and shapes there are (no boxes)
epochs of matching      true texts against foils, several a scene, which is encoded once
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import pandas
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Encoded
from vlground.data.batches import Batch, image_loader
from vlground.data.sample import Sample
from vlground.data.shapes.scene import PAIRS, Pair
from vlground.data.shapes.stream import TextBatch, TextStream
from vlground.errors import VlgroundError
from vlground.metrics import matrix
from vlground.models.matching import ImageTextMatching

log = logging.getLogger("vlground")

# Of the multi-label logits before any training: with 64 pairs, of which a scene holds five, most
# are absent.
_PRIOR = 8.0
_SHORT = 4  # words of "the small red star"


class Matching(lightning.LightningModule):
    """Trains a scorer that decides whether a text fits an image.

    Every epoch is a fixed number of steps, a batch depends on (seed, step) alone and nothing is
    dropped out, so a run that was interrupted and goes on from its last epoch ends with the numbers
    of one that was not.

    Args:
        scorer: Trained in place.
        stream: Where scenes and texts come from.
        samples: On which matching accuracy is measured, at the end.
        options: The task's node: `steps` an epoch, `pretraining_epochs`, `epochs` (of matching),
            `pretraining_rate`, `vision_rate`, `text_rate` (of learning), `weight_decay`,
            `warmup` (steps), `auxiliary` (weight of the pretraining loss while matching).
        directory: Of the run.
        seed: Of the head that pretraining needs.

    Attributes:
        table: After `carry_out`: one row a sample, with the probability of its text and its foil.
    """

    version = 1

    def __init__(
        self,
        scorer: ImageTextMatching,
        stream: TextStream,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.scorer = scorer.requires_grad_(True)
        self.stream = stream
        self.samples = samples
        self.options = options
        self.directory = directory
        self.pairs = nn.Linear(scorer.parts.norm.normalized_shape[0], len(PAIRS))  # type: ignore
        self.table = pandas.DataFrame()
        self._rows: list[dict[str, Any]] = []

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

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Train, from the last epoch that was finished; save the model; measure it."""
        last = self.directory / "checkpoints" / "last.ckpt"
        trainer.fit_loop.max_epochs = self._pretraining + self.options["epochs"]
        if last.exists():
            log.info("goes on from %s", last)
        trainer.fit(self, ckpt_path=last if last.exists() else None, weights_only=False)
        self.scorer.requires_grad_(False)
        for folder in (self.directory / "model", self.options["export"]):
            if folder is not None and trainer.is_global_zero:
                self.scorer.save(Path(folder))
        trainer.test(self, verbose=False)

    def configure_callbacks(self) -> list[lightning.Callback]:
        """A checkpoint at the end of every epoch, in the place of the one before."""
        folder = str(self.directory / "checkpoints")
        return [
            ModelCheckpoint(
                folder,
                filename="last",
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        ]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices of the layers, AdamW for all else; vision and text by themselves.

        With AdamW alone the vision tower needs about four times the steps to tell shapes apart.
        """
        parts = self.scorer.parts
        vision = [parts.patches, *parts.blocks, parts.norm, self.pairs]
        text = [parts.words, *parts.layers, parts.head]
        layers = (*parts.blocks, *parts.layers)
        inner = {id(w) for layer in layers for w in layer.parameters() if w.ndim == 2}
        optimizers: list[torch.optim.Optimizer] = []
        for modules in (vision, text):
            weights = list({id(w): w for module in modules for w in module.parameters()}.values())
            matrices = [w for w in weights if id(w) in inner]
            others = [w for w in weights if id(w) not in inner]
            decay = self.options["weight_decay"]
            optimizers += [
                torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(others, weight_decay=0.0, betas=(0.9, 0.98)),
            ]
        return optimizers

    def train_dataloader(self) -> DataLoader[int]:
        """The step numbers of an epoch; `training_step` draws the batch itself."""
        return DataLoader(range(self.options["steps"]), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, number: int, batch_idx: int) -> None:
        """One step of pretraining, or of matching."""
        step = self.current_epoch * self.options["steps"] + batch_idx
        pretraining = self.current_epoch < self._pretraining
        first = 0 if pretraining else self._pretraining
        epochs = self._pretraining if pretraining else self.options["epochs"]
        done = step - first * self.options["steps"]
        through = done / (self.options["steps"] * epochs)
        stream = replace(self.stream, texts=0) if pretraining else self.stream
        loss = self.loss(stream.batch(step, _objects(through, pretraining)), pretraining)
        self._update(loss, done, through, pretraining)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)

    def on_train_epoch_end(self) -> None:
        """Say how far it is."""
        loss = float(self.trainer.callback_metrics["train/loss"])
        total = self.trainer.fit_loop.max_epochs
        log.info("epoch %d of %s: loss %.4f", self.current_epoch + 1, total, loss)

    def loss(self, batch: TextBatch, pretraining: bool) -> Tensor:
        """What is made small."""
        encoded = self.encode(batch)
        if pretraining:
            return self.presence_loss(encoded, batch.pairs)
        loss = self._matching_loss(encoded, batch)
        if self.options["auxiliary"]:
            loss = loss + self.options["auxiliary"] * self.presence_loss(encoded, batch.pairs)
        return loss

    def _matching_loss(self, encoded: Encoded, batch: TextBatch) -> Tensor:
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

    def encode(self, batch: TextBatch) -> Encoded:
        """Normalise the scenes and encode them, with a graph."""
        preprocess = self.scorer.preprocess
        pixels = torch.from_numpy(batch.images).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (
            torch.tensor(three, device=self.device).view(3, 1, 1)
            for three in (preprocess.mean, preprocess.std)
        )
        return self.scorer.encode((pixels - mean) / std)

    def presence_loss(self, encoded: Encoded, pairs: Sequence[Sequence[Pair]]) -> Tensor:
        """Cross entropy of which colours and shapes there are, summed over the 64 (ours).

        A pair is there as much as the cell that shows it best: a soft maximum over the image's
        cells. Where it is is not told.
        """
        present = torch.zeros(len(pairs), len(PAIRS), device=self.device)
        for row, names in enumerate(pairs):
            present[row, [PAIRS.index(name) for name in names]] = 1
        logits = self.pairs(encoded.features[:, 1:]).logsumexp(dim=1) - _PRIOR
        losses = nn.functional.binary_cross_entropy_with_logits(logits, present, reduction="none")
        return losses.sum(dim=1).mean()

    def test_dataloader(self) -> DataLoader[Batch]:
        """The samples, each image once."""
        return image_loader(self.samples, self.scorer.preprocess, batch_size=256, num_workers=0)

    def transfer_batch_to_device(
        self, batch: Batch | int, device: torch.device, dataloader_idx: int
    ) -> Batch | int:
        """Move what has tensors."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def test_step(self, batch: Batch) -> None:
        """Ask of every sample whether its text and its foil fit."""
        self._rows += [_row(sample, f"unreadable image: {why}") for sample, why in batch.unreadable]
        encoded = self.scorer.encode(batch.pixels)
        texts = [sample.text for sample in batch.samples]
        foils = [sample.foil or sample.text for sample in batch.samples]
        match = self.scorer.match(encoded, texts, batch.owner).tolist()
        foil_match = self.scorer.match(encoded, foils, batch.owner).tolist()
        for sample, true, false in zip(batch.samples, match, foil_match, strict=True):
            found = {"match": true, "foil_match": false if sample.foil else np.nan}
            self._rows.append({**_row(sample), **found})

    def on_test_epoch_end(self) -> None:
        """Collect the rows."""
        self.table, self._rows = pandas.DataFrame(self._rows), []

    def scores(self) -> dict[str, dict[str, Any]]:
        """Matching accuracy, with its interval over images."""
        found = matrix.estimates(self.table, 0.5)
        return {name: asdict(one) for name, one in found.items() if one.n}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: the maps of a trained model are a run of `task=grounding`."""
        return {}

    def expected(self, verb: str) -> int:
        """How many samples this rank will have scored."""
        return len(self.samples)

    @property
    def _pretraining(self) -> int:
        return int(self.options["pretraining_epochs"])

    def _update(self, loss: Tensor, step: int, through: float, pretraining: bool) -> None:
        """One step of the optimizers: a warm-up, then half a cosine."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.scorer.parameters(), 1.0)
        share = min(1.0, step / self.options["warmup"]) * 0.5 * (1 + math.cos(math.pi * through))
        rates = [self.options["vision_rate"]] * 2 + [self.options["text_rate"]] * 2
        if pretraining:
            rates = [self.options["pretraining_rate"]] * 2  # the text's optimizers rest
        for optimizer, rate in zip(optimizers, rates, strict=False):
            optimizer.param_groups[0]["lr"] = rate * share
            optimizer.step()


def _objects(through: float, pretraining: bool) -> tuple[int, int]:
    """Scenes grow: smallest and largest number of objects, by how much of the phase is over."""
    if pretraining:
        return (1, 2) if through < 0.15 else (2, 4) if through < 0.35 else (3, 6)
    return (1, 3) if through < 0.1 else (3, 6)


def _row(sample: Sample, skipped: str | None = None) -> dict[str, Any]:
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
