"""Files of captions in all their styles, and what is wrong with some."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from vlground.data.captions import Captions
from vlground.data.records import image_id_of, read_records
from vlground.errors import VlgroundError
from vlground.run import CONF
from vlground.testing import check_dataset

RECORDS = [
    {
        "question_id": 0,
        "image_id": 569,
        "text": "A person flying a kite. 🪁",
        "metadata": {"a": [1]},
    },
    {"question_id": 1, "image_id": 1171, "text": 'She said "{" and\n}'},
    {"question_id": 2, "image_id": 569, "text": "Ein Drachen. 凧。"},
]


def write(folder: Path, style: str, records: list[dict[str, Any]]) -> Path:
    path = folder / f"{style}.json"
    path.write_text(
        {
            "list": json.dumps(records),
            "pretty list": json.dumps(records, indent=2, ensure_ascii=False),
            "lines": "\n".join(json.dumps(record, ensure_ascii=False) for record in records),
            "windows lines": "\ufeff" + "\r\n".join(json.dumps(r) for r in records) + "\r\n",
            "in a row": "".join(json.dumps(record, indent=4) for record in records),
            "pretty in a row": "\n\n".join(json.dumps(r, indent=4) for r in records) + "\n",
        }[style],
        encoding="utf-8",
    )
    return path


STYLES = ["list", "pretty list", "lines", "windows lines", "in a row", "pretty in a row"]


@pytest.mark.parametrize("style", STYLES)
def test_every_style_reads_the_same(tmp_path: Path, style: str) -> None:
    data = Captions(str(write(tmp_path, style, RECORDS)))
    # Captions of one image follow each other.
    assert [(s.id, s.image_id, s.text) for s in data] == [
        (str(RECORDS[i]["question_id"]), str(RECORDS[i]["image_id"]), RECORDS[i]["text"])
        for i in (0, 2, 1)
    ]
    assert data.skipped == {}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("cut", [1, 9, 31])
def test_a_torn_end_costs_one_record(tmp_path: Path, style: str, cut: int) -> None:
    path = write(tmp_path, style, RECORDS)
    content = path.read_bytes().rstrip()
    if "list" in style:
        cut += 4  # its end and that of the last record
    path.write_bytes(content[:-cut])
    data = Captions(str(path))
    assert sorted(s.id for s in data) == ["0", "1"]
    assert data.skipped == {"torn end": 1}


def test_a_tear_inside_a_letter(tmp_path: Path) -> None:
    path = write(tmp_path, "lines", [*RECORDS, {"question_id": 3, "image_id": 9, "text": "🐶"}])
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex("🐶".encode()) + 2])
    data = Captions(str(path))
    assert len(data) == 3
    assert data.skipped == {"torn end": 1}


@pytest.mark.parametrize("style", ["lines", "pretty in a row", "pretty list"])
def test_a_broken_record_costs_itself(
    tmp_path: Path, style: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, style, RECORDS)
    path.write_text(path.read_text().replace('"question_id": 1', '"question_id": oops', 1))
    with caplog.at_level(logging.WARNING, logger="vlground"):
        data = Captions(str(path))
    assert sorted(s.id for s in data) == ["0", "2"]
    assert data.skipped == {"broken record": 1}
    line = path.read_text()[: path.read_text().index("oops")].count("\n") + 1
    place = line if style == "lines" else line - 1  # where the object begins
    assert [r.getMessage() for r in caplog.records] == [f"{path}: 1 × broken record (line {place})"]


def test_a_list_that_was_not_closed_loses_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "list", RECORDS)
    path.write_text(path.read_text()[:-1])
    data = Captions(str(path))
    assert len(data) == 3
    assert data.skipped == {"list without an end": 1}


def test_each_fault_is_a_count_and_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(
        tmp_path,
        "lines",
        [
            *RECORDS,
            {"question_id": 0, "image_id": 569, "text": "The same id again."},
            {"question_id": 4, "text": "No image."},
            {"question_id": 5, "image_id": "", "text": "No image either."},
            {"question_id": 6, "image_id": 569},
            {"question_id": 7, "image_id": 569, "text": None},
            {"question_id": 8, "image_id": 569, "text": ""},
            {"question_id": 9, "image_id": 4040, "text": "An image that nobody knows."},
            {"image_id": 569, "text": "No id."},
        ],
    )
    with path.open("a") as file:
        file.write('\n17\n"text"\nnull\n[1]\n')
    objects = tmp_path / "objects.json"
    objects.write_text(json.dumps({"569": ["kite", "person"], "000000001171": []}))
    with caplog.at_level(logging.WARNING, logger="vlground"):
        data = Captions(str(path), str(objects))
    assert data.skipped == {
        "no object": 4,
        "duplicate id": 1,
        "no image id": 2,
        "no caption": 2,
        "image without objects in dataset.objects": 1,
    }
    # An empty caption is a caption, and one without an id has its image's and a number.
    assert {s.id: s.text for s in data}["8"] == ""
    assert [s.text for s in data if s.id.startswith("569/")] == ["No id."]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    assert f"{path}: 1 × duplicate id (line 4)" in told
    assert data.objects == {"569": {"kite", "person"}, "1171": frozenset()}


def test_candidates_without_ids(tmp_path: Path) -> None:
    records = [
        {"image": f"COCO_val2014_{i:012}.jpg", "caption": str(k)} for k in range(3) for i in (7, 8)
    ]
    data = Captions(str(write(tmp_path, "lines", records)))
    assert [s.id for s in data] == ["7/0", "7/1", "7/2", "8/0", "8/1", "8/2"]
    assert str(data[0].image) == "COCO_val2014_000000000007.jpg"


def test_images_that_are_asked_for(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "569.jpg")
    data = Captions(str(write(tmp_path, "list", RECORDS)), root=str(tmp_path))
    assert {s.image for s in data} == {tmp_path / "569.jpg"}
    assert data.skipped == {"image not in dataset.root": 1}
    check_dataset(data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("COCO_val2014_000000310196.jpg", "310196"),
        ("000000310196.jpg", "310196"),
        (310196, "310196"),
        (310196.0, "310196"),
        ("val/7.png", "7"),
        ("photo_12.jpg", "photo_12"),
        ("a.b.jpg", "a.b"),
        (0, "0"),
        ("", None),
        (None, None),
        (True, None),
    ],
)
def test_image_ids(name: object, expected: str | None) -> None:
    assert image_id_of({"image": name}) == expected


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, "lines", RECORDS)
    first = Captions(str(path))
    path.write_text(json.dumps({"image_id": 1, "text": "Another one."}))
    second = Captions(str(path))
    assert [s.text for s in second] == ["Another one."]
    assert first.checksums != second.checksums


@pytest.mark.parametrize("content", ["", "[]", "{", '{"image_id": 1}'])
def test_a_file_without_captions(tmp_path: Path, content: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(VlgroundError, match=r"dataset\.captions=.*: no caption in \d records"):
        Captions(str(path))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"dataset\.captions=None: expected a file"):
        Captions(None)
    with pytest.raises(VlgroundError, match=r"dataset\.captions=nowhere\.json.*no such file"):
        Captions("nowhere.json")
    path = str(write(tmp_path, "lines", RECORDS))
    with pytest.raises(VlgroundError, match=r"dataset\.objects=nowhere\.json"):
        Captions(path, "nowhere.json")


@pytest.mark.parametrize("content", ["[1]", '{"569": "kite"}', '{"569": [1]}', "{"])
def test_objects_in_another_format(tmp_path: Path, content: str) -> None:
    objects = tmp_path / "objects.json"
    objects.write_text(content)
    with pytest.raises(VlgroundError, match="not in the format of objects"):
        Captions(str(write(tmp_path, "lines", RECORDS)), str(objects))


def test_a_deep_nest_is_a_broken_record(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text('{"a": ' + "[" * 200_000 + "\n" + json.dumps(RECORDS[0]))
    assert [place for place, _ in read_records("dataset.captions", str(path)).records] == ["line 2"]


def test_configuration(tmp_path: Path) -> None:
    config = OmegaConf.load(Path(CONF) / "dataset" / "captions.yaml")
    config.captions = str(write(tmp_path, "lines", RECORDS))
    assert len(instantiate(config)) == 3
