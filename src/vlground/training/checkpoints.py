"""Checkpoints of a training that is stopped and goes on."""

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

from vlground.store import one_line_on_failure


class RoundCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` at the end of every round, in the place of the one before.

    It is written aside first: a full disk or a kill leaves the one before as it was.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            str(folder),
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.folder = folder

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write it; a disk that is full ends in one line."""
        with one_line_on_failure(self.folder):
            super().on_train_epoch_end(trainer, pl_module)
