"""Relations among boxes: which hold, how sure they are, what cannot be told."""

from pathlib import Path

import numpy as np
import pytest

from vlground.contracts import Detection, Detector
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.language import triplets
from vlground.data.shapes.scene import RELATIONS
from vlground.detectors.box_relations import BoxRelations
from vlground.detectors.shapes_oracle import ShapesOracle

BOXES = {  # of 10 pixels: a middle one, others around it, one in it, one far away
    "middle": (40, 40, 60, 60),
    "west": (10, 42, 30, 62),
    "east": (62, 44, 82, 64),
    "north": (42, 5, 62, 25),
    "core": (45, 45, 55, 55),
    "far": (200, 40, 220, 60),
}
SAMPLE = Sample("a", "a", Path(), "")


class Drawn(Detector):
    """Knows `BOXES`; `dogs` are at two of them, `ghost` is likely without a box."""

    def detect(self, samples: list[Sample], phrases: list[list[str]]) -> list[list[Detection]]:
        self.asked = phrases
        return [[self._of(phrase.removeprefix("a ")) for phrase in row] for row in phrases]

    def _of(self, name: str) -> Detection:
        if name == "ghost":
            return Detection(0.4)
        names = ["west", "east"] if name == "dog" else [name] if name in BOXES else []
        scores = np.array([0.9, 0.6][: len(names)], np.float32)
        boxes = np.array([BOXES[one] for one in names], np.float32).reshape(-1, 4)
        return Detection(float(scores.max()), boxes, scores) if names else Detection(float("nan"))


def chance(phrase: str) -> float:
    ((found,),) = BoxRelations(Drawn()).detect([SAMPLE], [[phrase]])
    return found.probability


@pytest.mark.parametrize(
    ("subject", "true"),
    [
        ("west", {"left of", "to the left of"}),
        ("east", {"right of", "next to", "beside"}),
        ("north", {"above"}),
        ("core", {"inside", "in"}),
        ("far", {"right of"}),
    ],
)
def test_a_relation_holds_or_not(subject: str, true: set[str]) -> None:
    asked = {"left of", "right of", "above", "below", "inside", "next to", *true}
    told = {word: chance(f"a {subject} {word} a middle") for word in asked}
    wrong = {word for word, one in told.items() if one > 0} - true
    assert {word for word, one in told.items() if one == pytest.approx(0.9)} >= true
    # The middle of a box in another has a direction, too.
    assert wrong <= ({"left of", "right of", "above", "below"} if subject == "core" else set())
    assert chance(f"a middle below a {subject}") == (
        pytest.approx(0.9) if subject == "north" else 0
    )


def test_the_best_pair_counts_and_is_as_sure_as_its_less_sure_box() -> None:
    assert chance("a dog right of a middle") == pytest.approx(0.6)
    assert chance("a middle right of a dog") == pytest.approx(0.9)
    ((found,),) = BoxRelations(Drawn()).detect([SAMPLE], [["a dog right of a middle"]])
    assert found.boxes.tolist() == [list(BOXES["east"])]
    assert chance("a west inside a west") == 0, "a thing has no relation to itself"


def test_what_is_not_found_or_not_known() -> None:
    assert chance("a ghost left of a middle") == 0.4
    assert np.isnan(chance("a unicorn left of a middle"))
    detector = Drawn()
    found = BoxRelations(detector).detect(
        [SAMPLE, SAMPLE], [["a west", "a west left of a middle", "a far"], []]
    )
    assert detector.asked == [["a west", "a middle", "a far"], []]
    assert [one.probability for one in found[0]] == pytest.approx([0.9] * 3)
    assert found[1] == []


def test_in_drawn_scenes_true_triplets_are_found_and_most_wrong_ones_are_not() -> None:
    data = ShapesCaptions(60, "test", "in", "plain", 96, seed=0)
    detector, right, wrong = BoxRelations(ShapesOracle()), [], []
    for sample in (data[number] for number in range(60)):
        scene = scene_of(sample.image_id)
        said = {one.text: one for *_, one in triplets(scene)}
        true, false = list(said), []
        for text, one in said.items():
            others = [text.replace(str(one.relation), other) for other in RELATIONS]
            false += [other for other in others if other not in said]
        for phrases, told in ((true, right), (false, wrong)):
            (found,) = detector.detect([sample], [phrases])
            told += [one.probability for one in found]
    assert np.mean(right) > 0.9
    assert np.mean(wrong) < 0.25
