"""`task=classification`: train an image classifier on a data set with labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from vlground.config import build, build_scorer
from vlground.data.batches import Batch, image_loader
from vlground.data.images import load_image
from vlground.data.sample import DataSet, Sample
from vlground.errors import VlgroundError
from vlground.metrics.statistics import bootstrap_mean
from vlground.models.checkpoint import save_weights
from vlground.models.classifier import ImageClassifier
from vlground.tasks.matching import row

log = logging.getLogger("vlground")


class Classification(lightning.LightningModule):
    """Trains a classifier on the labels of a data set; what its batches hold depends on the seed.

    A checkpoint is kept of every epoch, and the order of an epoch depends on (seed, epoch) alone,
    so an interrupted run ends with the numbers of one that was not.

    Args:
        scorer: Its network is trained in place.
        data: What it is trained on; every sample has a label that is one of the classes.
        samples: On which it is measured, at the end.
        node: The run's configuration.
        directory: Of the run.

    Attributes:
        table: After `carry_out`: one row a sample, with the predicted class.
    """

    version = 1

    def __init__(
        self,
        scorer: ImageClassifier,
        data: DataSet,
        samples: Sequence[Sample],
        node: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__()
        self.network = scorer.network.requires_grad_(True)
        self.scorer_run = scorer.run
        self.preprocess = scorer.preprocess
        self.data = data
        self.samples = samples
        self.node = node
        self.options = node["task"]
        self.directory = directory
        self.table = pandas.DataFrame()
        self.labels = torch.tensor([_class_of(scorer, data[i]) for i in range(len(data))])
        self._steps = -(-len(data) // self.options["images"])

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model built anew or loaded.

        Raises:
            VlgroundError: If the model is no classifier, or a label is none of its classes.
        """
        scorer = build_scorer(cell.node["model"])
        if not isinstance(scorer, ImageClassifier):
            raise VlgroundError(f"model={cell.choices['model']}: no classifier")
        data = build(cell.node["task"]["data"])
        return cls(scorer, data, cell.samples, cell.node, cell.directory)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Train, from the last epoch that was finished; save the model; measure it."""
        last = self.directory / "checkpoints" / "last.ckpt"
        trainer.fit_loop.max_epochs = self.options["epochs"]
        if last.exists():
            log.info("goes on from %s", last)
        trainer.fit(self, ckpt_path=last if last.exists() else None, weights_only=False)
        self.network.eval().requires_grad_(False)
        for folder in (self.directory / "model", self.options["export"]):
            if folder is not None and trainer.is_global_zero:
                save_weights(self.network, Path(folder) / "model.safetensors")
        trainer.strategy.barrier()
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

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW; the rate falls along half a cosine after a tenth of warm-up."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.options["rate"],
            weight_decay=self.options["weight_decay"],
        )
        total = self._steps * self.options["epochs"]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.options["rate"], total_steps=total, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Batch normalisation learns its statistics; nothing is drawn that resuming would lose."""
        self.network.train()
        torch.manual_seed(int(self.node["seed"]) * 1_000_003 + self.current_epoch)

    def train_dataloader(self) -> DataLoader[int]:
        """The step numbers of an epoch; `training_step` reads the batch itself."""
        return DataLoader(range(self._steps), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, number: int, batch_idx: int) -> Tensor:
        """Cross entropy of one batch."""
        generator = torch.Generator().manual_seed(
            int(self.node["seed"]) + 7919 * self.current_epoch
        )
        order = torch.randperm(len(self.data), generator=generator)
        size = self.options["images"]
        chosen = order[batch_idx * size : (batch_idx + 1) * size]
        images = [load_image(self.data[int(i)].image) for i in chosen]
        pixels = torch.stack([self.preprocess(image)[0] for image in images]).to(self.device)
        logits = self.scorer_run(self.network, pixels)
        loss = nn.functional.cross_entropy(logits, self.labels[chosen].to(self.device))
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(chosen))
        return loss

    def on_train_epoch_end(self) -> None:
        """Say how far it is."""
        loss = float(self.trainer.callback_metrics["train/loss"])
        log.info("epoch %d of %d: loss %.4f", self.current_epoch + 1, self.options["epochs"], loss)

    def on_test_start(self) -> None:
        """Measure what was saved, as it is loaded."""
        saved = str(self.directory / "model" / "model.safetensors")
        fresh = {**self.node["model"], "pretrained": False, "checkpoint": saved}
        scorer = build_scorer(fresh)
        assert isinstance(scorer, ImageClassifier)
        self._scorer = scorer.to(self.device)
        self._rows: list[dict[str, Any]] = []

    def test_dataloader(self) -> DataLoader[Batch]:
        """The samples, each image once."""
        return image_loader(self.samples, self.preprocess, batch_size=256, num_workers=0)

    def transfer_batch_to_device(
        self, batch: Batch | int, device: torch.device, dataloader_idx: int
    ) -> Batch | int:
        """Move what has tensors."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def test_step(self, batch: Batch) -> None:
        """Classify."""
        self._rows += [row(sample, f"unreadable image: {why}") for sample, why in batch.unreadable]
        predicted = self._scorer.logits(self._scorer.encode(batch.pixels), batch.owner).argmax(1)
        for sample, index in zip(batch.samples, predicted.tolist(), strict=True):
            right = index in self._scorer.classes.indices(sample.label or sample.text)
            self._rows.append({**row(sample), "predicted": index, "right": float(right)})

    def on_test_epoch_end(self) -> None:
        """Collect the rows."""
        self.table = pandas.DataFrame(self._rows)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Accuracy, with its interval over images."""
        right = self.table["right"].to_numpy(dtype=np.float64)
        return {"accuracy": asdict(bootstrap_mean(right, self.table["image_id"].tolist()))}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: the maps of a trained model are a run of another task."""
        return {}

    def expected(self, verb: str) -> int:
        """How many samples this rank will have scored."""
        return len(self.samples)


def _class_of(scorer: ImageClassifier, sample: Sample) -> int:
    label = sample.label or sample.text
    found = scorer.classes.indices(label)
    if len(found) != 1:
        raise VlgroundError(f"task.data: the label {label} of {sample.id} is {len(found)} classes")
    return found[0]
