"""The reference judge orders what a sound judge has to order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlground.contracts import JudgeRequest, Verdict
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.judging.reference import ReferenceJudge, harmonic_score, shares

PLACE = np.zeros((20, 30), bool)
PLACE[5:15, 10:20] = True  # a sixth of the picture
SHARE = st.floats(0, 1, allow_subnormal=False)  # tests flush them, see conftest
SAMPLE = Sample("1", "1", np.zeros((20, 30, 3), np.uint8), "a cat", mask=PLACE, label="cat")


def judged(
    shown: np.ndarray | None,
    sample: Sample | None = SAMPLE,
    judge: ReferenceJudge | None = None,
    named: str = "cat",
) -> Verdict:
    request = JudgeRequest("1", {"object": named}, (), shown, sample)
    ((answered, verdict),) = (judge or ReferenceJudge()).judge([request])
    assert answered is request
    return verdict


def score(shown: np.ndarray) -> float:
    found = judged(shown.astype(np.float32)).score
    assert found is not None
    return found


def test_the_object_alone_is_5_and_the_controls_are_0() -> None:
    chance = np.random.default_rng(0).permutation(PLACE.ravel()).reshape(PLACE.shape)
    assert score(PLACE) == 5.0
    assert score(np.zeros_like(PLACE)) == 0.0
    assert score(np.ones_like(PLACE)) == 0.0
    assert score(np.full(PLACE.shape, 3e-7)) == pytest.approx(0, abs=1e-6)
    assert score(~PLACE) == 0.0
    assert score(chance) < 1


def test_the_numbers_are_those_of_the_formula() -> None:
    shown = np.zeros(PLACE.shape, np.float32)
    shown[5:15, 10:15] = 1.0  # half of the object
    shown[0:5, 0:10] = 0.5  # and as much again, half lit, of the rest
    found = judged(shown)
    assert found.justification.startswith("focus 0.667, coverage 0.500, distraction 0.050")
    lift = (2 / 3 - 1 / 6) / (5 / 6)
    assert found.score == pytest.approx(5 * 2 * lift * 0.5 / (lift + 0.5))
    assert found.description == "50% of the object and 5% of the rest are shown."
    assert (found.outcome, found.model) == ("score", None)


@settings(max_examples=60, deadline=None)
@given(focus=SHARE, coverage=SHARE, area=st.floats(0.001, 0.999, allow_subnormal=False), more=SHARE)
def test_it_rises_with_focus_and_with_coverage(
    focus: float, coverage: float, area: float, more: float
) -> None:
    base = harmonic_score(focus, coverage, area)
    assert 0 <= base <= 5 + 1e-9
    assert harmonic_score(max(focus, more), coverage, area) >= base - 1e-9
    assert harmonic_score(focus, max(coverage, more), area) >= base - 1e-9


def test_more_of_the_object_is_better_and_more_of_the_rest_is_worse() -> None:
    half, more = PLACE.copy(), np.zeros_like(PLACE)
    half[:, 15:] = False
    more[5:15, 8:24] = True
    assert 0 < score(half) < score(PLACE)
    assert 0 < score(more) < score(PLACE)
    assert score(half | ~PLACE) < score(half)


def test_another_label_is_not_there_unless_the_truth_is_asked() -> None:
    shown = PLACE.astype(np.float32)
    wrong = judged(shown, named="dog")
    assert (wrong.outcome, wrong.score) == ("score", 0.0)
    assert "'cat', not 'dog'" in wrong.justification
    assert judged(shown, named=" Cat ").score == 5.0
    assert judged(shown, judge=ReferenceJudge("truth"), named="dog").score == 5.0
    assert judged(shown, replace(SAMPLE, label=None), named="a cat").score == 5.0
    assert judged(shown, replace(SAMPLE, label=None), named="cat").score == 0.0


def test_boxes_stand_for_a_mask() -> None:
    boxed = replace(SAMPLE, mask=None, boxes=np.array([[10.0, 5.0, 20.0, 15.0]]))
    assert judged(PLACE.astype(np.float32), boxed).score == 5.0


def test_an_object_that_is_the_whole_picture() -> None:
    whole = replace(SAMPLE, mask=np.ones_like(PLACE))
    assert judged(np.ones(PLACE.shape, np.float32), whole).score == 5.0
    assert judged(np.zeros(PLACE.shape, np.float32), whole).score == 0.0
    assert shares(np.ones(PLACE.shape), np.ones_like(PLACE)) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("shown", "sample", "reason"),
    [
        (None, SAMPLE, "not known what is shown"),
        (PLACE, None, "not known where the object is"),
        (PLACE, replace(SAMPLE, mask=None), "not known where the object is"),
        (PLACE, replace(SAMPLE, mask=np.zeros_like(PLACE)), "not known where the object is"),
        (PLACE[:10], SAMPLE, "mask and picture differ in size"),
        (PLACE * 255.0, SAMPLE, "what is shown is not in 0-1"),
        (PLACE * np.nan, SAMPLE, "what is shown is not in 0-1"),
    ],
)
def test_what_cannot_be_judged_is_an_error(
    shown: np.ndarray | None, sample: Sample | None, reason: str
) -> None:
    found = judged(None if shown is None else shown.astype(np.float32), sample)
    assert (found.outcome, found.score, found.reason) == ("error", None, reason)


def test_the_option_is_checked() -> None:
    with pytest.raises(VlgroundError, match=r"judge\.label=true: expected predicted, truth"):
        ReferenceJudge("true")  # type: ignore[arg-type]
