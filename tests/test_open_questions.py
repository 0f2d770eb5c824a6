"""The papers' open questions: which branch catches what, thresholds, maps beside decisions."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from tests.cli import results, vlground
from tests.scorers import TinyClip
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.errors import VlgroundError
from vlground.metrics.presence import THRESHOLDS, Asked, areas, best, gains, shares
from vlground.models.thresholded import Thresholded
from vlground.page.reading import Run, read
from vlground.reporting.branches import branch_blocks
from vlground.reporting.decided import decided
from vlground.reporting.downstream import LIKE_SIZE, area, downstream_blocks
from vlground.reporting.error_types import error_type_blocks, errors_left
from vlground.reporting.judge_beside import beside, judge_blocks
from vlground.reporting.orders import order_blocks
from vlground.rewards.sentences import split
from vlground.testing import check_scorer


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both branches know the truth, but the detector misses some of it."""
    folder = tmp_path_factory.mktemp("branches")
    vlground(
        *("experiment=vigor_error_types", "task=branch_checking,rejection_sampling"),
        *("detector=shapes_oracle", "reward=simulated", "detector.miss=0,0.3", "select.by=both"),
        *("model=captioner_shapes", "dataset.look=plain", "dataset.samples=24", "logger=none"),
        cwd=folder,
    )
    return folder / "runs"


def checked(runs: Path, miss: float) -> dict[str, Any]:
    (one,) = [
        result
        for result in results(runs)
        if result["task"] == "branch_checking" and f"detector.miss={miss:g}" in result["overrides"]
    ]
    return one


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in result["scores"].items()}


def test_each_branch_catches_what_it_can_see(swept: Path) -> None:
    found = values(checked(swept, 0))
    for name in ("hallucination", "attribute", "relationship", "location", "conjecture", "any"):
        assert found[f"human/{name}"] == 1
        assert found[f"neither/{name}"] == found[f"automatic_alone/{name}"] == 0
        assert found[f"both/{name}"] == found[f"automatic/{name}"]
        assert found[f"human_alone/{name}"] == pytest.approx(1 - found[f"automatic/{name}"])
    assert found["automatic/hallucination"] == found["auc/automatic/hallucination"] == 1
    assert found["automatic/conjecture"] == found["automatic/location"] == 0
    assert found["auc/automatic/attribute"] == 0.5
    assert found["human/none"] == found["automatic/none"] == 0
    assert found["neither/none"] == 1
    assert (found["kept/all"], found["rejected/all"]) == (1, 1)


def test_what_the_detector_misses_are_false_alarms_of_its_branch_alone(swept: Path) -> None:
    found, whole = values(checked(swept, 0.3)), checked(swept, 0.3)["branch_checking"]
    assert 0.55 < found["kept/all"] < 0.85
    assert found["rejected/all"] == 1
    assert found["automatic/none"] == found["automatic_alone/none"] > 0.2
    assert found["human/none"] == 0
    assert whole["areas"]["all"]["value"] == pytest.approx((1 + found["kept/all"]) / 2)
    assert whole["shares"]["kept/all/0.25"]["value"] == found["kept/all"]


def test_shares_are_those_of_the_sentences_themselves(swept: Path) -> None:
    (path, *_) = swept.glob("branch_checking/*/rows.parquet")
    rows = pandas.read_parquet(path)
    claims = [
        (parse(sentence.text), scene_of(image))
        for text, image in zip(rows["text"], rows["image_id"], strict=True)
        for sentence in split(text)
    ]
    errors = [claim.errors(scene) for claim, scene in claims if claim]
    result = checked(swept, 0)
    assert result["branch_checking"]["sentences"] == len(claims)
    assert result["scores"]["human/any"]["n"] == sum(map(bool, errors))
    assert result["scores"]["human/none"]["n"] == len(errors) - sum(map(bool, errors))
    caught = np.mean(["hallucination" in one for one in errors if one])
    assert result["scores"]["automatic/any"]["value"] == pytest.approx(caught)


def test_the_report_tells_branches_thresholds_and_what_is_left(swept: Path) -> None:
    caught, *tables = branch_blocks(results(swept))
    assert all(len(row) == len(caught.heads) for row in caught.rows)
    assert [row[1] for row in caught.rows if row[0]] == ["hallucination"] * 2
    assert len(tables) == 2
    assert tables[0].heads[4:] == [f"{one:g}" for one in THRESHOLDS]
    assert tables[0].rows[0][0] == "all"
    runs = [run for run in read(swept)[0] if "detector.miss=0" in run.results["overrides"]]
    (block,) = error_type_blocks(runs)
    assert [row[1] for row in block.rows] == ["candidates", "winner", "refined"]
    (run,) = [run for run in runs if run.results["task"] == "rejection_sampling"]
    assert run.rows is not None
    n, of_all = errors_left(run.rows, "candidates")
    taken, of_winners = errors_left(run.rows, "winner")
    _, of_refined = errors_left(run.rows, "refined")
    assert (n, taken) == (120, 24)
    assert of_refined["wrong_sentences"].value == 0, "both branches know the truth"
    assert of_winners["wrong_sentences"].value < of_all["wrong_sentences"].value
    assert of_refined["right"].value == of_winners["right"].value, "no right sentence is taken"


def pairs(cuts: dict[str, float], images: int = 60) -> Asked:
    """Of every noun one that is there just above its cut and one that is not just below it."""
    rows = [
        (f"{noun}{number}", noun, cut + (0.02 if there else -0.02), there)
        for noun, cut in cuts.items()
        for number in range(images)
        for there in (True, False)
    ]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Asked(*columns)


def test_thresholds_are_told_apart_where_categories_differ() -> None:
    asked = pairs({"star": 0.1, "ring": 0.5})
    own, common = best(asked)
    assert own == {"star": 0.1, "ring": 0.5}
    assert common == 0.1, "0.5 is as good, and the lower of two in the middle"
    found = gains(asked)
    assert found["balanced/own"].value == 1
    assert found["balanced/common"].value == 0.75
    assert found["balanced/paper"].value == 0.5
    assert (found["gain/own"].value, found["gain/common"].value) == (0.25, 0.25)
    told = shares(asked)
    assert (told["kept/star/0.1"].value, told["rejected/star/0.1"].value) == (1, 1)
    assert (told["kept/ring/0.25"].value, told["rejected/ring/0.25"].value) == (1, 0)
    assert areas(asked)["star"].value == 1
    assert areas(asked)["all"].value == 0.75


def test_thresholds_are_measured_on_other_images_than_they_were_chosen_on() -> None:
    """What suits one half of the images is wrong for the other."""
    low, high = pairs({"star": 0.1}), pairs({"star": 0.5})
    halves = np.array([hashlib.sha256(one.encode()).digest()[0] % 2 for one in low.images])
    presence = np.where(halves == 0, low.presence, high.presence)
    found = gains(Asked(low.images, low.nouns, presence, low.there))
    assert found["balanced/own"].value == found["balanced/common"].value == 0.5


def test_a_category_that_is_always_there_has_no_threshold() -> None:
    asked = pairs({"star": 0.3})
    only = Asked(asked.images, asked.nouns, asked.presence, np.ones(len(asked.nouns), bool))
    assert best(only) == ({}, None)
    assert gains(only) == {}
    assert "rejected/star/0.3" in shares(only)
    assert shares(only)["rejected/star/0.3"].n == 0


def grounding(model: str, dataset: str, good: float, seed: int = 0, tells: bool = True) -> Run:
    """A run whose maps are better where it decides rightly, or not."""
    rng = np.random.default_rng([seed, int(100 * good)])
    n = 200
    right = rng.random(n) < good
    io_ratio = rng.random(n) * 0.3 + good / 2 + (0.2 * right if tells else 0)
    rows = {"id": [str(i) for i in range(n)], "image_id": [str(i // 2) for i in range(n)]}
    scores = {"pointing_game": io_ratio, "io_ratio": io_ratio, "iou_soft": io_ratio}
    scores |= {"wdp_soft": -io_ratio, "pg_uncertainty": np.zeros(n), "io_lift": 4 * io_ratio}
    matches = {"match": np.where(right, 0.9, 0.2), "foil_match": np.full(n, 0.3)}
    result = {
        "task": "grounding",
        "choices": {"model": model, "cam": "gradcam", "dataset": dataset},
        "identity": {"metric": {"match_threshold": 0.5}, "data": dataset},
        "scores": {"matched_accuracy": {"value": good}, "io_ratio": {"value": good}},
        "overrides": [],
    }
    return Run("", Path(), result, pandas.DataFrame(rows | scores | matches), "")


def test_maps_that_tell_right_decisions_have_a_high_auc() -> None:
    found = decided([grounding("one", "a", 0.8), grounding("one", "b", 0.6)])
    n, wrong, told = area(found, "io_ratio", "matched")
    assert n == 400
    assert 90 < wrong < 150
    assert told.low is not None
    assert told.value is not None
    assert told.low > 0.8
    assert area(found, "wdp_soft", "matched")[2].value == told.value, "less distance is better"
    assert area(found, "pg_uncertainty", "matched")[2].value == 0.5
    assert np.allclose(found[0].scores["area"], 0.25)
    assert area(found, "io_ratio", "foil")[2].value is None, "no foil was accepted"
    ranked = grounding("one", "a", 0.8)
    assert ranked.rows is not None
    right = ranked.rows["match"] > ranked.rows["foil_match"]
    assert decided([ranked])[0].right["ranked"].tolist() == right.astype(float).tolist()
    nothing = area(decided([grounding("one", "a", 0.8, tells=False)]), "io_ratio", "ranked")[2]
    assert nothing.low is not None
    assert nothing.high is not None
    assert nothing.low < 0.5 < nothing.high
    # What only the size of the box tells is gone within boxes of like size.
    sizes = grounding("one", "a", 0.5)
    assert sizes.rows is not None
    sizes.rows["io_lift"] = 1.0  # so that the box is as large as the score is
    of_size = decided([sizes])
    assert area(of_size, "area", "matched") == area(of_size, "io_ratio", "matched")
    alike = area(of_size, LIKE_SIZE, "matched")[2].value
    assert alike is not None
    assert alike < area(of_size, "io_ratio", "matched")[2].value - 0.1  # type: ignore[operator]
    # A harder data set with worse maps throughout is no reason for an AUC above 0.5.
    both = [grounding("one", name, good, tells=False) for name, good in (("a", 0.9), ("b", 0.4))]
    mixed = area(decided(both), "io_ratio", "matched")[2]
    assert mixed.low is not None
    assert mixed.low < 0.5


def test_the_report_correlates_over_models_and_data_sets() -> None:
    rates = {"a": 0.9, "b": 0.7, "c": 0.5}
    runs = [
        grounding(model, data, good - less)
        for data, good in rates.items()
        for model, less in (("one", 0.0), ("two", 0.1), ("three", 0.2))
    ]
    baseline = grounding("one", "a", 0.2)
    baseline.results["choices"]["cam"] = "uniform"  # type: ignore[index]
    by_model, by_data, over = downstream_blocks([*runs, baseline])
    assert [row[0] for row in by_model.rows if row[0]] == [
        f"{m} · gradcam" for m in ("one", "two", "three")
    ]
    assert len(by_data.rows) == 9
    (everything,) = [row for row in over.rows if row[:2] == ["matched", "all"]]
    assert everything[2] == "9"
    assert float(everything[4].split("\n")[0]) > 0.9
    (foils,) = [row for row in over.rows if row[:2] == ["foil", "all"]]
    assert foils[4] == "–", "all foils are refused: nothing to correlate with"
    assert downstream_blocks([baseline]) == []
    few = grounding("one", "a", 0.8)
    assert few.rows is not None
    assert downstream_blocks([replace(few, rows=few.rows[:20])]) == [], (
        "nothing to be told of those"
    )
    again = decided([*runs, runs[0]])
    assert len(again) == 9, "another setting of the metric is no other model"


def test_the_order_of_models_is_compared_pair_by_pair() -> None:
    """In the other look one and three change places; two stays in the middle."""
    plain = {"one": 0.9, "two": 0.6, "three": 0.3}
    shifted = {"one": 0.3, "two": 0.6, "three": 0.9}
    runs = []
    for look, goods in (("plain", plain), ("shifted", shifted)):
        for model, good in goods.items():
            run = grounding(model, "shapes", good)
            runs.append(
                replace(run, results={**run.results, "overrides": [f"dataset.look={look}"]})
            )
    (block,) = order_blocks(decided(runs))
    (row,) = block.rows
    assert row[:3] == ["shapes dataset.look=plain", "shapes dataset.look=shifted", "3"]
    assert row[3:5] == ["-1.00\n3 of 3"] * 2
    assert row[-1] == "–", "all are equal"
    assert order_blocks(decided(runs[:4])) == [], "one model has no order"


def test_boxes_beside_the_judge() -> None:
    boxes = grounding("one", "a", 0.6)
    assert boxes.rows is not None
    right = boxes.rows["match"] > 0.5
    judged = boxes.rows[["id", "image_id"]].assign(
        score=5 * np.where(right, boxes.rows["io_ratio"], 1 - boxes.rows["io_ratio"]),
        correct=right.astype(float),
    )
    counts, found = beside(boxes.rows, judged)
    assert counts == f"{right.sum()}+{(~right).sum()}"
    rho, auc = found["wdp_soft"]
    assert rho.value == pytest.approx(1), "wrong predictions have a map of another class"
    assert auc.value is not None
    assert auc.value > 0.8
    result = {**boxes.results, "task": "explanation"}
    result["choices"] = {**result["choices"], "judge": "reference"}
    explained = Run("", Path(), result, judged, "")
    (block,) = judge_blocks([boxes, explained])
    assert len(block.rows) == 7
    other = {**result, "identity": {"data": "other"}}
    assert judge_blocks([boxes, Run("", Path(), other, judged, "")]) == [], "other images"


def test_a_ranking_model_decides_by_its_threshold() -> None:
    scorer = Thresholded(TinyClip(), centre=2.0)
    check_scorer(scorer, ["a red star", "a ring"])
    pixels = torch.rand(2, 3, 32, 32)
    encoded, owner = scorer.encode(pixels), torch.tensor([0, 1, 1])
    texts = ["a red star", "a ring", "a red star"]
    score = scorer.score(encoded, texts, owner)
    assert torch.equal(score, scorer.scorer.score(encoded, texts, owner))
    assert torch.allclose(scorer.match(encoded, texts, owner), torch.sigmoid(score - 2))
    decides = Thresholded(scorer, centre=0.0)
    with pytest.raises(VlgroundError, match=r"^model\.scorer: Thresholded decides itself"):
        decides.match(encoded, texts, owner)
