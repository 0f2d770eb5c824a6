"""One grounding run on `devices` gloo processes; started by test_tasks in a process of its own."""

import json
import sys
from pathlib import Path

import lightning
import torch

from tests.worlds import planted
from vlground.identity import Stage
from vlground.metrics import QGroundCAM
from vlground.store import EvidenceStore
from vlground.tasks.grounding import Grounding


def main(folder: str, devices: str) -> None:
    """Draw and score 23 samples of 9 images, and write the rows of rank 0."""
    from tests.scorers import PatchScorer
    from vlground.cams.gradient import HiResCAM

    torch.set_num_threads(1)
    store = EvidenceStore(Path(folder), Stage("prediction", {}, {}))
    task = Grounding(QGroundCAM(), planted(images=9, texts=(1, 4)), store)
    task.scorer, task.cam, task.batch_size = PatchScorer(), HiResCAM(), 4
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        default_root_dir=folder,
    )
    task.carry_out(trainer)
    if trainer.is_global_zero:
        (Path(folder) / "rows.json").write_text(
            json.dumps([task.scores(), task.table.to_dict("records")])
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
