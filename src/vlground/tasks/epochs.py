"""Training by epochs, which goes on from the last one that was finished."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import pandas
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlground.data.batches import Batch, image_loader
from vlground.data.sample import Sample
from vlground.preprocess import Preprocess
from vlground.training.checkpoints import RoundCheckpoint, described

log = logging.getLogger("vlground")


class EpochTraining(lightning.LightningModule):
    """A model that is trained, saved, and measured on samples; subclasses train and measure it.

    A checkpoint is kept of every epoch. What a subclass draws depends on (seed, step) alone, so a
    run that was interrupted ends with the numbers of one that was not.

    Args:
        samples: On which it is measured, at the end.
        options: The task's node; `export` is a folder that the model is also saved in.
        directory: Of the run.

    Attributes:
        table: After `carry_out`: one row a sample.
    """

    version = 1
    preprocess: Preprocess

    def __init__(
        self, samples: Sequence[Sample], options: Mapping[str, Any], directory: Path
    ) -> None:
        super().__init__()
        self.samples = samples
        self.options = options
        self.directory = directory
        self.table = pandas.DataFrame()

    @property
    def all_epochs(self) -> int:
        """How many there are."""
        return int(self.options["epochs"])

    def trained(self) -> None:
        """Put the model into the state in which it is saved and measured."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write the trained weights as the model's class reads them."""
        raise NotImplementedError

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Train, from the last epoch that was finished; save the model; measure it.

        Raises:
            VlgroundError: If what it would go on from cannot be read.
        """
        last = self.directory / "checkpoints" / "last.ckpt"
        described(last.parent)
        trainer.fit_loop.max_epochs = self.all_epochs
        if last.exists():
            log.info("goes on from %s", last)
        trainer.fit(self, ckpt_path=last if last.exists() else None, weights_only=True)
        self.trained()
        for folder in (self.directory / "model", self.options["export"]):
            if folder is not None and trainer.is_global_zero:
                self.save(Path(folder))
        trainer.strategy.barrier()
        trainer.test(self, verbose=False)

    def configure_callbacks(self) -> list[lightning.Callback]:
        """A checkpoint at the end of every epoch, in the place of the one before."""
        return [RoundCheckpoint(self.directory / "checkpoints")]

    def on_train_epoch_end(self) -> None:
        """Say how far it is."""
        loss = float(self.trainer.callback_metrics["train/loss"])
        log.info("epoch %d of %d: loss %.4f", self.current_epoch + 1, self.all_epochs, loss)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The samples, each image once."""
        return image_loader(self.samples, self.preprocess, batch_size=256, num_workers=0)

    def transfer_batch_to_device(
        self, batch: Batch | int, device: torch.device, dataloader_idx: int
    ) -> Batch | int:
        """Move what has tensors."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def details(self) -> dict[str, Any]:
        """Nothing beside the scores."""
        return {}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: the maps of a trained model are a run of another task."""
        return {}

    def expected(self, verb: str) -> int:
        """How many samples this rank will have scored."""
        return len(self.samples)
