import json
import math
from pathlib import Path

import pytest
from tests.data.published import instance, instances, photo, write_json

from vlground.data.coco import COCO
from vlground.errors import VlgroundError
from vlground.testing import check_dataset

PHOTOS = {139: "000000000139.jpg", 7: "000000000007.jpg", 8: "000000000008.jpg"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    boxes = [
        instance(1, 7, 18, [1.5, 2.0, 3.25, 4.0]),
        instance(2, 139, 1, [0, 0, 10, 10]),
        instance(3, 139, 18, [50, 30, 20, 20]),
        instance(4, 139, 1, [20.5, 20, 0.5, 5]),
        instance(5, 139, 1, [0, 0, 0, 5]),
        instance(6, 7, 6, [0, 0, 30, 20], crowd=1),
        instance(7, 7, 18, [61, 0, 3, 4]),
        instance(8, 404, 18, [1, 1, 3, 4]),
        instance(9, 8, 18, [math.nan, 1, 3, 4]),
    ]
    write_json(tmp_path / "annotations" / "instances_val2017.json", instances(PHOTOS, boxes))
    for name in PHOTOS.values():
        photo(tmp_path / "val2017" / name)
    return tmp_path


def test_one_sample_per_photo_and_category_with_all_its_boxes(root: Path) -> None:
    data = COCO(str(root), seed=0)
    check_dataset(data)
    assert [(s.id, s.image_id, s.text, s.label, s.boxes.tolist()) for s in data] == [
        ("000000000139/dog", "000000000139", "dog", "dog", [[50, 30, 60, 40]]),
        (
            "000000000139/person",
            "000000000139",
            "person",
            "person",
            [[0, 0, 10, 10], [20.5, 20, 21, 25]],
        ),
        ("000000000007/dog", "000000000007", "dog", "dog", [[1.5, 2, 4.75, 6]]),
    ]
    assert dict(data.skipped) == {
        "crowd": 1,
        "empty box": 1,
        "box outside the image": 1,
        "no box": 1,
        "unknown image": 1,
    }


def test_a_crowd_left_out_is_still_in_the_photo(root: Path) -> None:
    data = COCO(str(root), seed=0, crowd=True)
    assert [s.id for s in data if s.text == "bus"] == ["000000000007/bus"]
    assert "crowd" not in data.skipped
    for seed in range(20):
        # A bus is no foil for 7, which has a crowd of them, and none of the other data without it.
        foils = {s.id: s.foil for s in COCO(str(root), seed)}
        assert foils["000000000007/dog"] == "person"
        assert foils["000000000139/person"] is None


def test_another_split_of_the_same_process_is_another_file(root: Path) -> None:
    """The file read last is kept, but not beyond a change."""
    COCO(str(root), seed=0)
    path = root / "annotations" / "instances_val2017.json"
    node = json.loads(path.read_text())
    node["annotations"] = node["annotations"][:1]
    write_json(path, node)
    assert [s.id for s in COCO(str(root), seed=0)] == ["000000000007/dog"]


def test_one_missing_photo_is_left_to_be_counted_when_it_is_read(root: Path) -> None:
    (root / "val2017" / PHOTOS[139]).unlink()
    assert len(COCO(str(root), seed=0)) == 3


def test_wrong_roots_and_files_are_explained(root: Path) -> None:
    with pytest.raises(VlgroundError, match=r"annotations/instances_val2017\.json, val2017/\*\.j"):
        COCO(None, seed=0)
    with pytest.raises(VlgroundError, match=r"found no annotations/instances_val2014\.json, no va"):
        COCO(str(root), seed=0, split="val2014")
    write_json(root / "annotations" / "instances_val2017.json", [1])
    with pytest.raises(VlgroundError, match=r"instances_val2017\.json: not in the format of COCO"):
        COCO(str(root), seed=0)


def test_ids_that_occur_twice(root: Path) -> None:
    path = root / "annotations" / "instances_val2017.json"
    node = json.loads(path.read_text())
    node["annotations"].append(instance(2, 7, 1, [0, 0, 9, 9]))
    write_json(path, node)
    data = COCO(str(root), seed=0)
    assert data.skipped["duplicate id"] == 1
    assert "000000000007/person" not in {sample.id for sample in data}, "the first one counts"
    node["images"].append({**node["images"][0], "file_name": "another.jpg"})
    write_json(path, node)
    with pytest.raises(VlgroundError, match=r"instances_val2017\.json: two images have one id"):
        COCO(str(root), seed=0)


def test_photos_of_one_name_in_two_folders_are_two_images(root: Path) -> None:
    photos = {1: "a/1.jpg", 2: "b/1.jpg"}
    boxes = [instance(1, 1, 1, [0, 0, 9, 9]), instance(2, 2, 18, [0, 0, 9, 9])]
    write_json(root / "annotations" / "instances_val2017.json", instances(photos, boxes))
    for name in photos.values():
        photo(root / "val2017" / name)
    photo(root / "val2017" / "some.jpg")
    found = [(sample.id, sample.image_id) for sample in COCO(str(root), seed=0)]
    assert found == [("a/1/person", "a/1"), ("b/1/dog", "b/1")]
