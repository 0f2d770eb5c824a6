"""Simulated annotators know the truth, and err at their rates about the same sentences always."""

import math
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from vlground.config import build
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import ERROR_TYPES, Claim
from vlground.data.shapes.scene import generator
from vlground.data.shapes.writing import write_caption
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split
from vlground.rewards.simulated import SimulatedAnnotators
from vlground.run import CONF

IDS = [f"shapes_captions/test/in/96/0.5/0/{index}" for index in range(500)]
SAMPLES = [Sample(name, name, np.zeros((4, 4, 3), np.uint8), "") for name in IDS]
CLAIMS: list[list[Claim]] = [
    write_caption(scene_of(name), generator("said", name), dict.fromkeys(ERROR_TYPES, 0.1), (5, 5))
    for name in IDS
]
SENTENCES = [
    [piece.text for piece in split(" ".join(claim.text for claim in claims))] for claims in CLAIMS
]
WRONG = np.array(
    [
        [[error in claim.errors(scene_of(name)) for error in ERROR_TYPES] for claim in claims]
        for name, claims in zip(IDS, CLAIMS, strict=True)
    ]
)


def asked(people: SimulatedAnnotators) -> np.ndarray:
    """`(images, 5, types)` probabilities."""
    rows = people.score(SAMPLES, SENTENCES)
    assert all(tuple(one) == ERROR_TYPES for row in rows for one in row)
    return np.array([[list(one.values()) for one in row] for row in rows])


def close(share: float, rate: float, many: int) -> bool:
    return abs(share - rate) <= 4 * math.sqrt(rate * (1 - rate) / many)


def test_without_errors_they_tell_the_truth() -> None:
    for annotators in (1, 3):
        assert (asked(SimulatedAnnotators(annotators=annotators)) == WRONG).all()


def test_several_errors_of_a_sentence_are_all_marked() -> None:
    scene = scene_of(IDS[0])
    (absent, *_) = sorted({"star", "ring", "heart", "cross"} - {t.shape for t in scene.things})
    thing = scene.things[0]
    colour = "cyan" if thing.colour != "cyan" else "red"
    sentence = f"The {colour} {thing.shape} is left of the {absent}."
    ((given,),) = SimulatedAnnotators().score(SAMPLES[:1], [[sentence]])
    assert {error for error, share in given.items() if share} == {"hallucination", "attribute"}


def test_errors_are_missed_and_alarms_raised_at_their_rates_and_nested() -> None:
    wrong = WRONG.any(axis=2)
    before, silent = WRONG, np.zeros_like(WRONG)
    for rate in (0.1, 0.3, 0.6):
        given = asked(SimulatedAnnotators(miss=rate)).astype(bool)
        assert (given <= before).all(), "what was missed stays missed"
        assert close(1 - given[WRONG].mean(), rate, WRONG.sum())
        before = given
        given = asked(SimulatedAnnotators(false_alarm=rate)).astype(bool)
        assert (given[wrong] == WRONG[wrong]).all()
        assert (given >= silent).all(), "who is called wrong stays so"
        alarms = given[~wrong]
        assert (alarms.sum(axis=1) <= 1).all()
        assert close(alarms.any(axis=1).mean(), rate, len(alarms))
        assert all(close(alarms[:, t].mean(), rate / 5, len(alarms)) for t in range(5))
        silent = np.where(wrong[..., None], silent, given)
    everything = asked(SimulatedAnnotators(miss=1.0, false_alarm=1.0))
    assert not everything[wrong].any()
    assert (everything[~wrong].sum(axis=1) == 1).all()


def test_a_probability_is_the_share_of_people_who_mark_the_error() -> None:
    given = asked(SimulatedAnnotators(miss=0.3, annotators=4))
    assert set(np.unique(given)) == {0, 0.25, 0.5, 0.75, 1}
    assert close(given[WRONG].mean(), 0.7, 4 * WRONG.sum())
    # Independent people: all four notice it at 0.7 ** 4.
    assert close((given[WRONG] == 1).mean(), 0.7**4, WRONG.sum())


def test_what_is_said_depends_on_seed_image_sentence_and_person_alone() -> None:
    people = SimulatedAnnotators(miss=0.4, false_alarm=0.4, annotators=2)
    given = people.score(SAMPLES[:60], SENTENCES[:60])
    assert people.score(SAMPLES[:60][::-1], SENTENCES[:60][::-1])[::-1] == given
    bare = [[sentence.strip()] for sentence in SENTENCES[7][::-1]]
    alone = [people.score([SAMPLES[7]], [one])[0][0] for one in bare]
    assert alone[::-1] == given[7]
    again = SimulatedAnnotators(miss=0.4, false_alarm=0.4, annotators=2)
    assert again.score(SAMPLES[:60], SENTENCES[:60]) == given
    other = SimulatedAnnotators(miss=0.4, false_alarm=0.4, annotators=2, seed=1)
    assert other.score(SAMPLES[:60], SENTENCES[:60]) != given
    conjecture = [["Someone must have enjoyed it."]] * 60
    marked = [row[0]["conjecture"] for row in people.score(SAMPLES[:60], conjecture)]
    assert set(marked) == {0, 0.5, 1}, "another image, another answer"


def test_what_cannot_be_read_is_unknown_and_counted() -> None:
    people = SimulatedAnnotators(false_alarm=1.0)
    sentences = [["There is a cat. ", *SENTENCES[0]], ["The star and the ring are red."], []]
    rows = people.score(SAMPLES[:3], sentences)
    assert rows[0][0] == {}
    assert rows[1:] == [[{}], []]
    assert all(rows[0][1:])
    assert people.counts == {"sentence of no kind that is known": 2}


def test_the_option_builds_them() -> None:
    node = OmegaConf.load(CONF / "reward" / "simulated.yaml")
    people = build({**OmegaConf.to_container(node, resolve=False), "seed": 0})  # type: ignore[dict-item]
    assert isinstance(people, SimulatedAnnotators)
    assert (asked(people) == WRONG).all()


def test_images_of_another_world_are_refused() -> None:
    other = Sample("1", "cat.jpg", np.zeros((4, 4, 3), np.uint8), "")
    with pytest.raises(VlgroundError, match=r"^dataset: cat.* is no image of shapes_captions"):
        SimulatedAnnotators().score([other], [["There is a star."]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"miss": 1.5}, r"^reward\.miss=1\.5: expected 0 to 1$"),
        ({"miss": math.nan}, r"^reward\.miss=nan: expected 0 to 1$"),
        ({"false_alarm": -0.1}, r"^reward\.false_alarm=-0\.1: expected 0 to 1$"),
        ({"annotators": 0}, r"^reward\.annotators=0: expected 1 or more$"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        SimulatedAnnotators(**options)
