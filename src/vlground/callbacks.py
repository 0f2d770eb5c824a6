"""Lightning callbacks and loggers of every task; the only place that knows Weights & Biases."""

import json
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from vlground.cell import Cell
from vlground.store import Evidence, EvidenceStore


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


def wandb_logger(cell: Cell, project: str) -> WandbLogger:
    """A Weights & Biases run that needs no login: without a key it is offline.

    `WANDB_MODE` wins. No run id is set, so that a deleted run can be logged again.

    Args:
        cell: The run.
        project: W&B project.
    """
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")
    run = None
    if rank_zero_only.rank == 0:
        run = wandb.init(
            project=project,
            group=cell.experiment,
            job_type=cell.choices["task"],
            name=cell.title,
            tags=list(cell.node["tags"]),
            notes=cell.node["notes"],
            dir=str(cell.directory),
            mode=None if "WANDB_MODE" in os.environ or _has_key() else "offline",
            config={**cell.choices, **cell.facts(), "cfg": cell.node},
        )
    return WandbLogger(experiment=run, save_dir=str(cell.directory))


def csv_logger(cell: Cell) -> CSVLogger:
    """Lightning's CSV logger in the run directory."""
    return CSVLogger(save_dir=str(cell.directory), name="csv", version="")


def log_results(
    logger: Logger,
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
) -> None:
    """Copy what is on disk to a logger: scores, counts, and the samples that have a picture.

    Args:
        logger: Any Lightning logger; only W&B gets the table.
        results: As in `results.json`.
        rows: All rows.
        figures: Sample id -> picture.
    """
    task = results["task"]
    numbers = flat_scores(results)
    if not isinstance(logger, WandbLogger):
        logger.log_metrics(numbers)
        return
    import wandb

    run = logger.experiment
    run.summary.update(numbers)
    names = sorted({name for row in rows for name in row} - {"id", "text", "skipped", "flag"})
    table = wandb.Table(columns=["id", "text", "overlay", *names, "flag", "skipped"])
    for row in rows:
        if row["id"] in figures:
            cells = [_plain(row.get(name)) for name in names]
            picture = wandb.Image(str(figures[row["id"]]))
            ending = [row.get("flag"), row.get("skipped")]
            table.add_data(row["id"], row["text"], picture, *cells, *ending)
    run.log({f"{task}/samples": table})


def finish(logger: Logger) -> None:
    """End the W&B run, so that the next cell of the process begins its own."""
    logger.finalize("finished")
    if isinstance(logger, WandbLogger):
        import wandb

        wandb.finish()


def flat_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """`grounding/io_ratio`, `grounding/io_ratio_low` … and the counts, as in W&B's summary."""
    task = results["task"]
    numbers: dict[str, float] = {}
    for name, score in results["scores"].items():
        for ending, key in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n")):
            if score[key] is not None:
                numbers[f"{task}/{name}{ending}"] = score[key]
    for name, value in results["counts"].items():
        numbers[f"{task}/count/{name}"] = sum(value.values()) if isinstance(value, dict) else value
    return numbers


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc(Path("~/.netrc").expanduser()).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
