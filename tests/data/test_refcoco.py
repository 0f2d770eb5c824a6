import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from tests.data.published import instance, instances, photo, real, write_json, write_refs

from vlground.data.files import read_plain_pickle
from vlground.data.refcoco import RefCOCO
from vlground.errors import VlgroundError
from vlground.testing import check_dataset

PHOTOS = {9: "COCO_train2014_000000000009.jpg", 25: "COCO_train2014_000000000025.jpg"}


def _ref(ref: int, ann: int, image: int, split: str, sentences: dict[int, str]) -> dict[str, Any]:
    return {
        "ref_id": ref,
        "ann_id": ann,
        "image_id": image,
        "category_id": 1,
        "split": split,
        "file_name": f"COCO_train2014_{image:012d}_{ann}.jpg",
        "sent_ids": list(sentences),
        "sentences": [
            {"sent_id": i, "raw": s.upper(), "sent": s, "tokens": s.split()}
            for i, s in sentences.items()
        ],
    }


REFS = [
    _ref(3, 700, 9, "testA", {10: "man in red", 11: "guy café"}),
    _ref(4, 701, 25, "testA", {12: "dog", 13: " "}),
    _ref(5, 702, 9, "testA", {14: "tall one", 15: "her"}),
    _ref(6, 999, 25, "testA", {16: "nobody"}),
    _ref(7, 701, 25, "testB", {17: "puppy"}),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder as refer lays it out, with one person, one dog and one box over the edge."""
    boxes = [
        instance(700, 9, 1, [10.5, 4.25, 20.0, 30.5]),
        instance(701, 25, 18, [0, 0, 12.0, 9.75]),
        instance(702, 9, 1, [50.0, 30.0, 15.25, 20.0]),
    ]
    write_json(tmp_path / "refcoco+" / "instances.json", instances(PHOTOS, boxes))
    write_refs(tmp_path / "refcoco+" / "refs(unc).p", REFS)
    for name in PHOTOS.values():
        photo(tmp_path / "images/mscoco/images/train2014" / name)
    return tmp_path


def test_every_expression_is_a_sample(root: Path) -> None:
    data = RefCOCO(str(root), seed=0, split="testA")
    check_dataset(data)
    assert [(s.id, s.image_id, s.text, s.label) for s in data] == [
        ("3/10", "9", "man in red", "person"),
        ("3/11", "9", "guy café", "person"),
        ("5/14", "9", "tall one", "person"),
        ("5/15", "9", "her", "person"),
        ("4/12", "25", "dog", "dog"),
    ]
    assert data[0].boxes.tolist() == [[10.5, 4.25, 30.5, 34.75]]
    assert data[2].boxes.tolist() == [[50, 30, 60, 40]]
    assert Path(str(data[0].image)).name == PHOTOS[9]
    assert dict(data.skipped) == {"no text": 1, "unknown object": 1}


def test_a_sentence_listed_twice_is_one_sample(root: Path) -> None:
    write_refs(root / "refcoco+" / "refs(unc).p", [REFS[0], REFS[0]])
    data = RefCOCO(str(root), seed=0, split="testA")
    check_dataset(data)
    assert dict(data.skipped) == {"duplicate id": 2}


def test_foils_are_of_other_photos_of_the_split(root: Path) -> None:
    for seed in range(20):
        data = RefCOCO(str(root), seed, split="testA")
        assert [s.foil for s in data if s.image_id == "9"] == ["dog"] * 4
        (dog,) = [s for s in data if s.image_id == "25"]
        assert dog.foil in {"man in red", "guy café", "tall one", "her"}
    # What another split says of the photo is true of it too.
    write_refs(root / "refcoco+" / "refs(unc).p", [*REFS, _ref(8, 700, 9, "train", {18: "Dog"})])
    assert RefCOCO(str(root), 0, split="testA")[0].foil is None


def test_partitions_and_names_are_files(root: Path) -> None:
    cog = root / "refcocog"
    cog.mkdir()
    (cog / "instances.json").write_bytes((root / "refcoco+" / "instances.json").read_bytes())
    write_refs(cog / "refs(umd).p", [_ref(1, 700, 9, "test", {1: "a man"})])
    data = RefCOCO(str(root), seed=0, name="refcocog", split_by="umd", split="test")
    assert [s.text for s in data] == ["a man"]
    with pytest.raises(VlgroundError, match=r"found no refcocog/refs\(google\)\.p$"):
        RefCOCO(str(root), seed=0, name="refcocog", split_by="google")


def test_photos_may_be_elsewhere_but_not_nowhere(root: Path, tmp_path: Path) -> None:
    images = root / "images"
    elsewhere = images.rename(tmp_path / "coco") / "mscoco/images/train2014"
    data = RefCOCO(str(root), seed=0, split="testB", images=str(elsewhere))
    assert data[0].image == elsewhere / PHOTOS[25]
    with pytest.raises(VlgroundError, match=r"found no images/mscoco/images/train2014/\*\.jpg$"):
        RefCOCO(str(root), seed=0, split="testB")
    with pytest.raises(VlgroundError, match=r"none of the photos of 1 images .*0000025\.jpg$"):
        RefCOCO(str(root), seed=0, split="testB", images=str(root))


def test_wrong_roots_and_options_are_explained(root: Path) -> None:
    with pytest.raises(VlgroundError, match=r"with refcoco\+/refs\(unc\)\.p, refcoco\+/instances"):
        RefCOCO(None, seed=0)
    with pytest.raises(VlgroundError, match=r"dataset\.split=test: expected testA, testB$"):
        RefCOCO(str(root), seed=0, split="test")
    with pytest.raises(VlgroundError, match=r"dataset\.name=refclef: expected refcoco, refcoco\+"):
        RefCOCO(str(root), seed=0, name="refclef")  # type: ignore[arg-type]
    write_refs(root / "refcoco+" / "refs(unc).p", [{"split": "val"}])
    with pytest.raises(VlgroundError, match=r"refs\(unc\)\.p: not in the format of RefCOCO: KeyE"):
        RefCOCO(str(root), seed=0)


class _Code:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickle_is_not_executed(root: Path, tmp_path: Path, protocol: int) -> None:
    harm = tmp_path / "harm"
    refs = [*REFS, {"split": "testA", "sentences": [_Code(harm)]}]
    path = root / "refcoco+" / "refs(unc).p"
    path.write_bytes(pickle.dumps(refs, protocol))
    with pytest.raises(VlgroundError, match=r"refs\(unc\)\.p: refused .* import \w+\.mkdir$"):
        RefCOCO(str(root), seed=0, split="testA")
    assert not harm.exists()
    pickle.loads(path.read_bytes())
    assert harm.exists(), "the test's pickle carries no code"


@pytest.mark.parametrize("value", [{1}, frozenset(), b"a", 1j, Path("a"), range(2)])
def test_what_is_no_plain_data_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps([value], protocol=2))
    with pytest.raises(VlgroundError, match=r"a\.p: refused .* it wants to import \w+\.\w+$"):
        read_plain_pickle(path)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x02]q", b"\x80\x02Pa\n."])
def test_broken_pickles_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.p"
    path.write_bytes(content)
    with pytest.raises(VlgroundError, match=r"^[^\n]*a\.p: refused[^\n]*$"):
        read_plain_pickle(path)


def test_plain_data_come_back_as_they_were(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, ("b", -(10**20))], 3: "naïve"}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "a.p").write_bytes(pickle.dumps(value, protocol))
        assert read_plain_pickle(tmp_path / "a.p") == value


@pytest.mark.shared
@pytest.mark.parametrize(("split", "count"), [("testA", 5_726), ("testB", 4_889)])
def test_the_official_counts(split: str, count: int) -> None:
    root = str(Path(real("refcoco+")).parent)
    assert len(RefCOCO(root, seed=0, split=split)) == count


def test_an_id_of_two_photos_is_one_sample_and_a_count(root: Path) -> None:
    refs = [*REFS, _ref(3, 701, 25, "testA", {10: "dog again"})]
    write_refs(root / "refcoco+" / "refs(unc).p", refs)
    data = RefCOCO(str(root), seed=0, split="testA")
    check_dataset(data)
    assert data.skipped["duplicate id"] == 1
    assert [sample.text for sample in data if sample.id == "3/10"] == ["man in red"]
