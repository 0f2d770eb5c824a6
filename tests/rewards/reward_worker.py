"""One training on `devices` gloo processes; test_reward_model starts it."""

import json
import sys
from pathlib import Path

import lightning
import torch
from tests.rewards.reward_parts import carry_out, task

from vlground.data.sample import Sample
from vlground.rewards.labelled import LabelledImage
from vlground.rewards.reading_images import batches_of


class Losses(lightning.Callback):
    """What the model and its baseline lost in each epoch."""

    def __init__(self) -> None:
        self.told: list[list[float]] = []

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        names = ("train/loss", "train/blind_loss")
        self.told.append([float(trainer.callback_metrics[name]) for name in names])


def main(llava: str, folder: str, devices: str, images: str) -> None:
    """Train on eight images, so many in a step of a process; rank 0 saves."""
    made = task(llava, Path(folder), training=8, images=int(images))
    for image in made.labels.training[:3]:  # processes know more and less
        for caption in image.captions:
            caption.errors[1:] = float("nan")
    # Of one process no image of a step can be read, and the other does not wait for ever.
    first = batches_of(8, int(images), made.seed, 0)[-1]
    for place in first[-2:]:
        gone = Sample(f"gone{place}", f"gone{place}", Path("gone.png"), "")
        made.labels.training[place] = LabelledImage(gone, made.labels.training[place].captions)
    losses = Losses()
    carry_out(made, [losses], devices=int(devices))
    if made.trainer.is_global_zero:
        (Path(folder) / "losses.json").write_text(json.dumps(losses.told))
        made.table.to_parquet(Path(folder) / "rows.parquet")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
