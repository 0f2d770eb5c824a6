"""Phrases of a sentence: what an object is like, how it lies to another one."""

import pytest

from vlground.data.shapes.scene import COLOURS, RELATIONS, SHAPES, SIZES
from vlground.errors import VlgroundError
from vlground.rewards.phrases import PhraseFinder, Phrases


def finder(phrases: Phrases) -> PhraseFinder:
    return PhraseFinder(phrases, [*SIZES, *COLOURS], RELATIONS, "vocabulary", list(SHAPES))


def lemmas(phrases: Phrases, sentence: str) -> list[str]:
    return [one.lemma for one in finder(phrases).find(sentence)]


@pytest.mark.parametrize(
    ("sentence", "nouns", "attributes", "relations"),
    [
        ("There is a small red star.", ["star"], ["a small red star"], []),
        ("There are two stars.", ["star"], [], []),
        ("There is an orange ring.", ["ring"], ["an orange ring"], []),
        ("There are two orange rings.", ["ring"], ["an orange ring"], []),
        (
            "The red star is left of the ring.",
            ["star", "ring"],
            ["a red star"],
            ["a red star left of a ring"],
        ),
        (
            "A SMALL Star  inside an orange Ring!",
            ["star", "ring"],
            ["a small star", "an orange ring"],
            ["a small star inside an orange ring"],
        ),
        ("The star is in the upper left corner.", ["star"], [], []),
        ("A star, and a ring.", ["star", "ring"], [], []),
        ("The star is not left of the ring.", ["star", "ring"], [], []),
        ("The red, blue star.", ["star"], ["a blue star"], []),
        ("Red. Star.", ["star"], [], []),
        ("It is red.", [], [], []),
        ("", [], [], []),
    ],
)
def test_phrases_of_a_sentence(
    sentence: str, nouns: list[str], attributes: list[str], relations: list[str]
) -> None:
    assert lemmas("nouns", sentence) == nouns
    assert lemmas("attributes", sentence) == attributes
    assert lemmas("relations", sentence) == relations


def test_all_are_objects_as_they_are_described_and_relations() -> None:
    told = lemmas("all", "The red star is above the ring next to a small cross.")
    assert sorted(told) == [
        "a red star",
        "a red star above a ring",
        "a ring",
        "a ring next to a small cross",
        "a small cross",
    ]


def test_places_are_where_the_words_stand() -> None:
    sentence = "The red star is left of the small ring."
    places = {one.lemma: sentence[one.start : one.end] for one in finder("all").find(sentence)}
    assert places == {
        "a red star": "red star",
        "a small ring": "small ring",
        "a red star left of a small ring": "red star is left of the small ring",
    }


def test_with_a_tagger_for_any_text() -> None:
    found = PhraseFinder("relations", ["wooden"], ["on", "on top of"]).find(
        "A cat sits on top of the wooden table."
    )
    assert [one.lemma for one in found] == ["a cat on top of a wooden table"]


def test_unknown_phrases_are_refused() -> None:
    with pytest.raises(VlgroundError, match=r"^task\.nouns\.phrases=verbs: expected one of nouns"):
        finder("verbs")  # type: ignore[arg-type]


def test_links_stay_with_their_nouns_in_every_kind_of_phrase() -> None:
    sentence = "The red star[1,2,3,4] is left of the small ring [5,6,7,8]."
    star, ring = "a red star[1,2,3,4]", "a small ring[5,6,7,8]"
    assert lemmas("nouns", sentence) == ["star[1,2,3,4]", "ring[5,6,7,8]"]
    assert lemmas("attributes", sentence) == [star, ring]
    assert lemmas("relations", sentence) == [f"{star} left of {ring}"]
    assert lemmas("attributes", "A red star[1,2,3,4] and a blue ring.") == [star, "a blue ring"]
    places = {one.lemma: sentence[one.start : one.end] for one in finder("all").find(sentence)}
    assert places == {
        star: "red star",
        ring: "small ring",
        f"{star} left of {ring}": "red star[1,2,3,4] is left of the small ring",
    }


@pytest.mark.parametrize(
    ("sentence", "relations"),
    [
        ("The red star is in the middle.", ["a red star in the middle"]),
        ("There is a star At  the top of a ring.", []),
        ("There is a star At the top of a ring.", ["a star at the top"]),
        ("The star[1,2,3,4] lies at the top.", ["a star[1,2,3,4] at the top"]),
        ("The star is at the topmost place.", []),
        (
            "The ring is left of the star at the top.",
            ["a ring left of a star", "a star at the top"],
        ),
    ],
)
def test_locations_are_told_with_relations(sentence: str, relations: list[str]) -> None:
    places = ["in the middle", "at the top"]
    words = ([*SIZES, *COLOURS], RELATIONS, "vocabulary", list(SHAPES))
    found = PhraseFinder("relations", *words, locations=places)
    assert [one.lemma for one in found.find(sentence)] == relations
    without = PhraseFinder("attributes", *words, locations=places)
    assert not any("at the top" in one.lemma for one in without.find(sentence))
