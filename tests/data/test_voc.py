from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlground.data.images import load_image
from vlground.data.voc import PascalVOC
from vlground.errors import VlgroundError


def _object(name: str, box: tuple[object, ...] | None, difficult: int = 0) -> str:
    bounds = ""
    if box is not None:
        keys = ("xmin", "ymin", "xmax", "ymax")
        inner = "".join(
            f"\t\t\t<{k}>{v}</{k}>\n" for k, v in zip(keys, box, strict=True) if v is not None
        )
        bounds = f"\t\t<bndbox>\n{inner}\t\t</bndbox>\n"
    return (
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n"
        f"\t\t<truncated>0</truncated>\n\t\t<difficult>{difficult}</difficult>\n"
        f"{bounds}\t</object>\n"
    )


def _annotate(
    root: Path,
    stem: str,
    *objects: str,
    size: tuple[int, int] | None = (40, 30),  # width, height
    filename: str | None = None,
    image: bool = True,
) -> Path:
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if image:
        Image.new("RGB", (40, 30), "grey").save(root / "JPEGImages" / f"{stem}.jpg")
    extent = ""
    if size is not None:
        extent = (
            f"\t<size>\n\t\t<width>{size[0]}</width>\n\t\t<height>{size[1]}</height>\n"
            "\t\t<depth>3</depth>\n\t</size>\n"
        )
    path = root / "Annotations" / f"{stem}.xml"
    path.write_text(
        f"<annotation>\n\t<folder>VOC2012</folder>\n\t<filename>{filename or stem + '.jpg'}"
        f"</filename>\n{extent}\t<segmented>0</segmented>\n{''.join(objects)}</annotation>\n"
    )
    return path


def test_one_sample_per_photo_and_class_with_all_its_boxes(tmp_path: Path) -> None:
    _annotate(
        tmp_path,
        "b",
        _object("dog", (1, 1, 40, 30)),
        _object("cat", (5, 6, 5, 6)),  # one pixel: 1-based, both ends included
        _object("dog", (11, 2, 20.5, 10)),
    )
    _annotate(tmp_path, "a", _object("sheep", (3, 3, 9, 9)))
    data = PascalVOC(str(tmp_path), seed=0)
    assert [sample.id for sample in data] == ["a/sheep", "b/cat", "b/dog"]
    assert [sample.image_id for sample in data] == ["a", "b", "b"]
    assert data[1].boxes.tolist() == [[4, 5, 5, 6]]
    assert data[2].boxes.tolist() == [[0, 0, 40, 30], [10, 1, 20.5, 10]]
    assert data[2].text == data[2].label == "dog"
    assert data[2].image == tmp_path / "JPEGImages" / "b.jpg"
    assert dict(data.skipped) == {}


def test_foils_are_in_the_data_set_but_not_in_the_photo(tmp_path: Path) -> None:
    _annotate(
        tmp_path,
        "a",
        _object("dog", (1, 1, 9, 9)),
        _object("cat", (1, 1, 9, 9), difficult=1),  # left out, yet in the photo
        _object("cow", None),
    )
    _annotate(tmp_path, "b", *(_object(n, (1, 1, 9, 9)) for n in ("cat", "cow", "bus")))
    for seed in range(20):
        foils = {sample.id: sample.foil for sample in PascalVOC(str(tmp_path), seed)}
        assert foils == {"a/dog": "bus", "b/cat": "dog", "b/cow": "dog", "b/bus": "dog"}


def test_boxes_are_clipped_to_the_image(tmp_path: Path) -> None:
    _annotate(tmp_path, "a", _object("dog", (-5, 0, 100, 100)))
    assert PascalVOC(str(tmp_path), seed=0)[0].boxes.tolist() == [[0, 0, 40, 30]]


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("no box", _object("cat", None)),
        ("no box", _object("cat", (1, 1, 9, None))),
        ("no box", _object("cat", (1, 1, 9, "x"))),
        ("no box", _object("cat", (1, 1, 9, "nan"))),
        ("no box", _object("cat", (1, 1, 9, "inf"))),
        ("empty box", _object("cat", (9, 1, 5, 9))),
        ("empty box", _object("cat", (5, 9, 9, 8))),
        ("box outside the image", _object("cat", (41, 1, 50, 9))),
        ("box outside the image", _object("cat", (1, -9, 9, 0))),
        ("difficult", _object("cat", (1, 1, 9, 9), difficult=1)),
        ("no class name", _object(" ", (1, 1, 9, 9))),
    ],
)
def test_bad_objects_are_counted_and_good_ones_beside_them_kept(
    tmp_path: Path, reason: str, bad: str
) -> None:
    _annotate(tmp_path, "a", bad, _object("dog", (1, 1, 9, 9)), bad)
    data = PascalVOC(str(tmp_path), seed=0)
    assert [sample.id for sample in data] == ["a/dog"]
    assert dict(data.skipped) == {reason: 2}


def test_difficult_objects_are_kept_on_demand(tmp_path: Path) -> None:
    _annotate(tmp_path, "a", _object("cat", (1, 1, 9, 9), difficult=1))
    data = PascalVOC(str(tmp_path), seed=0, difficult=True)
    assert [sample.id for sample in data] == ["a/cat"]
    assert dict(data.skipped) == {}


@pytest.mark.parametrize("size", [None, (0, 0), ("", "")])
def test_a_missing_size_is_read_from_the_photo(tmp_path: Path, size: tuple[int, int]) -> None:
    _annotate(tmp_path, "a", _object("cat", (1, 1, 99, 99)), size=size)
    assert PascalVOC(str(tmp_path), seed=0)[0].boxes.tolist() == [[0, 0, 40, 30]]


def test_bad_files_are_counted(tmp_path: Path) -> None:
    cat = _object("cat", (1, 1, 9, 9))
    _annotate(tmp_path, "good", cat)
    _annotate(tmp_path, "no_photo", cat, cat, image=False)
    _annotate(tmp_path, "no_object")
    _annotate(tmp_path, "cut").write_text("<annotation><object>")
    _annotate(tmp_path, "empty").write_text("")
    _annotate(tmp_path, "codec").write_bytes(b"<?xml version='1.0' encoding='klingon'?><a/>")
    _annotate(tmp_path, "broken", cat, size=None)
    (tmp_path / "JPEGImages" / "broken.jpg").write_text("no photo")
    data = PascalVOC(str(tmp_path), seed=0)
    assert [sample.id for sample in data] == ["good/cat"]
    assert dict(data.skipped) == {
        "missing image": 2,
        "no object": 1,
        "unreadable XML": 3,
        "unreadable image": 1,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE annotation [<!ENTITY a "cat">]>',
        '<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE annotation SYSTEM "annotation.dtd">',
    ],
)
def test_document_types_are_refused(tmp_path: Path, doctype: str, encoding: str) -> None:
    path = _annotate(tmp_path, "a", _object("cat", (1, 1, 9, 9)))
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    path.write_bytes((head + path.read_text()).encode(encoding))
    assert len(PascalVOC(str(tmp_path), seed=0)) == 1
    plain = path.read_bytes().decode(encoding)
    path.write_bytes(plain.replace(head, head + doctype).encode(encoding))
    data = PascalVOC(str(tmp_path), seed=0)
    assert len(data) == 0
    assert dict(data.skipped) == {"unreadable XML": 1}


def test_a_photo_under_another_name_or_suffix_is_found(tmp_path: Path) -> None:
    cat = _object("cat", (1, 1, 9, 9))
    _annotate(tmp_path, "a", cat, filename="../../secret.jpg")
    _annotate(tmp_path, "b", cat, filename="other.png", image=False)
    Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages" / "other.png")
    _annotate(tmp_path, "c", cat, image=False)
    Image.new("RGB", (40, 30)).save(tmp_path / "JPEGImages" / "c.png")
    names = [Path(str(sample.image)).name for sample in PascalVOC(str(tmp_path), seed=0)]
    assert names == ["a.jpg", "other.png", "c.png"]


def test_splits(tmp_path: Path) -> None:
    for stem in "abc":
        _annotate(tmp_path, stem, _object("cat", (1, 1, 9, 9)))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("c\na\n\nc\nzebra\n")
    (lists / "cat_val.txt").write_text("b  1\nc -1\n")
    data = PascalVOC(str(tmp_path), seed=0, split="val")
    assert [sample.image_id for sample in data] == ["a", "c"]
    assert dict(data.skipped) == {"duplicate id": 1, "missing annotation": 1}
    assert [s.image_id for s in PascalVOC(str(tmp_path), 0, split="cat_val")] == ["b", "c"]
    with pytest.raises(VlgroundError, match=r"dataset\.split=test: expected cat_val, val$"):
        PascalVOC(str(tmp_path), seed=0, split="test")


def test_wrong_roots_are_explained(tmp_path: Path) -> None:
    start = (
        r"dataset\.root=.*: expected a Pascal VOC folder with Annotations/\*\.xml and JPEGImages/"
    )
    with pytest.raises(VlgroundError, match=r"dataset\.root=None: .*found nothing$"):
        PascalVOC(None, seed=0)
    with pytest.raises(VlgroundError, match=start + ", found no such folder$"):
        PascalVOC(str(tmp_path / "nowhere"), seed=0)
    with pytest.raises(VlgroundError, match=r"no Annotations/.*and no photo in JPEGImages/$"):
        PascalVOC(str(tmp_path), seed=0)
    _annotate(tmp_path, "a", image=False)
    with pytest.raises(VlgroundError, match=r"found no photo in JPEGImages/$"):
        PascalVOC(str(tmp_path), seed=0)


@pytest.mark.shared
def test_sixty_real_photos(voc60: Path) -> None:
    data = PascalVOC(str(voc60), seed=0)
    assert len({sample.image_id for sample in data}) == 60
    assert len(data) == 87
    assert sum(len(sample.boxes) for sample in data) == 143
    assert dict(data.skipped) == {"difficult": 31}
    counts = Counter(sample.text for sample in data)
    assert len(counts) == 20
    assert counts["person"] == 20
    for sample in data:
        width, height = load_image(sample).size
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= [width, height, width, height]).all()
        assert sample.foil in counts
    first = next(sample for sample in data if sample.id == "2007_000027/person")
    np.testing.assert_array_equal(first.boxes, [[173, 100, 349, 351]])
