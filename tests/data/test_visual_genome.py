import json
from pathlib import Path
from typing import Any

import pytest
from tests.data.published import HEIGHT, WIDTH, photo, write_json

from vlground.data import files
from vlground.data.files import iterate_json
from vlground.data.visual_genome import VisualGenome
from vlground.errors import VlgroundError
from vlground.testing import check_dataset


def _image(number: int, regions: dict[int, tuple[str, tuple[int, int, int, int]]]) -> Any:
    return {
        "regions": [
            {
                "region_id": region,
                "width": w,
                "height": h,
                "image_id": number,
                "phrase": phrase,
                "y": y,
                "x": x,
            }
            for region, (phrase, (x, y, w, h)) in regions.items()
        ],
        "id": number,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    described = [
        _image(
            1,
            {
                1382: ("the clock is green", (42, 5, 8, 13)),
                1383: ("shade is along the street ", (-4, 30, 30, 30)),
                1384: ("\n", (0, 0, 9, 9)),
                1385: ("a sign", (0, 0, 0, 9)),
                1386: ("a cloud", (60, 0, 9, 9)),
            },
        ),
        _image(2, {5: ("A sign", (0, 0, 60, 40))}),
        _image(3, {6: ("a kite", (0, 0, 60, 40))}),
    ]
    known = [
        {
            "width": WIDTH,
            "url": f"https://cs.stanford.edu/people/rak248/{folder}/{number}.jpg",
            "height": HEIGHT,
            "image_id": number,
            "coco_id": None,
            "flickr_id": None,
        }
        for folder, number in (("VG_100K_2", 1), ("VG_100K", 2))
    ]
    write_json(tmp_path / "region_descriptions.json", described)
    write_json(tmp_path / "image_data.json", known)
    photo(tmp_path / "VG_100K_2" / "1.jpg")
    photo(tmp_path / "VG_100K" / "2.jpg")
    return tmp_path


def test_every_region_is_a_sample(root: Path) -> None:
    data = VisualGenome(str(root), seed=0)
    check_dataset(data)
    assert [(s.id, s.image_id, s.text, s.boxes.tolist()) for s in data] == [
        ("1/1382", "1", "the clock is green", [[42, 5, 50, 18]]),
        ("1/1383", "1", "shade is along the street", [[0, 30, 26, 40]]),
        ("2/5", "2", "A sign", [[0, 0, 60, 40]]),
    ]
    assert [s.image for s in data][1:] == [root / "VG_100K_2/1.jpg", root / "VG_100K/2.jpg"]
    assert data[0].foil is None  # "a sign" is in image 1, though its box is empty
    assert data[2].foil in {"the clock is green", "shade is along the street"}
    assert dict(data.skipped) == {
        "no text": 1,
        "empty box": 1,
        "box outside the image": 1,
        "no image size": 1,
    }


def test_the_first_images_need_no_more_of_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [s.id for s in VisualGenome(str(root), seed=0)]
    path = root / "region_descriptions.json"
    text = path.read_text()
    monkeypatch.setattr(files, "_CHUNK", 50)
    assert [s.id for s in VisualGenome(str(root), seed=0)] == whole
    path.write_text(text[: text.index('"id": 1}') + 10] + "cut here")
    assert [s.id for s in VisualGenome(str(root), seed=0, images=1)] == whole[:2]
    with pytest.raises(VlgroundError, match=r"region_descriptions\.json: not in the format of Vis"):
        VisualGenome(str(root), seed=0)


@pytest.mark.parametrize("chunk", range(1, 40))
@pytest.mark.parametrize("indent", [None, 4])
def test_a_list_read_in_pieces_is_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    value = [{"a": "é]}, {"}, {"b": [1, {"c": 12345}]}, {}, {"d": "\\"}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value, indent=indent) + "\n")
    monkeypatch.setattr(files, "_CHUNK", chunk)
    assert list(iterate_json(path)) == value


def test_wrong_roots_are_explained(root: Path) -> None:
    with pytest.raises(VlgroundError, match=r"with region_descriptions\.json, image_data\.json, V"):
        VisualGenome(None, seed=0)
    (root / "VG_100K" / "2.jpg").unlink()
    with pytest.raises(VlgroundError, match=r"found no VG_100K/\*\.jpg$"):
        VisualGenome(str(root), seed=0)
