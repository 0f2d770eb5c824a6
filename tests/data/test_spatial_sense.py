from pathlib import Path
from typing import Any

import pytest
from tests.data.published import HEIGHT, WIDTH, photo, real, write_json

from vlground.data.spatial_sense import SpatialSense
from vlground.errors import VlgroundError
from vlground.testing import check_dataset


def _thing(name: str, y0: int, y1: int, x0: int, x1: int) -> dict[str, Any]:
    return {"name": name, "y": (y0 + y1) // 2, "x": (x0 + x1) // 2, "bbox": [y0, y1, x0, x1]}


def _relation(
    number: int, subject: Any, predicate: str, other: Any, label: bool = True
) -> dict[str, Any]:
    return {
        "_id": f"59fb{number}",
        "predicate": predicate,
        "subject": subject,
        "object": other,
        "label": label,
    }


def _image(url: str, split: str, relations: list[Any]) -> dict[str, Any]:
    size = {"height": HEIGHT, "width": WIDTH}
    return {"url": url, "nsid": "1@N0", **size, "split": split, "annotations": relations}


CAT, MIRROR = _thing("cat", 10, 30, 5, 25), _thing("mirror", 0, 40, 30, 60)
LAMP, BED = _thing("lamp", -3, 8, 50, 66), _thing("bed", 20, 40, 0, 60)

# As samples have them: clipped, x0, y0, x1, y1.
_CAT, _MIRROR, _LAMP, _BED = [5, 10, 25, 30], [30, 0, 60, 40], [50, 0, 60, 8], [0, 20, 60, 40]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    flickr = "https://farm4.staticflickr.com/3543/57_8b.jpg"
    nyu = "/home/somebody/nyu/12.jpg"
    nowhere = _thing("ghost", 50, 60, 0, 10)
    images = [
        _image(
            flickr,
            "test",
            [
                _relation(1, CAT, "to the left of", MIRROR),
                _relation(2, CAT, "on", MIRROR, label=False),
                _relation(3, CAT, "under", nowhere),
                _relation(4, CAT, "in front of", MIRROR),
            ],
        ),
        _image(nyu, "test", [_relation(5, LAMP, "above", BED), _relation(7, MIRROR, "on", BED)]),
        _image("https://live.staticflickr.com/1/99.jpg", "train", [_relation(6, BED, "on", CAT)]),
    ]
    photo(tmp_path / "images" / "flickr" / "57_8b.jpg")
    photo(tmp_path / "images" / "nyu" / "12.jpg")
    write_json(tmp_path / "annotations.json", images)
    return tmp_path


@pytest.mark.parametrize(
    ("setting", "texts", "boxes"),
    [
        (
            "triplet",
            [
                "cat to the left of mirror",
                "cat in front of mirror",
                "lamp above bed",
                "mirror on bed",
            ],
            [_CAT, _CAT, _LAMP, _MIRROR],
        ),
        ("subject", ["cat", "cat", "lamp", "mirror"], [_CAT, _CAT, _LAMP, _MIRROR]),
        ("object", ["mirror", "mirror", "bed", "bed"], [_MIRROR, _MIRROR, _BED, _BED]),
    ],
)
def test_true_relations_in_three_settings(
    root: Path, setting: Any, texts: list[str], boxes: list[list[float]]
) -> None:
    data = SpatialSense(str(root), seed=0, setting=setting)
    check_dataset(data)
    assert [s.id for s in data] == ["59fb1", "59fb4", "59fb5", "59fb7"]
    assert [s.text for s in data] == texts
    assert [s.boxes.tolist() for s in data] == [[box] for box in boxes]
    assert [s.image_id for s in data] == ["flickr/57_8b"] * 2 + ["nyu/12"] * 2
    assert data[2].image == root / "images" / "nyu" / "12.jpg"
    assert dict(data.skipped) == {"label is false": 1, "box outside the image": 1}


def test_no_foil_is_true_of_the_image(root: Path) -> None:
    for seed in range(20):
        subjects = [s.foil for s in SpatialSense(str(root), seed, setting="subject")]
        assert subjects == ["lamp", "lamp", "cat", "cat"]  # the mirror is in both images
        triplets = [s.foil for s in SpatialSense(str(root), seed)]
        assert set(triplets[:2]) <= {"lamp above bed", "mirror on bed"}
        assert set(triplets[2:]) <= {"cat to the left of mirror", "cat in front of mirror"}


def test_wrong_roots_and_options_are_explained(root: Path) -> None:
    with pytest.raises(VlgroundError, match=r"with annotations\.json, images/flickr/\*, images/n"):
        SpatialSense(None, seed=0)
    with pytest.raises(VlgroundError, match=r"dataset\.split=val: expected test, train$"):
        SpatialSense(str(root), seed=0, split="val")
    with pytest.raises(VlgroundError, match=r"setting=both: expected triplet, subject, object"):
        SpatialSense(str(root), seed=0, setting="both")  # type: ignore[arg-type]
    write_json(root / "annotations.json", [{"url": "a.jpg", "split": "test"}])
    with pytest.raises(VlgroundError, match=r"not in the format of SpatialSense: KeyError"):
        SpatialSense(str(root), seed=0)


@pytest.mark.shared
@pytest.mark.parametrize("setting", ["triplet", "subject", "object"])
def test_the_official_count(setting: Any) -> None:
    assert len(SpatialSense(real("spatial_sense"), seed=0, setting=setting)) == 1_811
