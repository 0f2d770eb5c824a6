"""`task=claim_checking`: which branch catches which errors, where the truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from tests.cli import results, vlground
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.reporting.claim_checks import claim_blocks
from vlground.rewards.sentences import split

OPTIONS = (
    *("task=claim_checking", "logger=none", "dataset.samples=40", "task.n=2"),
    *("model.errors.relationship=0.15", "model.errors.location=0.15"),
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claims")
    grid = ("detector=shapes_relations,mini_albef", "task.nouns.phrases=nouns,attributes,all")
    vlground("-m", *OPTIONS, *grid, cwd=folder)
    return folder / "runs"


def found(runs: Path, detector: str, phrases: str) -> dict[str, Any]:
    (one,) = [
        result
        for result in results(runs)
        if result["choices"]["detector"] == detector
        and f"task.nouns.phrases={phrases}" in result["overrides"]
    ]
    return {name: score["value"] for name, score in one["scores"].items()}


def test_nouns_catch_hallucinations_and_attributes_what_nouns_cannot(swept: Path) -> None:
    nouns, attributes = (found(swept, "shapes_relations", p) for p in ("nouns", "attributes"))
    for one in (nouns, attributes):
        assert one["auc/hallucination"] == one["caught/hallucination"] == 1
        assert one["auc/relationship"] == one["auc/location"] == 0.5
        assert one["caught/none"] == one["caught/relationship"] == 0
        assert "auc/conjecture" not in one, "all sentences of that kind are wrong"
        assert one["asked/conjecture"] == 0
    assert (nouns["auc/attribute"], nouns["caught/attribute"]) == (0.5, 0)
    assert attributes["caught/attribute"] == attributes["asked/attribute"] > 0.4
    assert attributes["auc/attribute"] > 0.7
    # A wrong number is an error of an attribute too, and no phrase says it.
    assert attributes["asked/attribute"] < 1


def test_shares_are_those_of_the_sentences_themselves(swept: Path) -> None:
    """Counted anew from the captions: who is asked, and what is there."""
    (path, *_) = swept.glob("claim_checking/*shapes_relations*/rows.parquet")
    rows = pandas.read_parquet(path)
    claims = [
        (parse(sentence.text), scene_of(image))
        for text, image in zip(rows["text"], rows["image_id"], strict=True)
        for sentence in split(text)
    ]
    wrong = [errors for claim, scene in claims if claim and (errors := claim.errors(scene))]
    scores = found(swept, "shapes_relations", "nouns")
    caught = np.mean([errors == {"hallucination"} for errors in wrong])
    assert scores["caught/any"] == pytest.approx(caught)
    assert scores["wrong_sentences"] == pytest.approx(len(wrong) / len(claims))


def test_a_model_that_matches_phrases_sees_objects_and_colours(swept: Path) -> None:
    nouns, attributes = (found(swept, "mini_albef", p) for p in ("nouns", "attributes"))
    assert nouns["auc/hallucination"] > 0.95
    assert attributes["auc/attribute"] > nouns["auc/attribute"] + 0.1


def test_a_sentence_is_as_sure_as_its_least_sure_phrase(swept: Path) -> None:
    """Objects of a wrong relation are there, so only the relation among the phrases tells."""
    nouns, everything = (found(swept, "shapes_relations", p) for p in ("nouns", "all"))
    assert nouns["caught/relationship"] == 0
    assert everything["caught/relationship"] > 0.8
    assert everything["auc/relationship"] > 0.9
    assert everything["caught/none"] < 0.05
    assert everything["asked/relationship"] == 1


def test_the_report_has_a_row_an_error_type_of_each_run(swept: Path) -> None:
    (block,) = claim_blocks(results(swept))
    named = [(row[0], row[1]) for row in block.rows if row[0]]
    assert sorted(named) == sorted(
        (detector, phrases)
        for detector in ("shapes_relations", "mini_albef")
        for phrases in ("nouns", "attributes", "all")
    )
    assert all(len(row) == len(block.heads) for row in block.rows)
    assert block.rows[0][2] == "hallucination"
    assert {row[2] for row in block.rows} >= {"any", "none", "conjecture"}
