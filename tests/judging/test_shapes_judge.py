"""A judge that knows drawn scenes."""

from dataclasses import replace

import numpy as np
import pytest

from vlground.captioners.planted import PlantedCaptioner
from vlground.contracts import JudgeRequest, Verdict
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.errors import VlgroundError
from vlground.judging.shapes_oracle import ShapesOracle
from vlground.rewards.sentences import split

SAMPLE = ShapesCaptions(1, "test", "in", "plain", 96, seed=0)[0]
WRONG = ["It may be a part of a game.", "It was probably drawn by a child."]


def true() -> list[str]:
    ((one,),) = PlantedCaptioner({}, 6, 6).caption([SAMPLE], [""], 1, 0)
    said = [piece.content for piece in split(one.text)]
    assert len(set(said)) == 6
    return said


def verdict(*sentences: str, judge: ShapesOracle | None = None) -> Verdict:
    sample = replace(SAMPLE, text="\n".join(sentences))
    request = JudgeRequest("k", {"captions": "not read", "number": "1"}, (), sample=sample)
    ((_, found),) = (judge or ShapesOracle()).judge([request])
    return found


def score(*sentences: str, judge: ShapesOracle | None = None) -> float:
    found = verdict(*sentences, judge=judge)
    assert found.outcome == "score"
    assert found.score is not None
    return found.score


def test_right_sentences_lift_and_wrong_ones_lower() -> None:
    one, two, three, *_ = true()
    assert score(one) < score(one, two) < score(one, two, three) < 9
    assert score(one, WRONG[0]) < score(one)
    assert score(one, two, WRONG[0]) == score(one), "as many right more than wrong"
    assert score(one, *WRONG) < score(one, WRONG[0]) == 4.5
    assert score(*WRONG) == score(WRONG[0], WRONG[1], *WRONG)
    assert score(*WRONG) > 0
    assert score() == 0, "to say nothing is the worst"


def test_what_is_said_again_and_what_cannot_be_read_count_only_if_told_so() -> None:
    one = true()[0]
    assert score(one, one, f" {one}") == score(one)
    assert score(one, "A cat sleeps.") == score(one)
    strict = ShapesOracle(repeat_cost=0.5, unparsed_cost=2)
    assert score(one, one, judge=strict) == pytest.approx(4.5 * (1 + 0.5 / 1.5))
    assert score(one, "A cat sleeps.", judge=strict) == pytest.approx(4.5 * (1 - 1 / 2))
    told = verdict(one, one, WRONG[0], "A cat sleeps.").justification
    assert told == "1 right, 1 wrong, 1 repeated, 1 not read: balance 0."


def test_the_cost_of_a_wrong_sentence_decides_between_long_and_careful() -> None:
    careful, long = true()[:2], [*true(), *WRONG, "Someone will change it soon."]
    for cost, longer_wins in ((0.0, True), (1.0, True), (2.0, False)):
        judge = ShapesOracle(wrong_cost=cost)
        assert (score(*long, judge=judge) > score(*careful, judge=judge)) == longer_wins


def test_requests_without_a_scene_are_errors_and_counted() -> None:
    judge = ShapesOracle()
    ((_, found),) = judge.judge([JudgeRequest("k", {}, ())])
    assert (found.outcome, found.score) == ("error", None)
    assert score(*WRONG, judge=judge) > 0
    assert (judge.usage.scores, dict(judge.usage.errors)) == (1, {"not known what is shown": 1})
    photo = Sample("7", "7", np.zeros((2, 2, 3), np.uint8), "A cat.")
    with pytest.raises(VlgroundError, match=r"^dataset: 7 is no image of shapes_captions"):
        list(judge.judge([JudgeRequest("k", {}, (), sample=photo)]))
    for name in ("wrong_cost", "repeat_cost", "unparsed_cost"):
        with pytest.raises(VlgroundError, match=rf"^judge\.{name}=-1: expected 0 or more$"):
            ShapesOracle(**{name: -1})
