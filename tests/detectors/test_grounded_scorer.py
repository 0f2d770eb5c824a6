"""Maps held against boxes: the share inside, and where nothing can be told."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from vlground.cams.baselines import Uniform
from vlground.contracts import CAM, Detection, Detector, Encoded, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.detectors.box_relations import BoxRelations
from vlground.detectors.grounded_scorer import GroundedScorer
from vlground.errors import VlgroundError
from vlground.metrics import QGroundCAM
from vlground.preprocess import Preprocess

METRIC = QGroundCAM(resize="nearest")


class Sides(Scorer):
    """Fits as much as the image is red."""

    def __init__(self, decides: bool = True) -> None:
        super().__init__()
        self.preprocess = Preprocess(size=8, mean=(0, 0, 0), std=(1, 1, 1))
        self.target_layers = (TargetLayer("tap", torch.nn.Identity(), "features", (2, 2)),)
        self.decides, self.encoded = decides, 0

    def encode(self, pixels: Tensor) -> Encoded:
        self.encoded += len(pixels)
        return Encoded(pixels, pixels[:, 0].mean(dim=(1, 2)))

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor | None:
        return encoded.features[owner] if self.decides else None

    def knows(self, text: str) -> bool:
        return "unicorn" not in text

    def truncated(self, text: str) -> str | None:
        return "long" if "very very" in text else None


class Left(CAM):
    """Three parts in the left half and one in the right, but what is flat is flat."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        self.asked += texts
        assert [sample.text for sample in samples] == list(texts)
        grid = torch.tensor([[0.75, 0.25], [0.0, 0.0]])
        return torch.stack([torch.full((2, 2), 0.1) if "flat" in text else grid for text in texts])


def image(red: int = 255, side: int = 16) -> Sample:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 0] = red
    return Sample("a", "a", pixels, "")


def told(detector: Detector, *phrases: str, red: int = 255, side: int = 16) -> list[float]:
    (row,) = detector.detect([image(red, side)], [list(phrases)])
    return [one.probability for one in row]


def test_a_link_is_as_sure_as_the_part_of_the_map_in_its_box() -> None:
    cam = Left()
    detector = GroundedScorer(Sides(), cam, METRIC)
    found = told(detector, "red star[0,0,8,8]", "red star[8,0,16,8]", "red star[0,8,16,16]")
    assert found == pytest.approx([0.75, 0.25, 0])
    assert cam.asked == ["a red star"], "a map is drawn once, whatever boxes it is held against"
    ((one,),) = detector.detect([image()], [["a ring[0,0,8,8]"]])
    assert one.boxes.tolist() == [[0, 0, 8, 8]]
    assert one.scores == pytest.approx([0.75])


def test_each_score_of_the_suite_is_that_score() -> None:
    for score, expected in (("pointing_game", [1, 0]), ("io_ratio", [0.75, 0.25])):
        detector = GroundedScorer(Sides(), Left(), METRIC, score)  # type: ignore[arg-type]
        assert told(detector, "star[0,0,8,8]", "star[8,0,16,8]") == pytest.approx(expected)


def test_the_models_own_decision_multiplies_it_or_stands_alone() -> None:
    for match, expected in (("none", 0.75), ("product", 0.15), ("alone", 0.2)):
        detector = GroundedScorer(Sides(), Left(), METRIC, match=match)  # type: ignore[arg-type]
        assert told(detector, "star[0,0,8,8]", red=51) == pytest.approx([expected])
    detector = GroundedScorer(Sides(decides=False), Left(), METRIC, match="product")
    with pytest.raises(VlgroundError, match=r"^detector\.match=product: Sides only ranks texts"):
        told(detector, "star[0,0,8,8]")


def test_what_cannot_be_told_is_neither_grounded_nor_not() -> None:
    scorer = Sides()
    detector = GroundedScorer(scorer, Left(), METRIC)
    unknown = ("", "star", "[1,2,3,4]", "unicorn[0,0,8,8]", "very very red[0,0,8,8]")
    assert np.isnan(told(detector, *unknown)).all()
    assert scorer.encoded == 0
    outside = ("star[20,20,30,30]", "star[4,4,4,8]", "flat star[0,0,8,8]")
    found = told(detector, *outside, "star[0,0,8,8]")
    assert np.isnan(found[:3]).all()
    assert found[3] == pytest.approx(0.75)
    # Bilinear weights add up to 1 but for rounding, which is no picture.
    assert np.isnan(told(GroundedScorer(Sides(), Left()), "flat star[0,0,8,8]", side=23)).all()
    # A CAM that is constant on purpose says how large the box is.
    assert told(GroundedScorer(Sides(), Uniform(), METRIC), "star[0,0,8,8]") == [0.25]


class Finds(Detector):
    """Stars left, rings nowhere, and knows nothing else."""

    def __init__(self) -> None:
        self.asked = list[str]()

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        known = {
            "star": Detection(0.9, np.array([[0, 8, 8, 16], [0, 0, 8, 8]], np.float32), np.ones(2)),
            "ring": Detection(0.1),
        }
        self.asked += phrases[0]
        return [[known.get(phrase, Detection(math.nan)) for phrase in asked] for asked in phrases]


def test_a_detector_gives_the_boxes_of_phrases_without_a_link() -> None:
    boxes, cam = Finds(), Left()
    detector = GroundedScorer(Sides(), cam, METRIC, boxes=boxes)
    found = told(detector, "a red star", "a blue star", "a ring", "a cross", "star[8,0,16,8]", "")
    assert found[:3] == pytest.approx([0.75, 0.75, 0.1])
    assert math.isnan(found[3])
    assert found[4] == pytest.approx(0.25), "a link goes before what a detector finds"
    assert math.isnan(found[5])
    assert boxes.asked == ["star", "ring", "cross"]
    assert cam.asked == ["a red star", "a blue star", "a star"]
    ((one,),) = detector.detect([image()], [["a red star"]])
    assert one.boxes.tolist() == [[0, 0, 8, 8], [0, 8, 8, 16]], "the surest first"
    assert one.scores == pytest.approx([0.75, 0])


def test_relations_hold_between_linked_boxes_that_are_grounded() -> None:
    detector = BoxRelations(GroundedScorer(Sides(), Left(), METRIC))
    left, right = "a star[0,0,8,8]", "a ring[8,0,16,8]"
    found = told(detector, f"{left} left of {right}", f"{left} right of {right}", left)
    assert found == pytest.approx([0.25, 0, 0.75])


def test_options() -> None:
    for option, value in (("score", "chair"), ("match", "yes")):
        with pytest.raises(VlgroundError, match=rf"^detector\.{option}={value}: expected one of "):
            GroundedScorer(Sides(), Left(), METRIC, **{option: value})  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"^detector\.metric\.resolution=native: expected orig"):
        GroundedScorer(Sides(), Left(), QGroundCAM(resolution="native"))
