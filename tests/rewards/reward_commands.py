"""`vlground task=reward_model` on a tiny LLaVA and drawn scenes, in this process."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from tests.captioners.dialogues import write_llava
from tests.training.commands import alone

from vlground.data.sample import Sample
from vlground.rewards.simulated import SimulatedAnnotators
from vlground.run import job

COMMON = (
    *("task=reward_model", "task.backbone.pretrained=base", "logger=none", "task.held_out=0.4"),
    *("dataset.samples=14", "task.images=2", "task.epochs=2", "task.warmup=1"),
    *("task.learning_rate=1e-3", "task.head_learning_rate=1e-2"),
)


class Signal(lightning.Callback):
    """Sends this process SIGTERM in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, *arguments: Any) -> None:
        if arguments[2] == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


class Forgetful(SimulatedAnnotators):
    """Of every second image it gives one label less than there are sentences."""

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        told = super().score(samples, sentences)
        odd = [sample.image_id[-1] in "13579" for sample in samples]
        return [rows[:-1] if less else rows for rows, less in zip(told, odd, strict=True)]


class Silent(SimulatedAnnotators):
    """It says nothing of any sentence."""

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        return [[{} for _ in pieces] for pieces in sentences]


def stopped_at(step: int) -> str:
    """The override that ends the process in a step."""
    return f"+callbacks.stop={{_target_: {__name__}.Signal, step: {step}}}"


def marked_by(name: str) -> str:
    """The override that lets another class of this module mark sentences."""
    return f"reward._target_={__name__}.{name}"


def prepare(folder: Path) -> None:
    """A model; scenes and captions are drawn."""
    write_llava(folder / "base")


def command(folder: Path, *arguments: str) -> int:
    """The exit code of `vlground` in this process."""
    with alone(folder) as patch:
        patch.setattr(sys, "argv", ["vlground", *COMMON, *arguments])
        try:
            job()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def run_folder(folder: Path) -> Path:
    """The only run there."""
    (found,) = (folder / "runs" / "reward_model").iterdir()
    return found
