"""The oracle of the shapes world says what is drawn, and errs as often as it is told."""

import math

import numpy as np
import pytest

from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.render import mask_of
from vlground.data.shapes.scene import COLOURS, SHAPES, SIZES
from vlground.detectors.shapes_oracle import ShapesOracle
from vlground.errors import VlgroundError

IMAGE = np.zeros((96, 96, 3), np.uint8)
SAMPLES = [
    Sample(f"{number}/x", f"shapes_captions/test/in/96/0.5/0/{number}", IMAGE, "")
    for number in range(60)
]


def found(oracle: ShapesOracle, phrases: list[str]) -> np.ndarray:
    rows = oracle.detect(SAMPLES, [phrases] * len(SAMPLES))
    return np.array([[one.probability for one in row] for row in rows])


@pytest.mark.parametrize(
    "words", [("shape",), ("colour", "shape"), ("size", "shape"), ("size", "colour", "shape")]
)
def test_it_knows_every_object_and_its_box(words: tuple[str, ...]) -> None:
    options = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
    phrases = [""]
    for word in words:
        phrases = [f"{before} {one}".strip() for before in phrases for one in options[word]]
    for sample in SAMPLES[:20]:
        scene = scene_of(sample.image_id)
        (row,) = ShapesOracle().detect([sample], [phrases])
        for phrase, one in zip(phrases, row, strict=True):
            true = [t for t in scene.things if " ".join(getattr(t, w) for w in words) == phrase]
            assert one.probability == bool(true)
            assert sorted(map(tuple, one.boxes)) == sorted(thing.box for thing in true)
            assert one.scores.tolist() == [1] * len(true)
            for x0, y0, x1, y1 in one.boxes.astype(int):
                masks = [mask_of(thing, scene.side) for thing in true]
                assert any(mask[y0:y1, x0:x1].sum() == mask.sum() > 0 for mask in masks)


def test_articles_and_case_do_not_count() -> None:
    oracle = ShapesOracle(miss=0.5, false_alarm=0.5)
    given = found(oracle, ["orange star", "an orange star", "The  Orange star", "a orange star"])
    assert 0 < given.mean() < 1
    assert (given == given[:, :1]).all()


@pytest.mark.parametrize(
    "phrase", ["corner", "child", "red", "stars", "red small star", "star star", "a", "", "starred"]
)
def test_it_does_not_guess_what_is_no_object(phrase: str) -> None:
    ((one,),) = ShapesOracle(false_alarm=1).detect(SAMPLES[:1], [[phrase]])
    assert math.isnan(one.probability)
    assert len(one.boxes) == 0


def test_it_errs_at_its_rates_and_about_the_image_and_not_the_sample() -> None:
    phrases = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    truth = found(ShapesOracle(), phrases)
    given = found(ShapesOracle(miss=0.3, false_alarm=0.1), phrases)
    assert given[truth == 0].mean() == pytest.approx(0.1, abs=0.03)
    assert given[truth == 1].mean() == pytest.approx(0.7, abs=0.13)
    oracle = ShapesOracle(miss=0.5, seed=1)
    pair = [Sample(name, SAMPLES[0].image_id, IMAGE, name) for name in ("a", "b")]
    first, second = oracle.detect(pair, [phrases, phrases[::-1]])
    assert [one.probability for one in first] == [one.probability for one in second[::-1]]


def test_another_world_and_wrong_rates_are_refused() -> None:
    with pytest.raises(VlgroundError, match=r"^dataset.*310196"):
        ShapesOracle().detect([Sample("a", "310196", IMAGE, "")], [["star"]])
    with pytest.raises(VlgroundError, match=r"^detector\.miss=2: expected 0 to 1$"):
        ShapesOracle(miss=2)
