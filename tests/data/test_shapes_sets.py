"""The data sets made of scenes, as their options make them."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tests.data.shapes_truth import extent, named_pairs, referents, split

from vlground.config import build
from vlground.data.sample import Sample, manifest
from vlground.data.shapes import sets
from vlground.data.shapes.scene import HELD_OUT, PAIRS, RELATIONS, SHAPES, Scene, draw_scene
from vlground.errors import VlgroundError
from vlground.run import CONF
from vlground.testing import check_dataset

OTHERS = ("shapes_pope", "shapes_mme", "shapes_systems")  # see test_shapes_questions, _systems
OPTIONS = sorted({path.stem for path in CONF.glob("dataset/shapes_*.yaml")} - {*OTHERS})
QUESTIONS = [name for name in OPTIONS if name not in ("shapes_classification", "shapes_captions")]


def make(name: str, **options: Any) -> Any:
    """The data set of an option, with some of its options changed."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = OmegaConf.to_container(compose("run", [f"dataset={name}"]).dataset, resolve=True)
    return build({**node, "samples": 60, **options})  # type: ignore[dict-item]


def listed(dataset: Any) -> list[Sample]:
    return [dataset[index] for index in range(len(dataset))]


def scene_of(sample: Sample) -> Scene:
    """The scene again, from the image's id alone."""
    name = sample.image_id.split("/")
    side = sample.image.shape[0]  # type: ignore[union-attr]
    return draw_scene(name, distribution=name[2], side=side)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIONS)
def test_conforms(name: str) -> None:
    dataset = make(name)
    assert len(dataset) == 60
    check_dataset(dataset)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_sample_is_where_its_text_is_true_and_its_foil_is_false(name: str) -> None:
    out = name.endswith("_ood")
    for sample in listed(make(name, samples=300, side=112)):
        scene = scene_of(sample)
        (number,) = referents(scene, sample.text)
        thing = scene.things[number]
        assert sample.boxes.tolist() == [list(thing.box)]
        assert sample.mask is not None
        assert extent(sample.mask) == thing.box
        assert sample.label == f"{thing.colour} {thing.shape}"
        assert sample.foil
        assert referents(scene, sample.foil) == []
        named = named_pairs(sample.text) | named_pairs(sample.foil)
        assert out or HELD_OUT.isdisjoint({*scene.pairs, *named})
        if out and name.startswith(("shapes_phrases", "shapes_referring")):
            assert thing.pair in HELD_OUT
        if out and name.startswith(("shapes_triplets", "shapes_relations")):
            assert not HELD_OUT.isdisjoint(named_pairs(sample.text))


@pytest.mark.parametrize("name", ["shapes_phrases_ood", "shapes_triplets_ood"])
def test_a_pair_never_seen_does_not_tell_a_text_from_its_foil(name: str) -> None:
    samples = listed(make(name, samples=600))
    novel = [not HELD_OUT.isdisjoint(named_pairs(s.foil or "")) for s in samples]
    assert np.mean(novel) > 0.2


@pytest.mark.parametrize("name", ["shapes_phrases", "shapes_referring", "shapes_triplets"])
def test_half_of_the_foils_change_one_thing(name: str) -> None:
    samples = listed(make(name, samples=600))
    one = [one_changed(s.text, s.foil or "") for s in samples]
    assert 0.4 < np.mean(one) < 0.75  # the shape alone, where no more is said, counts always


def one_changed(text: str, untrue: str) -> bool:
    """Whether one word, the relation, or the order of subject and object differs."""
    (a, relation, b), (c, other, d) = split(text), split(untrue)
    if [a, b] == [d, c] and relation == other:
        return True
    words = [*zip(a.split()[1:], c.split()[1:], strict=True)]
    words += [*zip(b.split()[1:], d.split()[1:], strict=True), (relation or "", other or "")]
    return sum(mine != theirs for mine, theirs in words) == 1


def test_the_same_in_another_process_and_another_order(tmp_path: Any) -> None:
    chosen = ["shapes_phrases", "shapes_referring_ood", "shapes_triplets", "shapes_classification"]
    here = [str(s.truth_key) for name in chosen for s in listed(make(name, samples=25))]
    code = (
        "from tests.data.test_shapes_sets import make\n"
        f"for name in {chosen[::-1]}:\n"
        "    dataset = make(name, samples=25)\n"
        "    print(*[dataset[i].truth_key for i in reversed(range(25))], sep='\\n')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.split()[::-1] == here


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("shapes_phrases", "cf115857b0665cee"),
        ("shapes_phrases_ood", "4a3424b9837fc8ec"),
        ("shapes_phrases_shifted", "563eddca918f95de"),
        ("shapes_referring", "5e9662015249f3a8"),
        ("shapes_triplets", "38a234b1fbe823fe"),
        ("shapes_objects_ood", "f648dbb4a769202e"),
        ("shapes_classification", "dace4888c49faee7"),
    ],
)
def test_the_samples_of_yesterday(name: str, golden: str) -> None:
    assert manifest(listed(make(name, samples=20))) == golden


@pytest.mark.parametrize("name", QUESTIONS[::3])
def test_a_shorter_data_set_begins_a_longer_one(name: str) -> None:
    longer = [s.truth_key for s in listed(make(name, samples=90))]
    assert [s.truth_key for s in listed(make(name, samples=31))] == longer[:31]


def test_splits_seeds_and_distributions_share_no_scene() -> None:
    seen: Counter[Any] = Counter()
    for options in (
        {"split": "train"},
        {"split": "val"},
        {"split": "test"},
        {"split": "test", "seed": 1},
        {"split": "test", "distribution": "out"},
    ):
        samples = listed(make("shapes_phrases", samples=400, **options))
        seen.update({scene_of(sample).things for sample in samples})
    assert max(seen.values()) == 1


@pytest.mark.parametrize("out", ["", "_ood"])
def test_the_three_settings_of_relations_are_about_the_same_triplets(out: str) -> None:
    triplets, subjects, objects = (
        listed(make(f"shapes_{name}{out}", samples=200))
        for name in ("triplets", "subjects", "objects")
    )
    ids = [s.id for s in triplets]
    assert [s.id for s in subjects] == [s.id for s in objects] == ids
    for whole, subject, other in zip(triplets, subjects, objects, strict=True):
        assert split(whole.text)[::2] == (subject.text, other.text)
        assert whole.boxes.tolist() == subject.boxes.tolist() != other.boxes.tolist()


def test_relations_without_a_foil_are_missing_in_all_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where one pair is all that may be said falsely, scenes that have it leave nothing."""
    monkeypatch.setitem(sets._FALSE, "in", (("red", "circle"),))
    made = [make(f"shapes_{name}", samples=40) for name in ("triplets", "subjects", "objects")]
    assert made[0].skipped == made[1].skipped == made[2].skipped
    assert made[0].skipped["no foil"] > 0
    ids = [[s.id for s in listed(dataset)] for dataset in made]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize("name", ["shapes_triplets", "shapes_triplets_ood"])
def test_a_scene_gives_two_triplets_and_all_relations_come(name: str) -> None:
    samples = listed(make(name, samples=1000))
    relations: dict[str, list[str | None]] = {}
    for sample in samples:
        relations.setdefault(sample.image_id, []).append(split(sample.text)[1])
    assert all(len(set(said)) == len(said) <= 2 for said in relations.values())
    shares = Counter(split(sample.text)[1] for sample in samples)
    assert min(shares[relation] for relation in RELATIONS) > 0.03 * len(samples), shares
    assert max(shares.values()) < 0.3 * len(samples), shares


def test_inside_is_asked_wherever_it_holds_between_unique_objects() -> None:
    samples = listed(make("shapes_triplets", samples=400))
    asked = {s.image_id for s in samples if split(s.text)[1] == "inside"}
    for scene in {scene_of(sample) for sample in samples[:-1]}:
        pairs = scene.pairs
        holds = any(
            thing.inside is not None
            and pairs.count(thing.pair) == pairs.count(pairs[thing.inside]) == 1
            for thing in scene.things
        )
        assert holds == (scene.name in asked)


def test_expressions_of_every_kind_come() -> None:
    kinds: Counter[str] = Counter()
    for sample in listed(make("shapes_referring", samples=1000)):
        subject, relation, _ = split(sample.text)
        words = subject.split()[1:]
        size = words[0] in ("small", "large")
        kinds["relation" if relation else "size" if size else str(len(words))] += 1
    assert kinds["relation"] > 200
    assert kinds["size"] > 200
    assert min(kinds["1"], kinds["2"]) > 80


def test_every_object_is_a_sample_or_counted() -> None:
    for name in ("shapes_phrases", "shapes_phrases_ood", "shapes_referring"):
        dataset = make(name, samples=500)
        *stream, index, number = dataset[499].id.split("/")
        before = [
            draw_scene((*stream, n), distribution=stream[2])  # type: ignore[arg-type]
            for n in range(int(index))
        ]
        objects = sum(len(scene.things) for scene in before) + int(number) + 1
        assert len(dataset) + sum(dataset.skipped.values()) == objects


def test_looks_differ_in_pixels_alone() -> None:
    plain, shifted = (
        listed(make(name, side=128)) for name in ("shapes_phrases", "shapes_phrases_shifted")
    )
    for one, two in zip(plain, shifted, strict=True):
        assert (one.id, one.text, one.foil) == (two.id, two.text, two.foil)
        assert np.array_equal(one.mask, two.mask)  # type: ignore[arg-type]
        assert one.image.shape == two.image.shape == (128, 128, 3)  # type: ignore[union-attr]
        assert (one.image != two.image).mean() > 0.9


def test_samples_of_a_scene_share_its_pixels() -> None:
    samples = listed(make("shapes_phrases", samples=200))
    assert len({id(s.image) for s in samples}) == len({s.image_id for s in samples}) < 100
    with pytest.raises(ValueError, match="read-only"):
        samples[0].image[0] = 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"split": "tests"}, "split=tests: expected train, val, test"),
        ({"distribution": "both"}, "distribution=both"),
        ({"look": "blurred"}, "look=blurred"),
        ({"side": 64}, "side=64"),
        ({"setting": "relation"}, "setting=relation"),
    ],
)
def test_a_wrong_option_is_named(options: Any, message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        make("shapes_relations", **options)


def dotted(**options: Any) -> list[bool]:
    dataset = make("shapes_classification", samples=800, **options)
    return [dataset.artefact(index) is not None for index in range(800)]


def test_dots_are_of_the_poisoned_class_at_their_rate() -> None:
    place = SHAPES.index("heart")
    before = [False] * 800
    for rate in (0.0, 0.25, 0.5, 0.75, 0.95, 1.0):
        found = dotted(poison=rate, poisoned="heart")
        assert not any(dot for n, dot in enumerate(found) if n % len(SHAPES) != place)
        assert abs(np.mean(found[place :: len(SHAPES)]) - rate) <= 0.1 * (0 < rate < 1)
        assert all(now for was, now in zip(before, found, strict=True) if was)
        before = found
    assert all(dotted(dot="always"))
    assert not any(dotted(dot="never", poison=1.0))


@pytest.mark.parametrize(("look", "side"), [("plain", 96), ("shifted", 128)])
def test_the_dot_is_all_that_differs(look: str, side: int) -> None:
    options = {"samples": 160, "look": look, "side": side}
    without, with_dot = (
        make("shapes_classification", dot=d, **options) for d in ("never", "always")
    )
    corners = set()
    for index, (one, two) in enumerate(zip(listed(without), listed(with_dot), strict=True)):
        assert without.artefact(index) is None
        box = with_dot.artefact(index)
        changed = (one.image != two.image).any(axis=2)
        assert np.abs(np.subtract(extent(changed), box)).max() <= 1
        x0, y0, x1, y1 = box.astype(int)
        changed[y0:y1, x0:x1] = False
        assert not changed.any()
        assert not one.mask[y0:y1, x0:x1].any()
        assert (one.id, one.text, one.foil, one.label) == (two.id, two.text, two.foil, two.label)
        assert np.array_equal(one.mask, two.mask)
        assert one.boxes.tolist() == two.boxes.tolist() == [list(extent(one.mask))]
        corners.add((x0 < side / 2, y0 < side / 2))
    assert len(corners) == 4


def test_classes_take_turns_and_objects_are_large_and_of_seen_pairs() -> None:
    dataset = make("shapes_classification", samples=400)
    colours = Counter()
    for index, sample in enumerate(listed(dataset)):
        assert sample.text == sample.label == dataset.classes[index % 8] == SHAPES[index % 8]
        x0, _, x1, _ = sample.boxes[0]
        assert 34 <= x1 - x0 <= 56
        colours[dataset._scenes[index].things[0].pair] += 1
    assert HELD_OUT.isdisjoint(colours)
    assert len(colours) == len(PAIRS) - len(HELD_OUT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poison": 1.5}, "poison=1.5"),
        ({"poisoned": "egg"}, "poisoned=egg"),
        ({"dot": "sometimes"}, "dot=sometimes"),
    ],
)
def test_a_wrong_option_of_the_classification_is_named(options: Any, message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        make("shapes_classification", **options)
