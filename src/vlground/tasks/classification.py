"""`task=classification`: train an image classifier on a data set with labels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.config import build, build_scorer
from vlground.data.batches import Batch
from vlground.data.images import load_image
from vlground.data.sample import DataSet, Sample
from vlground.errors import VlgroundError
from vlground.metrics.statistics import bootstrap_mean
from vlground.models.checkpoint import save_weights
from vlground.models.classifier import ImageClassifier
from vlground.tasks.epochs import EpochTraining
from vlground.tasks.matching import row

log = logging.getLogger("vlground")


class Classification(EpochTraining):
    """Trains a classifier on the labels of a data set; an epoch's order is from (seed, epoch).

    Args:
        scorer: Its network is trained in place.
        data: What it is trained on; every sample has a label that is one of the classes.
        samples: On which it is measured, at the end.
        node: The run's configuration.
        directory: Of the run.

    Attributes:
        table: After `carry_out`: one row a sample, with the predicted class.
    """

    def __init__(
        self,
        scorer: ImageClassifier,
        data: DataSet,
        samples: Sequence[Sample],
        node: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__(samples, node["task"], directory)
        self.network = scorer.network.requires_grad_(True)
        self.scorer_run = scorer.run
        self.preprocess = scorer.preprocess
        self.data = data
        self.node = node
        self.labels = torch.tensor([_class_of(scorer, data[i]) for i in range(len(data))])
        self._steps = -(-len(data) // self.options["images"])

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model built anew or loaded.

        Raises:
            VlgroundError: If the model is no classifier, or a label is none of its classes.
        """
        scorer = build(cell.node["model"])  # of its own: it is trained in place
        if not isinstance(scorer, ImageClassifier):
            raise VlgroundError(f"model={cell.choices['model']}: no classifier")
        data = build(cell.node["task"]["data"])
        return cls(scorer, data, cell.samples, cell.node, cell.directory)

    def trained(self) -> None:
        """See the base class."""
        self.network.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """See the base class."""
        save_weights(self.network, folder / "model.safetensors")

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

    def on_test_start(self) -> None:
        """Measure what was saved, as it is loaded."""
        saved = str(self.directory / "model" / "model.safetensors")
        fresh = {**self.node["model"], "pretrained": False, "checkpoint": saved}
        scorer = build_scorer(fresh)
        assert isinstance(scorer, ImageClassifier)
        self._scorer = scorer.to(self.device)
        self._rows: list[dict[str, Any]] = []

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


def _class_of(scorer: ImageClassifier, sample: Sample) -> int:
    label = sample.label or sample.text
    found = scorer.classes.indices(label)
    if len(found) != 1:
        raise VlgroundError(f"task.data: the label {label} of {sample.id} is {len(found)} classes")
    return found[0]
