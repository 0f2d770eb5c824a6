"""A scorer asked about phrases: what it says of each, and what it cannot say."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vlground.contracts import Encoded, Scorer
from vlground.data.sample import Sample
from vlground.detectors.scorer import ScorerDetector
from vlground.errors import ImageError, VlgroundError
from vlground.preprocess import Preprocess


class Reddish(Scorer):
    """Scores the redness of an image for `red`, its negative for all other texts."""

    def __init__(self, decides: bool) -> None:
        super().__init__()
        self.preprocess = Preprocess(size=8, mean=(0, 0, 0), std=(1, 1, 1))
        self.target_layers = ()
        self.decides, self.asked = decides, list[str]()

    def encode(self, pixels: Tensor) -> Encoded:
        return Encoded(pixels, pixels[:, 0].mean(dim=(1, 2)))

    def score(self, encoded: Encoded, texts: list[str], owner: Tensor) -> Tensor:
        self.asked += texts
        sign = torch.tensor([1.0 if "red" in text else -1.0 for text in texts])
        return sign * encoded.features[owner]

    def match(self, encoded: Encoded, texts: list[str], owner: Tensor) -> Tensor | None:
        return self.score(encoded, texts, owner).abs() if self.decides else None

    def knows(self, text: str) -> bool:
        return "unicorn" not in text

    def truncated(self, text: str) -> str | None:
        return "long" if "very very" in text else None


def sample(name: str, red: int) -> Sample:
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = red
    return Sample(name, name, image, "")


IMAGES = [sample("a", 255), sample("b", 51)]


def said(detector: ScorerDetector, phrases: list[list[str]]) -> list[list[float]]:
    return [[one.probability for one in row] for row in detector.detect(IMAGES, phrases)]


def test_a_scorer_that_decides_gives_its_probability_for_each_image_of_its_own() -> None:
    scorer = Reddish(decides=True)
    found = said(ScorerDetector(scorer), [["red star", "ring", "red star"], ["ring"]])
    assert found[0] == pytest.approx([1, 1, 1])
    assert found[1] == pytest.approx([0.2])
    # Each phrase once an image, as the model reads it.
    assert scorer.asked == ["a red star", "a ring", "a ring"]
    (row, _) = ScorerDetector(scorer).detect(IMAGES, [["ring"], []])
    assert row[0].boxes.shape == (0, 4)


def test_a_scorer_that_ranks_needs_the_score_at_which_a_text_fits() -> None:
    found = said(ScorerDetector(Reddish(decides=False), centre=0.5), [["red"], ["red", "blue"]])
    expected = [1 / (1 + math.exp(0.5 - score)) for score in (1, 0.2, -0.2)]
    assert [*found[0], *found[1]] == pytest.approx(expected)
    for decides, centre in ((False, None), (True, 0.5)):
        detector = ScorerDetector(Reddish(decides), centre)
        with pytest.raises(VlgroundError, match=rf"^detector\.centre={centre}: Reddish "):
            detector.detect(IMAGES, [["red"], ["red"]])


def test_what_the_model_cannot_read_is_neither_there_nor_not() -> None:
    detector = ScorerDetector(Reddish(decides=True))
    found = said(detector, [["", " ", "unicorn", "very very red", "red"], ["unicorn"]])
    assert np.isnan([*found[0][:4], *found[1]]).all()
    assert found[0][4] == 1
    with pytest.raises(ImageError):
        detector.detect([Sample("c", "c", Path("nowhere.png"), "")], [["red"]])


def test_articles() -> None:
    for article, expected in ((True, ["an orange star", "the ring"]), (False, ["orange star"])):
        scorer = Reddish(decides=True)
        ScorerDetector(scorer, article=article).detect(IMAGES[:1], [["Orange  star", "the ring"]])
        assert scorer.asked[: len(expected)] == expected
