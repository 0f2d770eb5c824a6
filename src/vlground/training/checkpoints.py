"""Checkpoints of a training that is stopped and goes on."""

import logging
import signal
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import WandbLogger

from vlground.errors import VlgroundError
from vlground.whole import replacing

log = logging.getLogger("vlground")

_NAME = "last.ckpt"
_RUN = "wandb_run"
# Slurm's own, and the one by which submitit says that the time of a job is nearly over.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class RoundCheckpoint(Checkpoint):
    """Writes `last.ckpt` at the end of every round, in the place of the one before.

    It is written beside it first: a full disk or a kill leaves the one before as it was. It also
    holds the id of the W&B run, so that a training that goes on does so in the same one.

    Args:
        folder: Where.
        anywhere: Whether the training can go on from any step. Then SIGTERM, or SIGUSR2 where
            somebody handles it, lets the step end and writes a checkpoint before it ends the
            process; a second signal ends it at once.
    """

    def __init__(self, folder: Path, anywhere: bool = False) -> None:
        self.folder, self.anywhere = folder, anywhere
        self._asked: int | None = None  # by which signal to stop
        self._former: dict[int, Any] = {}

    def setup(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Let Lightning write whole files."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()
        if trainer.is_global_zero:
            for left in self.folder.glob(f".{_NAME}.*.tmp"):  # by a kill
                left.unlink()

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Be told of signals; Lightning puts back the former handlers."""
        if not self.anywhere or threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if callable(former := signal.getsignal(number)):
                self._former[number] = former
                signal.signal(number, self._note)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Stop here if a process was told to; the last step of a round has its checkpoint."""
        if self.anywhere and not trainer.is_last_batch and self._is_told(trainer):
            self._write(trainer)
            self._stop()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write it.

        Raises:
            VlgroundError: If the disk is full or the folder cannot be written.
        """
        self._write(trainer)
        if self.anywhere and self._is_told(trainer):
            self._stop()

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the id of the W&B run, if there is one."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                run = logger.experiment
                checkpoint[_RUN] = None if run.disabled else run.id

    def _write(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.folder / _NAME, weights_only=False)  # optimizers too

    def _is_told(self, trainer: lightning.Trainer) -> bool:
        """Whether any process was."""
        return trainer.strategy.reduce_boolean_decision(self._asked is not None, all=False)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            raise SystemExit(128 + number)
        self._asked = number

    def _stop(self) -> None:
        number = self._asked or signal.SIGTERM
        log.info("%s: checkpoint written, goes on from it", signal.Signals(number).name)
        if number != signal.SIGTERM:
            self._former[number](number, None)  # a launcher's, which queues the job again
        raise SystemExit(128 + number)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning's own keeps a copy in memory and another in the folder for temporary files; from
    there a full disk would tear the checkpoint before.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,  # noqa: ANN401
        storage_options: Any = None,  # noqa: ANN401
    ) -> None:
        """Write it.

        Args:
            checkpoint: What `load_checkpoint` gives back.
            path: Of the file; its folder is made.
            storage_options: None.

        Raises:
            VlgroundError: If the disk is full or the folder cannot be written; what was there is
                untouched.
        """
        place = Path(path)
        with replacing(place) as aside:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with aside.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:  # torch says "unexpected pos" of a full disk
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def described(folder: Path, stage: str | None = None) -> Mapping[str, Any]:
    """What a checkpoint says beside its weights, which are not read; empty if there is none.

    Args:
        folder: Where it lies.
        stage: Fingerprint of the training that would go on from it; None: any.

    Raises:
        VlgroundError: If it cannot be read, or another configuration has trained it.
    """
    path = folder / _NAME
    if not path.is_file():  # DeepSpeed writes a folder, and reads it itself
        return {}
    mended = "remove the folder, or give another runs=DIR"
    try:
        found: dict[str, Any] = torch.load(path, "meta", weights_only=True, mmap=True)
    except Exception as error:  # of torch, pickle and zip files
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise VlgroundError(f"{path}: cannot be read: {told}; {mended}") from error
    if stage is not None and found.get("stage") != stage:
        told = f"of another configuration ({found.get('stage')}, not {stage})"
        raise VlgroundError(f"{folder}: {told}; {mended}")
    return found


def wandb_run(folder: Path, stages: Collection[str]) -> str | None:
    """Id of the W&B run of an interrupted training; None if there is none.

    Args:
        folder: Of its checkpoint.
        stages: What the training may call itself; what another has written says nothing.
    """
    try:
        found = described(folder)
    except VlgroundError:
        return None  # whoever goes on from it says so
    return found.get(_RUN) if found.get("stage") in (None, *stages) else None
