"""Which dialogues are in which step."""

from collections import Counter

import numpy as np
import pytest

from vlground.training.dialogues import Dialogue
from vlground.training.mixture import Mixture, Rounds


def made(prefix: str, count: int) -> list[Dialogue]:
    return [Dialogue(f"{prefix}{i}", np.zeros((1, 1, 3), np.uint8), "", "") for i in range(count)]


def mixture(share: float = 0.25, batch: int = 6, seed: int = 1) -> Mixture:
    return Mixture(made("d", 30), made("q", 7), share, batch, seed)


def test_every_dialogue_is_learnt_from_once_before_one_comes_again() -> None:
    source = mixture()
    assert source.steps == 7  # 30 / (6 × 0.75), rounded up
    seen = [one.id for step in range(40) for one in source.step(step)]
    said = [name for name in seen if name.startswith("d")]
    asked = [name for name in seen if name.startswith("q")]
    assert len(seen) == 240
    assert len(asked) == 60
    for names, count in ((said, 30), (asked, 7)):
        for start in range(0, len(names) - count, count):
            assert len(set(names[start : start + count])) == count
    assert said[:30] != said[30:60]  # another order in each epoch


def test_a_step_depends_on_seed_and_number_alone() -> None:
    later = [one.id for one in mixture().step(9)]
    source = mixture()
    for step in range(9):
        source.step(step)
    assert [one.id for one in source.step(9)] == later
    assert [one.id for one in mixture(seed=2).step(9)] != later


@pytest.mark.parametrize("share", [0.0, 0.1, 0.29, 0.5, 0.9])
def test_the_share_of_questions_is_that_asked_for(share: float) -> None:
    source = mixture(share, batch=4)
    counts = Counter(one.id[0] for step in range(100) for one in source.step(step))
    assert counts["q"] == round(400 * share)
    assert counts.total() == 400


def test_a_round_follows_the_one_before() -> None:
    rounds = Rounds(3)
    rounds.set_epoch(2)
    assert list(rounds) == [6, 7, 8]
    assert len(rounds) == 3
