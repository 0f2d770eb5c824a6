"""The W&B run of a cell while it computes."""

import logging
import os
from typing import TYPE_CHECKING

from vlground.errors import VlgroundError
from vlground.tracking.described import Described
from vlground.tracking.records import remember
from vlground.tracking.session import hush, logged_in, of_sweep, one_line

if TYPE_CHECKING:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    from vlground.cell import Cell

log = logging.getLogger("vlground")

_LOGGER = "vlground.tracking.wandb_logger"


def wandb_logger(cell: "Cell", project: str, entity: str | None = None) -> "WandbLogger":
    """A Weights & Biases run that needs no login: without a key it is offline.

    `WANDB_MODE` wins. A training that was interrupted goes on in its own run, whose id is in the
    checkpoint; else no id is set, so that a deleted run can be logged again. Under the agent of a
    W&B sweep it is the agent's run, and the project is the sweep's.

    Args:
        cell: The run.
        project: W&B project.
        entity: W&B user or team; None is the default one.

    Raises:
        VlgroundError: If the agent of a W&B sweep began a Hydra sweep, whose cells would share one
            W&B run.
    """
    from hydra.types import RunMode
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

    if of_sweep() and cell.hydra.mode is RunMode.MULTIRUN:
        told = "a W&B sweep has one run a cell; add hydra.mode=RUN to its command"
        raise VlgroundError(f"hydra.mode=MULTIRUN: {told}")
    run = _live(cell, project, entity) if rank_zero_only.rank == 0 else None
    return WandbLogger(experiment=run, save_dir=str(cell.directory))


def again(cell: "Cell") -> None:
    """Give a W&B sweep the results of a cell that was done before the sweep asked for it.

    Its agent has opened a W&B run for the cell; without this the sweep would never hear of a score.
    """
    if not of_sweep() or cell.node["logger"].get("_target_") != _LOGGER:
        return
    from vlground.push import Stored

    hush()
    try:
        Stored.read(cell.directory).upload(cell.node["logger"]["entity"], None)
    except Exception as error:  # the results are on disk, whatever W&B raises
        log.warning("W&B: not uploaded: %s", one_line(error))


def _live(cell: "Cell", project: str, entity: str | None) -> "wandb.Run":
    """Open the run of a cell; a server that cannot be reached costs no experiment."""
    import wandb

    from vlground.training.checkpoints import wandb_run

    hush()
    stages = (cell.stage.fingerprint, cell.fingerprint)
    known = wandb_run(cell.directory / "checkpoints", stages)
    described = Described.of(cell.choices, cell.node, cell.experiment, cell.facts())
    # Read here, because W&B itself does so only when its session begins.
    mode = os.environ.get("WANDB_MODE") or (None if logged_in() else "offline")
    try:
        run = described.begin(project, entity, cell.directory, mode, known)
    except wandb.Error as error:
        log.warning("W&B: %s; offline from here on, upload with vlground-push", one_line(error))
        os.environ["WANDB_MODE"] = "offline"
        run = described.begin(project, entity, cell.directory, "offline", known)
    if not run.disabled:
        url = None if run.offline else run.settings.base_url
        place = {"url": url, "entity": run.entity or entity, "project": run.project or project}
        record = {**place, "group": described.group, "id": run.id, "sent": None}
        remember(cell.directory, record)
    return run
