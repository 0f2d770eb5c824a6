"""Mean ranks, pairwise wins, and the order in which a judge sees answers."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import rankdata

from vlground.errors import VlgroundError
from vlground.metrics.preference import (
    Preference,
    Tie,
    first_place_bias,
    mean_ranks,
    ranks,
    rows_of,
    shown_order,
    wins,
)

SYSTEMS = ["llava", "rm", "at", "all"]
Scores = dict[str, dict[str, float]]


def drawn(n: int, seed: int = 0) -> tuple[Scores, dict[str, str]]:
    """Scores 0-5 with many ties, of two samples an image."""
    rng = np.random.default_rng(seed)
    better = {"llava": 0, "rm": 1, "at": 1, "all": 2}
    scores = {
        system: {str(i): float(rng.integers(0, 4) + better[system]) for i in range(n)}
        for system in SYSTEMS
    }
    return scores, {str(i): str(i // 2) for i in range(n)}


@pytest.mark.parametrize(
    ("tie", "method"), [("average", "average"), ("best", "min"), ("worst", "max")]
)
def test_ranks_are_those_of_scipy(tie: Tie, method: str) -> None:
    scores, image_of = drawn(60)
    for name in image_of:
        given = {system: scores[system][name] for system in SYSTEMS}
        expected = rankdata([-value for value in given.values()], method=method)
        assert list(ranks(given, tie).values()) == expected.tolist()


def test_mean_ranks_add_up_and_order_the_systems() -> None:
    scores, image_of = drawn(200)
    found = mean_ranks(rows_of(scores, image_of))
    assert sum(estimate.value for estimate in found.values()) == pytest.approx(10)
    assert found["all"].value < found["at"].value < found["llava"].value
    assert all(e.n == 200 and e.low < e.value < e.high for e in found.values())  # type: ignore[operator]


def test_wins_count_ties_half() -> None:
    scores = {"a": {"1": 1.0, "2": 3.0, "3": 2.0}, "b": {"1": 1.0, "2": 2.0, "3": 4.0}}
    rows = rows_of(scores, {"1": "x", "2": "y", "3": "z"})
    assert wins(rows)["a", "b"].value == (0.5 + 1 + 0) / 3
    many, image_of = drawn(200)
    found = wins(rows_of(many, image_of))
    assert len(found) == 6
    assert found["llava", "all"].value < 0.5
    reverse = wins(rows_of({name: many[name] for name in reversed(SYSTEMS)}, image_of))
    assert reverse["all", "llava"].value == pytest.approx(1 - found["llava", "all"].value)


def test_a_missing_score_takes_the_sample_out() -> None:
    scores = {"a": {"1": 1.0, "2": 3.0}, "b": {"1": 2.0, "2": float("nan")}, "c": {"1": 0.0}}
    rows = rows_of(scores, {"1": "x", "2": "y", "3": "z"})
    assert rows["complete"].tolist() == [True, False, False]
    found = mean_ranks(rows)
    assert {name: (e.value, e.n) for name, e in found.items()} == {
        "a": (2, 1), "b": (1, 1), "c": (3, 1),
    }  # fmt: skip
    assert wins(rows)["a", "b"].n == 1


def test_every_order_is_as_likely() -> None:
    seen = Counter(tuple(shown_order(0, str(i), SYSTEMS)) for i in range(4800))
    assert set(seen) == set(permutations(SYSTEMS))
    assert max(seen.values()) < 260  # 200 expected, standard deviation 14
    assert min(seen.values()) > 140


def test_order_is_recorded_and_of_seed_and_sample_alone() -> None:
    scores, image_of = drawn(40)
    rows = rows_of(scores, image_of, Preference(seed=5))
    backwards = {system: scores[system] for system in reversed(SYSTEMS)}
    part = {name: image for name, image in image_of.items() if int(name) > 30}
    again = rows_of(backwards, part, Preference(seed=5)).set_index("id")["shown"]
    first = rows.set_index("id")["shown"]
    assert again.to_dict() == first[again.index].to_dict()
    assert first.to_dict() != rows_of(scores, image_of)["shown"].to_dict()
    assert sorted(first.iloc[0].split(",")) == sorted(SYSTEMS)


def test_a_judge_who_likes_what_it_reads_first() -> None:
    _, image_of = drawn(100)
    scores: Scores = {system: {} for system in SYSTEMS}
    for name in image_of:
        for place, system in enumerate(shown_order(0, name, SYSTEMS)):
            scores[system][name] = float(-place)
    assert first_place_bias(rows_of(scores, image_of)).value == 1
    fair, image_of = drawn(4000, seed=1)
    estimate = first_place_bias(rows_of(fair, image_of))
    assert estimate.value == pytest.approx(2.5, abs=0.06)  # three standard errors


def test_impossible_tie() -> None:
    with pytest.raises(VlgroundError, match=r"metric\.tie=half: expected one of average"):
        Preference(tie="half")  # type: ignore[arg-type]
