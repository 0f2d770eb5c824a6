"""Locations by the boxes of an object."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vlground.contracts import Detection, Detector
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.claims import LOCATIONS, lies
from vlground.detectors.box_locations import BoxLocations
from vlground.detectors.shapes_oracle import ShapesOracle

WIDE = Sample("w", "w", np.zeros((30, 60, 3), np.uint8), "")
BOXES = np.array([[2, 2, 8, 8], [50, 20, 58, 28]], np.float32)


class Finds(Detector):
    """Two stars, in the upper left and the lower right; rings without boxes; all else unknown."""

    def __init__(self) -> None:
        self.asked = list[str]()

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        self.asked += phrases[0]
        known = {"a star": Detection(0.9, BOXES, np.array([0.9, 0.6])), "a ring": Detection(0.1)}
        return [[known.get(one, Detection(math.nan)) for one in asked] for asked in phrases]


def told(*phrases: str) -> list[float]:
    (row,) = BoxLocations(Finds()).detect([WIDE], [list(phrases)])
    return [one.probability for one in row]


def test_a_located_phrase_is_as_sure_as_the_surest_box_there() -> None:
    places = ("in the upper left corner", "at the top", "on the right side", "in the middle")
    found = told(*(f"a star {place}" for place in places))
    assert found == pytest.approx([0.9, 0.9, 0.6, 0])
    ((one,),) = BoxLocations(Finds()).detect([WIDE], [["a star on the right side"]])
    assert one.boxes.tolist() == BOXES[1:].tolist()


def test_other_phrases_go_on_and_each_object_is_asked_for_once() -> None:
    detector = Finds()
    asked = ["a star", "A  star at the top", "a ring at the top", "a cat at the top", "at the top"]
    (row,) = BoxLocations(detector).detect([WIDE], [asked])
    found = [one.probability for one in row]
    assert found[:3] == pytest.approx([0.9, 0.9, 0.1])
    assert np.isnan(found[3:]).all()
    assert detector.asked == ["a star", "a ring", "a cat", "at the top"]


def test_on_drawn_scenes_it_agrees_with_what_captions_say() -> None:
    """They name a place only where an object is clearly in it, and else one where it is not."""
    data = ShapesCaptions(20, "test", "in", "plain", 96, seed=0)
    detector, wrong = BoxLocations(ShapesOracle()), 0
    for sample in (data[number] for number in range(len(data))):
        scene = scene_of(sample.image_id)
        for thing in scene.things:
            name = f"a {thing.size} {thing.colour} {thing.shape}"
            alike = [t for t in scene.things if (t.pair, t.size) == (thing.pair, thing.size)]
            for place in LOCATIONS:
                ((found,),) = detector.detect([sample], [[f"{name} {place}"]])
                if any(lies(one, place, scene.side, clearly=True) for one in alike):
                    assert found.probability == 1
                elif not any(lies(one, place, scene.side) for one in alike):
                    wrong += 1
                    assert found.probability == 0
    assert wrong > 100
