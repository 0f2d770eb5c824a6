"""Jobs that are ended and begun again: who queues them, and in which W&B run they go on."""

import signal
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hydra import compose, initialize_config_dir
from tests.training.commands import Signal, command, prepare, run_folder, stopped_at
from tests.training.tuning import carry_out, task

from vlground.config import build
from vlground.run import CONF
from vlground.training.checkpoints import described


def ids(folder: Path) -> list[str]:
    """Of the offline runs, in the order in which they were made."""
    found = sorted(folder.rglob("offline-run-*"))
    return [path.name.rpartition("-")[2] for path in found if path.is_dir()]


def test_both_parts_of_an_interrupted_training_are_one_wandb_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert command(tmp_path, stopped_at(4), "logger=wandb") == 143
    known = described(run_folder(tmp_path) / "checkpoints")["wandb_run"]
    assert ids(tmp_path) == [known]
    assert command(tmp_path, "logger=wandb") == 0
    assert ids(tmp_path) == [known, known]
    assert command(tmp_path, "logger=wandb", "seed=1") == 0
    assert len(set(ids(tmp_path))) == 2, "another training, another run"


def test_the_launcher_queues_a_job_again_and_lightning_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        nodes = [compose("run", [f"trainer={name}"]).trainer for name in ("cpu", "debug")]
    assert build(nodes[0]["plugins"]) == []
    job = {"JOB_NAME": "x", "JOB_ID": "1", "NTASKS": "1", "NTASKS_PER_NODE": "1"}
    job |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for node in nodes:
        trainer = build(dict(node))
        environment = trainer._accelerator_connector.cluster_environment
        assert type(environment).__name__ == "SLURMEnvironment"
        assert environment.auto_requeue is False


def test_the_handler_of_a_launcher_is_called_when_the_checkpoint_is_written(
    tmp_path: Path,
) -> None:
    """Submitit's, which queues the job again on SIGUSR2."""
    found: list[int] = []

    def queue(number: int, frame: Any) -> None:
        kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
        found.append(kept["next_step"])
        raise SystemExit(3)

    former = signal.signal(signal.SIGUSR2, queue)
    try:
        with pytest.raises(SystemExit) as raised:
            carry_out(task(tmp_path), [Signal(4, signal.SIGUSR2)])
    finally:
        signal.signal(signal.SIGUSR2, former)
    assert (raised.value.code, found) == (3, [5])


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    class Twice(lightning.Callback):
        def on_train_batch_start(self, *arguments: Any) -> None:
            if arguments[2].number == 4:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        carry_out(task(tmp_path), [Twice()])
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["next_step"] == 3, "that of the round before"
