"""`vlground task=finetuning` on a tiny LLaVA and a few dialogues, in this process or its own."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import pytest
from PIL import Image
from tests.captioners.dialogues import pictures, write_llava

from vlground.run import job

COMMON = (
    *("task=finetuning", "model.pretrained=base", "task.data.file=[said.json]"),
    *("task.questions.share=0", "task.batch=2", "task.warmup=1", "task.learning_rate=1e-3"),
    *("task.steps=7", "task.checkpoint_every=3", "task.freeze=[]", "dataset.samples=2"),
)


class Signal(lightning.Callback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    def on_train_batch_start(self, *arguments: Any) -> None:
        if arguments[2].number == self.step:
            os.kill(os.getpid(), self.number)


def stopped_at(step: int) -> str:
    """The override that does so."""
    return f"+callbacks.stop={{_target_: tests.training.commands.Signal, step: {step}}}"


def prepare(folder: Path, records: int = 6) -> None:
    """A model and dialogues; without an image there is no dialogue."""
    write_llava(folder / "base")
    said = []
    for number, sample in enumerate(pictures(records)):
        Image.fromarray(sample.image).save(folder / f"{number}.png")  # type: ignore[arg-type]
        turns = [
            {"from": "human", "value": "<image>\nw1 w2"},
            {"from": "gpt", "value": f"w3 w{4 + number} w9"},
        ]
        said.append({"id": f"r{number}", "image": f"{number}.png", "conversations": turns})
    (folder / "said.json").write_text(json.dumps(said))


@contextmanager
def alone(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """As in a process of its own, in a folder."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            yield patch
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def command(folder: Path, *arguments: str, common: Sequence[str] = COMMON) -> int:
    """The exit code of `vlground` in this process."""
    logger = () if any(one.startswith("logger=") for one in arguments) else ("logger=none",)
    with alone(folder) as patch:
        patch.setattr(sys, "argv", ["vlground", *common, *logger, *arguments])
        try:
            job()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def run_folder(folder: Path, task: str = "finetuning") -> Path:
    """The only run there."""
    (found,) = (folder / "runs" / task).iterdir()
    return found
