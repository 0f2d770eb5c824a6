from pathlib import Path

import pytest
from tests.data.published import Objects, flickr_image, info_ground, real

from vlground.data.flickr30k_entities import Flickr30kEntities
from vlground.data.sample import manifest
from vlground.errors import VlgroundError
from vlground.testing import check_dataset

FIRST: Objects = [
    (["1"], (1, 1, 10, 40)),
    (["1", "6"], (21, 5, 21, 5)),  # one pixel, and two chains
    (["8"], "scene nobox"),
    (["9"], "nobox"),
    (["7"], (51, 31, 70, 45)),  # over the edge
    (["11"], (61, 1, 70, 9)),
    (["12"], (9, 9, 5, 20)),
]
SECOND: Objects = [(["20"], (11, 11, 20, 20))]
SENTENCES = [
    [
        "[/EN#1/people Two young guys] with [/EN#6/bodyparts shaggy hair] look at "
        "[/EN#9/bodyparts their hands] in [/EN#8/scene the yard] .",
        "[/EN#0/notvisual It] is [/EN#7/vehicles/scene a r]ed [bus] , [/EN#1/people men] .",
        "[/EN#11/other A hat] and [/EN#12/other a cup] and [/EN#13/other a cat] .",
    ],
    ["[/EN#20/people Men] sit with [/EN#99/other Shaggy hair] ."],
]
SKIPPED = {
    "box outside the image": 1,
    "empty box": 1,
    "no box": 5,  # 9, 11, 12, 13, 99
    "scene": 1,
    "not visual": 1,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Indexes lie in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vlground"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    flickr_image(tmp_path, "1000", FIRST, SENTENCES[0])
    flickr_image(tmp_path, "36", SECOND, SENTENCES[1])
    return tmp_path


def test_every_phrase_with_a_box_is_a_sample_with_all_its_boxes(root: Path) -> None:
    data = Flickr30kEntities(str(root), seed=0)
    check_dataset(data)
    assert [(s.id, s.text, s.label, s.boxes.tolist()) for s in data] == [
        ("1000/0/0", "Two young guys", "people", [[0, 0, 10, 40], [20, 4, 21, 5]]),
        ("1000/0/1", "shaggy hair", "bodyparts", [[20, 4, 21, 5]]),
        ("1000/1/1", "a r]ed [bus", "vehicles/scene", [[50, 30, 60, 40]]),
        ("1000/1/2", "men", "people", [[0, 0, 10, 40], [20, 4, 21, 5]]),
        ("36/0/0", "Men", "people", [[10, 10, 20, 20]]),
    ]
    assert data[0].image == root / "flickr30k-images" / "1000.jpg"
    assert dict(data.skipped) == SKIPPED


@pytest.mark.parametrize(
    ("origin", "box"),
    [("as_mdetr", [11, 11, 20, 20]), ("as_info_ground", [10, 10, 19, 19])],
)
def test_other_readings_of_the_coordinates(root: Path, origin: str, box: list[float]) -> None:
    data = Flickr30kEntities(str(root), seed=0, origin=origin)  # type: ignore[arg-type]
    assert data[len(data) - 1].boxes.tolist() == [box]


@pytest.mark.parametrize("origin", ["one_based", "as_mdetr", "as_info_ground"])
def test_info_grounds_json_gives_the_same_samples(root: Path, origin: str) -> None:
    said = {
        "1000": [
            [("1", "Two young guys", ["people"]), ("6", "shaggy hair", ["bodyparts"]),
             ("9", "their hands", ["bodyparts"]), ("8", "the yard", ["scene"])],
            [("0", "It", ["notvisual"]), ("7", "a r]ed [bus", ["vehicles", "scene"]),
             ("1", "men", ["people"])],
            [("11", "A hat", ["other"]), ("12", "a cup", ["other"]), ("13", "a cat", ["other"])],
        ],
        "36": [[("20", "Men", ["people"]), ("99", "Shaggy hair", ["other"])]],
    }  # fmt: skip
    keys = ("phrase_id", "phrase", "phrase_type")
    nodes = {
        name: [{"phrases": [dict(zip(keys, p, strict=True)) for p in ps]} for ps in sentences]
        for name, sentences in said.items()
    }
    info_ground(root, ["1000", "36"], [FIRST, SECOND], nodes)
    xml = Flickr30kEntities(str(root), seed=0, origin=origin)  # type: ignore[arg-type]
    read = Flickr30kEntities(str(root), 0, annotations="json", origin=origin)  # type: ignore[arg-type]
    assert [s.truth_key for s in read] == [s.truth_key for s in xml]
    assert dict(read.skipped) == dict(xml.skipped)


def test_foils_are_not_true_of_the_image_whatever_their_case(root: Path) -> None:
    for seed in range(20):
        foils = {s.id: s.foil for s in Flickr30kEntities(str(root), seed)}
        # "Men" of image 36 is "men" in image 1000, and the other way round.
        assert foils["1000/0/0"] is None
        # Shaggy hair is said of 36 too, though it has no box there.
        assert foils["36/0/0"] in {"Two young guys", "a r]ed [bus"}


def test_bad_files_are_counted(root: Path) -> None:
    flickr_image(root, "cut", SECOND, SENTENCES[1])
    (root / "Annotations" / "cut.xml").write_text("<annotation><object>")
    flickr_image(root, "word", SECOND, SENTENCES[1])
    path = root / "Annotations" / "word.xml"
    path.write_text(path.read_text().replace("<xmin>11", "<xmin>eleven"))
    flickr_image(root, "entity", SECOND, SENTENCES[1])
    path = root / "Annotations" / "entity.xml"
    path.write_text('<!DOCTYPE annotation [<!ENTITY a "cat">]>\n' + path.read_text())
    flickr_image(root, "gone", SECOND, SENTENCES[1])
    (root / "Sentences" / "gone.txt").unlink()
    data = Flickr30kEntities(str(root), seed=0)
    assert {s.image_id for s in data} == {"1000", "36"}
    assert dict(data.skipped) == SKIPPED | {"unreadable XML": 3, "missing annotation": 1}


def test_wrong_roots_and_options_are_explained(root: Path, tmp_path: Path) -> None:
    expected = r"test\.txt, Annotations/\*\.xml, Sentences/\*\.txt, flickr30k-images/\*\.jpg"
    with pytest.raises(VlgroundError, match=rf"dataset\.root=None: .*{expected}, found nothing$"):
        Flickr30kEntities(None, seed=0)
    with pytest.raises(VlgroundError, match=r"found no such folder$"):
        Flickr30kEntities(str(tmp_path / "nowhere"), seed=0)
    with pytest.raises(VlgroundError, match=r"found no val\.txt$"):
        Flickr30kEntities(str(root), seed=0, split="val")
    with pytest.raises(VlgroundError, match=r"found no bounding_boxes_test\.json, no sentences"):
        Flickr30kEntities(str(root), seed=0, annotations="json")
    with pytest.raises(VlgroundError, match=r"dataset\.origin=zero: expected one_based"):
        Flickr30kEntities(str(root), seed=0, origin="zero")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"none of the photos of 2 images .* at .*1000\.jpg$"):
        Flickr30kEntities(str(root), seed=0, images=str(tmp_path / "elsewhere"))


@pytest.mark.shared
def test_the_official_count() -> None:
    assert len(Flickr30kEntities(real("flickr30k_entities"), seed=0)) == 14_481


def test_an_index_gives_the_samples_that_the_files_gave(root: Path, cache: Path) -> None:
    first = Flickr30kEntities(str(root), seed=0)
    (index,) = cache.iterdir()
    again = Flickr30kEntities(str(root), seed=0)
    assert manifest(again) == manifest(first)
    assert dict(again.skipped) == dict(first.skipped) == SKIPPED
    index.write_bytes(index.read_bytes()[:-100])  # torn: made anew
    assert manifest(Flickr30kEntities(str(root), seed=0)) == manifest(first)
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


def test_another_option_or_an_edited_file_is_another_index(root: Path, cache: Path) -> None:
    plain = Flickr30kEntities(str(root), seed=0)
    shifted = Flickr30kEntities(str(root), seed=0, origin="as_mdetr")
    assert plain[0].boxes.tolist() != shifted[0].boxes.tolist()
    sentences = root / "Sentences" / "36.txt"
    sentences.write_text(sentences.read_text().replace("Men", "Women"))
    assert "Women" in {sample.text for sample in Flickr30kEntities(str(root), seed=0)}
    assert len(list(cache.iterdir())) == 3


def test_an_index_of_photos_that_are_gone_says_so(root: Path) -> None:
    Flickr30kEntities(str(root), seed=0)
    for photo in (root / "flickr30k-images").iterdir():
        photo.rename(root / photo.name)
    (root / "flickr30k-images" / "other.jpg").write_bytes(b"x")
    with pytest.raises(VlgroundError, match="none of the photos of 2 images is there"):
        Flickr30kEntities(str(root), seed=0)


def test_a_folder_that_cannot_be_written_costs_no_run(root: Path) -> None:
    (root / "file").write_text("")
    data = Flickr30kEntities(str(root), seed=0, cache_dir=str(root / "file" / "below"))
    assert len(data) == 5
