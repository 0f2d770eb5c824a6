"""The two-stage scorer on real tiny architectures: what every CAM relies on."""

import pytest
import torch

from tests.scorers import SIZE, PatchScorer, TinyBlip, TinyClip
from vlground.cams.gradient import choose_layer
from vlground.contracts import Encoded, Scorer
from vlground.errors import VlgroundError
from vlground.gradients import differentiate

TEXTS = ["red star", "a small blue ring", "green"]
OWNER = torch.tensor([0, 0, 1])


@pytest.fixture(params=[TinyClip, TinyBlip], scope="module")
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return request.param()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def _pair(scorer: Scorer, pixels: torch.Tensor, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    layers = scorer.target_layers[-1:]
    encoded = scorer.encode(pixels[None])
    (activation,), (gradient,) = differentiate(scorer, layers, encoded, [text], torch.tensor([0]))
    return activation[0], gradient[0]


def test_texts_of_one_image_do_not_mix(scorer: Scorer, pixels: torch.Tensor) -> None:
    encoded = scorer.encode(pixels)
    layers = scorer.target_layers[-1:]
    (activation,), (gradient,) = differentiate(scorer, layers, encoded, TEXTS, OWNER)
    assert activation.shape[0] == gradient.shape[0] == len(TEXTS)
    for q, text in enumerate(TEXTS):
        alone = _pair(scorer, pixels[OWNER[q]], text)
        for together, single in zip((activation[q], gradient[q]), alone, strict=True):
            if together.shape != single.shape:  # attention over padded text tokens
                together = together[:, : single.shape[1]]
            torch.testing.assert_close(together, single, atol=1e-6, rtol=1e-4)
    assert (gradient[0] - gradient[1]).abs().max() > 1e-3 * gradient.abs().max()


def test_gradient_is_the_finite_difference(scorer: Scorer, pixels: torch.Tensor) -> None:
    scorer = scorer.double()
    encoded = scorer.encode(pixels.double())
    layer = scorer.target_layers[-1]
    generator = torch.Generator().manual_seed(2)
    (activation,), (gradient,) = differentiate(scorer, [layer], encoded, TEXTS, OWNER)
    direction = torch.randn(activation.shape, generator=generator, dtype=torch.double)
    values = []
    for step in (-1e-5, 1e-5):
        hook = layer.module.register_forward_hook(lambda m, i, o, s=step: o + s * direction)
        values.append(scorer.score(encoded, TEXTS, OWNER))
        hook.remove()
    numeric = (values[1] - values[0]) / 2e-5
    analytic = (gradient.double() * direction).flatten(1).sum(1)
    torch.testing.assert_close(analytic, numeric, atol=1e-5, rtol=1e-3)
    scorer.float()


def test_nothing_is_left_behind(scorer: Scorer, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        encoded = scorer.encode(pixels)
        assert encoded.features.is_inference()
    encoded = Encoded(pixels, encoded.features.clone())
    differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    assert all(parameter.grad is None for parameter in scorer.parameters())
    assert not any(layer.module._forward_hooks for layer in scorer.target_layers)


def test_works_in_inference_mode(scorer: Scorer, pixels: torch.Tensor) -> None:
    layers = scorer.target_layers
    outside = differentiate(scorer, layers, scorer.encode(pixels), TEXTS, OWNER)
    with torch.inference_mode():
        with torch.inference_mode(False), torch.no_grad():
            encoded = scorer.encode(pixels)
        inside = differentiate(scorer, layers, encoded, TEXTS, OWNER)
    for a, b in zip(outside[1], inside[1], strict=True):
        assert torch.equal(a, b)


def test_graph_begins_at_the_target_layer(pixels: torch.Tensor) -> None:
    scorer = TinyBlip()
    below: list[bool] = []
    first = scorer.blip.text_encoder.encoder.layer[0].attention
    first.register_forward_hook(lambda m, i, o: below.append(o[0].requires_grad))
    differentiate(scorer, scorer.target_layers[-1:], scorer.encode(pixels), TEXTS, OWNER)
    assert below == [False]


def test_planted_evidence_has_its_gradient_there() -> None:
    scorer = PatchScorer()
    encoded = scorer.encode(torch.rand(1, 3, SIZE, SIZE))
    _, (gradient,) = differentiate(
        scorer, scorer.target_layers, encoded, ["1 2", "3 0"], torch.tensor([0, 0])
    )
    expected = torch.zeros(2, 3, 4, 4)
    expected[0, :, 1, 2] = 1
    expected[1, :, 3, 0] = 1
    assert torch.equal(gradient, expected)


def test_a_layer_is_found_by_name_and_by_its_place() -> None:
    scorer, needs = TinyBlip(), frozenset({"cross_attention"})
    names = [layer.name for layer in scorer.target_layers if layer.kind == "cross_attention"]
    assert [choose_layer(scorer, needs, name).name for name in names] == names
    assert [choose_layer(scorer, needs, place).name for place in (-3, -2, -1, 0)] == [
        *names,
        names[0],
    ]
    for absent in ("nowhere", 3, -4):
        with pytest.raises(VlgroundError, match=f"cam.layer={absent}: no such target layer"):
            choose_layer(scorer, needs, absent)
