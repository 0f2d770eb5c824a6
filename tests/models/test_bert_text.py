"""What of a text is read, and that nothing else changes a number."""

from pathlib import Path
from typing import Any

import pytest
from tests.models.matchers import SPECIAL, WORDS, write_vocabulary

from vlground.errors import VlgroundError
from vlground.models.bert_text import BertTokens, pre_caption

PAD, UNK, CLS, SEP = 0, 1, 2, 3


def ids(*words: str) -> list[int]:
    return [[*SPECIAL, *WORDS].index(word) for word in words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


def test_texts_stand_between_special_tokens_and_are_padded(folder: str) -> None:
    found, mask = BertTokens(folder, 16).tokenize(["Red stars", "a zebra, the small ring"])
    unknown = [UNK, UNK]  # zebra and the comma
    assert found.tolist() == [
        [CLS, *ids("red", "star", "##s"), SEP, PAD, PAD, PAD],
        [CLS, *ids("a"), *unknown, *ids("the", "small", "ring"), SEP],
    ]
    assert mask.tolist() == [[True] * 5 + [False] * 3, [True] * 8]


def test_the_first_token_can_be_another_and_the_last_be_left_out(folder: str) -> None:
    tokens = BertTokens(folder, 16, first=15, end_token=False)
    assert tokenized(tokens, "red") == [15, *ids("red")]


def tokenized(tokens: BertTokens, text: str) -> list[int]:
    found, mask = tokens.tokenize([text])
    assert mask.all()
    return found[0].tolist()


@pytest.mark.parametrize(
    ("text", "known"),
    [("red", True), ("zebra red", True), ("", False), ("  ", False), ("zebra", False)],
)
def test_a_text_without_a_known_word_is_not_known(folder: str, text: str, known: bool) -> None:
    assert BertTokens(folder, 16).knows(text) is known


def test_what_is_not_read_is_not_known(folder: str) -> None:
    assert not BertTokens(folder, 16, "pre_caption").knows("?!")
    assert not BertTokens(folder, 16, max_words=1).knows("zebra red")
    assert not BertTokens(folder, 3).knows("zebra red")


@pytest.mark.parametrize(
    ("options", "text", "read"),
    [
        ({"context": 4}, "red blue", None),
        ({"context": 4}, "red blue green", "red blue"),
        ({"context": 3, "end_token": False}, "red blue green", "red blue"),
        ({"context": 4}, "red  Stars", "red  Star"),  # cut within a word
        ({"max_words": 2}, "Red  blue", None),
        ({"max_words": 2}, "Red  blue green", "Red blue"),
        ({"max_words": 2, "cleaning": "pre_caption"}, "The red-blue star!", "the red"),
        ({"cleaning": "pre_caption"}, "The red star!", None),
        ({"context": 4, "max_words": 3}, "red blue green star", "red blue"),
    ],
)
def test_a_cut_text_is_told_as_it_is_read(
    folder: str, options: dict[str, Any], text: str, read: str | None
) -> None:
    tokens = BertTokens(folder, **{"context": 16, **options})
    assert tokens.truncated(text) == read
    if read is not None:
        uncut = BertTokens(folder, 16, end_token=options.get("end_token", True))
        assert tokenized(tokens, text) == tokenized(uncut, read)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("A Man, in (a) blue-shirt.", "a man in a blue shirt"),
        ("left/right ~of  <person>'s hat", "left right of persons hat"),
        (' "#:;*!?" ', ""),
    ],
)
def test_captions_are_cleaned_as_albef_does(text: str, clean: str) -> None:
    assert pre_caption(text) == clean


def test_a_saved_vocabulary_is_the_same(folder: str, tmp_path: Path) -> None:
    BertTokens(folder, 16).save(tmp_path)
    again = BertTokens(str(tmp_path), 16)
    assert tokenized(again, "Red stars zebra") == [CLS, *ids("red", "star", "##s"), UNK, SEP]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cleaning": "stem"}, "model.cleaning=stem: expected none or pre_caption"),
        ({"max_words": 0}, "model.max_words=0: expected a positive number"),
        ({"context": 2}, "model.context=2: no room"),
    ],
)
def test_impossible_options_are_named(folder: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        BertTokens(folder, **{"context": 16, **options})


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(VlgroundError, match="no vocabulary there"):
            BertTokens(str(place), 16)
