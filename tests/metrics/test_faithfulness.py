"""Faithfulness beside loops over pixels and beside pytorch-grad-cam."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tests.scorers import SIZE, PatchScorer, TinyBlip, TinyClip
from torch import Tensor

from vlground.config import build
from vlground.contracts import Encoded, Scorer
from vlground.errors import VlgroundError
from vlground.metrics.faithfulness import SCORES, Faithfulness, faithfulness
from vlground.metrics.road import impute, road_masks
from vlground.models.torchvision_classifier import TorchvisionClassifier
from vlground.preprocess import Preprocess
from vlground.run import CONF

TEXTS = ["red star", "a small blue ring", "green"]
OWNER = torch.tensor([0, 0, 1])
NAMES = [f"class {number}" for number in range(10)]
ROAD = (20, 40, 60, 80)


class Decider(PatchScorer):
    """A `PatchScorer` that decides."""

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        return self.score(encoded, texts, owner).sigmoid()


@pytest.fixture(scope="module")
def resnet() -> TorchvisionClassifier:
    torch.manual_seed(0)
    return TorchvisionClassifier(
        "resnet18", pretrained=False, preprocess=Preprocess(64), classes=NAMES
    )


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def distinct(count: int, size: int = SIZE) -> Tensor:
    """Maps over the model's input, no two values of which tie."""
    maps = [np.random.default_rng(seed).permutation(size * size) for seed in range(count)]
    return torch.tensor(np.stack(maps)).view(count, size, size).float() + 1


def asked(scorer: Scorer, image: Tensor, text: str) -> float:
    with torch.no_grad():
        encoded = scorer.encode(image[None])
        return float(scorer.score(encoded, [text], torch.tensor([0])))


def curve(
    scorer: Scorer, before: Tensor, after: Tensor, grid: Tensor, text: str, steps: int
) -> float:
    """Area under the score while pixels are exchanged one by one, by the definition."""
    places = sorted(range(grid.numel()), key=lambda place: -float(grid.flatten()[place]))
    image, done, scores = before.clone(), 0, [asked(scorer, before, text)]
    for step in range(1, steps + 1):
        while done < round(step * grid.numel() / steps):
            row, column = divmod(places[done], grid.shape[1])
            image[:, row, column] = after[:, row, column]
            done += 1
        scores.append(asked(scorer, image, text))
    return sum((a + b) / 2 / steps for a, b in pairwise(scores))


@pytest.mark.parametrize("make", [TinyClip, TinyBlip])
def test_the_curves_are_those_of_a_loop_over_pixels(make: type[Scorer]) -> None:
    scorer, pixels, maps = make(), noise(2, 3, SIZE, SIZE), distinct(3)
    options = Faithfulness(
        measures=("deletion", "insertion"),
        steps=6,
        deletion_baseline="black",
        insertion_baseline="mean",
    )
    found = faithfulness(scorer, pixels, TEXTS, OWNER, maps, options)
    means = torch.tensor(scorer.preprocess.mean) / torch.tensor(scorer.preprocess.std)
    black = -means.view(3, 1, 1).expand(3, SIZE, SIZE)
    for q, text in enumerate(TEXTS):
        image = pixels[OWNER[q]]
        deletion = curve(scorer, image, black, maps[q], text, 6)
        insertion = curve(scorer, torch.zeros_like(image), image, maps[q], text, 6)
        assert found["deletion"][q] == pytest.approx(deletion, abs=1e-5)
        assert found["insertion"][q] == pytest.approx(insertion, abs=1e-5)
    assert len(set(found["deletion"].round(4))) == 3, "conditioned on the text"


def test_average_drop_and_increase_are_pytorch_grad_cams(resnet: TorchvisionClassifier) -> None:
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    pixels, maps = noise(4, 3, 64, 64), distinct(4, 64)
    texts, owner = NAMES[:4], torch.arange(4)
    found = faithfulness(resnet, pixels, texts, owner, maps, Faithfulness(measures=("average",)))
    cams = ((maps - 1) / (maps.amax() - 1)).numpy()
    targets = [ClassifierOutputTarget(number) for number in range(4)]
    drop = DropInConfidence()(pixels, cams, targets, resnet.network)
    whole = resnet.score(resnet.encode(pixels), texts, owner).detach().numpy()
    positive = whole > 0
    assert 0 < positive.sum() < 4, "a drop of a negative score is no share"
    assert np.isnan(found["average_drop"][~positive]).all()
    np.testing.assert_allclose(found["average_drop"][positive], (drop / whole)[positive], atol=1e-5)
    increase = IncreaseInConfidence()(pixels, cams, targets, resnet.network)
    assert 0 < increase.sum() < 4
    assert (found["average_increase"] == increase).all()


@pytest.mark.parametrize("grid", [7, 64])
def test_road_is_pytorch_grad_cams(resnet: TorchvisionClassifier, grid: int) -> None:
    from pytorch_grad_cam.metrics import perturbation_confidence as parts
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    pixels, maps = noise(2, 3, 64, 64), noise(2, 1, grid, grid).sigmoid()
    maps = torch.nn.functional.interpolate(maps, (64, 64), mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    maps = (maps - low) / (high - low)
    options = Faithfulness(measures=("road",), noise=0, percentiles=ROAD)
    texts = [NAMES[3], NAMES[5]]
    found = faithfulness(resnet, pixels, texts, torch.arange(2), maps, options)
    targets = [ClassifierOutputTarget(3), ClassifierOutputTarget(5)]
    means = {}
    for name, remove in (
        ("road_morf", parts.RemoveMostRelevantFirst),
        ("road_lerf", parts.RemoveLeastRelevantFirst),
    ):
        metrics = [
            parts.PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0)))
            for percentile in ROAD
        ]
        each = [metric(pixels, maps.numpy(), targets, resnet.network) for metric in metrics]
        means[name] = np.mean(each, axis=0)
        np.testing.assert_allclose(found[name], means[name], atol=1e-4)
        assert np.abs(means[name]).min() > 1e-2
    combined = (means["road_lerf"] - means["road_morf"]) / 2
    np.testing.assert_allclose(found["road_combined"], combined, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 9), (13, 12), (47, 70), (64, 33)], ids=str)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_imputation_solves_the_authors_system(size: tuple[int, int], share: float) -> None:
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    images = noise(3, 2, *size)
    removed = torch.rand(3, *size, generator=torch.Generator().manual_seed(1)) < share
    removed[2] = torch.arange(size[1]) < share * size[1]  # one region, up to three edges
    removed[:, 0, -1] = False
    filled = impute(images, removed, tolerance=1e-6)
    kept = ~removed[:, None].expand_as(filled)
    assert torch.equal(filled[kept], images[kept])
    for image, gone, ours in zip(images, removed, filled, strict=True):
        if gone.any():
            expected = NoisyLinearImputer(noise=0)(image, (~gone).float())
            torch.testing.assert_close(ours, expected, atol=3e-4, rtol=0)


def test_imputation_of_what_cannot_be() -> None:
    images = noise(2, 3, 16, 16)
    everything = torch.ones(2, 16, 16, dtype=torch.bool)
    with pytest.raises(ValueError, match="nothing is left"):
        impute(images, everything)
    everything[:, 3, 4] = False
    filled = impute(images, everything)
    torch.testing.assert_close(filled, images[:, :, 3:4, 4:5].expand_as(images), atol=1e-4, rtol=0)
    images[0, 0, 3, 4] = torch.nan
    with pytest.raises(RuntimeError, match="converge"):
        impute(images, everything)
    assert torch.equal(impute(images[1:], ~everything[1:] & everything[1:]), images[1:])
    assert impute(images[:0], everything[:0]).shape == (0, 3, 16, 16)


def test_a_plateau_of_zeros_keeps_its_percentage() -> None:
    values = torch.zeros(1000)
    values[:100] = torch.arange(1, 101) / 100
    order = torch.cat([values[:100].argsort(descending=True), 100 + torch.randperm(900)])
    morf, lerf = road_masks(values, order, ROAD)
    assert (~morf).sum(dim=1).tolist() == [200, 400, 600, 800]
    assert not (morf[0] & ~torch.isin(torch.arange(1000), order[:800])).any()
    assert (~lerf).sum(dim=1).tolist() == [100, 100, 100, 100], "as pytorch-grad-cam: the tie goes"
    scorer, maps = PatchScorer(), torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 1
    found = faithfulness(scorer, noise(1, 3, SIZE, SIZE), ["1 2"], torch.tensor([0]), maps)
    assert all(np.isfinite(found[name]).all() for name in SCORES if name != "average_drop")


@pytest.mark.parametrize("make", [PatchScorer, Decider])
def test_the_right_map_is_more_faithful(make: type[Scorer]) -> None:
    pixels = noise(1, 3, SIZE, SIZE)
    pixels[:, :, 8:16, 16:24] += 3
    right, wrong = torch.full((2, 4, 4), 0.1)
    right[1, 2] = wrong[3, 0] = 1
    owner = torch.tensor([0, 0])
    maps = torch.stack([right, wrong]) + 1e-3 * noise(2, 4, 4)
    found = faithfulness(make(), pixels, ["1 2", "1 2"], owner, maps)
    for name in ("deletion", "average_drop", "road_morf"):
        assert found[name][0] < found[name][1], name
    for name in ("insertion", "road_lerf", "road_combined"):
        assert found[name][0] > found[name][1], name


def test_a_score_that_rises_is_an_increase_and_no_drop() -> None:
    pixels, maps = torch.full((1, 3, SIZE, SIZE), -1.0), torch.zeros(1, SIZE, SIZE)
    pixels[..., :4], maps[..., :4] = 3.0, 1.0
    options = Faithfulness(("average",), resize="nearest")
    found = faithfulness(PatchScorer(), pixels, ["0 0"], torch.tensor([0]), maps, options)
    assert (found["average_drop"][0], found["average_increase"][0]) == (0, 1)
    dim = faithfulness(PatchScorer(), pixels, ["0 0"], torch.tensor([0]), maps.flip(2), options)
    assert (dim["average_drop"][0], dim["average_increase"][0]) == (1, 0)


@pytest.mark.parametrize("make", [TinyClip, TinyBlip])
def test_no_score_depends_on_batch_mates(make: type[Scorer]) -> None:
    scorer, pixels, maps = make(), noise(2, 3, SIZE, SIZE), noise(3, 4, 4).abs()
    maps[1, 2:] = 0
    together = faithfulness(scorer, pixels, TEXTS, OWNER, maps)
    for q in range(3):
        only = torch.tensor([0])
        alone = faithfulness(
            scorer,
            pixels[OWNER[q : q + 1]],
            TEXTS[q : q + 1],
            only,
            maps[q : q + 1],
            Faithfulness(batch_size=5),
        )
        for name in SCORES:
            np.testing.assert_allclose(together[name][q], alone[name][0], atol=1e-4, err_msg=name)


def test_every_image_is_encoded_once() -> None:
    class Counting(PatchScorer):
        images = 0

        def encode(self, pixels: Tensor) -> Encoded:
            self.images += len(pixels)
            return super().encode(pixels)

    scorer, texts = Counting(), ["0 1", "1 2", "3 3"]
    maps, pixels = noise(3, 4, 4).abs(), noise(2, 3, SIZE, SIZE)
    faithfulness(scorer, pixels, texts, OWNER, maps, Faithfulness(steps=7))
    assert scorer.images == 2 + 3 * (7 + 7 + 1 + 2 * 4)


def test_degenerate_maps_are_flagged_and_not_scored() -> None:
    scorer, pixels = PatchScorer(), noise(1, 3, SIZE, SIZE)
    maps = noise(5, 4, 4).abs()
    maps[1], maps[2], maps[3] = 0.0, 2.0, torch.nan
    texts, owner = ["0 0"] * 5, torch.zeros(5, dtype=torch.long)
    found = faithfulness(scorer, pixels, texts, owner, maps)
    assert found["flag"].tolist() == ["", "not_positive", "constant", "not_finite", ""]
    scored = ~np.isnan(np.stack([found[name] for name in SCORES if name != "average_drop"]))
    assert (scored == [True, False, False, False, True]).all()
    found = faithfulness(scorer, pixels, texts, owner, maps, constant=True)
    assert found["flag"].tolist() == ["", "not_positive", "", "not_finite", ""]
    assert found["average_increase"][2] == 0, "a map of ones hides nothing"
    assert np.isfinite(found["road_combined"][2])
    none = faithfulness(scorer, pixels, texts[:1], owner[:1], maps[1:2])
    assert np.isnan([none[name][0] for name in SCORES]).all()


def test_constant_maps_do_not_go_from_top_to_bottom() -> None:
    scorer, ones = PatchScorer(), torch.full((2, 7, 7), 0.3)
    pixels = torch.ones(1, 3, SIZE, SIZE)
    owner, options = torch.tensor([0, 0]), Faithfulness(measures=("deletion",))
    found = faithfulness(scorer, pixels, ["0 0", "3 3"], owner, ones, options, constant=True)
    assert found["deletion"] == pytest.approx([1.5, 1.5], abs=0.3)


def test_scales() -> None:
    pixels, maps, owner = noise(1, 3, SIZE, SIZE), noise(1, 4, 4).abs(), torch.tensor([0])

    def deletion(scorer: Scorer, scale: Any) -> float:
        options = Faithfulness(measures=("deletion",), scale=scale, steps=1)
        found = faithfulness(scorer, pixels, ["1 1"], owner, maps, options)
        return float(found["deletion"][0])

    score = asked(PatchScorer(), pixels[0], "1 1")
    for kind in (PatchScorer, Decider):
        assert deletion(kind(), "score") == pytest.approx(score / 2)
        assert deletion(kind(), "exp") == pytest.approx((np.exp(score) + 1) / 2)
    chance = 1 / (1 + np.exp(-score))
    assert deletion(Decider(), "auto") == pytest.approx((chance + 0.5) / 2)
    assert deletion(Decider(), "probability") == deletion(Decider(), "auto")
    assert deletion(PatchScorer(), "auto") == deletion(PatchScorer(), "score")
    with pytest.raises(VlgroundError, match=r"metric\.scale=probability: this model ranks"):
        deletion(PatchScorer(), "probability")


def test_exp_of_a_classifiers_log_probability_is_its_softmax(
    resnet: TorchvisionClassifier,
) -> None:
    pixels, maps, owner = noise(1, 3, 64, 64), distinct(1, 64), torch.tensor([0])
    options = Faithfulness(measures=("deletion",), scale="exp", steps=1)
    resnet.target = "log_probability"
    try:
        found = faithfulness(resnet, pixels, NAMES[2:3], owner, maps, options)
    finally:
        resnet.target = "logit"
    with torch.no_grad():
        chances = resnet.network(torch.cat([pixels, torch.zeros_like(pixels)])).softmax(1)[:, 2]
    assert found["deletion"][0] == pytest.approx(float(chances.mean()), abs=1e-6)


def test_baselines() -> None:
    """A map of two halves: after one of two steps the left half is exchanged."""
    maps = torch.zeros(1, SIZE, SIZE)
    maps[..., : SIZE // 2] = 1
    pixels, owner, scorer = torch.ones(1, 3, SIZE, SIZE), torch.tensor([0]), PatchScorer()
    mean, std = torch.tensor(scorer.preprocess.mean), torch.tensor(scorer.preprocess.std)
    colour = {"mean": 0.0, "black": float((-mean / std).sum()), "blur": 3.0}
    for kind, value in colour.items():
        options = Faithfulness(("deletion", "insertion"), "score", "nearest", 2, kind, kind)  # type: ignore
        found = faithfulness(scorer, pixels, ["0 0"], owner, maps, options)
        assert found["deletion"][0] == pytest.approx((3 + 3 * value) / 4, abs=1e-5)
        assert found["insertion"][0] == pytest.approx((value + 9) / 4, abs=1e-5)
    edge = torch.zeros(1, 3, SIZE, SIZE)
    edge[..., SIZE // 2 :] = 1
    options = Faithfulness(("insertion",), "score", "nearest", 1, blur_sigma=4)
    dark = faithfulness(scorer, edge, ["0 1"], owner, maps, options)["insertion"][0]
    columns = np.arange(8, 16) + 0.5
    gauss = np.exp(-((np.arange(-12, 13) / 4) ** 2) / 2)
    reach = [gauss[np.arange(-12, 13) + column > 16].sum() / gauss.sum() for column in columns]
    assert dark == pytest.approx(3 * np.mean(reach) / 2, abs=1e-5)


def test_noise_is_of_the_seed() -> None:
    scorer, pixels, maps = PatchScorer(), noise(1, 3, SIZE, SIZE), noise(1, 4, 4).abs()
    state = torch.get_rng_state()

    def combined(**options: Any) -> float:
        options = {"measures": ("road",), **options}
        found = faithfulness(
            scorer, pixels, ["1 1"], torch.tensor([0]), maps, Faithfulness(**options)
        )
        return float(found["road_combined"][0])

    assert combined() == combined() != combined(seed=1)
    assert combined() == pytest.approx(combined(noise=0), abs=0.02)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        inside = combined()
    assert inside == combined()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ()}, "metric.measures"),
        ({"measures": ["raod"]}, "metric.measures=.*expected some of deletion"),
        ({"scale": "logit"}, "metric.scale=logit: expected one of auto"),
        ({"resize": "area"}, "metric.resize"),
        ({"deletion_baseline": "grey"}, "metric.deletion_baseline=grey"),
        ({"steps": 2.5}, "metric.steps=2.5: expected a whole number from 1 on"),
        ({"batch_size": 0}, "metric.batch_size=0"),
        ({"seed": -1}, "metric.seed=-1"),
        ({"percentiles": [20, 100]}, "metric.percentiles=.*between 0 and 100"),
        ({"blur_sigma": 0}, "metric.blur_sigma=0"),
        ({"noise": -1}, "metric.noise=-1"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        Faithfulness(**options)


def test_the_option_file_has_the_defaults() -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "metric" / "faithfulness.yaml"))
    assert isinstance(node, dict)
    assert build({str(key): value for key, value in node.items()}) == Faithfulness()
    assert set(node) - {"_target_"} == {field.name for field in fields(Faithfulness)}
