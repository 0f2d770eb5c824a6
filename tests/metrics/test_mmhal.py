"""MMHal-Bench: scores as published, and what is no score is none."""

import numpy as np
import pytest

from vlground.contracts import Verdict
from vlground.data.mmhal import TYPES
from vlground.data.sample import Sample
from vlground.metrics.mmhal import Mmhal, estimates, rows_of, tally

IMAGE = np.zeros((2, 2, 3), np.uint8)


def questions(count: int) -> list[Sample]:
    return [
        Sample(f"{TYPES[n % 8]}/{n}", f"i{n}", IMAGE, f"Question {n}?", label=f"Truth {n}.")
        for n in range(count)
    ]


def scored(asked: list[Sample], scores: list[float]) -> dict[str, Verdict]:
    return {s.id: Verdict("score", x) for s, x in zip(asked, scores, strict=True)}


def test_scores_are_those_of_the_published_arithmetic() -> None:
    asked = questions(96)
    given = np.random.default_rng(0).integers(0, 7, 96).astype(float)
    rows = rows_of(asked, {s.id: "It is." for s in asked}, scored(asked, given.tolist()))
    found = estimates(rows)
    assert found["score"].value == pytest.approx(given.mean())
    assert found["hallucination_rate"].value == pytest.approx((given < 3).mean())
    informative = sum(s - 3 if s >= 3 else s for s in given) / 96 / 3
    assert found["informativeness"].value == pytest.approx(informative)
    for place, name in enumerate(TYPES):
        mine = given[place::8]
        assert found[f"{name}/score"].value == pytest.approx(mine.mean())
        assert found[f"{name}/hallucination_rate"].value == pytest.approx((mine < 3).mean())
        assert found[f"{name}/score"].n == 12
        assert found[f"{name}/score"].low is None, "too few images for an interval"
    low, high = found["score"].low, found["score"].high
    assert low is not None
    assert high is not None
    assert low < found["score"].value < high


def test_a_refusal_an_error_and_no_answer_are_not_scored() -> None:
    asked = questions(5)
    verdicts = {
        **scored(asked[:2], [6, 2]),
        asked[2].id: Verdict("error", reason="no JSON"),
        asked[3].id: Verdict("refusal", reason="refusal"),
    }
    rows = rows_of(asked, {s.id: "" for s in asked[:4]}, verdicts)
    assert rows["outcome"].tolist() == ["", "", "error: no JSON", "refusal: refusal", "no answer"]
    found = estimates(rows)
    assert (found["score"].value, found["score"].n) == (4.0, 2)
    assert found["hallucination_rate"].value == 0.5
    assert found["comparison/score"].n == 0
    counts = tally(rows)
    assert counts["attribute"] == {"free": 1, "hallucinated": 0, "no answer": 0}
    assert counts["adversarial"]["hallucinated"] == 1
    assert counts["comparison"] == {"free": 0, "hallucinated": 0, "no answer": 0} | {
        "error: no JSON": 1
    }
    assert counts["relation"]["no answer"] == 1
    assert sum(sum(of.values()) for of in counts.values()) == 5


def test_a_score_that_was_never_asked_for_is_an_error() -> None:
    asked = questions(1)
    rows = rows_of(asked, {asked[0].id: "x"}, {})
    assert rows["outcome"].tolist() == ["error: not asked"]


def test_the_threshold_is_an_option() -> None:
    asked = questions(4)
    answers, verdicts = {s.id: "x" for s in asked}, scored(asked, [2.9, 3.0, 3.9, 4.0])
    wrong = rows_of(asked, answers, verdicts)["hallucinated"].tolist()
    assert wrong == [1, 0, 0, 0]
    stricter = rows_of(asked, answers, verdicts, Mmhal(threshold=4))
    assert stricter["hallucinated"].tolist() == [1, 1, 1, 0]
