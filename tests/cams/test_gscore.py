"""gScoreCAM against its formulas written out, phrase by phrase."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import open_clip
import pytest
import torch
from tests.cams.scenes import resnet
from tests.scorers import TinyClip
from tests.worlds import planted
from torch import Tensor, nn

from vlground.cams.gscore import GScoreCAM, Weights
from vlground.contracts import Encoded, Scorer
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.gradients import differentiate
from vlground.models.clip import ClipScorer
from vlground.testing import check_cam

TEXTS = ["red star", "a small blue ring", "green", "a star left of the ring"]
OWNER = torch.tensor([0, 1, 0, 0])
SIZE = 96  # three by three cells


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipScorer]:
    """A CLIP ResNet of 64 channels, random and far from constant."""
    from open_clip import factory

    folder = tmp_path_factory.mktemp("architectures")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 2], "width": 2, "patch_size": None},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 32,
            "heads": 4,
            "layers": 2,
        },
    }
    config["vision_cfg"]["head_width"] = 16  # type: ignore[index]
    (folder / "tiny-gscore.json").write_text(json.dumps(config))
    known = list(factory._MODEL_CONFIG_PATHS)
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    made = ClipScorer("tiny-gscore")
    for module in made.network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.4 * module.weight[0].numel() ** -0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.2, 0.3)
    made.network.token_embedding.weight.data.normal_()
    yield made
    factory._MODEL_CONFIG_PATHS[:] = known
    factory._rescan_model_configs()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    coarse = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic")


def logit(network: Any, tokenizer: Any, images: Tensor, text: str) -> Tensor:
    """open_clip's logits `(n,)` of images and one text."""
    return network.get_logits(images, tokenizer([text]))[0][:, 0]


def literal(scorer: ClipScorer, image: Tensor, text: str, k: int, weights: Weights) -> Tensor:
    """One map of open_clip's network, channel by channel."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    network: Any = scorer.network
    handle = network.visual.layer4[-1].register_forward_hook(keep)
    logit(network, scorer.tokenizer, image[None], text).sum().backward()
    handle.remove()
    assert kept[0].grad is not None
    activation = kept[0].detach()[0]
    importance = [float(gradient.sum()) / gradient.numel() for gradient in kept[0].grad[0]]
    best = sorted(range(len(importance)), key=lambda channel: -importance[channel])[:k]
    scores = torch.zeros(len(importance))
    upsample = torch.nn.UpsamplingBilinear2d(size=(SIZE, SIZE))
    with torch.no_grad():
        for channel in best:
            large = upsample(activation[channel][None, None])[0, 0]
            mask = (large - large.min()) / (large.max() - large.min() + 1e-6)
            score = float(logit(network, scorer.tokenizer, (image * mask)[None], text))
            scores[channel] = 0.0 if score != score else score
    found = torch.zeros(activation.shape[1:])
    if weights == "average":
        return sum((activation[channel] / k for channel in best), found).relu()
    counted = best if weights == "softmax_selected" else range(len(importance))
    total = sum(float(scores[channel].exp()) for channel in counted)
    for channel in counted:
        found += scores[channel].exp() / total * activation[channel]
    return found.relu()


def draw(scorer: Scorer, pixels: Tensor, texts: list[str], owner: Tensor, cam: GScoreCAM) -> Tensor:
    with torch.no_grad():
        return cam(scorer, scorer.encode(pixels), texts, owner, [])


@pytest.mark.parametrize("k", [1, 12, 64])
@pytest.mark.parametrize("weights", ["softmax_all", "softmax_selected", "average"])
def test_maps_are_those_of_the_formulas(
    scorer: ClipScorer, pixels: Tensor, weights: Weights, k: int
) -> None:
    maps = draw(scorer, pixels, TEXTS, OWNER, GScoreCAM(None, k, weights, 5))
    for found, text, image in zip(maps, TEXTS, pixels[OWNER], strict=True):
        expected = literal(scorer, image, text, k, weights)
        assert expected.std() > 1e-3, "a map that is flat compares nothing"
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_ways_to_weigh_differ(scorer: ClipScorer, pixels: Tensor) -> None:
    ways: tuple[Weights, ...] = ("softmax_all", "softmax_selected", "average")
    maps = [draw(scorer, pixels, TEXTS, OWNER, GScoreCAM(None, 12, way)) for way in ways]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert float((maps[i] - maps[j]).abs().max()) > 1e-2 * float(maps[i].max())


def selection(scorer: ClipScorer, pixels: Tensor, k: int) -> list[set[int]]:
    """The channels of each text, by their gradients."""
    encoded = scorer.encode(pixels)
    _, (gradient,) = differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    return [set(row.topk(k).indices.tolist()) for row in gradient.mean(dim=(2, 3))]


def test_each_masked_image_is_encoded_once_and_scored_where_it_is_needed(
    scorer: ClipScorer, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = selection(scorer, pixels, 12)
    first = chosen[0] | chosen[2] | chosen[3]
    assert 12 < len(first) < 36, "phrases that share all channels, or none, show nothing"
    encoded, scored = [], []
    encode, score = scorer.encode, scorer.score

    def count_images(images: Tensor) -> Encoded:
        encoded.append(len(images))
        return encode(images)

    def count_pairs(images: Encoded, texts: list[str], owner: Tensor) -> Tensor:
        scored.append(len(texts))
        return score(images, texts, owner)

    whole = scorer.encode(pixels)
    monkeypatch.setattr(scorer, "encode", count_images)
    monkeypatch.setattr(scorer, "score", count_pairs)
    GScoreCAM(channels=12, batch_size=5)(scorer, whole, TEXTS, OWNER, [])
    assert sum(encoded) == len(first) + 12
    assert sum(scored) == len(TEXTS) + 12 * len(TEXTS)
    assert max(encoded) == 5, "memory is that of batch_size masked images"
    assert max(scored) == 5
    encoded.clear()
    GScoreCAM(channels=12, weights="average")(scorer, whole, TEXTS, OWNER, [])
    assert not encoded, "an average needs no masked image"


@pytest.mark.parametrize("weights", ["softmax_all", "softmax_selected", "average"])
def test_it_conforms(scorer: ClipScorer, weights: Weights) -> None:
    samples = [replace(one, text=t) for one, t in zip(planted(3), TEXTS[:3], strict=True)]
    check_cam(GScoreCAM(channels=8, weights=weights, batch_size=3), scorer, samples)


def test_it_reads_tokens_and_classifiers_too() -> None:
    tiny = TinyClip()
    samples = [replace(one, text=t) for one, t in zip(planted(3), TEXTS[:3], strict=True)]
    check_cam(GScoreCAM(channels=8), tiny, samples)
    scene = resnet()
    assert scene.maps(GScoreCAM(channels=8)).shape[0] == 3


def test_a_score_that_is_nan_counts_as_0(
    scorer: ClipScorer, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, (chosen, *_) = scorer.score, selection(scorer, pixels, 12)

    def broken(images: Encoded, texts: list[str], owner: Tensor) -> Tensor:
        found = score(images, texts, owner)
        masked = not found.requires_grad
        return found * torch.nan if masked else found

    monkeypatch.setattr(scorer, "score", broken)
    maps = draw(scorer, pixels, TEXTS[:1], OWNER[:1], GScoreCAM(channels=12))
    monkeypatch.undo()
    (output,), _ = differentiate(
        scorer, scorer.target_layers, scorer.encode(pixels), TEXTS[:1], OWNER[:1]
    )
    torch.testing.assert_close(maps[0], output[0].mean(dim=0).relu(), msg="weights of 1 / 64")
    assert len(chosen) == 12


def test_a_gradient_that_is_nan_makes_no_map(scorer: ClipScorer, pixels: Tensor) -> None:
    spoilt = pixels.clone()
    spoilt[1] = torch.nan
    maps = draw(scorer, spoilt, TEXTS, OWNER, GScoreCAM(channels=8))
    assert maps[1].isnan().all()
    assert maps[[0, 2, 3]].isfinite().all(), "an image spoils another one's maps"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, r"cam\.channels=0: expected a positive number"),
        ({"batch_size": 0}, r"cam\.batch_size=0"),
        ({"weights": "softmax"}, r"cam\.weights=softmax: expected one of softmax_all"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        GScoreCAM(**options)


def test_a_model_without_features_is_an_impossible_pair() -> None:
    from tests.cams.scenes import blip

    from vlground.contracts import check_pair

    with pytest.raises(ImpossiblePairError, match="the CAM needs features"):
        check_pair(blip().scorer, GScoreCAM())
