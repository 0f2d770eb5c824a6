"""What the training of a reward model survives, and what ends it in one line: by the command."""

import json
import resource
import shutil
from pathlib import Path

import pandas
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.rewards.reward_commands import command, marked_by, prepare, run_folder, stopped_at

_STEPS = 6  # of the training below: two epochs of three


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    made = tmp_path_factory.mktemp("whole")
    prepare(made)
    assert command(made) == 0
    assert len(result(made)["reward_model"]["counts"]) > 3
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


def result(folder: Path) -> dict[str, object]:
    return json.loads((run_folder(folder) / "results.json").read_text())  # type: ignore[no-any-return]


def weights(folder: Path) -> dict[str, Tensor]:
    names = ("model.safetensors", "reward_head.safetensors")
    parts = [load_file(run_folder(folder) / "model" / name) for name in names]
    return parts[0] | parts[1]


def check_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    tables = [pandas.read_parquet(run_folder(path) / "rows.parquet") for path in (one, other)]
    assert tables[0].equals(tables[1])


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that says what is wrong."""
    output = capfd.readouterr().err
    assert "Traceback" not in output
    lines = output.split("Error executing job with overrides", 1)[1].splitlines()[1:]
    return next(line for line in lines if line.strip())


@pytest.mark.parametrize(
    "step", [2, *(pytest.param(one, marks=pytest.mark.slow) for one in (0, 3, _STEPS - 1))]
)
def test_sigterm_writes_a_checkpoint_and_the_same_command_goes_on(
    folder: Path, whole: Path, step: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, stopped_at(step)) == 143
    kept = torch.load(run_folder(folder) / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["next_step"] == step + 1, "the step in which the signal came is not lost"
    assert "Traceback" not in capfd.readouterr().err
    assert command(folder) == 0
    check_same(folder, whole)


def test_the_checkpoint_of_another_configuration_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, stopped_at(2)) == 143
    first = run_folder(folder)
    assert command(folder, "seed=1", stopped_at(0)) == 143
    (other,) = {*first.parent.iterdir()} - {first}
    shutil.copy(first / "checkpoints" / "last.ckpt", other / "checkpoints" / "last.ckpt")
    capfd.readouterr()
    assert command(folder, "seed=1") == 1
    assert "checkpoints: of another configuration (" in one_line(capfd)


def test_a_loss_that_is_no_number_stops_with_the_images_named(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, "task.learning_rate=1e30", "task.warmup=0") == 1
    told = one_line(capfd)
    assert told.startswith("task.learning_rate=1e+30: the loss of the reward model")
    assert "at step 1" in told
    assert told.count("shapes_captions/test/in/96/0.5/0/") == 2, told
    assert not (run_folder(folder) / "model").exists()


def test_a_full_disk_keeps_the_checkpoint_before_and_tells_of_the_model(
    folder: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that may not grow stands for a disk that is full: both are an error of a write."""
    assert command(folder, stopped_at(1)) == 143
    last = run_folder(folder) / "checkpoints" / "last.ckpt"
    before, model = last.read_bytes(), whole_size(whole)
    for size, told in (
        (len(before) // 2, "last.ckpt: cannot write: File too large (change it with runs=DIR)"),
        (model // 2, "model: cannot write: "),
    ):
        if size < len(before) // 2:  # the checkpoints have been written by then
            assert command(folder, stopped_at(_STEPS - 1)) == 143
            before = last.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            capfd.readouterr()
            assert command(folder) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert told in one_line(capfd)
        assert last.read_bytes() == before
        assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert command(folder) == 0
    check_same(folder, whole)


def whole_size(folder: Path) -> int:
    return (run_folder(folder) / "model" / "model.safetensors").stat().st_size


def test_labels_that_do_not_fit_are_counted_and_said(
    folder: Path, whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, marked_by("Forgetful")) == 0
    found, all_of_them = (result(path)["reward_model"]["counts"] for path in (folder, whole))  # type: ignore[index]
    unfit = sum(n for name, n in found.items() if name.endswith("labels do not fit"))
    kept = sum(n for name, n in found.items() if name.endswith(": captions"))
    assert 0 < unfit < unfit + kept == 28
    assert sum(n for name, n in all_of_them.items() if name.endswith(": captions")) == 28
    told = capfd.readouterr()
    assert f"{unfit} captions whose labels do not fit" in told.out + told.err


def test_nobody_who_marks_anything_is_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, marked_by("Silent")) == 1
    told = one_line(capfd)
    assert told.startswith("reward, task.held_out=0.4: no labelled caption is to train on: ")
    assert "training: sentences without a label (" in told


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: not with task=reward_model"),
        ("task.adapter.kind=qlora", "task.adapter.kind=qlora: a reward model has weights"),
        ("task.freeze=[eyes]", "task.freeze=eyes: expected some of vision_tower"),
    ],
)
def test_what_cannot_be_is_one_line(
    folder: Path, override: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    added = "+" if override.startswith("trainer.strategy") else ""
    assert command(folder, f"{added}{override}") == 1
    assert one_line(capfd).startswith(told)
