"""The script that saves a W&B workspace."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.explanations import make_explanation
from vlground.labels import COLUMNS, EXPLANATION_COLUMNS, MATRIX
from vlground.rewards.arms import ARMS
from vlground.tracking import flat_scores

SCRIPT = Path(__file__).parents[1] / "experiments" / "wandb_workspace.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_its_panels_show_scores_that_there_are(script: dict[str, Any], tmp_path: Path) -> None:
    scores = script["SCORES"]
    assert {*scores["grounding"]} <= {*COLUMNS}
    assert {*scores["matrix"]} <= {*MATRIX}
    assert {*scores["explanation"]} <= {*EXPLANATION_COLUMNS}
    assert {name.rpartition("/")[0] for name in scores["reward"]} <= {*ARMS, ""}
    results = json.loads((make_explanation(tmp_path) / "results.json").read_text())
    assert {f"explanation/{name}" for name in scores["explanation"]} <= {*flat_scores(results)}
    assert {*script["CHOICES"]} <= {*results["choices"]}


def test_it_can_be_built_offline(script: dict[str, Any]) -> None:
    pytest.importorskip("wandb_workspaces")
    view = script["workspace"]("ann", "vlground")._to_model().model_dump_json()
    for space, names in script["SCORES"].items():
        for name in names:
            assert f"summary:{space}/{name}" in view
    assert "config:model.value" in view
