"""`task=detection`: what is asked of held-out scenes, and a training that is saved and measured."""

from pathlib import Path

import pytest
from safetensors import safe_open

from tests.cli import results, vlground
from vlground.data.shapes.captions import ShapesCaptions, scene_of
from vlground.data.shapes.scene import HELD_OUT, SHAPES
from vlground.data.shapes.writing import PARTNERS
from vlground.detectors.owl import Owlv2Detector
from vlground.tasks.detection import asked_of

DATA = ShapesCaptions(24, "val", "in", "plain", 96, seed=0)
SAMPLES = [DATA[index] for index in range(len(DATA))]


def test_every_shape_is_asked_for_and_every_object_with_a_false_sibling() -> None:
    partners = 0
    for sample in SAMPLES:
        scene = scene_of(sample.image_id)
        asked = list(asked_of(scene))
        nouns = [(said, kind) for said, kind in asked if kind != "described"]
        assert [said.shape for said, _ in nouns] == list(SHAPES)
        there = {thing.shape for thing in scene.things}
        for said, kind in nouns:
            assert said.shape is not None
            absent = said.shape not in there
            assert (kind == "partner") == (absent and PARTNERS[said.shape] in there)
            partners += kind == "partner"
        described = [said for said, kind in asked if kind == "described"]
        for thing, true, false in zip(scene.things, described[::2], described[1::2], strict=True):
            assert (true.shape, true.colour, true.size) == (thing.shape, thing.colour, thing.size)
            assert not false.referents(scene)
            assert false.shape == true.shape
            assert (false.colour == true.colour) != (false.size == true.size)
            assert (false.colour, false.shape) not in HELD_OUT
        assert list(asked_of(scene)) == asked
    assert partners > 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    options = ["task.steps=2", "task.epochs=1", "task.stream.images=4", "task.stream.described=8"]
    options += ["dataset.samples=24", "logger=none", "task.export=out"]
    vlground("experiment=miniature_detector", *options, cwd=folder)
    assert "done already" in vlground("experiment=miniature_detector", *options, cwd=folder)
    return folder


def test_it_is_saved_in_half_precision_as_the_detector_reads_it(trained: Path) -> None:
    with safe_open(trained / "out" / "model.safetensors", "pt") as file:
        kinds = {str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118
    assert kinds <= {"torch.float16", "torch.int64"}
    detector = Owlv2Detector(str(trained / "out"), template="{}")
    ((one, unknown),) = detector.detect(SAMPLES[:1], [["a red star", "a unicorn"]])
    assert 0 <= one.probability <= 1
    assert unknown.probability != one.probability


def test_scores_are_of_what_was_asked(trained: Path) -> None:
    (result,) = results(trained / "runs")
    scenes = [scene_of(sample.image_id) for sample in SAMPLES]
    there = sum(len({thing.shape for thing in scene.things}) for scene in scenes)
    counts = {name: score["n"] for name, score in result["scores"].items()}
    assert counts["found/noun"] == there
    assert counts["rejected/noun"] == len(SHAPES) * len(scenes) - there
    things = sum(len(scene.things) for scene in scenes)
    assert counts["found/described"] == counts["rejected/described"] == counts["box_iou"] == things
    assert 0 < counts["rejected/partner"] < counts["rejected/noun"]
    assert result["counts"]["samples"] == len(SAMPLES)
