"""MME-like questions about drawn scenes: true, clear, and of no use to who does not look."""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from vlground.data.existence import ExistenceQuestions
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import Count, Located, Related, lies, parse
from vlground.data.shapes.questions import SUBTASKS, ShapesQuestions
from vlground.data.shapes.scene import SHAPES, Scene
from vlground.errors import VlgroundError
from vlground.metrics.mme import estimates, rows_of
from vlground.testing import check_dataset

SOURCE = ShapesCaptions(150, "test", "in", "plain", 96, seed=5)
DATA = ShapesQuestions(SOURCE, seed=5)
SAMPLES = [DATA[index] for index in range(len(DATA))]
PAIRS: dict[tuple[str, int], list[Sample]] = defaultdict(list)
for one in SAMPLES:
    subtask, number = one.id.split("/")
    PAIRS[subtask, int(number) // 2].append(one)


def said(sample: Sample) -> str:
    """The sentence of captions that a question asks about."""
    asked = sample.text.removesuffix(" Please answer yes or no.")
    asked = re.sub(r"( in the image)?\?$", ".", asked)
    for verb in ("Is", "Are"):
        asked = re.sub(rf"^{verb} there", f"There {verb.lower()}", asked)
    return re.sub(r"^Is (the \w+)", lambda found: f"{found[1].capitalize()} is", asked)


def many(scene: Scene, shape: str) -> int:
    return sum(thing.shape == shape for thing in scene.things)


def test_it_is_a_data_set_with_two_questions_an_image_and_subtask() -> None:
    check_dataset(DATA)
    assert {name for name, _ in PAIRS} == set(SUBTASKS)
    for pair in PAIRS.values():
        assert len(pair) == 2
        assert len({sample.image_id for sample in pair}) == 1
        assert sorted(str(sample.label) for sample in pair) == ["no", "yes"]
    images = [sample.image_id for sample in SAMPLES]
    changes = sum(one != other for one, other in pairwise(images))
    assert len(set(images)) == 1 + changes, "questions of one image follow each other"
    sizes = Counter(name for name, _ in PAIRS)
    for name in SUBTASKS:
        left = DATA.skipped.get(f"{name}: no scene to exchange questions with", 0)
        assert sizes[name] + left == len(SOURCE)
    assert min(sizes.values()) > 60


def test_labels_are_the_truth_and_nobody_could_disagree() -> None:
    for sample in SAMPLES:
        scene, claim = scene_of(sample.image_id), parse(said(sample))
        assert claim is not None, sample.text
        yes = sample.label == "yes"
        assert (not claim.errors(scene)) == yes, sample.text
        if isinstance(claim, Count):
            assert claim.number > 1
            there = many(scene, claim.shape)
            assert there == claim.number if yes else 1 <= there < claim.number
        if isinstance(claim, Related):
            assert (
                many(scene, str(claim.subject.shape)) == many(scene, str(claim.anchor.shape)) == 1
            )
            if not yes:
                opposite = {"left of": "right of", "above": "below"}
                opposite |= {two: one for one, two in opposite.items()}
                other = Related(claim.subject, opposite[claim.relation], claim.anchor)  # type: ignore[arg-type]
                assert not other.errors(scene)
        if isinstance(claim, Located):
            (place,) = claim.subject.referents(scene)
            clearly = lies(scene.things[place], claim.location, scene.side, clearly=True)
            assert clearly == yes, "near a border nothing is asked"
        if sample.id.startswith("color"):
            shape = sample.text.split(" in the")[0].split()[-1]
            assert many(scene, shape), (
                "it is asked about the colour, not whether the shape is there"
            )


def test_both_questions_of_a_color_or_a_position_are_about_the_same_things() -> None:
    for (subtask, _), pair in PAIRS.items():
        one, other = (re.findall("|".join(SHAPES), sample.text) for sample in pair)
        if subtask in ("color", "position"):
            assert one == other


def test_both_kinds_of_position_are_asked() -> None:
    kinds = Counter(type(parse(said(s))).__name__ for s in SAMPLES if s.id.startswith("position"))
    assert set(kinds) == {"Related", "Located"}
    assert min(kinds.values()) > 0.25 * sum(kinds.values())
    about = {shape for shape in SHAPES for s in SAMPLES if f" {shape}" in s.text}
    assert about == set(SHAPES)


def test_every_question_and_every_pair_has_both_answers_equally_often() -> None:
    """So no function of the words, not even of both questions and their order, beats chance."""
    alone: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    joint: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for (subtask, _), pair in PAIRS.items():
        first, second = sorted(pair, key=lambda sample: int(sample.id.split("/")[1]))
        joint[subtask, first.text, second.text][str(first.label)] += 1
        for sample in pair:
            alone[subtask, sample.text][str(sample.label)] += 1
    for counts in (*alone.values(), *joint.values()):
        assert counts["yes"] == counts["no"]


@pytest.mark.parametrize("seed", range(5))
def test_who_does_not_look_has_half_of_the_answers(seed: int) -> None:
    """Five guessers that know every word of every question, and no picture."""
    random = Random(seed)
    guess = {text: random.choice(["Yes", "No"]) for text in sorted({s.text for s in SAMPLES})}
    scores = estimates(rows_of(SAMPLES, {s.id: guess[s.text] for s in SAMPLES}))
    for subtask in SUBTASKS:
        assert scores[f"{subtask}/accuracy"].value == 0.5
    known = {s.id: str(s.label) for s in SAMPLES}
    assert estimates(rows_of(SAMPLES, known))["coarse_grained"].value == 800
    same = estimates(rows_of(SAMPLES, dict.fromkeys(known, "yes")))
    assert same["coarse_grained"].value == 200, "always the same answer: 50 a subtask"


def test_a_guesser_that_learnt_the_world_has_half_of_new_questions() -> None:
    """What is learnt from the answers of other scenes: the likelier answer of each question."""
    other = ShapesQuestions(ShapesCaptions(300, "train", "in", "plain", 96, seed=6), seed=6)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for index in range(len(other)):
        seen[other[index].text][str(other[index].label)] += 1
    answers = {s.id: max(("yes", "no"), key=lambda word: seen[s.text][word]) for s in SAMPLES}
    right = np.mean([answers[sample.id] == sample.label for sample in SAMPLES])
    assert right == 0.5


def test_questions_are_drawn_from_the_seed() -> None:
    again = ShapesQuestions(SOURCE, seed=5)
    assert [(s.id, s.text) for s in again] == [(s.id, s.text) for s in DATA]  # type: ignore[attr-defined]
    other = ShapesQuestions(SOURCE, seed=6)
    assert [s.text for s in other] != [s.text for s in DATA]  # type: ignore[attr-defined]


def test_subtasks_can_be_chosen() -> None:
    few = ShapesQuestions(SOURCE, ["count"], seed=5)
    mine = {(s.id, s.text) for s in SAMPLES if s.id.startswith("count")}
    assert {(few[n].id, few[n].text) for n in range(len(few))} == mine
    with pytest.raises(VlgroundError, match=r"^dataset\.subtasks=\['OCR'\]: expected any of exist"):
        ShapesQuestions(SOURCE, ["OCR"])
    with pytest.raises(VlgroundError, match=r"^dataset\.source\.samples=1: no two of its scenes"):
        ShapesQuestions(ShapesCaptions(1, "test", "in", "plain", 96, seed=0))


def test_pope_asks_about_the_shapes_of_scenes() -> None:
    data = ExistenceQuestions(SOURCE, pairs=3, seed=5)
    samples = [data[index] for index in range(len(data))]
    there = Counter(str(sample.label) for sample in samples)
    assert there["yes"] == there["no"] == 9 * len({s.image_id for s in samples}) > 500
    for sample in samples:
        claim = parse(said(sample))
        assert claim is not None
        assert (not claim.errors(scene_of(sample.image_id))) == (sample.label == "yes")
    few = sum(
        len({t.shape for t in scene_of(s.image_id).things}) < 3
        for s in map(SOURCE.__getitem__, range(150))
    )
    assert data.skipped["image with fewer than 3 objects"] == few
