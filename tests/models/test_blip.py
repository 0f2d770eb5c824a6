"""BLIP-ITM is transformers' own, pair by pair, and its attention that of the unmodified model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file, save_file
from tests.models.matchers import (
    BLIP,
    CELLS,
    ENC,
    TEXTS,
    at_size,
    noise,
    stir,
    tiny_blip,
    write_vocabulary,
)
from tests.worlds import planted
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval

from vlground.cams.attention import AttentionGradCAM
from vlground.errors import VlgroundError
from vlground.gradients import differentiate
from vlground.models.blip import BlipMatching
from vlground.testing import check_cam, check_scorer

OWNER = torch.tensor([1, 0, 1])


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> BlipMatching:
    return tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> BlipMatching:
    return tiny_blip(tmp_path_factory.mktemp("blip"), vision_attention=True)


@pytest.fixture(scope="module")
def original() -> nn.Module:
    """The unmodified model with the same weights."""
    network = BlipForImageTextRetrieval(BlipConfig(**BLIP))
    stir(network)
    return network.eval().requires_grad_(False)


def pair(original: Any, scorer: BlipMatching, pixels: Tensor, text: str, first: int) -> Tensor:
    """The two logits of one pair, of transformers alone."""
    ids = scorer.tokens.tokenize([text])[0]
    ids[:, 0] = first
    mask = torch.ones_like(ids)
    return original(
        input_ids=ids,
        pixel_values=pixels[None],
        attention_mask=mask,
        interpolate_pos_encoding=True,
    ).itm_score[0]


def read(
    original: Any, module: nn.Module, scorer: BlipMatching, pixels: Tensor, text: str
) -> tuple[Tensor, Tensor]:
    """Attention and the match logit's gradient of one pair."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    handle = module.register_forward_hook(keep)
    logit = pair(original, scorer, pixels, text, ENC)[1]
    handle.remove()
    return kept[0][0].detach(), torch.autograd.grad(logit, kept[0])[0][0]


def test_it_conforms(scorer: BlipMatching, seeing: BlipMatching) -> None:
    check_scorer(scorer, TEXTS)
    check_scorer(seeing, TEXTS)
    samples = [replace(one, text=text) for one, text in zip(planted(3), TEXTS, strict=True)]
    check_cam(AttentionGradCAM(), scorer, samples)


def test_scores_are_those_of_the_unmodified_model(scorer: BlipMatching, original: Any) -> None:
    pixels = noise()
    encoded = scorer.encode(pixels)
    scores = scorer.score(encoded, TEXTS, OWNER)
    expected = torch.stack(
        [pair(original, scorer, pixels[o], text, ENC) for text, o in zip(TEXTS, OWNER, strict=True)]
    )
    torch.testing.assert_close(scores, expected[:, 1], rtol=1e-5, atol=1e-5)
    assert scores.std() > 0.01, "scores that are all the same compare nothing"
    match = scorer.match(encoded, TEXTS, OWNER)
    torch.testing.assert_close(match, expected.softmax(dim=1)[:, 1], rtol=1e-5, atol=1e-5)
    scorer.target = "margin"
    margin = scorer.score(encoded, TEXTS, OWNER)
    scorer.target = "match_logit"
    torch.testing.assert_close(margin, expected[:, 1] - expected[:, 0], rtol=1e-5, atol=1e-5)


def test_without_enc_the_first_token_is_cls(tmp_path: Path, original: Any) -> None:
    scorer, pixels = tiny_blip(tmp_path, enc_token_id=None), noise(1)
    (score,) = scorer.score(scorer.encode(pixels), ["red star"], torch.tensor([0]))
    cls, enc = (pair(original, scorer, pixels[0], "red star", first)[1] for first in (2, ENC))
    torch.testing.assert_close(score, cls, rtol=1e-5, atol=1e-5)
    assert abs(score - enc) > 1e-3


def cross(original: Any, number: int) -> nn.Module:
    return original.text_encoder.encoder.layer[number].crossattention.self.dropout


def text(original: Any, number: int) -> nn.Module:
    return original.text_encoder.encoder.layer[number].attention.self.dropout


def vision(original: Any, number: int) -> nn.Module:
    return original.vision_model.encoder.layers[number].self_attn.dropout


@pytest.mark.parametrize(
    ("name", "place"), [("crossattention", cross), ("text", text), ("vision", vision)]
)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_attention_and_its_gradient_are_those_of_the_unmodified_model(
    seeing: BlipMatching,
    original: Any,
    name: str,
    place: Callable[[Any, int], nn.Module],
    number: int,
) -> None:
    pixels = noise()
    (layer,) = [layer for layer in seeing.target_layers if layer.name == f"{name}.{number}"]
    encoded = seeing.encode(pixels)
    (attention,), (gradient,) = differentiate(seeing, [layer], encoded, TEXTS, OWNER)
    for q, (phrase, o) in enumerate(zip(TEXTS, OWNER, strict=True)):
        weights, slope = read(original, place(original, number), seeing, pixels[o], phrase)
        to, source = weights.shape[1:]
        scale = float((weights * slope.relu()).max())
        assert scale > 0
        found = (attention * gradient.relu())[q, :, :to, :source]
        assert float((found - weights * slope.relu()).abs().max()) < 1e-5 * scale
        assert not attention[q, :, :to, source:].any(), "padding is attended to"


def test_layers_stand_in_their_order_and_one_is_the_default(
    scorer: BlipMatching, seeing: BlipMatching
) -> None:
    texts = [f"{kind}.{number}" for number in range(3) for kind in ("text", "crossattention")]
    assert [layer.name for layer in scorer.target_layers] == texts
    images = [f"vision.{number}" for number in range(3)]
    assert [layer.name for layer in seeing.target_layers] == [*images, *texts]
    assert [layer.name for layer in scorer.target_layers if layer.default] == ["crossattention.1"]
    assert all(layer.grid == (CELLS, CELLS) for layer in seeing.target_layers)


def test_the_image_tower_runs_once_an_image(scorer: BlipMatching) -> None:
    seen: list[int] = []
    network: Any = scorer.network
    handle = network.vision_model.post_layernorm.register_forward_hook(
        lambda m, i, o: seen.append(len(o))
    )
    AttentionGradCAM()(scorer, scorer.encode(noise(1)), TEXTS, torch.zeros(3, dtype=torch.long), [])
    handle.remove()
    assert seen == [1]


def test_at_another_size_positions_are_interpolated(tmp_path: Path, original: Any) -> None:
    scorer, pixels = tiny_blip(tmp_path, preprocess=at_size(48)), noise(1, 48)
    (score,) = scorer.score(scorer.encode(pixels), ["red star"], torch.tensor([0]))
    expected = pair(original, scorer, pixels[0], "red star", ENC)[1]
    torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    assert scorer.target_layers[-1].grid == (6, 6)


def test_an_image_of_one_pixel_is_scored(scorer: BlipMatching) -> None:
    pixels, _ = scorer.preprocess(Image.new("RGB", (1, 1), (9, 200, 30)))
    score = scorer.score(scorer.encode(pixels[None]), ["red star"], torch.tensor([0]))
    assert score.isfinite().all()


def test_it_can_be_trained(tmp_path: Path) -> None:
    scorer = tiny_blip(tmp_path).requires_grad_(True).train()
    scorer.logits(scorer.encode(noise()), TEXTS, OWNER).square().sum().backward()
    idle = [name for name, weight in scorer.named_parameters() if weight.grad is None]
    assert all("_proj" in name for name in idle), "only contrastive learning is left out"


def test_transformers_reads_what_is_saved(scorer: BlipMatching, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    again = BlipMatching(str(tmp_path), enc_token_id=ENC, layer=2, context=16)
    plain = BlipForImageTextRetrieval.from_pretrained(tmp_path, dtype=torch.float32).eval()
    pixels = noise(1)
    (score,) = again.score(again.encode(pixels), ["red star"], torch.tensor([0]))
    torch.testing.assert_close(score, pair(plain, again, pixels[0], "red star", ENC)[1])
    (exact,) = scorer.score(scorer.encode(pixels), ["red star"], torch.tensor([0]))
    torch.testing.assert_close(score, exact, rtol=0.02, atol=0.02)
    weights = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, "model.layer=3: expected 0 to 2"),
        ({"layer": -1}, "model.layer=-1: expected 0 to 2"),
        ({"target": "cosine"}, "model.target=cosine: expected match_logit or margin"),
        ({"context": 17}, "model.context=17: the model reads 16 tokens"),
        ({"enc_token_id": 30523}, "model.enc_token_id=30523: the model knows"),
        ({"preprocess": at_size(36)}, "model.preprocess.size=36: expected a multiple of"),
    ],
)
def test_options_that_do_not_fit_are_named(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VlgroundError, match=message):
        tiny_blip(tmp_path, **options)


def test_random_weights_need_an_architecture_and_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"needs model\.architecture"):
        BlipMatching()
    with pytest.raises(VlgroundError, match=r"model\.tokenizer=null"):
        BlipMatching(architecture=BLIP)
    small = {**BLIP, "text_config": {**BLIP["text_config"], "vocab_size": 9}}
    write_vocabulary(tmp_path)
    with pytest.raises(VlgroundError, match="has 16 tokens, but the model knows 9"):
        BlipMatching(architecture=small, tokenizer=str(tmp_path), context=16, enc_token_id=None)


def test_damaged_folders_are_refused_in_one_line(scorer: BlipMatching, tmp_path: Path) -> None:
    def message() -> str:
        with pytest.raises(VlgroundError, match=r"model\.pretrained=") as caught:
            BlipMatching(str(tmp_path))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "not a folder of BLIP" in message()
    scorer.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    tensors = load(whole)
    weights.write_bytes(whole[:1000])
    assert "cannot be read" in message()
    name = "itm_head.weight"
    head = tensors.pop(name)
    save_file(tensors, weights, {"format": "pt"})
    assert f"missing: {name}" in message()
    save_file({**tensors, name: head, "extra": head + 1}, weights, {"format": "pt"})
    assert "unexpected: extra" in message()
    save_file({**tensors, name: head[:, :5].clone()}, weights, {"format": "pt"})
    assert f"mismatched: ('{name}'" in message()


def test_masks_are_of_the_texts_scored_last(scorer: BlipMatching) -> None:
    scorer.score(scorer.encode(noise()), TEXTS, OWNER)
    for layer in scorer.target_layers:
        assert layer.token_mask is not None
        assert layer.token_mask.sum(dim=1).tolist() == [4, 12, 3]


def test_a_mask_that_leaves_out_a_token_does_not_conform(tmp_path: Path) -> None:
    scorer = tiny_blip(tmp_path)
    first = scorer.target_layers[0]

    def forget(module: nn.Module, inputs: object, output: Tensor) -> None:
        assert first.token_mask is not None
        first.token_mask = first.token_mask & (torch.arange(first.token_mask.shape[1]) != 1)

    scorer.network.get_submodule("itm_head").register_forward_hook(forget)
    with pytest.raises(AssertionError, match=r"text\.0: tokens that do not count are attended to"):
        check_scorer(scorer, TEXTS)
