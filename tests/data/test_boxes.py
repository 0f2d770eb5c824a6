from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.published import photo, write_json

from vlground.data.annotators import least_agreement
from vlground.data.boxes_file import Boxes
from vlground.data.foils import FoilPool
from vlground.data.sample import draw_foil
from vlground.errors import VlgroundError
from vlground.geometry import boxes_to_mask
from vlground.testing import check_dataset

CSV = """image,text,x0,y0,x1,y1
a.jpg,a dog,1,2,3.5,4
sub/b.jpg,"dogs, two",0,0,60,40

a.jpg,cat,5,5,9,9
a.jpg,a dog,10,20,30,40
"""
ENTRIES = [
    {"image": "a.jpg", "text": "a dog", "boxes": [[1, 2, 3.5, 4], [10, 20, 30, 40]]},
    {"image": "sub/b.jpg", "text": "dogs, two", "boxes": [[0, 0, 60, 40]]},
    {"image": "a.jpg", "text": "cat", "boxes": [[5, 5, 9, 9]]},
]

OBJECT = "is no object with boxes, image, text and perhaps id, foil, annotator"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "sub" / "b.jpg")
    return tmp_path


def _csv(root: Path, text: str) -> Boxes:
    (root / "boxes.csv").write_text(text, "utf-8")
    return Boxes(str(root), seed=0)


@pytest.mark.parametrize("kind", ["csv", "excel", "json"])
def test_one_sample_per_image_and_text(root: Path, kind: str) -> None:
    if kind == "json":
        write_json(root / "boxes.json", ENTRIES)
    elif kind == "csv":
        (root / "boxes.csv").write_text(CSV)
    else:  # with the mark that Excel puts first, and its line ends
        (root / "boxes.csv").write_text(CSV, "utf-8-sig", newline="\r\n")
    data = Boxes(str(root), seed=0)
    check_dataset(data)
    assert [(s.id, s.text, s.image, s.foil, s.boxes.tolist()) for s in data] == [
        (
            "a.jpg/a dog",
            "a dog",
            root / "a.jpg",
            "dogs, two",
            [[1, 2, 3.5, 4], [10, 20, 30, 40]],
        ),
        ("a.jpg/cat", "cat", root / "a.jpg", "dogs, two", [[5, 5, 9, 9]]),
        ("sub/b.jpg/dogs, two", "dogs, two", root / "sub/b.jpg", data[2].foil, [[0, 0, 60, 40]]),
    ]
    assert data[2].foil in {"a dog", "cat"}
    assert dict(data.skipped) == {}


def test_ids_and_foils_may_be_given(root: Path) -> None:
    lines = ["image,text,x0,y0,x1,y1,foil,id"]
    lines += ["a.jpg,a dog,1,2,3,4,a bus,first", "a.jpg,a dog,5,5,9,9,,second"]
    data = _csv(root, "\n".join([*lines, "a.jpg,a dog,4,4,5,5,a bus,first"]))
    assert [(s.id, s.foil, len(s.boxes)) for s in data] == [
        ("first", "a bus", 2),
        ("second", None, 1),
    ]
    (root / "boxes.csv").unlink()
    write_json(root / "mine.json", [{**ENTRIES[0], "id": 7, "foil": "a bus"}])
    (one,) = Boxes(str(root / "mine.json"), seed=0)
    assert (one.id, one.foil) == ("7", "a bus")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.jpg,a dog,1,2,3", "line 3 has 5 values, expected 6"),
        ("a.jpg,a dog,1,2,3,4,5", "line 3 has 7 values, expected 6"),
        ("a.jpg,a dog,1,2,x,4", "line 3 has no four numbers in 1, 2, x, 4"),
        ("a.jpg,a dog,1,2,,4", "line 3 has no four numbers in 1, 2, , 4"),
        ("a.jpg,a dog,1,2,nan,4", "line 3 is not x0 < x1, y0 < y1 in 1, 2, nan, 4"),
        ("a.jpg,a dog,1,2,inf,4", "line 3 is not x0 < x1, y0 < y1 in 1, 2, inf, 4"),
        ("a.jpg,a dog,3,2,3,4", "line 3 is not x0 < x1, y0 < y1 in 3, 2, 3, 4"),
        (",a dog,1,2,3,4", "line 3 has no image or no text"),
        ("a.jpg, ,1,2,3,4", "line 3 has no image or no text"),
    ],
)
def test_malformed_lines_are_named(root: Path, line: str, reason: str) -> None:
    with pytest.raises(VlgroundError) as error:
        _csv(root, f"image,text,x0,y0,x1,y1\na.jpg,cat,1,2,3,4\n{line}\n")
    assert str(error.value) == f"{root / 'boxes.csv'}: {reason}"


def test_many_malformed_lines_are_one_line(root: Path) -> None:
    with pytest.raises(VlgroundError, match=r"line 2 .*; line 6 [^;]*; and 3 more$"):
        _csv(root, "image,text,x0,y0,x1,y1\n" + "a.jpg,cat,9,9,9,9\n" * 8)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("a dog", f"entry 1 {OBJECT}"),
        ({"image": "a.jpg", "text": "a dog"}, f"entry 1 {OBJECT}"),
        ({**ENTRIES[0], "box": []}, f"entry 1 {OBJECT}"),
        ({**ENTRIES[0], "boxes": None}, "entry 1 has no list of boxes in None"),
        (ENTRIES[1], "entry 2 has the id sub/b.jpg/dogs, two of another entry"),
        ({**ENTRIES[0], "boxes": []}, "entry 1 has no box"),
        ({**ENTRIES[0], "boxes": [3]}, "entry 1 has no four numbers in 3"),
        ({**ENTRIES[0], "foil": "A Dog"}, "entry 1 has its text as foil"),
    ],
)
def test_malformed_entries_are_named(root: Path, entry: object, reason: str) -> None:
    write_json(root / "boxes.json", [entry, ENTRIES[1]])
    with pytest.raises(VlgroundError) as error:
        Boxes(str(root), seed=0)
    assert str(error.value) == f"{root / 'boxes.json'}: {reason}"


def test_one_id_is_one_phrase(root: Path) -> None:
    lines = "image,text,x0,y0,x1,y1,id\na.jpg,cat,1,2,3,4,one\na.jpg,dog,1,2,3,4,one\n"
    with pytest.raises(VlgroundError, match=r"line 3 has the id one of another image, text or f"):
        _csv(root, lines)


def test_annotators_who_disagree_are_counted(root: Path) -> None:
    lines = [
        "image,text,x0,y0,x1,y1,annotator",
        "a.jpg,a dog,0,0,10,10,ann",
        "a.jpg,a dog,0,0,10,6,bob",  # IoU 0.6
        "a.jpg,cat,0,0,10,10,ann",
        "a.jpg,cat,20,20,30,30,bob",
        "a.jpg,cat,0,0,10,10,eve",  # agrees with one, not with all
        "sub/b.jpg,two,0,0,2,2,ann",
        "sub/b.jpg,two,4,4,6,6,ann",
        "sub/b.jpg,two,0,0,2,2,bob",  # half of what ann drew
    ]
    data = _csv(root, "\n".join(lines))
    assert [sample.text for sample in data] == ["a dog", "two"]
    assert dict(data.skipped) == {"annotators disagree": 1}
    assert data[0].foil == "two", "what is left out is still true of its photo"
    assert data[0].boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 6]]
    first = Boxes(str(root), seed=0, annotators="first", agreement=None)
    assert [len(sample.boxes) for sample in first] == [1, 1, 2]
    strict = Boxes(str(root), seed=0, agreement=0.7)
    assert dict(strict.skipped) == {"annotators disagree": 3}
    for option, value in (("annotators", "mean"), ("agreement", 2)):
        with pytest.raises(VlgroundError, match=rf"^dataset\.{option}={value}: expected"):
            Boxes(str(root), seed=0, **{option: value})  # type: ignore[arg-type]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 4)] * 2), min_size=2))
def test_agreement_is_that_of_the_pixels(boxes: list[tuple[int, int, int, int]]) -> None:
    corners = [[x, y, x + w, y + h] for x, y, w, h in boxes]
    masks = [boxes_to_mask(half, 12, 12).numpy() for half in (corners[:1], corners[1:])]
    expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    found = least_agreement({"ann": corners[:1], "bob": corners[1:]})
    assert found == pytest.approx(expected)


def test_wrong_headers_roots_and_files_are_explained(root: Path) -> None:
    for header in ("image,text,x,y,w,h", "image,text,x0,y0,x1,y1,x1", "", "image,text,x0,y0,x1"):
        with pytest.raises(VlgroundError, match=rf"line 1 is {header}, expected image,text,x0,y0"):
            _csv(root, header + "\n")
    write_json(root / "boxes.json", ENTRIES)
    for wrong, found in (
        (None, "nothing"),
        (str(root / "sub"), "nothing"),
        (str(root), "boxes.csv and boxes.json"),
        (str(root / "a.jpg"), "a.jpg"),
    ):
        with pytest.raises(VlgroundError, match=rf"dataset\.root={wrong}: .*, found {found}$"):
            Boxes(wrong, seed=0)
    (root / "boxes.csv").unlink()
    (root / "boxes.json").write_text("[")
    with pytest.raises(VlgroundError, match=r"boxes\.json: not in the format of boxes: JSON"):
        Boxes(str(root), seed=0)
    write_json(root / "boxes.json", [{**ENTRIES[0], "image": "gone.jpg"}])
    with pytest.raises(VlgroundError, match=r"none of the photos of 1 images .*gone\.jpg$"):
        Boxes(str(root), seed=0)


@given(
    texts=st.lists(st.text("aAbB", max_size=2), max_size=12),
    own=st.lists(st.text("aAbB", max_size=2), max_size=6),
    seed=st.integers(0, 3),
    name=st.text(max_size=3),
)
def test_a_pool_draws_what_draw_foil_draws(
    texts: list[str], own: list[str], seed: int, name: str
) -> None:
    folded = {text.lower() for text in own}
    others = [text for text in texts if text.lower() not in folded]
    drawn = FoilPool(texts, seed).draw(name, own)
    assert drawn == draw_foil(seed, name, "no such text", others)
