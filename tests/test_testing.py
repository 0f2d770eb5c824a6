"""The conformance checks accept what conforms and name what does not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.scorers import PatchScorer, TinyBlip, TinyClip
from tests.worlds import planted
from vlground.cams.baselines import Center, Random, ShuffledText, Uniform
from vlground.cams.gradient import GradCAM, HiResCAM, LayerCAM
from vlground.contracts import Encoded
from vlground.data.photos import Photos
from vlground.testing import check_cam, check_dataset, check_scorer

TEXTS = ["red star", "a small blue ring"]


@pytest.mark.parametrize("scorer", [TinyClip, TinyBlip])
def test_real_architectures_conform(scorer: Any) -> None:
    check_scorer(scorer(), TEXTS)


def test_the_planted_scorer_conforms() -> None:
    check_scorer(PatchScorer(), ["0 1", "2 2"])


class Mixing(PatchScorer):
    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        scores = super().score(encoded, texts, owner)
        return scores + 0.1 * scores.mean()


class WrongGrid(PatchScorer):
    def __init__(self) -> None:
        super().__init__()
        self.target_layers = (replace(self.target_layers[0], grid=(8, 8)),)


class Flat(PatchScorer):
    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        return super().score(encoded, texts, owner)[:, None]


class KnowsNothingOfNothing(PatchScorer):
    def knows(self, text: str) -> bool:
        return True


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (Mixing, "batch mates"),
        (WrongGrid, "not its grid"),
        (Flat, r"not \(q,\)"),
        (KnowsNothingOfNothing, "nothing to ask"),
    ],
)
def test_what_does_not_conform_is_named(scorer: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_scorer(scorer(), ["0 1", "2 2"])


@pytest.mark.parametrize(
    "cam",
    [GradCAM(), HiResCAM(), LayerCAM(), Uniform(), Center(), Random(), ShuffledText([GradCAM()])],
    ids=lambda cam: type(cam).__name__,
)
def test_our_cams_conform(cam: Any) -> None:
    check_cam(cam, PatchScorer(), planted(2, (2, 2)))


class Unseeded(Random):
    def forward(self, scorer: Any, encoded: Any, texts: Any, owner: Any, samples: Any) -> Tensor:
        return torch.rand(len(texts), 4, 4)


class Normalising(GradCAM):
    def forward(self, scorer: Any, encoded: Any, texts: Any, owner: Any, samples: Any) -> Tensor:
        maps = super().forward(scorer, encoded, texts, owner, samples)
        return maps / maps.max()


@pytest.mark.parametrize(
    ("cam", "message"), [(Unseeded(), "two calls differ"), (Normalising(), "change a map")]
)
def test_a_cam_that_does_not_conform_is_named(cam: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_cam(cam, PatchScorer(), planted(3, (2, 2)))


def test_data_sets() -> None:
    check_dataset(Photos(seed=0))

    class Listed(list):  # type: ignore[type-arg]
        skipped: dict[str, int] = {}  # noqa: RUF012

    good = planted(3, (2, 2))
    check_dataset(Listed(good))
    for bad, message in (
        ([good[0], good[0]], "same id"),
        ([good[0], good[2], good[1]], "follow each other"),
        ([replace(good[0], text=" ")], "text is empty"),
        ([replace(good[0], foil=good[0].text)], "foil is the text"),
        ([replace(good[0], boxes=good[0].boxes[:, ::-1])], "x0 < x1"),
        ([], "no samples"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_dataset(Listed(bad))
