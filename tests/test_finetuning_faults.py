"""What a fine-tuning survives, and what ends it in one line: as users meet it, by the command."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.cli import ENVIRONMENT
from tests.training.commands import COMMON, command, prepare, run_folder, stopped_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(run_folder(folder) / "model" / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that says what is wrong."""
    output = capfd.readouterr().err
    assert "Traceback" not in output
    lines = output.split("Error executing job with overrides", 1)[1].splitlines()[1:]
    return next(line for line in lines if line.strip())


def test_a_loss_that_is_no_number_stops_with_the_batch_named(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, "task.learning_rate=1e30", "task.warmup=0") == 1
    told = one_line(capfd)
    assert told.startswith("task.learning_rate: too high")
    assert "step 1: the loss or its gradient is " in told
    assert "learning from r" in told
    assert not (run_folder(folder) / "model").exists()


def test_an_empty_training_set_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for image in folder.glob("*.png"):
        image.unlink()
    assert command(folder) == 1
    told = one_line(capfd)
    assert told.startswith("task.data.file=")
    assert "no dialogue to learn from; left out: no such image (6)" in told


def test_the_checkpoint_of_another_configuration_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, stopped_at(4)) == 143
    first = run_folder(folder)
    assert command(folder, "seed=1") == 0
    (other,) = {*first.parent.iterdir()} - {first}
    (other / "results.json").unlink()
    shutil.copy(first / "checkpoints" / "last.ckpt", other / "checkpoints" / "last.ckpt")
    capfd.readouterr()
    assert command(folder, "seed=1") == 1
    assert "of another configuration (training-" in one_line(capfd)


def test_a_torn_checkpoint_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(folder, stopped_at(4)) == 143
    torn = run_folder(folder) / "checkpoints" / "last.ckpt"
    torn.write_bytes(torn.read_bytes()[:-2000])
    capfd.readouterr()
    assert command(folder) == 1
    assert "last.ckpt: cannot be read: " in one_line(capfd)


def test_a_full_disk_keeps_the_checkpoint_before(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that may not grow stands for a disk that is full: both are an OSError of a write."""
    whole = folder / "whole"
    shutil.copytree(folder, whole, ignore=shutil.ignore_patterns("whole"))
    assert command(whole) == 0
    assert command(folder, stopped_at(2)) == 143
    last = run_folder(folder) / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        capfd.readouterr()
        assert command(folder) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "last.ckpt: cannot write: File too large (change it with runs=DIR)" in one_line(capfd)
    assert last.read_bytes() == before
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert command(folder) == 0
    assert same(weights(folder), weights(whole))


@pytest.mark.parametrize("step", [0, 4, 5, 6])
def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(
    folder: Path, step: int, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = folder / "whole"
    shutil.copytree(folder, whole, ignore=shutil.ignore_patterns("whole"))
    assert command(whole) == 0
    assert command(folder, stopped_at(step)) == 143
    kept = torch.load(run_folder(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["next_step"] == step + 1, "the step in which the signal came is not lost"
    assert "Traceback" not in capfd.readouterr().err
    assert command(folder) == 0
    assert same(weights(folder), weights(whole))
    rows = [load(path) for path in (folder, whole)]
    assert rows[0] == rows[1]


def load(folder: Path) -> object:
    import json

    return json.loads((run_folder(folder) / "results.json").read_text())["training"]


def test_a_process_of_its_own_is_told_to_stop_and_goes_on(folder: Path) -> None:
    """Slurm's SIGTERM, at whatever moment it comes."""
    whole = folder / "whole"
    shutil.copytree(folder, whole, ignore=shutil.ignore_patterns("whole"))
    longer = ("task.steps=400", "task.checkpoint_every=25")
    assert command(whole, *longer) == 0
    words = [sys.executable, "-m", "vlground", *COMMON, *longer, "logger=none"]
    process = subprocess.Popen(
        words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not list(folder.glob("runs/finetuning/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 143, output
    assert "SIGTERM: checkpoint written" in output
    assert "Traceback" not in output
    assert command(folder, *longer) == 0
    assert same(weights(folder), weights(whole))
