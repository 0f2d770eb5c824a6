"""Set errors come at their rates, nested, and from (seed, image, name) alone."""

import numpy as np
import pytest

from vlground.detectors.set_errors import SetErrors
from vlground.errors import VlgroundError

IMAGES = [str(number) for number in range(2000)]


def found(there: bool, rate: float, seed: int = 0, name: str = "cat") -> np.ndarray:
    errors = SetErrors(rate, rate, seed)
    return np.array([errors.answer(there, image, name).probability == 1 for image in IMAGES])


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 1.0])
def test_rates_are_those_that_are_set(there: bool, rate: float) -> None:
    bound = 4 * np.sqrt(rate * (1 - rate) / len(IMAGES)) + 1e-12
    assert abs((found(there, rate) != there).mean() - rate) < bound


@pytest.mark.parametrize("there", [True, False])
def test_a_higher_rate_adds_errors_and_takes_none_back(there: bool) -> None:
    low, high = (found(there, rate) != there for rate in (0.1, 0.3))
    assert (low <= high).all()
    assert (low < high).any()


def test_seed_image_and_name_count_and_are_kept_apart() -> None:
    first = found(True, 0.5)
    for other in (found(True, 0.5, seed=1), found(True, 0.5, name="dog")):
        assert 0.4 < (first != other).mean() < 0.6
    # Joined without their lengths, each pair below would be the same text.
    errors = [SetErrors(rate, 0, 0) for rate in np.linspace(0, 1, 1001)]
    pairs = [("1", "2cat"), ("12", "cat"), ("1/2", "cat"), ("1", "2/cat"), ("\udc80", "cat")]
    ranks = {sum(one.answer(True, *pair).probability for one in errors) for pair in pairs}
    assert len(ranks) == len(pairs)


def test_boxes_are_those_of_what_is_there_and_found() -> None:
    box = np.array([[1, 2, 3, 4]])
    hit = SetErrors(0, 0, 0).answer(True, "1", "cat", box)
    assert (hit.boxes.tolist(), hit.scores.tolist()) == ([[1, 2, 3, 4]], [1])
    assert hit.boxes.dtype == hit.scores.dtype == np.float32
    for lost in (
        SetErrors(1, 0, 0).answer(True, "1", "cat", box),
        SetErrors(0, 1, 0).answer(False, "1", "cat", box),
    ):
        assert (lost.boxes.shape, len(lost.scores)) == ((0, 4), 0)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_lie_in_0_to_1(rate: float) -> None:
    with pytest.raises(VlgroundError, match=r"^detector\.miss=\S+: expected 0 to 1$"):
        SetErrors(rate, 0, 0)
    with pytest.raises(VlgroundError, match=r"^detector\.false_alarm=\S+: expected 0 to 1$"):
        SetErrors(0, rate, 0)
