import numpy as np
import pytest

from vlground.errors import VlgroundError
from vlground.rewards.oracle import draw, presence

IDS = [str(i) for i in range(2000)]
THERE = {image_id: {"cat"} for image_id in IDS}


def test_without_errors_it_knows():
    answers = presence(["1", "1", "x"], ["cat", "dog", "cat"], THERE)
    assert answers[:2].tolist() == [1.0, 0.0]
    assert np.isnan(answers[2])


@pytest.mark.parametrize(("noun", "rate"), [("cat", 0.2), ("dog", 0.05), ("cat", 1.0)])
def test_rates_are_those_that_are_set(noun, rate):
    answers = presence(IDS, [noun] * 2000, THERE, miss=rate, false_alarm=rate)
    errors = (answers != (noun == "cat")).mean()
    assert abs(errors - rate) < 4 * np.sqrt(rate * (1 - rate) / 2000) + 1e-12


def test_an_answer_depends_on_seed_image_and_noun_alone():
    whole = presence(IDS, ["cat"] * 2000, THERE, miss=0.5)
    part = presence(IDS[::-1][:9], ["cat"] * 9, THERE, miss=0.5)
    np.testing.assert_array_equal(part, whole[::-1][:9])
    assert not np.array_equal(whole, presence(IDS, ["cat"] * 2000, THERE, miss=0.5, seed=1))
    numbers = {draw(0, *pair) for pair in (("1", "2cat"), ("12", "cat"), ("1", "cat"), ("", ""))}
    assert len(numbers) == 4


def test_a_higher_rate_adds_errors_and_takes_none_back():
    low, high = (presence(IDS, ["cat"] * 2000, THERE, miss=rate) for rate in (0.1, 0.3))
    assert (high <= low).all()
    assert (high < low).any()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_lie_in_0_to_1(rate):
    with pytest.raises(VlgroundError, match=r"detector\.miss="):
        presence([], [], {}, miss=rate)
