"""ALBEF is its paper's network, written out here once more from the names of its checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.models.matchers import ALBEF, CELLS, PATCH, TEXTS, at_size, noise, tiny_albef
from tests.worlds import planted
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear

from vlground.cams.attention import AttentionGradCAM
from vlground.errors import VlgroundError
from vlground.gradients import differentiate
from vlground.models.albef import AlbefMatching
from vlground.models.albef_checkpoint import official_state
from vlground.models.albef_network import AlbefNetwork
from vlground.testing import check_cam, check_scorer

OWNER = torch.tensor([1, 0, 1])
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> AlbefMatching:
    return tiny_albef(tmp_path_factory.mktemp("albef"))


@pytest.fixture(scope="module")
def state(scorer: AlbefMatching) -> State:
    """Its weights under the official names."""
    assert isinstance(scorer.network, AlbefNetwork)
    return official_state(scorer.network)


def dense(state: State, name: str, x: Tensor) -> Tensor:
    return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def attend(query: Tensor, key: Tensor, value: Tensor, kept: list[Tensor]) -> Tensor:
    """Of `(t, width)` to `(n, width)`; its probabilities `(heads, t, n)` are kept."""
    query, key, value = (
        x.reshape(len(x), ALBEF["heads"], -1).permute(1, 0, 2) for x in (query, key, value)
    )
    probabilities = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    kept.append(probabilities)
    return (probabilities @ value).permute(1, 0, 2).flatten(1)


def see(state: State, pixels: Tensor) -> Tensor:
    """Image tokens `(1 + cells, width)`."""
    name = "visual_encoder.patch_embed.proj"
    cells = conv2d(pixels[None], state[f"{name}.weight"], state[f"{name}.bias"], stride=PATCH)
    x = torch.cat([state["visual_encoder.cls_token"][0], cells[0].flatten(1).T])
    x = x + state["visual_encoder.pos_embed"][0]
    for number in range(ALBEF["vision_layers"]):
        block = f"visual_encoder.blocks.{number}"
        query, key, value = dense(
            state, f"{block}.attn.qkv", norm(state, f"{block}.norm1", x, 1e-6)
        ).chunk(3, dim=1)
        x = x + dense(state, f"{block}.attn.proj", attend(query, key, value, []))
        hidden = dense(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", x, 1e-6))
        x = x + dense(state, f"{block}.mlp.fc2", gelu(hidden))
    return norm(state, "visual_encoder.norm", x, 1e-6)


def read(state: State, image: Tensor, ids: list[int], kept: dict[int, list[Tensor]]) -> Tensor:
    """The two logits; the cross-attention of layer K comes to lie in `kept[K]`."""
    embed = "text_encoder.embeddings"
    x = state[f"{embed}.word_embeddings.weight"][ids]
    x = x + state[f"{embed}.position_embeddings.weight"][: len(ids)]
    x = x + state[f"{embed}.token_type_embeddings.weight"][0]
    x = norm(state, f"{embed}.LayerNorm", x, 1e-12)
    for number in range(ALBEF["text_layers"]):
        layer = f"text_encoder.encoder.layer.{number}"
        sources = {"attention": None, "crossattention": image}
        if number < ALBEF["fusion_layer"]:
            del sources["crossattention"]
        for name, source in sources.items():
            own = f"{layer}.{name}"
            given = x if source is None else source
            query = dense(state, f"{own}.self.query", x)
            key, value = (dense(state, f"{own}.self.{part}", given) for part in ("key", "value"))
            context = attend(query, key, value, kept.setdefault(number, []))
            x = norm(
                state,
                f"{own}.output.LayerNorm",
                x + dense(state, f"{own}.output.dense", context),
                1e-12,
            )
        hidden = gelu(dense(state, f"{layer}.intermediate.dense", x))
        x = x + dense(state, f"{layer}.output.dense", hidden)
        x = norm(state, f"{layer}.output.LayerNorm", x, 1e-12)
    return dense(state, "itm_head", x[:1])[0]


def ids(scorer: AlbefMatching, text: str) -> list[int]:
    return scorer.tokens.tokenize([text])[0][0].tolist()


def test_it_conforms(scorer: AlbefMatching, tmp_path: Path) -> None:
    check_scorer(scorer, TEXTS)
    check_scorer(tiny_albef(tmp_path, vision_attention=True), TEXTS)
    samples = [replace(one, text=text) for one, text in zip(planted(3), TEXTS, strict=True)]
    check_cam(AttentionGradCAM(tokens="all"), scorer, samples)


def test_logits_are_those_of_the_network_written_out(tmp_path: Path) -> None:
    """In double precision, so that a norm's epsilon or another GELU is seen."""
    scorer, pixels = tiny_albef(tmp_path).double(), noise().double()
    assert isinstance(scorer.network, AlbefNetwork)
    state = official_state(scorer.network)
    logits = scorer.logits(scorer.encode(pixels), TEXTS, OWNER)
    expected = torch.stack(
        [
            read(state, see(state, pixels[o]), ids(scorer, text), {})
            for text, o in zip(TEXTS, OWNER, strict=True)
        ]
    )
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    assert logits.std(dim=0).min() > 0.01, "logits that are all the same compare nothing"


@pytest.mark.parametrize("number", [2, 3])
def test_maps_are_those_of_the_network_written_out(
    scorer: AlbefMatching, state: State, number: int
) -> None:
    pixels = noise()
    encoded = scorer.encode(pixels)
    cam = AttentionGradCAM(layer=f"crossattention.{number}", tokens="all")
    maps = cam(scorer, encoded, TEXTS, OWNER, [])
    trained = {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
    for q, (text, o) in enumerate(zip(TEXTS, OWNER, strict=True)):
        kept: dict[int, list[Tensor]] = {}
        match = read(trained, see(trained, pixels[o]), ids(scorer, text), kept)[1]
        attention = kept[number][-1]
        (gradient,) = torch.autograd.grad(match, attention)
        cells = (attention * gradient.clamp(min=0))[:, :, 1:].mean(dim=(0, 1))
        expected = cells.detach().reshape(CELLS, CELLS)
        assert float((maps[q] - expected).abs().max()) < 1e-5 * float(expected.max())


def test_only_the_upper_layers_read_the_image(scorer: AlbefMatching) -> None:
    names = [layer.name for layer in scorer.target_layers]
    upper = ["text.2", "crossattention.2", "text.3", "crossattention.3"]
    assert names == ["text.0", "text.1", *upper]
    assert [layer.name for layer in scorer.target_layers if layer.default] == ["crossattention.2"]


def test_vision_attention_changes_no_score(scorer: AlbefMatching, tmp_path: Path) -> None:
    seeing, pixels = tiny_albef(tmp_path, vision_attention=True), noise()
    scores = [one.score(one.encode(pixels), TEXTS, OWNER) for one in (scorer, seeing)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-5)
    layer = seeing.target_layers[0]
    (attention,), _ = differentiate(seeing, [layer], seeing.encode(pixels), TEXTS, OWNER)
    assert layer.name == "vision.0"
    assert attention.shape == (3, ALBEF["heads"], 1 + CELLS**2, 1 + CELLS**2)


def test_its_texts_end_without_sep_unless_asked(scorer: AlbefMatching, tmp_path: Path) -> None:
    assert ids(scorer, "Red, star!") == [2, 5, 8]
    assert ids(tiny_albef(tmp_path, end_token=True), "Red, star!") == [2, 5, 8, 3]


def test_a_long_text_is_cut_at_the_positions(scorer: AlbefMatching) -> None:
    text = "red " * 20
    assert len(ids(scorer, text)) == ALBEF["positions"]
    assert scorer.truncated(text) == ("red " * 15).strip()
    scorer.score(scorer.encode(noise(1)), [text], torch.tensor([0]))


def test_an_image_of_one_pixel_is_scored(scorer: AlbefMatching) -> None:
    pixels, _ = scorer.preprocess(Image.new("RGB", (1, 1), (9, 200, 30)))
    score = scorer.score(scorer.encode(pixels[None]), ["red star"], torch.tensor([0]))
    assert score.isfinite().all()


def test_every_weight_can_be_trained(tmp_path: Path) -> None:
    scorer = tiny_albef(tmp_path).requires_grad_(True).train()
    scorer.logits(scorer.encode(noise()), TEXTS, OWNER).square().sum().backward()
    assert all(weight.grad is not None for weight in scorer.parameters())


def test_the_published_sizes_are_the_defaults(tmp_path: Path) -> None:
    """210 million weights: 86 of the ViT, 124 of a BERT with six layers that read the image."""
    with torch.device("meta"):
        scorer = tiny_albef(tmp_path, architecture={}, layer=8, checkpoint=None)
    count = sum(weight.numel() for weight in scorer.parameters())
    assert 209e6 < count < 210e6
    assert scorer.target_layers[-1].grid == (24, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 1}, "model.layer=1: expected 2 to 3"),
        ({"layer": 12}, "model.layer=12: expected 2 to 3"),
        ({"target": "itc"}, "model.target=itc: expected match_logit or margin"),
        ({"context": 17}, "model.context=17: the model reads 16 tokens"),
        ({"preprocess": at_size(36)}, "model.preprocess.size=36: expected a multiple of"),
        ({"preprocess": at_size(4)}, "model.preprocess.size=4: smaller than a patch"),
        ({"architecture": {**ALBEF, "depth": 3}}, "model.architecture.depth: expected one of"),
        ({"architecture": {**ALBEF, "heads": 0}}, "model.architecture.heads=0: expected a whole"),
        ({"architecture": {**ALBEF, "heads": 5}}, "no multiple of its heads"),
        ({"architecture": {**ALBEF, "fusion_layer": 4}}, "expected less than text_layers=4"),
        ({"architecture": {**ALBEF, "vocabulary": 9}}, "has 16 tokens, but the model knows 9"),
    ],
)
def test_options_that_do_not_fit_are_named(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VlgroundError, match=message):
        tiny_albef(tmp_path, **options)


def test_random_weights_have_no_vocabulary_beside_them() -> None:
    with pytest.raises(VlgroundError, match=r"model\.tokenizer=null"):
        AlbefMatching(architecture=ALBEF)


def test_the_words_of_a_text_without_an_end_token_are_all_of_its_words(tmp_path: Path):
    """Whoever takes the last token for [SEP] loses the noun of every phrase."""
    scorer = tiny_albef(tmp_path)
    encoded = scorer.encode(torch.randn(1, 3, scorer.preprocess.size, scorer.preprocess.size))
    owner = torch.zeros(1, dtype=torch.long)
    layer = next(one for one in scorer.target_layers if one.kind == "cross_attention")
    (attention,), (gradient,) = differentiate(scorer, [layer], encoded, ["star"], owner)
    assert attention.shape[2] == 2  # [CLS] star
    cells = layer.grid[0] * layer.grid[1]
    expected = (attention * gradient.relu())[0, :, 1, -cells:].mean(dim=0)
    (drawn,) = AttentionGradCAM(layer.name, tokens="words")(scorer, encoded, ["star"], owner, [])
    assert expected.max() > 0
    assert torch.allclose(drawn.flatten(), expected, atol=1e-8)
