"""Prompts are whole, their placeholders are filled once, and yours are checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.judging.server import asking

from vlground.contracts import JudgeRequest
from vlground.errors import VlgroundError
from vlground.judging.prompt import Form, Prompt, load_prompt

SHIPPED = ("full", "short", "describe_then_judge", "overlay")
OF_WORDS = ("mmhal", "preference")
OWN = """
name = "own"
version = 3
shows = "masked"
images = 2
placeholders = ["object", "place"]
text = "Is {object} {place}? {\\"a\\": 1} {}"
json = "Say so of {object}."
"""


def own(folder: Path, text: str = OWN) -> Prompt:
    path = folder / "own.toml"
    path.write_text(text)
    return load_prompt(str(path))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_prompt_asks_on_the_rubric(name: str) -> None:
    prompt = load_prompt(name)
    assert prompt.name == name
    assert prompt.shows == ("overlay" if name == "overlay" else "masked")
    (request,) = asking(["a grey cat"])
    forms: list[Form] = ["json"] if name == "describe_then_judge" else ["json", "digit"]
    for form in forms:
        words = prompt.write(request, form)
        assert "a grey cat" in words
        assert "{" not in words
        for level in range(6):
            assert f"{level}: " in words, "what each score means"
        assert "wrong" in words, "that the classifier may err"
    written = prompt.write(request, "json")
    keys = [written.rindex(f'"{key}"') for key in ("description", "justification", "score")]
    assert keys == sorted(keys), "words before the number"


def test_only_the_one_that_describes_first_has_no_digit() -> None:
    for name in SHIPPED[:2]:
        load_prompt(name).check("digit")
    with pytest.raises(
        VlgroundError, match=r"prompt=describe_then_judge: cannot ask for one digit"
    ):
        load_prompt("describe_then_judge").check("digit")


def test_fields_are_filled_once_and_other_braces_stay(tmp_path: Path) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    fields = {"object": "{place}", "place": "left", "unused": "x"}
    request = JudgeRequest("1", fields, (picture, picture))
    assert (
        own(tmp_path).write(request, "json") == 'Is {place} left? {"a": 1} {}\n\nSay so of {place}.'
    )


def test_a_request_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    picture, prompt = np.zeros((2, 2, 3), np.uint8), own(tmp_path)
    with pytest.raises(VlgroundError, match=r"prompt=own: 7: needs the field 'place'"):
        prompt.write(JudgeRequest("7", {"object": "cat", "place": " "}, (picture, picture)), "json")
    with pytest.raises(VlgroundError, match=r"speaks of 2 pictures, there are 1"):
        prompt.write(JudgeRequest("7", {"object": "cat", "place": "left"}, (picture,)), "json")


def test_the_fingerprint_follows_every_word(tmp_path: Path) -> None:
    whole = own(tmp_path).fingerprint
    assert own(tmp_path).fingerprint == whole
    for a, b in (
        ("version = 3", "version = 4"),
        ("Is {", "is {"),
        ("Say so", "Tell"),
        ("masked", "overlay"),
    ):
        assert own(tmp_path, OWN.replace(a, b)).fingerprint != whole
    assert len({load_prompt(name).fingerprint for name in (*SHIPPED, *OF_WORDS)}) == 6


@pytest.mark.parametrize(("name", "highest", "pictures"), [("mmhal", 6, 0), ("preference", 9, 1)])
def test_prompts_about_words_have_a_rubric_of_their_own(
    name: str, highest: int, pictures: int
) -> None:
    prompt = load_prompt(name)
    assert (prompt.name, prompt.highest, prompt.images) == (name, highest, pictures)
    fields = {field: f"<{field}>" for field in prompt.placeholders}
    request = JudgeRequest("1", fields, (np.zeros((2, 2, 3), np.uint8),) * pictures)
    forms: list[Form] = ["json", "digit"]
    for form in forms:
        words = prompt.write(request, form)
        assert all(f"\n{level}: " in words for level in range(highest + 1))
        assert f"\n{highest + 1}: " not in words
        assert f"from 0 to {highest}" in words.rsplit("\n\n", 1)[1]
        assert all(f"<{field}>" in words for field in fields)


@pytest.mark.parametrize(
    ("shows", "highest", "told"),
    [
        ("masked", 6, "highest=6: expected 5, as what a mask shows is scored"),
        ("photo", 10, "highest=10: expected 1-9, a single digit"),
        ("nothing", 0, "highest=0: expected 1-9, a single digit"),
    ],
)
def test_the_best_score_is_a_digit(tmp_path: Path, shows: str, highest: int, told: str) -> None:
    changed = OWN.replace("masked", shows).replace("images = 2", f"images = 2\nhighest = {highest}")
    with pytest.raises(VlgroundError, match=told):
        own(tmp_path, changed)
    fits = own(tmp_path, OWN.replace("masked", "photo").replace("version", "highest = 7\nversion"))
    assert fits.highest == 7
    assert fits.fingerprint != own(tmp_path, OWN.replace("masked", "photo")).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("version = 3", 'version = "3"'), "'version' is not of type int"),
        (("version = 3", ""), "has no 'version'"),
        (("images = 2", "images = 2\npicture = 1"), "unknown key 'picture'"),
        (("masked", "heat"), "shows=heat: expected masked, overlay"),
        (('json = "Say so of {object}."', ""), "neither 'json' nor 'digit'"),
        (("{place}", "{where}"), "placeholders are "),
        (("{place}", "there"), "placeholders are "),
        (("version = 3", "version ="), "expected describe_then_judge, full, mmhal, overlay"),
    ],
)
def test_a_file_that_is_not_a_prompt_says_why(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(VlgroundError, match=message):
        own(tmp_path, OWN.replace(*change))


def test_no_such_file() -> None:
    for name in ("long", "/nowhere/own.toml", "../full"):
        with pytest.raises(VlgroundError, match=r"or the path of a \.toml file"):
            load_prompt(name)


def test_any_is_a_dataclass() -> None:
    held: Any = load_prompt("short")
    with pytest.raises(AttributeError):
        held.version = 2
