"""SigLIP is transformers' own, pair by pair; its tokenizer is one that is written here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.matchers import TOWER, WORDS, noise, stir
from tests.worlds import planted
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from vlground.cams.gradient import GradCAM
from vlground.cams.gscore import GScoreCAM
from vlground.cams.legrad import LeGrad
from vlground.errors import VlgroundError
from vlground.gradients import differentiate
from vlground.models.siglip import SiglipScorer
from vlground.preprocess import Preprocess
from vlground.testing import check_cam, check_scorer

TEXTS = ["Red star!", "a small blue ring left of the red star", "green"]
OWNER = torch.tensor([1, 0, 1])
VOCABULARY = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
SIGLIP: dict[str, Any] = {
    "vision_config": {**TOWER, "image_size": 32, "patch_size": 8},
    "text_config": {
        **TOWER,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": 12,
        "projection_size": 32,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 1,
    },
}


def write_tokenizer(folder: Path) -> str:
    """Words and an end of the text, as Gemma's writes them."""
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return str(folder)


def tiny_siglip(folder: Path, **options: Any) -> SiglipScorer:
    scorer = SiglipScorer(architecture=SIGLIP, tokenizer=write_tokenizer(folder), **options)
    settle(scorer.network)
    return scorer


def settle(network: Any) -> None:
    """Scores that differ; a scale and a bias that are seen."""
    stir(network)
    network.logit_scale.data.fill_(2.0)
    network.logit_bias.data.fill_(-3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP as it is published."""
    made = tmp_path_factory.mktemp("siglip")
    network = SiglipModel(SiglipConfig(**SIGLIP))
    settle(network)
    network.save_pretrained(made)
    write_tokenizer(made)
    return made


@pytest.fixture(scope="module")
def original(folder: Path) -> Any:
    return SiglipModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> SiglipScorer:
    return SiglipScorer(str(folder))


@pytest.fixture(scope="module")
def seeing(folder: Path) -> SiglipScorer:
    return SiglipScorer(str(folder), vision_attention=True)


def ids_of(text: str) -> Tensor:
    words = [VOCABULARY[word] for word in text.split()]
    return torch.tensor([[*words, 1] + [0] * (11 - len(words))])


def pair(original: Any, image: Tensor, text: str) -> Any:
    return original(
        input_ids=ids_of(text),
        pixel_values=image[None],
        interpolate_pos_encoding=True,
        output_attentions=True,
    )


def test_it_conforms(scorer: SiglipScorer, seeing: SiglipScorer) -> None:
    samples = [replace(one, text=text) for one, text in zip(planted(3), TEXTS, strict=True)]
    check_scorer(scorer, TEXTS)
    check_scorer(seeing, TEXTS)
    check_cam(GradCAM(), scorer, samples)
    check_cam(GScoreCAM(channels=8), scorer, samples)
    check_cam(LeGrad(), seeing, samples)


@pytest.mark.parametrize("vision_attention", [False, True])
@torch.no_grad()
def test_scores_are_those_of_transformers(
    folder: Path, original: Any, vision_attention: bool
) -> None:
    scorer, pixels = SiglipScorer(str(folder), vision_attention=vision_attention), noise()
    encoded = scorer.encode(pixels)
    clean = ["red star", TEXTS[1], TEXTS[2]]
    expected = torch.cat(
        [
            pair(original, pixels[o], text).logits_per_image[0]
            for text, o in zip(clean, OWNER, strict=True)
        ]
    )
    found = scorer.score(encoded, TEXTS, OWNER)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.01, "scores that are all the same compare nothing"
    match = scorer.match(encoded, TEXTS, OWNER)
    torch.testing.assert_close(match, expected.sigmoid(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_attention_is_that_of_transformers(seeing: SiglipScorer, original: Any) -> None:
    pixels = noise()
    names = ["vision.0", "vision.1", "vision.2", "post_layernorm"]
    assert [layer.name for layer in seeing.target_layers] == names
    layers = seeing.target_layers[:3]
    found, _ = differentiate(seeing, layers, seeing.encode(pixels), TEXTS[2:], OWNER[2:])
    expected = pair(original, pixels[1], "green").vision_model_output.attentions
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert theirs.std() > 0.01, "attention that is uniform compares nothing"


def test_the_target_layer_is_what_is_pooled(scorer: SiglipScorer, original: Any) -> None:
    pixels, kept = noise(), []
    handle = original.vision_model.post_layernorm.register_forward_hook(
        lambda m, i, o: kept.append(o)
    )
    logit = pair(original, pixels[0], TEXTS[1]).logits_per_image
    handle.remove()
    (gradient,) = torch.autograd.grad(logit, kept)
    layers, owner = scorer.target_layers, torch.tensor([0])
    (output,), (slope,) = differentiate(scorer, layers, scorer.encode(pixels), TEXTS[1:2], owner)
    torch.testing.assert_close(output, kept[0].detach(), rtol=1e-5, atol=1e-5)
    assert float((slope - gradient).abs().max()) < 1e-5 * float(gradient.abs().max())
    assert layers[-1].grid == (4, 4)
    assert layers[-1].token_mask is None


def test_the_image_tower_runs_once_an_image(scorer: SiglipScorer) -> None:
    seen: list[int] = []
    handle = scorer.network.vision_model.encoder.layers[-1].register_forward_hook(
        lambda m, i, o: seen.append(len(o))
    )
    rows = torch.zeros(3, dtype=torch.long)
    GradCAM()(scorer, scorer.encode(noise(1)), TEXTS, rows, [])
    handle.remove()
    assert seen == [1]


@torch.no_grad()
def test_at_another_size_positions_are_interpolated(folder: Path, original: Any) -> None:
    half = (0.5, 0.5, 0.5)
    scorer = SiglipScorer(str(folder), preprocess=Preprocess(size=48, mean=half, std=half))
    pixels = noise(1, 48)
    found = scorer.score(scorer.encode(pixels), ["green"], torch.tensor([0]))
    expected = pair(original, pixels[0], "green").logits_per_image[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert scorer.target_layers[-1].grid == (6, 6)


def test_texts_are_cleaned_prompted_and_cut(folder: Path, tmp_path: Path) -> None:
    scorer = SiglipScorer(str(folder), prompt="a small {}")
    bare = SiglipScorer(str(folder))
    encoded, rows = scorer.encode(noise(1)), torch.tensor([0])
    prompted, whole, other = (
        one.score(encoded, [text], rows)
        for one, text in ((scorer, "RED_star."), (bare, "a small red star"), (bare, "red star"))
    )
    torch.testing.assert_close(prompted, whole)
    assert abs(float(whole - other)) > 1e-4
    read = scorer.truncated("red star " * 6)
    assert read == "a small" + " red star" * 4 + " red"  # eleven words and the end
    assert bare.truncated("red star " * 5) is None
    plain = SiglipScorer(str(folder), cleaning="none")
    assert not plain.knows("Red")
    assert bare.knows("Red")
    assert not bare.knows("?!")
    assert not bare.knows("elephant")


def test_random_weights_need_an_architecture_and_a_tokenizer(tmp_path: Path) -> None:
    check_scorer(tiny_siglip(tmp_path), TEXTS)
    for options, message in (
        ({}, r"model\.pretrained=null: needs model\.architecture"),
        ({"architecture": SIGLIP}, r"model\.tokenizer=null"),
        ({"architecture": SIGLIP, "tokenizer": str(tmp_path / "x")}, "no tokenizer there"),
        ({"cleaning": "lower"}, r"model\.cleaning=lower"),
        ({"prompt": "photo"}, r"model\.prompt=photo"),
        (
            {
                "architecture": SIGLIP,
                "tokenizer": str(tmp_path),
                "preprocess": Preprocess(size=36),
            },
            r"size=36: expected a multiple of the patches' 8",
        ),
    ):
        with pytest.raises(VlgroundError, match=message):
            SiglipScorer(**options)


def test_a_vocabulary_that_is_too_large_is_refused(tmp_path: Path) -> None:
    text = {**SIGLIP["text_config"], "vocab_size": 5}
    with pytest.raises(VlgroundError, match="has 14 tokens, but the model knows 5"):
        SiglipScorer(
            architecture={**SIGLIP, "text_config": text}, tokenizer=write_tokenizer(tmp_path)
        )


def test_what_is_no_siglip_is_refused(tmp_path: Path, folder: Path) -> None:
    vision = {**SIGLIP["vision_config"]}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=SIGLIP["text_config"])).save_pretrained(
        tmp_path / "clip"
    )
    with pytest.raises(VlgroundError, match="not SigLIP; missing: logit_bias"):
        SiglipScorer(str(tmp_path / "clip"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save({"w": Shell(tmp_path / "made")}, tmp_path / "code" / "pytorch_model.bin")
    with pytest.raises(VlgroundError, match="cannot be read"):
        SiglipScorer(str(tmp_path / "code"))
    assert not (tmp_path / "made").exists(), "code of a pickle ran"
    with pytest.raises(VlgroundError, match="not a folder of SigLIP"):
        SiglipScorer(str(tmp_path / "none"))


class Shell:
    """A pickle that would make a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)
