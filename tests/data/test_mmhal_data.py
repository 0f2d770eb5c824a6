"""The file of MMHal-Bench, with answers of its own and of other files."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlground.data.mmhal import TYPES, MMHal
from vlground.errors import VlgroundError


def records(count: int = 9) -> list[dict[str, Any]]:
    """As published, with an unfilled answer."""
    return [
        {
            "question_type": TYPES[n % 8],
            "question_topic": "outdoor",
            "image_id": f"df62a56fdc1bb1{n:02}",
            "image_src": f"https://example.org/7211/{n}_o.jpg",
            "image_content": ["Fire hydrant", "Car"],
            "question": f"What is {n}?",
            "gt_answer": f"It is {n}.",
            "model_answer": "",
        }
        for n in range(count)
    ]


def write(folder: Path, found: Any, name: str = "mmhal.json") -> str:
    (folder / name).write_text(json.dumps(found, indent=2))
    return str(folder / name)


def test_a_record_is_a_question_with_a_reference(tmp_path: Path) -> None:
    data = MMHal(write(tmp_path, records()))
    assert len(data) == 9
    assert [data[n].id for n in (0, 7, 8)] == ["attribute/0", "other/7", "attribute/8"]
    assert (data[3].text, data[3].label) == ("What is 3?", "It is 3.")
    assert data[3].image_id == "df62a56fdc1bb103"
    known = data.references["counting/3"]
    assert (known.contents, known.answer) == (("Fire hydrant", "Car"), "It is 3.")
    assert data.answers == {}, "an unfilled template answers nothing"
    assert data.skipped == {}


def test_a_type_that_is_not_told_is_that_of_the_place(tmp_path: Path) -> None:
    found = records()
    for record in found:
        del record["question_type"]
    found[1]["question"] = " "
    del found[2]["gt_answer"]
    data = MMHal(write(tmp_path, found))
    assert data.skipped == {"no question": 1, "no answer of a person (gt_answer)": 1}
    assert [data[n].id for n in (0, 1, 6)] == ["attribute/0", "counting/3", "attribute/8"], (
        "what is left out moves nobody"
    )


def test_answers_are_the_records_own_or_of_a_file(tmp_path: Path) -> None:
    answered = [{**record, "model_answer": f"A{n}"} for n, record in enumerate(records())]
    own = MMHal(write(tmp_path, answered))
    assert own.answers["attribute/8"] == "A8"
    blank = write(tmp_path, records(), "blank.json")
    filled = write(tmp_path, [{**one, "model_answer": "B"} for one in answered], "filled.json")
    other = MMHal(blank, answers=filled)
    assert set(other.answers.values()) == {"B"}
    assert other.answer_counts == {"joined by order": 9}
    assert set(other.checksums) == {"questions/blank.json", "answers/filled.json"}
    with pytest.raises(VlgroundError, match="answers 'What is 8\\?', not 'What is 0\\?'"):
        MMHal(blank, answers=write(tmp_path, answered[::-1], "turned.json"))


def test_images_are_found_by_id_or_by_the_end_of_their_address(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "df62a56fdc1bb100.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "1_o.jpg")
    data = MMHal(write(tmp_path, records(3)), root=str(tmp_path))
    assert [data[n].image for n in range(2)] == [
        tmp_path / "df62a56fdc1bb100.jpg",
        tmp_path / "1_o.jpg",
    ]
    assert data.skipped == {"image not in dataset.root": 1}


def test_a_file_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^dataset\.questions=None: expected a file"):
        MMHal(None)
    with pytest.raises(VlgroundError, match=r"no question: 1 × no question$"):
        MMHal(write(tmp_path, [{"image_id": 1}]))
