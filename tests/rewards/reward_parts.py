"""A small training of a reward model on labels that are given."""

from collections import Counter
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from tests.captioners.dialogues import pictures

from vlground.data.sample import Sample
from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.labelled import Labelled, LabelledImage
from vlground.rewards.network import SentenceReward
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.reading import Reading
from vlground.tasks.caption_labels import CaptionLabels
from vlground.tasks.reward_model import RewardModel

OPTIONS: dict[str, Any] = {
    "level": "sentence",
    "holistic": "any",
    "class_weights": "balanced",
    "epochs": 3,
    "images": 2,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-2,
    "weight_decay": 0.01,
    "warmup": 1,
    "export": None,
    "freeze": [],
    "adapter": {"kind": "none"},
}
NAN = float("nan")


class Given(CaptionLabels):
    """Labels that a test has made: the first type is marked where a caption says w1."""

    def __init__(self, training: int, held_out: int) -> None:
        self.counts = Counter()
        made = [self._image(sample) for sample in pictures(training + held_out)]
        self.training, self.held_out = made[:training], made[training:]

    @staticmethod
    def _image(sample: Sample) -> LabelledImage:
        errors = np.zeros((4, 6))
        errors[0, 0], errors[3] = 1, NAN
        texts = ("w1 w2", "w3 w4 w5", "w6", "w7 w8")
        second = Labelled(1, ("w9", "w1 w3"), np.eye(6)[[3, 0]] * [[0], [1]])
        return LabelledImage(sample, (Labelled(0, texts, errors), second))

    def make(self, trainer: lightning.Trainer) -> None:
        """All of it is there."""


def task(
    llava: str, folder: Path, blind: bool = True, training: int = 5, **options: Any
) -> RewardModel:
    """Of `training` images, with three held out."""
    reading = {"context": "preceding", "level": options.get("level", "sentence")}
    made = []
    for image in (True, False):
        network, processor = load_dialogue_model("task", llava, None, torch.float32)
        read = Reading("Describe it", image=image, **reading)  # type: ignore[arg-type]
        made.append(SentenceReward(network, processor, ERROR_TYPES, read))
    torch.manual_seed(0)  # adapters are drawn
    return RewardModel(
        Given(training, 3), made[0], made[1] if blind else None, {**OPTIONS, **options}, 7, folder
    )


def carry_out(
    made: RewardModel, callbacks: list[lightning.Callback] | None = None, devices: int = 1
) -> None:
    """As the command does."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else "ddp",
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=str(made.directory),
    )
    made.carry_out(trainer)
