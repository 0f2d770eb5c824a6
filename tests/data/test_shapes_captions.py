"""Sentences about scenes and their errors, captions of them, and the data set."""

import hashlib
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.data.shapes_truth import extent, named_pairs, referents
from tests.data.test_shapes_sets import make

from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import (
    CONJECTURES,
    ERROR_TYPES,
    LOCATIONS,
    NUMBERS,
    SYNONYMS,
    Claim,
    Conjecture,
    Count,
    Existence,
    Located,
    Related,
    lies,
    parse,
)
from vlground.data.shapes.language import Description
from vlground.data.shapes.render import mask_of, render
from vlground.data.shapes.scene import (
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    draw_scene,
    generator,
)
from vlground.data.shapes.writing import PARTNERS, write_caption
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair, rows_of
from vlground.rewards.nouns import NounFinder
from vlground.rewards.options import ERROR_TYPES as REWARDED
from vlground.rewards.sentences import split
from vlground.testing import check_dataset


def image(index: int, distribution: str = "in", side: int = 96, partners: float = 0.5) -> str:
    return f"shapes_captions/test/{distribution}/{side}/{partners}/0/{index}"


SCENES = [scene_of(image(index)) for index in range(800)]
OTHERS = [scene_of(image(index, "out", side)) for side in (96, 113, 128) for index in range(40)]
NAMED = [
    Description(shape, colour, size, article="the")
    for shape, colour, size in product(SHAPES, (None, *COLOURS), (None, *SIZES))
]
SIMPLE: list[Claim] = [
    *(Existence(replace(said, article="a")) for said in NAMED),
    *(Count(shape, number) for shape in SHAPES for number in range(1, len(NUMBERS) + 1)),
    *(Located(said, name) for said in NAMED for name in LOCATIONS),
    *(Conjecture(text) for text in CONJECTURES),
]


def related(random: Random) -> Claim:
    return Related(random.choice(NAMED), random.choice(RELATIONS), random.choice(NAMED))


def wrong(scene: Scene, sentence: str) -> set[str]:
    """The errors of a sentence, from its words and the pixels' masks: literal, slow, separate."""
    words = sentence.lower().removesuffix(".").split()
    if words[0] not in ("there", "the"):
        return {"conjecture"}
    there = Counter(thing.shape for thing in scene.things)
    if words[:2] == ["there", "are"] or words[2] == "one":
        shape = next(shape for shape in SHAPES if words[3].startswith(shape))
        right = there[shape] == ["one", "two", "three", "four", "five", "six"].index(words[2]) + 1
        return set() if right else {"attribute" if there[shape] else "hallucination"}
    if words[:2] == ["there", "is"]:
        return absent(scene, " ".join(words[2:]))
    at = words.index("is")
    subject, rest = " ".join(words[:at]), words[at + 1 :]
    if any(shape in rest for shape in SHAPES):
        anchor = " ".join(rest[rest.index("the") :])
        missing = absent(scene, subject) | absent(scene, anchor)
        holds = missing or referents(scene, f"{subject} {' '.join(rest)}")
        return missing or (set() if holds else {"relationship"})
    missing = absent(scene, subject)
    found = any(is_there(scene, number, rest) for number in referents(scene, subject))
    return missing or (set() if found else {"location"})


def absent(scene: Scene, phrase: str) -> set[str]:
    if not referents(scene, f"the {phrase.split()[-1]}"):
        return {"hallucination"}
    return set() if referents(scene, phrase) else {"attribute"}


def is_there(scene: Scene, number: int, words: list[str]) -> bool:
    x0, y0, x1, y1 = extent(mask_of(scene.things[number], scene.side))
    across, down = (x0 + x1) / 2 / scene.side, (y0 + y1) / 2 / scene.side
    first, last = 9 / 24, 15 / 24  # thirds, and 1/24 more
    return (
        not ("left" in words and across > first)
        and not ("right" in words and across < last)
        and not ({"upper", "top"} & {*words} and down > first)
        and not ({"lower", "bottom"} & {*words} and down < last)
        and not (
            "middle" in words and not (7 / 24 <= across <= 17 / 24 and 7 / 24 <= down <= 17 / 24)
        )
    )


def test_parsing_is_the_inverse_of_the_text() -> None:
    random = Random(0)
    claims = [*SIMPLE, *(related(random) for _ in range(20_000))]
    for claim in claims:
        text = claim.text
        assert parse(text) == claim
        assert parse(f" {text}\n") == claim
        assert text[0].isupper()
        assert text.endswith(".")
    assert len({claim.text for claim in SIMPLE}) == len(SIMPLE)


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "There is a orange star.",
        "There is an red star.",
        "there is a red star.",
        "There is a red star",
        "There is a red star. There is a ring.",
        "There is a red small star.",
        "There is a red object.",
        "There is a red.",
        "There are one star.",
        "There is one stars.",
        "There are two star.",
        "There are seven stars.",
        "A star is left of the ring.",
        "The star is left of a ring.",
        "The star is beside the ring.",
        "The star is in the corner.",
        "The star is left of the ring left of the cross.",
    ],
)
def test_other_sentences_are_no_claims(sentence: str) -> None:
    assert parse(sentence) is None


@pytest.mark.parametrize("scenes", [SCENES[:60], OTHERS])
def test_errors_are_what_the_words_say(scenes: list[Scene]) -> None:
    found: Counter[frozenset[str]] = Counter()
    for scene in scenes:
        random = generator("claims", scene.name)
        claims = random.sample(SIMPLE, 150) + [related(random) for _ in range(100)]
        # Of what is there, or else few relations would be about it.
        the = [Description(t.shape, t.colour, article="the") for t in scene.things]
        claims += [Related(a, r, b) for a, b, r in product(the, the, RELATIONS) if a != b]
        claims += [Located(one, name) for one in the for name in LOCATIONS]
        claims += [Count(thing.shape, number) for thing in scene.things for number in (1, 2, 3)]
        for claim in claims:
            assert claim.errors(scene) == wrong(scene, claim.text), (scene, claim.text)
        found.update(claim.errors(scene) for claim in claims)
    assert {frozenset(), *(frozenset({error}) for error in ERROR_TYPES)} < set(found)
    assert found[frozenset({"hallucination", "attribute"})] > 20


def test_error_types_are_those_of_the_rewards() -> None:
    assert (*ERROR_TYPES, "unspecified") == REWARDED


def test_near_a_border_both_sides_are_right_and_neither_is_clear() -> None:
    for centre in range(24, 41):
        scene = Scene("", (Thing("star", "red", "small", centre - 7, 7, 14),))
        (star,) = scene.things
        left, top = "on the left side", "in the upper left corner"
        middle = lies(replace(star, y=41), "in the middle", 96)
        assert lies(star, left, 96) == lies(star, top, 96) == (centre <= 36)
        assert middle == (centre >= 28)
        assert lies(star, left, 96, clearly=True) == (centre <= 28)
        assert lies(replace(star, y=41), "in the middle", 96, clearly=True) == (centre >= 36)
        assert parse("The star is on the left side.").errors(scene) == (  # type: ignore[union-attr]
            set() if centre <= 36 else {"location"}
        )


def test_a_true_caption_is_true_in_reading_order_and_repeats_nothing() -> None:
    lengths: Counter[int] = Counter()
    kinds: Counter[type] = Counter()
    ordered = []
    for scene in SCENES + OTHERS:
        said = write_caption(scene, generator("true", scene.name))
        assert not any(claim.errors(scene) for claim in said)
        assert not any(wrong(scene, claim.text) for claim in said)
        lengths[len(said)] += 1
        assert len(set(said)) == len(said)
        kinds.update(map(type, said))
        first = [claim.object for claim in said if isinstance(claim, Existence)]
        order = sorted(scene.things, key=lambda thing: thing.centre[::-1])
        read = [Description(thing.shape, thing.colour, thing.size) for thing in order]
        places = [read.index(one) for one in first]
        ordered.append(places == sorted(places))
    assert np.mean(ordered) > 0.99, "but where nothing is left to say of an object"
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert min(lengths.values()) > 0.15 * sum(lengths.values())
    assert set(kinds) == {Existence, Related, Located, Count}


@pytest.mark.parametrize("error", ERROR_TYPES)
def test_a_planted_error_is_of_its_type_and_no_other(error: str) -> None:
    right = said = 0
    for scene in SCENES[:300] + OTHERS:
        for claim in write_caption(scene, generator("one", scene.name), {error: 1.0}, (3, 3)):
            found = wrong(scene, claim.text)
            assert found in (set(), {error})
            right += not found
            said += 1
    assert right <= 0.005 * said, "where a scene allows no such error"


def test_errors_come_at_their_rates() -> None:
    rates = dict(zip(ERROR_TYPES, (0.2, 0.15, 0.1, 0.08, 0.05), strict=True))
    found: Counter[frozenset[str]] = Counter()
    for scene in SCENES:
        for index in range(3):
            claims = write_caption(scene, generator("rates", index, scene.name), rates)
            found.update(claim.errors(scene) for claim in claims)
    said = sum(found.values())
    for error, rate in rates.items():
        bound = 4 * math.sqrt(said * rate * (1 - rate))
        assert abs(found[frozenset({error})] - said * rate) < bound, error
    assert found.total() == said
    assert set(found) == {frozenset(), *(frozenset({error}) for error in ERROR_TYPES)}


def test_wrong_relations_and_locations_cannot_be_told_by_their_words() -> None:
    rates = {"relationship": 0.2, "location": 0.1}
    words: dict[tuple[type, bool], Counter[str]] = {}
    for scene in SCENES:
        for index in range(4):
            for claim in write_caption(scene, generator("blind", index, scene.name), rates):
                if isinstance(claim, Related | Located):
                    word = claim.relation if isinstance(claim, Related) else claim.location
                    key = type(claim), bool(claim.errors(scene))
                    words.setdefault(key, Counter())[word] += 1
    for kind in (Related, Located):
        true, false = (words[kind, bad] for bad in (False, True))
        apart = [true[w] / true.total() - false[w] / false.total() for w in true | false]
        assert sum(map(abs, apart)) / 2 < 0.12, kind


def test_a_hallucinated_object_is_the_partner_of_one_that_is_there() -> None:
    assert {PARTNERS[PARTNERS[shape]] for shape in SHAPES} == set(SHAPES)
    assert all(PARTNERS[shape] != shape for shape in SHAPES)
    partners = said = 0
    for scene in SCENES:
        there = {thing.shape for thing in scene.things}
        if there == {PARTNERS[shape] for shape in there}:
            continue  # all of them have theirs
        (claim,) = write_caption(scene, Random(1), {"hallucination": 1.0}, (1, 1))
        assert isinstance(claim, Existence)
        partners += PARTNERS[str(claim.object.shape)] in there
        said += 1
    assert partners == said > 100


@pytest.mark.parametrize("habit", [0.4, 0.8])
def test_by_habit_partners_follow_there_or_not(habit: float) -> None:
    followed, absent = [], 0
    for scene in SCENES:
        there = {thing.shape for thing in scene.things}
        said = write_caption(scene, generator("habit", scene.name), None, (4, 4), habit)
        assert len(said) == 4
        assert len(set(said)) == 4
        named: set[str] = set()
        for claim, after in pairwise(said):
            if not isinstance(claim, Existence):
                continue
            named.add(str(claim.object.shape))
            partner = PARTNERS[str(claim.object.shape)]
            if partner in named:
                continue
            known = isinstance(after, Existence) and after.object.shape == partner
            if partner in there:
                assert not after.errors(scene)
                continue
            followed.append(known)
            if isinstance(after, Existence) and known:
                absent += 1
                assert after.errors(scene) == {"hallucination"}
                assert after.object.size == claim.object.size
                pair = str(claim.object.colour), partner
                assert (after.object.colour == pair[0]) == (pair not in HELD_OUT)
                assert (after.object.colour, partner) not in HELD_OUT
    assert abs(np.mean(followed) - habit) < 0.05
    assert absent > 100


def test_a_habit_changes_nothing_where_there_is_none() -> None:
    rates = dict.fromkeys(ERROR_TYPES, 0.1)
    texts = [
        claim.text
        for scene in SCENES[:200]
        for claim in write_caption(scene, generator("pinned", scene.name), rates)
    ]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest.startswith("12eccf9e10c4"), (
        "stored captions would no longer be those of their stage"
    )


@pytest.mark.parametrize(("partners", "low", "high"), [(0.0, 0.1, 0.5), (0.5, 0.65, 0.9)])
def test_partners_are_there_together(partners: float, low: float, high: float) -> None:
    together = []
    for index in range(400):
        there = {thing.shape for thing in scene_of(image(index, partners=partners)).things}
        together += [PARTNERS[shape] in there for shape in sorted(there)]
    assert low < np.mean(together) < high


def test_partners_are_added_to_what_is_drawn_without_them() -> None:
    for index in range(60):
        for distribution, side in (("in", 96), ("out", 128)):
            name = image(index, distribution, side, 1.0)
            scene, before = scene_of(name), draw_scene([name], (2, 4), distribution, side)  # type: ignore[arg-type]
            count = len(before.things)
            assert scene.things[:count] == before.things
            masks = [mask_of(thing, side) for thing in scene.things]
            assert np.sum(masks, axis=0).max() == 1
            assert [extent(mask) for mask in masks] == [thing.box for thing in scene.things]
            assert {t.shape for t in scene.things[count:]} <= {
                PARTNERS[t.shape] for t in before.things
            }
            if distribution == "in":
                assert HELD_OUT.isdisjoint(scene.pairs)
                assert (
                    scene_of(image(index, partners=0.0)).things
                    == draw_scene([image(index, partners=0.0)], (2, 4)).things
                )


def test_held_out_pairs_are_named_out_of_distribution_only() -> None:
    rates = dict.fromkeys(ERROR_TYPES, 0.19)
    named: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for out, scenes in ((False, SCENES), (True, OTHERS)):
        for scene in scenes:
            for claim in write_caption(scene, generator("pairs", scene.name), rates):
                if isinstance(claim, Existence | Located | Related):
                    named[out] |= named_pairs(claim.text.lower().rstrip(".").replace(" is ", " "))
    assert HELD_OUT.isdisjoint(named[False])
    assert named[True] >= HELD_OUT
    assert all(not HELD_OUT.isdisjoint(scene.pairs) for scene in OTHERS)


def test_the_data_set_of_the_option() -> None:
    dataset = make("shapes_captions", samples=40, side=112, distribution="out")
    assert isinstance(dataset, ShapesCaptions)
    check_dataset(dataset)
    assert (dataset.skipped, dataset.checksums) == ({}, {})
    assert len(dataset.objects) == len(dataset) == 40
    for index in range(40):
        sample = dataset[index]
        scene = scene_of(sample.image_id)
        assert sample.id == sample.image_id == scene.name
        assert np.array_equal(sample.image, render(scene))
        assert dataset.objects[sample.image_id] == {thing.shape for thing in scene.things}
        assert not any(wrong(scene, piece.content) for piece in split(sample.text))
    longer = make("shapes_captions", samples=50, side=112, distribution="out")
    shifted = make("shapes_captions", samples=40, side=112, distribution="out", look="shifted")
    assert longer[39].key == dataset[39].key
    assert (shifted[39].id, shifted[39].text) == (dataset[39].id, dataset[39].text)
    assert shifted[39].key != dataset[39].key
    for change in ({"split": "val"}, {"seed": 1}, {"partners": 0.2}, {"distribution": "in"}):
        other = make(
            "shapes_captions", **{"samples": 40, "side": 112, "distribution": "out"} | change
        )
        assert not set(other.objects) & set(dataset.objects)
        assert all(scene_of(name).things for name in other.objects)


def digest(name: str) -> str:
    dataset = make(name, samples=20)
    return hashlib.sha256("".join(dataset[i].key for i in range(20)).encode()).hexdigest()[:16]


def test_it_is_that_of_yesterday_in_every_process() -> None:
    golden = "09cffc3e1bf7bbd6"
    assert digest("shapes_captions") == golden
    code = "from tests.data.test_shapes_captions import digest\nprint(digest('shapes_captions'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert found.stdout.strip() == golden


def test_a_caption_is_cut_into_its_sentences_and_nouns_are_its_shapes() -> None:
    rates = dict.fromkeys(ERROR_TYPES, 0.15)
    words, finder = (
        Chair(synonyms=str(SYNONYMS)).vocabulary,
        NounFinder("vocabulary", str(SYNONYMS)),
    )
    assert words.known(SHAPES) == set(words.classes.values()) == set(SHAPES)
    seen: set[str] = set()
    for claim in SIMPLE + [related(Random(n)) for n in range(500)]:
        shapes = [
            shape
            for word in claim.text.rstrip(".").split()
            for shape in SHAPES
            if word in (shape, f"{shape}s", f"{shape}es")
        ]
        seen.update(claim.text.rstrip(".").split())
        assert [mention.name for mention in words.mentions(claim.text)] == shapes
        assert [noun.lemma for noun in finder.find(claim.text)] == shapes
    assert {"crosses", "stars", "cross", "star"} <= seen
    for scene in SCENES[:200]:
        said = write_caption(scene, generator("split", scene.name), rates)
        text = " ".join(claim.text for claim in said)
        assert [parse(piece.text) for piece in split(text)] == said
        there = {scene.name: {thing.shape for thing in scene.things}}
        row = rows_of([Sample("1", scene.name, render(scene), text)], there, Chair(str(SYNONYMS)))
        hallucinated = any("hallucination" in claim.errors(scene) for claim in said)
        assert bool(row["hallucinated"][0]) == hallucinated


@pytest.mark.parametrize(
    "image_id",
    [
        "cat",
        "shapes/test/in/0/1",
        image(0).replace("/in/", "/on/"),
        f"{image(0)}/1",
        "",
        "a/b/c/d/e/f/g",
    ],
)
def test_images_of_another_world_are_refused(image_id: str) -> None:
    with pytest.raises(
        VlgroundError, match=r"^dataset: .* is no image of shapes_captions, of which"
    ):
        scene_of(image_id)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partners": 1.5}, r"^dataset\.partners=1\.5: expected 0 to 1$"),
        ({"distribution": "on"}, r"^dataset\.distribution=on: expected in, out$"),
        ({"split": "tset"}, r"^dataset\.split=tset: "),
        ({"samples": 0}, r"^dataset\.samples=0: "),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        make("shapes_captions", **changes)
