"""A dry run of a grid, impossible pairs, and how far a run is."""

import logging
from pathlib import Path

import lightning
import pytest

from tests.cli import results, vlground
from tests.scorers import PatchScorer
from tests.worlds import planted
from vlground.cams.gradient import HiResCAM
from vlground.identity import Stage
from vlground.metrics import QGroundCAM
from vlground.progress import SampleProgress
from vlground.store import EvidenceStore
from vlground.tasks.grounding import Grounding

NEEDS_ATTENTION = """
from vlground.cams.gradient import GradCAM


class Rollout(GradCAM):
    needs = frozenset({"self_attention"})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "parts.py").write_text(NEEDS_ATTENTION)
    option = tmp_path / "conf" / "cam" / "attention.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("# Needs what a CNN has not.\n_target_: parts.Rollout\n")
    return tmp_path


def test_a_dry_run_prints_the_grid_and_impossible_pairs_are_skipped(project: Path) -> None:
    grid = ("--config-dir", "conf", "logger=none", "limit=2")
    vlground(*grid, "cam=uniform", cwd=project)
    made = sorted(project.rglob("*"))
    output = vlground(
        "-m", *grid, "cam=uniform,attention,gradcam", "sweep.dry_run=true", cwd=project
    )
    lines = [line for line in output.splitlines() if " · " in line]
    assert "uniform · photos: done already" in lines[0]
    assert (
        "attention · photos: impossible, the CAM needs self_attention; this model has " in lines[1]
    )
    assert lines[2].endswith("gradcam · photos: to do")
    assert "1 done already, 1 impossible, 1 to do" in output
    kept = [path for path in sorted(project.rglob("*")) if "sweeps" not in path.parts]
    assert [path for path in kept if "__pycache__" not in path.parts] == [
        path for path in made if "__pycache__" not in path.parts
    ]
    output = vlground("-m", *grid, "cam=attention,gradcam", cwd=project)
    assert "1 impossible, 1 done now" in output
    assert len(results(project / "runs")) == 2
    assert not list(project.rglob("error.txt"))
    assert "impossible" in vlground(*grid, "cam=attention", cwd=project, code=1)


def carried_out(folder: Path, every: float) -> Grounding:
    samples = planted(6, (1, 3))
    task = Grounding(QGroundCAM(), samples, EvidenceStore(folder, Stage("p", {}, {})))
    task.scorer, task.cam, task.batch_size = PatchScorer(), HiResCAM(), 4
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[SampleProgress(every)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    task.carry_out(trainer)
    return task


def test_plain_lines_where_there_is_no_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="vlground"):
        task = carried_out(tmp_path / "a", every=0.0)
    n = len(task.samples)
    told = [
        record.getMessage() for record in caplog.records if " a second, " in record.getMessage()
    ]
    assert told[0].startswith("drawn ")
    assert any(line.startswith(f"drawn {n} of {n} samples, ") for line in told)
    assert told[-1].startswith(f"scored {n} of {n} samples, ")
    assert all(line.endswith("left") for line in told)
    caplog.clear()
    carried_out(tmp_path / "b", every=60.0)
    assert not [record for record in caplog.records if " a second, " in record.getMessage()]


def test_a_bar_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    carried_out(tmp_path, every=0.0)
    shown = capsys.readouterr().out
    assert "samples/s" in shown
    assert "left" in shown


def test_methods_are_one_axis_and_a_choice_of_their_runs(tmp_path: Path) -> None:
    vlground(
        "-m",
        "method=mini_blip,mini_albef_amc",
        "dataset=shapes_phrases",
        "limit=6",
        "logger=none",
        cwd=tmp_path,
    )
    found = {run["choices"]["method"]: run["choices"] for run in results(tmp_path / "runs")}
    assert {name: choice["model"] for name, choice in found.items()} == {
        "mini_blip": "mini_blip",
        "mini_albef_amc": "mini_albef_amc",
    }
    assert {choice["cam"] for choice in found.values()} == {"attention_gradcam"}
    # The same cell without a method is the same run.
    plain = ("model=mini_blip", "cam=attention_gradcam", "dataset=shapes_phrases", "limit=6")
    assert "done already" in vlground(*plain, "logger=none", cwd=tmp_path)
