"""The shipped detector: what its card promises, through the class that reads real checkpoints."""

import numpy as np
import pytest
from torch import from_numpy
from torchvision.ops import box_iou

from tests.test_config import composed
from vlground.config import build
from vlground.contracts import Detection, Detector
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import SHAPES, Scene
from vlground.detectors.owl import Owlv2Detector
from vlground.run import CONF
from vlground.tasks.detection import asked_of

FOLDER = CONF.parent / "src" / "vlground" / "miniatures" / "mini_owlv2"
DATA = ShapesCaptions(60, "test", "in", "plain", 96, seed=0)
SAMPLES = [DATA[index] for index in range(len(DATA))]


@pytest.fixture(scope="module")
def detector() -> Detector:
    made = build(composed("detector=mini_owlv2")["detector"])
    assert isinstance(made, Owlv2Detector)
    return made


def test_the_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3e6
    assert (FOLDER / "README.md").is_file()


def test_it_finds_shapes_that_are_there_and_rejects_others(detector: Detector) -> None:
    right: dict[bool, list[bool]] = {True: [], False: []}
    threshold = composed("metric=vigor_reward")["metric"]["noun_threshold"]
    for sample, found in zip(SAMPLES, detector.detect(SAMPLES, [SHAPES] * 60), strict=True):
        there = {thing.shape for thing in scene_of(sample.image_id).things}
        for shape, one in zip(SHAPES, found, strict=True):
            right[shape in there].append((one.probability > threshold) == (shape in there))
    assert np.mean(right[True]) > 0.9
    assert np.mean(right[False]) > 0.8


def described(sample: Sample) -> tuple[Scene, list[Description]]:
    scene = scene_of(sample.image_id)
    return scene, [said for said, kind in asked_of(scene) if kind == "described"]


def best(detector: Detector, sample: Sample, said: list[Description]) -> list[Detection]:
    (found,) = detector.detect([sample], [[one.text for one in said]])
    return found


def test_its_boxes_are_those_of_the_objects_and_it_sees_colours_and_sizes(
    detector: Detector,
) -> None:
    overlaps, ranked = [], []
    for sample in SAMPLES[:30]:
        scene, said = described(sample)
        found = best(detector, sample, said)
        for number in range(0, len(said), 2):
            true, false = found[number], found[number + 1]
            ranked.append(true.probability > false.probability)
            boxes = [scene.things[place].box for place in said[number].referents(scene)]
            if len(true.boxes):
                nearest = box_iou(
                    from_numpy(true.boxes[:1]).double(), from_numpy(np.array(boxes)).double()
                )
                overlaps.append(float(nearest.max()))
    assert np.mean(ranked) > 0.85
    assert np.mean(overlaps) > 0.6


def test_a_word_that_it_does_not_know_is_nowhere(detector: Detector) -> None:
    rows = detector.detect(SAMPLES[:10], [["unicorn"]] * 10)
    assert max(one.probability for (one,) in rows) < 0.25
