"""What every CAM promises, whatever it draws."""

import pytest
import torch
from tests.cams.scenes import ALL, SCENES, Scene, clip, efficientnet, resnet, samples
from tests.scorers import SIZE, PatchScorer
from torch import Tensor

from vlground.cams.fullgrad import FullGrad, full_gradient
from vlground.cams.gradient import GradCAM, GradCAMPlusPlus
from vlground.cams.library import LibraryCAM
from vlground.cams.score import ScoreCAM
from vlground.contracts import CAM, Encoded
from vlground.errors import ImpossiblePairError, VlgroundError

# FullGrad needs biases of convolutions: the tiny CLIP and the planted scorer have none.
MODELS = {name: SCENES[name] for name in ("resnet", "clip")}
PAIRS = [(model, cam) for model in MODELS for cam in ALL if (model, cam) != ("clip", "FullGrad")]
TEXT_BLIND = {"EigenCAM"}


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    return {name: make() for name, make in MODELS.items()}


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(("model", "cam"), PAIRS)
def test_a_map_depends_on_its_own_image_and_text_alone(
    scenes: dict[str, Scene], model: str, cam: str
) -> None:
    scene, draw = scenes[model], ALL[cam]()
    together = scene.maps(draw)
    assert together.shape[0] == 3
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    assert (together >= 0).all()
    for row in range(3):
        alone = scene.maps(draw, (row,))[0]
        assert alone.max() > 0
        assert relative(together[row], alone) < 1e-3
    backwards = scene.maps(draw, (2, 1, 0)).flip(0)
    assert relative(backwards, together) < 1e-3
    differ = relative(together[0], together[2])
    assert differ == 0 if cam in TEXT_BLIND else differ > 1e-2


@pytest.mark.parametrize(("model", "cam"), PAIRS)
def test_nothing_is_left_behind_and_inference_mode_changes_nothing(
    scenes: dict[str, Scene], model: str, cam: str
) -> None:
    scene, draw = scenes[model], ALL[cam]()
    hooks = [len(module._forward_hooks) for module in scene.scorer.modules()]
    outside = scene.maps(draw)
    with torch.inference_mode():
        encoded = scene.scorer.encode(scene.pixels.clone())
        inside = draw(scene.scorer, encoded, scene.texts, scene.owner.clone(), samples())
        assert encoded.features.is_inference()
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
    assert not scene.pixels.requires_grad
    assert all(parameter.grad is None for parameter in scene.scorer.parameters())
    assert hooks == [len(module._forward_hooks) for module in scene.scorer.modules()]


@pytest.mark.parametrize("model", ["resnet", "clip"])
@pytest.mark.parametrize("cam", [*ALL, "library"])
def test_bf16_models_give_float32_maps(model: str, cam: str) -> None:
    if (model, cam) == ("clip", "FullGrad"):
        pytest.skip("no biases")
    scene = MODELS[model]()
    draw = LibraryCAM("XGradCAM") if cam == "library" else ALL[cam]()
    exact = scene.maps(draw)
    scene.scorer.bfloat16()
    scene.pixels = scene.pixels.bfloat16()
    maps = scene.maps(draw)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    for rough, fine in zip(maps.flatten(1), exact.flatten(1), strict=True):
        # Weights of XGrad-CAM on signed tokens are ill-conditioned, see its docstring.
        if not (model == "clip" and cam in ("XGradCAM", "library")):
            assert torch.corrcoef(torch.stack([rough, fine]))[0, 1] > 0.9


@pytest.mark.parametrize("cam", [cam for cam in ALL if cam != "FullGrad"])
def test_planted_evidence_is_found(cam: str) -> None:
    scorer, text = PatchScorer(), "1 2"
    pixels = 0.1 * torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    pixels[:, :, 8:16, 16:24] += 1
    encoded, owner = scorer.encode(pixels), torch.tensor([0])
    grid = ALL[cam]()(scorer, encoded, [text], owner, samples((0,)))[0]
    assert grid.argmax() == 1 * 4 + 2
    if cam in ("HiResCAM", "LayerCAM"):  # element by element: only what was asked for counts
        pixels[:, :, 24:32, 0:8] += 5
        grid = ALL[cam]()(scorer, scorer.encode(pixels), [text], owner, samples((0,)))[0]
        assert grid.nonzero().tolist() == [[1, 2]]


def test_gradcam_plusplus_without_epsilon_does_not_depend_on_the_size_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    activation = torch.rand(1, 5, 4, 4, generator=generator)
    gradient = torch.randn(1, 5, 4, 4, generator=generator)
    gradient[0, 0] = 0
    gradient -= 2e-3 * activation  # no cell is exactly 0 but in the paper's linear case
    gradient[0, 1] = 0
    exact, small = GradCAMPlusPlus(epsilon=0), 1e-4

    def alpha_of(cam: GradCAMPlusPlus, scale: float) -> Tensor:
        drawn = cam.combine(activation / scale, gradient * scale)
        return drawn / drawn.abs().max()

    assert exact.combine(activation, gradient).isfinite().all()
    torch.testing.assert_close(alpha_of(exact, small), alpha_of(exact, 1.0))
    assert relative(alpha_of(GradCAMPlusPlus(), small), alpha_of(exact, small)) > 0.01


@pytest.mark.parametrize("options", [{}, {"channels": 8}, {"weights": "increase"}])
def test_scorecam_does_not_depend_on_its_batch_size(
    scenes: dict[str, Scene], options: dict[str, object]
) -> None:
    scene = scenes["resnet"]
    maps = [scene.maps(ScoreCAM(batch_size=size, **options)) for size in (1, 7, 1000)]
    assert relative(maps[0], maps[1]) < 1e-4
    assert relative(maps[2], maps[1]) < 1e-4


@pytest.mark.parametrize(
    ("options", "images", "rows"),
    [({"channels": 10}, 20, 30), ({"channels": 10, "weights": "increase"}, 22, 33)],
)
def test_scorecam_encodes_each_masked_image_once(
    options: dict[str, object],
    images: int,
    rows: int,
    scenes: dict[str, Scene],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = scenes["resnet"]
    encoded, encodes, scored = scene.encoded(), [], []
    encode, score = scene.scorer.encode, scene.scorer.score

    def counting_encode(pixels: Tensor) -> Encoded:
        encodes.append(len(pixels))
        return encode(pixels)

    def counting_score(encoded: Encoded, texts: list[str], owner: Tensor) -> Tensor:
        scored.append(len(texts))
        return score(encoded, texts, owner)

    monkeypatch.setattr(scene.scorer, "encode", counting_encode)
    monkeypatch.setattr(scene.scorer, "score", counting_score)
    ScoreCAM(batch_size=4, **options)(scene.scorer, encoded, scene.texts, scene.owner, samples())
    assert sum(encodes) == images  # two images, however many texts
    assert max(encodes) == 4
    assert sum(scored) == 3 + rows  # the activations, then every text under every mask


def test_scorecam_takes_the_channels_with_most_activation(scenes: dict[str, Scene]) -> None:
    scene = scenes["resnet"]
    every = ScoreCAM().activation(scene.scorer, scene.encoded(), scene.texts, scene.owner)
    count = every.shape[1]
    torch.testing.assert_close(
        scene.maps(ScoreCAM(channels=count)), scene.maps(ScoreCAM()), rtol=0, atol=0
    )
    best = every.sum(dim=(2, 3)).argmax(dim=1)
    alone = every[torch.arange(3), best]  # a softmax over one channel is 1
    torch.testing.assert_close(scene.maps(ScoreCAM(channels=1)), alone.relu())


def test_scorecam_weighs_by_the_increase_over_nothing_seen() -> None:
    """Of the planted scorer: the increase is the brightness that the mask lets through."""

    class Raised(PatchScorer):
        def score(self, encoded: Encoded, texts: list[str], owner: Tensor) -> Tensor:
            return super().score(encoded, texts, owner) + 10

    scorer = Raised()
    pixels = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) + 1
    encoded, owner = scorer.encode(pixels), torch.tensor([0])
    grid = ScoreCAM(weights="increase")(scorer, encoded, ["0 3"], owner, samples((0,)))[0]
    expected = torch.zeros(4, 4)
    for channel in encoded.features[0]:
        large = torch.nn.functional.interpolate(
            channel[None, None], (SIZE, SIZE), mode="bilinear", align_corners=True
        )[0, 0]
        mask = (large - large.min()) / (large.max() - large.min())
        increase = (pixels[0] * mask)[:, :8, 24:].mean(dim=(1, 2)).sum()
        expected += increase * channel
    torch.testing.assert_close(grid, expected)


def test_full_gradient_is_complete() -> None:
    """Of a ReLU network the terms sum up to the score without the classifier's own bias."""
    scene = resnet()
    terms = full_gradient(scene.scorer, scene.pixels, scene.texts, scene.owner)
    total = sum(term.flatten(1).sum(dim=1) for term in terms)
    bias = scene.network.get_classifier().bias[list(scene.targets)]
    scores = scene.scorer.score(scene.encoded(), scene.texts, scene.owner)
    torch.testing.assert_close(total + bias, scores, rtol=1e-3, atol=1e-4)


def test_fullgrad_sees_batch_normalisations_that_the_library_overlooks() -> None:
    scene = efficientnet()
    assert len(full_gradient(scene.scorer, scene.pixels, scene.texts, scene.owner)) > 15
    assert scene.maps(FullGrad()).isfinite().all()
    with pytest.raises(ImpossiblePairError, match="BatchNormAct2d"):
        scene.maps(LibraryCAM("FullGrad"))


@pytest.mark.parametrize("cam", [FullGrad(), LibraryCAM("FullGrad")])
def test_fullgrad_without_biases_is_impossible(cam: CAM) -> None:
    with pytest.raises(ImpossiblePairError, match="none"):
        clip().maps(cam)


@pytest.mark.parametrize(
    "options", [{"weights": "relu"}, {"channels": 0}, {"batch_size": 0}], ids=str
)
def test_impossible_options_are_named(options: dict[str, object]) -> None:
    name = next(iter(options))
    with pytest.raises(VlgroundError, match=f"cam.{name}={options[name]}: expected"):
        ScoreCAM(**options)


def test_scores_that_are_not_finite_end_as_maps_that_are_not(scenes: dict[str, Scene]) -> None:
    scene = scenes["clip"]
    encoded = scene.encoded()
    encoded.features[0] = torch.nan
    for draw in (ScoreCAM(channels=2), GradCAM()):
        maps = draw(scene.scorer, encoded, scene.texts, scene.owner, samples())
        assert maps[0].isnan().any()
        assert maps[1].isfinite().all()
