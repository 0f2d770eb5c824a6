"""Attention Grad-CAM and the Grad-CAM family on cross-attention, against loops over plain BLIP."""

import numpy as np
import pytest
import torch
from tests.cams.plain import Read, close, of_blip
from tests.cams.scenes import Scene, blip, clip, phrases
from tests.scorers import TinyBlip
from torch import Tensor

from vlground.cams.attention import AttentionGradCAM, attention_maps
from vlground.cams.gradient import GradCAM, LayerCAM
from vlground.contracts import TargetLayer, check_pair
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.gradients import differentiate
from vlground.testing import check_cam, check_scorer

LENGTHS = (4, 6, 3)  # tokens of the scene's texts, [CLS] and [SEP] among them


@pytest.fixture(scope="module")
def scene() -> Scene:
    return blip()


@pytest.fixture(scope="module")
def plain(scene: Scene) -> list[Read]:
    return [of_blip(scene, row) for row in range(3)]


def test_tiny_blip_conforms_with_every_layer() -> None:
    check_scorer(TinyBlip(text=True, vision=True), ["red star", "a small blue ring"])


@pytest.mark.parametrize("layer", [None, "crossattention.0"])
@pytest.mark.parametrize("tokens", ["words", "first", "all"])
def test_the_recipe_of_lavis_albef_and_amc(
    scene: Scene, plain: list[Read], tokens: str, layer: str | None
) -> None:
    expected = []
    for length, read in zip(LENGTHS, plain, strict=True):
        attention, gradient = read[layer or "crossattention.1"]
        heads = (attention * gradient.clip(0))[:, :, 1:].mean(axis=0).reshape(length, 4, 4)
        of = {"words": heads[1 : length - 1], "first": heads[:1], "all": heads}[tokens]
        expected.append(of.sum(axis=0) / len(of))
    close(scene.maps(AttentionGradCAM(layer, tokens=tokens)), expected)


@pytest.mark.parametrize("heads", ["mean", "max", "sum"])
@pytest.mark.parametrize("gradient", ["positive", "signed", "absolute", "none"])
def test_heads_and_gradients(scene: Scene, plain: list[Read], heads: str, gradient: str) -> None:
    expected = []
    for length, read in zip(LENGTHS, plain, strict=True):
        attention, slope = read["crossattention.1"]
        total = np.zeros(16)
        for token in range(length):
            products = []
            for head in range(2):
                a, g = attention[head, token, 1:], slope[head, token, 1:]
                factor = {"positive": g * (g > 0), "signed": g, "absolute": abs(g), "none": 1}
                products.append(a * factor[gradient])
            total += {
                "mean": sum(products) / 2,
                "max": np.maximum(*products),
                "sum": sum(products),
            }[heads]
        expected.append((total / length).clip(0).reshape(4, 4))
    cam = AttentionGradCAM(heads=heads, tokens="all", gradient=gradient)
    close(scene.maps(cam), expected)


def test_layercam_is_attention_gradcam_of_all_tokens_summed(scene: Scene) -> None:
    summed = scene.maps(AttentionGradCAM(heads="sum", tokens="all"))
    factor = torch.tensor(LENGTHS)[:, None, None]
    torch.testing.assert_close(scene.maps(LayerCAM()), summed * factor)
    summed = scene.maps(AttentionGradCAM(heads="sum", tokens="words"))
    torch.testing.assert_close(scene.maps(LayerCAM(tokens="words")), summed * (factor - 2))


def test_features_have_no_tokens_to_choose() -> None:
    scene = clip()
    assert torch.equal(scene.maps(GradCAM(tokens="words")), scene.maps(GradCAM()))


def test_texts_of_one_word_and_of_none() -> None:
    generator = torch.Generator().manual_seed(0)
    attention, gradient = torch.rand(2, 3, 2, 4, 5, generator=generator)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    maps = attention_maps(attention, gradient, mask, (2, 2), tokens="words")
    assert not maps[0].any(), "no words: degenerate, not a division by 0"
    of_one = (attention * gradient)[1, :, 1, 1:].mean(dim=0).view(2, 2)
    torch.testing.assert_close(maps[1], of_one)
    left = attention_maps(attention[2:], gradient[2:], mask[1:2].flip(1), (2, 2), tokens="words")
    torch.testing.assert_close(left[0], (attention * gradient)[2, :, 2, 1:].mean(dim=0).view(2, 2))


def test_the_last_cross_attention_of_words_has_no_gradient(scene: Scene) -> None:
    """The score is read from the first token: after this layer nothing reads the others."""
    assert not scene.maps(AttentionGradCAM("crossattention.2", tokens="words")).any()
    assert scene.maps(AttentionGradCAM("crossattention.2", tokens="first")).any()


@pytest.mark.parametrize("sign", ["positive", "signed", "absolute", "none"])
@pytest.mark.parametrize("heads", ["mean", "max", "sum"])
def test_maps_are_differentiable(heads: str, sign: str) -> None:
    generator = torch.Generator().manual_seed(0)
    attention, gradient = torch.randn(2, 2, 3, 4, 5, generator=generator, dtype=torch.double)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    inputs = (attention.requires_grad_(), gradient.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda a, g: attention_maps(a, g, mask, (2, 2), heads, "all", sign), inputs
    )


def test_a_loss_on_maps_reaches_the_weights_through_the_gradient() -> None:
    """As AMC needs: the slope of a map along a weight is the finite difference."""
    scene = blip()
    scorer = scene.scorer.double()
    layer = scorer.target_layers[1]
    encoded = scorer.encode(scene.pixels.double())
    weight = scorer.blip.itm_head.weight.requires_grad_()  # after the attention: ∂s/∂A alone
    recorded: list[Tensor] = []

    def loss() -> Tensor:
        def record(module: object, inputs: object, output: Tensor) -> Tensor:
            recorded.append(output.detach().requires_grad_())
            return recorded[-1]

        handle = layer.module.register_forward_hook(record)
        score = scorer.score(encoded, scene.texts, scene.owner).sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, recorded[-1], create_graph=True)
        maps = attention_maps(recorded[-1], gradient, layer.token_mask, layer.grid)
        return maps[:, 0].sum() - maps[:, 1].sum()

    (slope,) = torch.autograd.grad(loss(), weight)
    step = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).double()
    values = []
    for size in (-1e-6, 1e-6):
        weight.data += size * step
        values.append(loss().item())
        weight.data -= size * step
    assert slope.abs().max() > 0
    assert (slope * step).sum().item() == pytest.approx((values[1] - values[0]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize("tokens", ["words", "first", "all"])
def test_padding_changes_no_map(tokens: str) -> None:
    for cam in (AttentionGradCAM(tokens=tokens), LayerCAM(tokens=tokens), GradCAM(tokens=tokens)):
        check_cam(cam, TinyBlip(text=True), phrases())


def test_bf16_attention_gives_float32_maps(scene: Scene) -> None:
    rough = blip()
    rough.scorer.bfloat16()
    rough.pixels = rough.pixels.bfloat16()
    maps, exact = rough.maps(AttentionGradCAM()), scene.maps(AttentionGradCAM())
    assert maps.dtype == torch.float32
    for one, other in zip(maps.flatten(1), exact.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.9


def test_default_layer_and_names(scene: Scene) -> None:
    assert torch.equal(
        scene.maps(AttentionGradCAM()), scene.maps(AttentionGradCAM("crossattention.1"))
    )
    with pytest.raises(VlgroundError, match=r"cam.layer=text.1: .* crossattention.2$"):
        blip(text=True).maps(AttentionGradCAM("text.1"))
    with pytest.raises(ImpossiblePairError, match="needs cross_attention"):
        check_pair(clip().scorer, AttentionGradCAM())


@pytest.mark.parametrize("option", ["heads", "tokens", "gradient"])
def test_impossible_options_are_named(option: str) -> None:
    with pytest.raises(VlgroundError, match=f"cam.{option}=last: expected one of "):
        AttentionGradCAM(**{option: "last"})
    with pytest.raises(VlgroundError, match=r"cam.tokens=last: expected one of all, words, first"):
        GradCAM(tokens="last")


def test_attention_and_features_of_one_model() -> None:
    """A default decides between kinds; a name picks any of them."""
    scene = blip()
    norm = scene.scorer.blip.vision_model.post_layernorm
    scene.scorer.vision = True
    mask = torch.arange(17) > 0
    features = TargetLayer("vision", norm, "features", (4, 4), mask)
    scene.scorer.target_layers = (features, *scene.scorer.target_layers)
    assert torch.equal(scene.maps(GradCAM()), scene.maps(GradCAM("crossattention.1")))
    assert not torch.equal(scene.maps(GradCAM()), scene.maps(GradCAM("vision")))
    (activation,), _ = differentiate(
        scene.scorer, [features], scene.encoded(), scene.texts, scene.owner
    )
    assert activation.shape == (3, 17, 32)
