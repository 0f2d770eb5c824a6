import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlground.rewards.sentences import split


def contents(text):
    return [sentence.content for sentence in split(text)]


# Any text, and texts dense with what the splitter looks at.
dense = st.text(alphabet="aA 1.!?…\n\r\t\"'”)*-•。！😀́\ud800", max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.text() | dense)
@example("")
@example(" \n ")
@example("a.\r\n\r\n")
@example("。 。")
def test_pieces_join_to_the_text_to_the_character(text):
    sentences = split(text)
    assert "".join(sentence.text for sentence in sentences) == text
    for sentence in sentences:
        assert text[sentence.start : sentence.end] == sentence.text
    assert all(sentence.content for sentence in sentences) or (
        len(sentences) == 1 and not text.strip()
    )


@settings(max_examples=100, deadline=None)
@given(dense)
def test_a_sentence_alone_is_cut_no_further_than_with_the_rest(text):
    # Scores are keyed by sentences, so a kept piece must count as at least one whole sentence.
    for sentence in split(text):
        assert "".join(s.text for s in split(sentence.text)) == sentence.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat. A dog.", ["A cat.", "A dog."]),
        ("a cat. a dog.", ["a cat.", "a dog."]),
        ("Dr. Li meets Mr. X, e.g. at noon. Then", ["Dr. Li meets Mr. X, e.g. at noon.", "Then"]),
        ("Cups etc. on it. Cups etc. The end", ["Cups etc. on it.", "Cups etc.", "The end"]),
        ("At 5 p.m. sun. At 5 p.m. The sun", ["At 5 p.m. sun.", "At 5 p.m.", "The sun"]),
        ("The U.S. Navy. In the U.S. The end", ["The U.S. Navy.", "In the U.S.", "The end"]),
        ("It costs 3.5 dollars. No. 7 wins.", ["It costs 3.5 dollars.", "No. 7 wins."]),
        ("She says no. Then 5 cats.", ["She says no.", "Then 5 cats."]),
        ("There are 3. The end", ["There are 3.", "The end"]),
        ('"Stop!" she said. "Go."', ['"Stop!" she said.', '"Go."']),
        ("A boat ... on a lake. Yes", ["A boat ... on a lake.", "Yes"]),
        ("1. A cat.\n2. A dog", ["1. A cat.", "2. A dog"]),
        ("Seen:\n- a cat\n- a dog", ["Seen:", "- a cat", "- a dog"]),
        ("Title\n\nA line\nthat wraps", ["Title", "A line\nthat wraps"]),
        ("Nice!😀 A dog. 😀 Next", ["Nice!😀", "A dog.", "😀 Next"]),
        ("猫がいる。犬もいる！「はい。」次", ["猫がいる。", "犬もいる！", "「はい。」", "次"]),
        ("in the ocean.The man", ["in the ocean.", "The man"]),
        ("Really?! Yes", ["Really?!", "Yes"]),
        ("Рыба плывёт. Кот спит.", ["Рыба плывёт.", "Кот спит."]),
    ],
)
def test_where_a_text_is_cut(text, expected):
    assert contents(text) == expected


def test_no_sentences_without_text_and_one_of_a_blank():
    assert split("") == []
    assert [s.text for s in split("  \n ")] == ["  \n "]
    assert contents("a cat and a dog " * 1000) == [("a cat and a dog " * 1000).strip()]


@pytest.mark.parametrize(
    "text",
    [
        "." * 200_000 + "x",
        " " * 200_000 + "x",
        "e.g. " * 50_000,
        "\n " * 60_000 + "x",
        "a " * 200_000,
        "no. 5 " * 40_000,
        "*" * 200_000 + "x",
        '."' * 60_000 + "x",
    ],
    ids=lambda text: repr(text[:5]),
)
def test_endless_texts_take_linear_time(text):
    started = time.process_time()
    assert "".join(sentence.text for sentence in split(text)) == text
    assert time.process_time() - started < 5
