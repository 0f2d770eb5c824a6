"""Links in texts, and which of those about drawn scenes are wrong."""

import pytest

from vlground.data.links import link, linked_boxes, part, unlinked
from vlground.data.shapes.claims import parse
from vlground.data.shapes.links import described, mislinked
from vlground.data.shapes.scene import Scene, Thing
from vlground.rewards.sentences import split

RED, BLUE = Thing("star", "red", "small", 10, 10, 16), Thing("star", "blue", "large", 40, 50, 26)
SCENE = Scene("drawn", (RED, BLUE))
TEXT = "The red star[10,10,26,26] is left of the star [40.5, 50, 66,76]. It is [sic]."


def test_links_are_taken_out_with_their_places() -> None:
    found = part(TEXT)
    assert found.text == unlinked(TEXT) == "The red star is left of the star. It is [sic]."
    assert found.links == {12: "[10,10,26,26]", 32: "[40.5,50,66,76]"}
    for word in ("The", "star", "is", "of", "It", "[sic]"):
        start = found.text.index(word)
        end = start + len(word)
        assert TEXT[found.behind(start) : found.before(end)] == word
    assert part("No box[1,2,3].").links == part("").links == {}
    assert linked_boxes(TEXT).tolist() == [[10, 10, 26, 26], [40.5, 50, 66, 76]]
    assert linked_boxes("a star").shape == (0, 4)
    assert linked_boxes(link([0.5, 1, 2e3, 33.25])).tolist() == [[0.5, 1, 2000, 33.25]]


def test_two_links_behind_one_word_stay_together() -> None:
    assert part("Stars[1,2,3,4][5,6,7,8] shine.").links == {5: "[1,2,3,4][5,6,7,8]"}


def test_sentences_are_cut_where_they_are_without_links() -> None:
    assert [unlinked(one.text) for one in split(TEXT)] == [
        one.text for one in split(unlinked(TEXT))
    ]


def test_a_linked_sentence_claims_what_it_claims_without() -> None:
    sentence = "The red star[10,10,26,26] is left of the blue star[40,50,66,76]. "
    claim = parse(sentence)
    assert claim is not None
    assert claim == parse(unlinked(sentence))
    ends = [(one.text, claim.text[:end]) for one, end in described(claim)]
    assert ends == [
        ("the red star", "The red star"),
        ("the blue star", "The red star is left of the blue star"),
    ]


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("There is a red star[10,10,26,26].", False),
        ("There is a red star[40,50,66,76].", True),
        ("There is a star[40,50,66,76].", False),
        ("There is a star[41,50,66,76].", True),
        ("The red star[10,10,26,26] is above the blue star[10,10,26,26].", True),
        ("The star[10,10,26,26] is above the star[40,50,66,76].", False),
        ("There is a red star.", False),
        ("A unicorn[1,2,3,4].", False),
    ],
)
def test_a_link_is_wrong_if_its_phrase_describes_no_such_object(sentence: str, wrong: bool) -> None:
    assert mislinked(sentence, SCENE) == wrong
