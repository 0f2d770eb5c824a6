"""Lightning callbacks and loggers of every task."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from vlground import tracking
from vlground.cell import Cell
from vlground.store import Evidence, EvidenceStore

log = logging.getLogger("vlground")


class EvidenceWriter(BasePredictionWriter):
    """Stores what `predict_step` returns, batch by batch, so a killed run loses one batch.

    Args:
        store: Where to.
    """

    def __init__(self, store: EvidenceStore) -> None:
        super().__init__(write_interval="batch")
        self.store = store

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Sequence[tuple[str, Evidence]],
        batch_indices: Sequence[int] | None,
        batch: Any,  # noqa: ANN401 - the task's own batch
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Append one batch of evidence."""
        self.store.append(prediction)


def csv_logger(cell: Cell) -> CSVLogger:
    """Lightning's CSV logger in the run directory."""
    return CSVLogger(save_dir=str(cell.directory), name="csv", version="")


def log_results(
    logger: Logger,
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
) -> None:
    """Copy scores and counts to a logger; W&B also gets the samples that have a picture.

    Disk is the truth and the logger the copy: if W&B refuses, the run still ends well.

    Args:
        logger: Any Lightning logger.
        results: As in `results.json`.
        rows: Those with a picture, at least.
        figures: Sample id -> picture.
    """
    if not isinstance(logger, WandbLogger):
        logger.log_metrics(tracking.flat_scores(results))
        return
    try:
        tracking.send(logger.experiment, results, rows, figures)
    except Exception as error:  # W&B passes on what its server, its process and pydantic raise
        log.warning("W&B: %s; vlground-push sends it again", tracking.one_line(error))


def keep_files(logger: Logger, cell: Cell) -> None:
    """Copy the files of a run to W&B once they are written, and name the runs that it builds on.

    A partial run has none: it would pass for the whole one, whose fingerprint it has.

    Args:
        logger: Any Lightning logger.
        cell: The run.
    """
    if not isinstance(logger, WandbLogger) or cell.partial:
        return
    try:
        unlinked = tracking.attach(logger.experiment, cell.directory)
    except Exception as error:  # as above
        log.warning("W&B: %s; vlground-push sends it again", tracking.one_line(error))
        return
    if unlinked:
        names = ", ".join(path.name for path in unlinked)
        log.info("W&B: builds on runs that are not there: %s; vlground-push links them", names)


def finish(logger: Logger) -> None:
    """End the logger in a `finally`, so that the next cell of the process begins its own run."""
    failed = sys.exception() is not None
    logger.finalize("failed" if failed else "success")
    if isinstance(logger, WandbLogger):
        try:
            errors = tracking.close(exit_code=int(failed))
        except Exception as error:  # as above; the results are on disk
            errors = [tracking.one_line(error)]
        if errors:
            log.warning("W&B: not uploaded: %s; vlground-push sends it again", errors[0])
