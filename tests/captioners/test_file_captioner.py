"""Candidates from files of the three styles, and what is missing from them."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlground.captioners.file import FileCaptioner
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

RECORDS = [
    {"image_id": 7, "caption": "A cat."},
    {"image": "COCO_val2014_000000000007.jpg", "text": " Two 🐈 cats. "},
    {"image_id": "8", "caption": ""},
    {"caption": "nowhere"},
    {"image_id": 8},
]


def sample(image_id: str) -> Sample:
    return Sample(f"{image_id}/x", image_id, np.zeros((4, 4, 3), np.uint8), "")


def texts(captioner: FileCaptioner, n: int, first: int = 0) -> list[str]:
    (row,) = captioner.caption([sample("7")], [""], n, 9, first)
    return [one.text for one in row]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(RECORDS),
        "\n".join(map(json.dumps, RECORDS)),
        "\n".join(json.dumps(one, indent=2) for one in RECORDS),
    ],
)
def test_candidates_are_the_captions_in_their_order(tmp_path: Path, content: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    captioner = FileCaptioner(str(path))
    found = captioner.caption([sample("8"), sample("7"), sample("9")], ["ignored"] * 3, 2, 0)
    assert [[one.text for one in row] for row in found] == [
        ["", ""],
        ["A cat.", "Two 🐈 cats."],
        ["", ""],
    ]
    lacks = "fewer captions in model.file than asked"
    assert [[one.problem for one in row] for row in found] == [["", lacks], ["", ""], [lacks] * 2]
    assert found[1][0].log_probabilities is None
    assert texts(captioner, 1) == ["A cat."]
    assert texts(captioner, 2, first=1) == ["Two 🐈 cats."]
    assert texts(captioner, 2, first=2) == []
    assert captioner.counts == {"no image id": 1, "no caption": 1}


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"image_id": 7, "caption": "second"}\n{"image_id": 7, "ca')
    (tmp_path / "a.json").write_text('[{"image_id": 7, "caption": "first"}]')
    (tmp_path / "notes.txt").write_text("none")
    captioner = FileCaptioner(str(tmp_path))
    ((one, two),) = captioner.caption([sample("000000000007")], [""], 2, 0)
    assert (one.text, two.text) == ("first", "second")
    assert captioner.counts == {"torn end": 1}


def test_a_list_of_files_is_read_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('[{"image_id": 7, "caption": "b"}]')
    (tmp_path / "a.json").write_text('[{"image_id": 7, "caption": "a"}, {"image_id": 8}]')
    captioner = FileCaptioner([str(tmp_path / "b.json"), str(tmp_path / "a.json")])
    assert texts(captioner, 2) == ["b", "a"]
    assert captioner.counts == {"no caption": 1}
    with pytest.raises(VlgroundError, match=r"^model\.file=.*none\.json: .*no such file$"):
        FileCaptioner([str(tmp_path / "b.json"), str(tmp_path / "none.json")])


def test_without_captions_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^model\.file=.*none\.json: .*no such file$"):
        FileCaptioner(str(tmp_path / "none.json"))
    with pytest.raises(VlgroundError, match=r"^model\.file=.*: no caption there$"):
        FileCaptioner(str(tmp_path))
