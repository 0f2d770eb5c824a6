"""`experiment=vigor_explicit_links`: a wrong link is an error that grounding alone can see."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from tests.cli import results, vlground
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.data.shapes.links import mislinked
from vlground.reporting.claim_checks import claim_blocks
from vlground.rewards.sentences import split

SMALL = ("logger=none", "dataset.samples=40", "task.n=2")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    grid = "detector=shapes_oracle,mini_albef_amc_grounding,mini_albef_amc_both"
    vlground("experiment=vigor_explicit_links", *SMALL, grid, cwd=folder)
    boxes = "detector=shapes_layouts,mini_albef_amc_links"
    vlground("experiment=vigor_explicit_links_layouts", *SMALL, boxes, cwd=folder)
    return folder / "runs"


def found(runs: Path, detector: str) -> dict[str, Any]:
    (one,) = [result for result in results(runs) if result["choices"]["detector"] == detector]
    return {name: score["value"] for name, score in one["scores"].items()}


def test_grounding_sees_wrong_links_and_presence_does_not(swept: Path) -> None:
    oracle, grounding = (found(swept, d) for d in ("shapes_oracle", "mini_albef_amc_grounding"))
    assert (oracle["auc/link"], oracle["caught/link"], oracle["caught/none"]) == (0.5, 0, 0)
    assert grounding["auc/link"] > 0.9
    assert grounding["auc/hallucination"] > 0.85
    assert grounding["caught/link"] > grounding["caught/none"] + 0.5
    # A map says where things are, not how they lie to each other.
    assert abs(grounding["auc/location"] - 0.5) < 0.2


def test_with_the_models_own_decision_it_sees_absent_objects_as_well(swept: Path) -> None:
    alone, both = (found(swept, f"mini_albef_amc_{one}") for one in ("grounding", "both"))
    assert both["auc/hallucination"] > max(0.98, alone["auc/hallucination"])
    assert both["auc/link"] > 0.9


def test_boxes_tell_relations_and_locations_also_those_of_the_text(swept: Path) -> None:
    oracle, linked = (found(swept, d) for d in ("shapes_layouts", "mini_albef_amc_links"))
    for one in (oracle, linked):
        assert one["auc/relationship"] > 0.85
        assert one["auc/location"] > 0.95
    assert oracle["auc/link"] == 0.5
    assert linked["auc/link"] > 0.9


def test_wrong_links_are_no_right_sentences(swept: Path) -> None:
    """Counted anew from the captions."""
    (path, *_) = swept.glob("claim_checking/*amc_grounding*/rows.parquet")
    rows = pandas.read_parquet(path)
    counts = dict.fromkeys(("link", "none"), 0)
    for text, image in zip(rows["text"], rows["image_id"], strict=True):
        scene = scene_of(image)
        for piece in split(text):
            claim = parse(piece.text)
            if claim is not None and not claim.errors(scene):
                counts["link" if mislinked(piece.text, scene) else "none"] += 1
    (one, *_) = [r for r in results(swept) if r["choices"]["detector"] == "shapes_oracle"]
    assert {name: one["scores"][f"caught/{name}"]["n"] for name in counts} == counts
    assert np.mean(counts["link"] / sum(counts.values())) > 0.1


def test_the_report_has_a_row_of_them(swept: Path) -> None:
    (block,) = claim_blocks(results(swept))
    assert "link" in {row[2] for row in block.rows}
