"""Captions of several systems, side by side."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlground.data.sample import manifest
from vlground.data.systems import Systems
from vlground.errors import VlgroundError


def write(folder: Path, name: str, found: Any) -> str:
    (folder / name).write_text(json.dumps(found))
    return str(folder / name)


def files(folder: Path, second: str = "b1") -> dict[str, str]:
    for number in (1, 2, 3):
        Image.new("RGB", (4, 4)).save(folder / f"{number}.jpg")
    first = [{"image_id": n, "caption": f"a{n}"} for n in (1, 2, 9)]
    other = [
        {"image": "3.jpg", "text": " b3 "},
        {"image_id": 1, "text": second},
        {"image_id": 1, "text": "again"},
        {"image_id": 2},
    ]
    return {"a": write(folder, "a.json", first), "b": write(folder, "b.json", other)}


def test_captions_stand_beside_each_other(tmp_path: Path) -> None:
    data = Systems(files(tmp_path), str(tmp_path))
    assert [data[n].id for n in range(len(data))] == ["1", "2", "3"]
    assert data.of("1") == {"a": "a1", "b": "b1"}
    assert data.of("2") == {"a": "a2"}
    assert data.of("3") == {"b": "b3"}
    assert data[2].image == tmp_path / "3.jpg"
    assert data.skipped == {
        "another caption of the same image": 1,
        "image not in dataset.root": 1,
        "no caption": 1,
    }


def test_another_caption_is_another_truth(tmp_path: Path) -> None:
    """Or a run of old captions would be returned."""
    found = [manifest(Systems(files(tmp_path, second), str(tmp_path))) for second in ("x", "y")]
    assert found[0] != found[1]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    named = files(tmp_path)
    with pytest.raises(VlgroundError, match=r"^dataset\.root=null: the judge sees the images"):
        Systems(named)
    with pytest.raises(VlgroundError, match=r"^dataset\.captions=.*: expected two systems or more"):
        Systems({"a": named["a"]}, str(tmp_path))
    with pytest.raises(VlgroundError, match=r"^dataset\.captions\.b=none: expected a file"):
        Systems({**named, "b": "none"}, str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VlgroundError, match=r"no image with a caption: .*4 × image not in"):
        Systems(named, str(tmp_path / "empty"))
