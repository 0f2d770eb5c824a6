import pytest

from vlground.models.imagenet import class_indices, class_names

VOC = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
# Classes that share a lemma with another one, so that their name names both.
SHARED = {"partridge", "crayfish", "polecat", "cardigan", "gong", "harp", "missile", "tub"}


def test_names_are_unique_and_find_their_class() -> None:
    names = class_names()
    assert len(names) == 1000
    assert len({name.lower() for name in names}) == 1000
    assert names[281] == "tabby"
    assert names[999] == "toilet tissue"
    found = {name: class_indices(name) for name in names}
    assert all(index in found[name] for index, name in enumerate(names))
    assert {name for name, indices in found.items() if len(indices) > 1} == SHARED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tabby", (281,)),
        ("Tabby_Cat", (281,)),
        ("disc brake", (535,)),
        ("taxi", (468,)),
        ("crane", (134, 517)),
        ("crane (machine)", (517,)),
        ("missile", (657, 744)),
        ("dining table", (532,)),
        ("diningtable", (532,)),
        ("bicycle", (444, 671)),
        ("Cat", (281, 282, 283, 284, 285)),
        ("dog", tuple(range(151, 269))),
        ("person", ()),
        ("a tabby", ()),
        ("", ()),
    ],
)
def test_what_a_text_names(text: str, expected: tuple[int, ...]) -> None:
    assert class_indices(text) == expected


def test_every_voc_class_but_person_has_counterparts_and_no_two_share_one() -> None:
    groups = {name: class_indices(name) for name in VOC}
    assert [name for name, indices in groups.items() if not indices] == ["person"]
    everything = [index for indices in groups.values() for index in indices]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("group", "first", "last", "beyond"),
    [
        ("bird", ["cock", "black grouse", "white stork"], ["great grey owl", "black swan",
         "albatross"], ["stingray", "European fire salamander", "tusker", "isopod",
         "grey whale", "centipede"]),
        ("dog", ["Chihuahua"], ["Mexican hairless"], ["sea lion", "timber wolf"]),
        ("cat", ["tabby"], ["Egyptian cat"], ["grey fox", "cougar"]),
    ],
)  # fmt: skip
def test_ranges_end_where_the_animals_end(
    group: str, first: list[str], last: list[str], beyond: list[str]
) -> None:
    names, indices = class_names(), class_indices(group)
    starts = [names[index] for index in indices if index - 1 not in indices]
    ends = [names[index] for index in indices if index + 1 not in indices]
    assert (starts, ends) == (first, last)
    around = {names[i + step] for i in indices for step in (-1, 1)} - {names[i] for i in indices}
    assert around == set(beyond)
