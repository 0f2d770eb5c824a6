"""Plausible beside faithful in the report, from runs of the commands."""

import json
from pathlib import Path

import pytest

from tests.cli import command, vlground

DATA = ("model=mini_classifier", "dataset=shapes_classification", "dataset.samples=24")
QUICK = ("logger=none", "task.overlays=0")


@pytest.mark.slow  # by the command, several times
def test_faithfulness_stands_beside_grounding_and_judge(tmp_path: Path) -> None:
    vlground(*DATA, *QUICK, cwd=tmp_path)
    vlground(*DATA, *QUICK, "metric=faithfulness", "metric.steps=2", cwd=tmp_path)
    grid = ("mask.beta=0.5,0.6", "task.sanity=0", "task.gallery=0")
    vlground("-m", "task=explanation", *DATA, *QUICK, *grid, cwd=tmp_path)
    masked = ("mask=sigmoid", "cam=gradcam")
    vlground(*DATA, *QUICK, *masked, cwd=tmp_path)
    told = command("vlground.report", "runs", "--format", "markdown", cwd=tmp_path)
    assert "**shapes_classification: faithfulness**" in told
    assert "| model           | cam     | metric" not in told, "a table of its own"
    (block,) = [part for part in told.split("**") if part.endswith("are plausible maps faithful?")]
    assert block.startswith("shapes_classification · mini_classifier · gradcam")
    lines = [line for line in told.splitlines() if line.startswith("| road_combined")]
    assert [("IO_ratio" in line, "judge" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]
    assert all("| 24 " in line or " 24 |" in line for line in lines[:1])
    assert "alpha and beta that the judge likes best" in told
    found = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/results.json")]
    assert len({one["stage"] for one in found if one["task"] == "grounding"}) == 1, (
        "maps are shared"
    )


def test_masks_are_named_and_chosen_and_a_run_without_a_score_is_a_row(tmp_path: Path) -> None:
    for mask in ("black", "sigmoid"):
        vlground("limit=2", f"mask={mask}", *QUICK, cwd=tmp_path)
    report = ("runs", "--no-page", "--format", "markdown")
    told = command("vlground.report", *report, cwd=tmp_path)
    (black,) = [line for line in told.splitlines() if "| black" in line]
    assert black.split("|")[4].strip() == "0"
    assert "not_positive (2)" in told
    alone = command("vlground.report", *report, "mask.alpha=25", cwd=tmp_path)
    assert "| sigmoid" in alone, "also where all runs have it"
    assert "black" not in alone
    said = command("vlground.report", *report, "mask.alpha=7", cwd=tmp_path, code=1)
    assert "no results.json under it of mask.alpha=7" in said
