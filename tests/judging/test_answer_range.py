"""Scores lie on the rubric that was asked about, and on no other."""

import json
import math

import pytest

from vlground.judging.answer import as_digit, expected_score, read_digits, read_json, schema


def written(score: object) -> str:
    return json.dumps({"description": "", "justification": "", "score": score})


@pytest.mark.parametrize("highest", [5, 6, 9])
def test_the_best_score_is_read_and_a_better_one_is_an_error(highest: int) -> None:
    assert read_json(written(highest), highest=highest).score == highest
    assert read_json(written(str(highest)), highest=highest).score == highest
    for beyond in (highest + 1, highest + 0.5, -1):
        found = read_json(written(beyond), highest=highest)
        assert (found.outcome, found.reason) == ("error", f"score is no number 0-{highest}")
    assert as_digit(f" {highest}", highest) == highest
    assert as_digit(str(highest + 1), highest) is None
    assert schema(highest)["properties"]["score"]["maximum"] == highest


def test_digits_beyond_the_rubric_have_no_part_in_the_expected_score() -> None:
    tokens = [("6", math.log(0.5)), ("5", math.log(0.25)), ("7", math.log(0.25))]
    assert read_digits(tokens, 0.5, highest=6).score == pytest.approx(17 / 3)
    assert read_digits(tokens, 0.0).score == 5.0
    assert read_digits(tokens, 0.5).reason == "digits are improbable"
    assert expected_score([0] * 9 + [1], 0.5).score == 9.0


def test_no_other_sign_is_a_digit() -> None:
    assert [as_digit(token, 9) for token in ("²", "٣", "", "12", "Ġ9")] == [None] * 4 + [9]
