"""CLIP is open_clip's own, pair by pair; a file that is not its weights is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tests.models.matchers import noise, stir
from tests.worlds import planted
from torch import Tensor, nn

from vlground.cams.gradient import GradCAM
from vlground.cams.legrad import LeGrad
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.gradients import differentiate
from vlground.models.clip import ClipScorer
from vlground.preprocess import Preprocess
from vlground.testing import check_cam, check_scorer

TEXTS = ["red star", "a small blue ring left of the red stars", "green"]
OWNER = torch.tensor([1, 0, 1])
RESNET: dict[str, Any] = {"image_size": 64, "layers": [1, 1, 1, 2], "width": 8, "patch_size": None}
VIT: dict[str, Any] = {"image_size": 32, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiny architectures, added to open_clip's as its users add theirs."""
    from open_clip import factory

    folder = tmp_path_factory.mktemp("architectures")
    for name, vision in {"tiny-rn": RESNET, "tiny-vit": VIT}.items():
        config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT}
        (folder / f"{name}.json").write_text(json.dumps(config))
    known = list(factory._MODEL_CONFIG_PATHS)
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS[:] = known
    factory._rescan_model_configs()


def tiny_clip(name: str, **options: Any) -> ClipScorer:
    scorer = ClipScorer(name, **options)
    if "checkpoint" not in options:
        stir(scorer.network)
        for module in scorer.network.modules():
            if isinstance(module, nn.Conv2d):  # feature maps neither vanish nor explode
                module.weight.data *= 5 * module.weight[0].numel() ** -0.5
        scorer.network.logit_scale.data.fill_(3.0)
    return scorer


@pytest.fixture(scope="module", params=["tiny-rn", "tiny-vit"])
def scorer(request: pytest.FixtureRequest, tiny: None) -> ClipScorer:
    return tiny_clip(request.param)


def pixels_of(scorer: ClipScorer, images: int = 2) -> Tensor:
    return noise(images, scorer.preprocess.size)


def test_it_conforms(scorer: ClipScorer) -> None:
    check_scorer(scorer, TEXTS)
    samples = [replace(one, text=text) for one, text in zip(planted(3), TEXTS, strict=True)]
    check_cam(GradCAM(), scorer, samples)


def test_scores_are_those_of_open_clip(scorer: ClipScorer) -> None:
    pixels = pixels_of(scorer)
    with torch.no_grad():
        found = scorer.score(scorer.encode(pixels), TEXTS, OWNER)
        logits, _ = scorer.network.get_logits(pixels, scorer.tokenizer(TEXTS))
    expected = logits[OWNER, torch.arange(3)]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1, "scores that are all the same compare nothing"
    assert scorer.match(scorer.encode(pixels), TEXTS, OWNER) is None


def recorded(scorer: ClipScorer, module: nn.Module, image: Tensor, text: str) -> tuple[Tensor, ...]:
    """A module's output and the gradient of open_clip's logit of one pair."""
    kept: list[Tensor] = []
    handle = module.register_forward_hook(lambda m, i, o: kept.append(o))
    scorer.network.requires_grad_(True)
    try:
        logits, _ = scorer.network.get_logits(image[None], scorer.tokenizer([text]))
        (slope,) = torch.autograd.grad(logits.sum(), kept)
    finally:
        handle.remove()
        scorer.network.requires_grad_(False)
    return kept[0][0].detach(), slope[0]


def test_the_target_layer_is_the_last_before_pooling(scorer: ClipScorer) -> None:
    visual: Any = scorer.network.visual
    resnet = scorer.preprocess.size == 64
    module = visual.layer4[-1] if resnet else visual.transformer.resblocks[-1].ln_1
    pixels = pixels_of(scorer)
    layers = list(scorer.target_layers)
    (found,), (slope,) = differentiate(scorer, layers, scorer.encode(pixels), TEXTS, OWNER)
    for q, (text, o) in enumerate(zip(TEXTS, OWNER, strict=True)):
        output, gradient = recorded(scorer, module, pixels[o], text)
        torch.testing.assert_close(found[q], output, rtol=1e-5, atol=1e-5)
        scale = float(gradient.abs().max())
        assert float((slope[q] - gradient).abs().max()) < 1e-4 * scale
    assert layers[0].name == ("layer4" if resnet else "layer_norm1")
    assert layers[0].grid == ((2, 2) if resnet else (4, 4))


def test_everything_below_the_target_layer_runs_once_an_image(scorer: ClipScorer) -> None:
    visual: Any = scorer.network.visual
    first = visual.conv1
    seen: list[int] = []
    handle = first.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    owner = torch.zeros(3, dtype=torch.long)
    GradCAM()(scorer, scorer.encode(pixels_of(scorer, 1)), TEXTS, owner, [])
    handle.remove()
    assert seen == [1]


def test_each_different_text_is_read_once(scorer: ClipScorer) -> None:
    seen: list[int] = []
    embedding = scorer.network.token_embedding
    handle = embedding.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    encoded = scorer.encode(pixels_of(scorer))
    twice = scorer.score(encoded, ["green", "red star", "green"], torch.tensor([0, 1, 0]))
    handle.remove()
    assert seen == [2]
    assert twice[0] == twice[2]


def test_vision_attention_changes_no_score_and_is_the_attention(tiny: None, tmp_path: Path) -> None:
    plain, file = tiny_clip("tiny-vit"), str(tmp_path / "weights.safetensors")
    save_file(plain.network.state_dict(), file)
    seeing = tiny_clip("tiny-vit", checkpoint=file, vision_attention=True)
    pixels = pixels_of(plain)
    with torch.no_grad():
        scores = [one.score(one.encode(pixels), TEXTS, OWNER) for one in (plain, seeing)]
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-5, atol=1e-5)
    names = ["vision.0", "vision.1", "layer_norm1", "vision.2"]
    assert [layer.name for layer in seeing.target_layers] == names
    check_scorer(seeing, TEXTS)
    layers = [seeing.target_layers[0]]
    (found,), _ = differentiate(seeing, layers, seeing.encode(pixels), TEXTS, OWNER)
    block = plain.network.visual.transformer.resblocks[0]
    with torch.no_grad():
        hidden = block.ln_1(plain.network.visual._embeds(pixels))
        _, own = block.attn(hidden, hidden, hidden, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(found, own[OWNER], rtol=1e-5, atol=1e-6)
    assert own.std() > 0.01, "attention that is uniform compares nothing"
    samples = [replace(one, text=text) for one, text in zip(planted(3), TEXTS, strict=True)]
    check_cam(LeGrad(), seeing, samples)
    with pytest.raises(ImpossiblePairError, match="this model has features"):
        check_cam(LeGrad(), plain, samples)


def test_the_prompt_is_read_around_the_text(scorer: ClipScorer) -> None:
    scorer.prompt = "a photo of a {}."
    encoded = scorer.encode(pixels_of(scorer, 1))
    zero = torch.tensor([0])
    prompted = scorer.score(encoded, ["star"], zero)
    scorer.prompt = "{}"
    whole, bare = (scorer.score(encoded, [t], zero) for t in ("a photo of a star.", "star"))
    torch.testing.assert_close(prompted, whole)
    assert abs(float(prompted - bare)) > 1e-3


def test_a_text_beyond_the_context_is_cut_where_open_clip_cuts_it(scorer: ClipScorer) -> None:
    text = "red star " * 10
    read = scorer.truncated(text)
    assert read == "red star " * 6 + "red star"  # 14 tokens between the start and the end
    assert scorer.truncated(read) is None
    encoded = scorer.encode(pixels_of(scorer, 1))
    long, short = (scorer.score(encoded, [t], torch.tensor([0])) for t in (text, read))
    torch.testing.assert_close(long, short)
    scorer.prompt = "a photo of a {}"
    told = scorer.truncated(read)
    scorer.prompt = "{}"
    assert told == "a photo of a " + "red star " * 4 + "red star"
    assert not scorer.knows("\n \t")


def test_real_contexts_are_of_77_tokens_and_real_grids_of_12_and_14(tiny: None) -> None:
    sizes = {"RN50x16-quickgelu": (12, 12), "ViT-B-16-quickgelu": (14, 14)}
    for name, grid in sizes.items():
        with torch.device("meta"):  # no memory, no time
            scorer = ClipScorer(name)
        assert scorer.target_layers[-1].grid == grid
        assert scorer.tokenizer.context_length == 77
        assert scorer.truncated("dog " * 76) == ("dog " * 75).strip()
        assert scorer.truncated("dog " * 75) is None


def test_a_file_of_weights_is_read(tiny: None, tmp_path: Path) -> None:
    source = tiny_clip("tiny-rn")
    state = source.network.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "b.pt")
    pixels, rows = pixels_of(source, 1), torch.zeros(3, dtype=torch.long)
    expected = source.score(source.encode(pixels), TEXTS, rows)
    for file in ("a.safetensors", "b.pt"):
        again = tiny_clip("tiny-rn", checkpoint=str(tmp_path / file))
        assert torch.equal(again.score(again.encode(pixels), TEXTS, rows), expected)


class Shell:
    """A pickle that would make a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_what_is_no_checkpoint_of_it_is_refused(tiny: None, tmp_path: Path) -> None:
    save_file(tiny_clip("tiny-vit").network.state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(VlgroundError, match=r"missing: visual\.bn1.*unexpected: visual\.class_emb"):
        ClipScorer("tiny-rn", checkpoint=str(tmp_path / "vit.safetensors"))
    torch.save({"weight": Shell(tmp_path / "made")}, tmp_path / "code.pt")
    with pytest.raises(VlgroundError, match="not a file of tensors alone"):
        ClipScorer("tiny-rn", checkpoint=str(tmp_path / "code.pt"))
    assert not (tmp_path / "made").exists(), "code of a pickle ran"
    with pytest.raises(VlgroundError, match="no such file"):
        ClipScorer("tiny-rn", checkpoint=str(tmp_path / "none.pt"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "ViT-B-15"}, r"architecture=ViT-B-15: .* near are .*ViT-B-16"),
        ({"architecture": "xyz"}, r"architecture=xyz: .*RN50"),
        ({"architecture": "ViT-B-16-SigLIP"}, "only ResNets and ViTs"),
        ({"architecture": "RN50", "pretrained": "opnai"}, r"weights of RN50 are openai, yfcc15m"),
        ({"architecture": "RN50", "pretrained": "openai"}, "architecture=RN50-quickgelu"),
        (
            {"architecture": "ViT-B-32-quickgelu", "pretrained": "laion2b_s34b_b79k"},
            r"are .*openai",
        ),
        ({"architecture": "tiny-rn", "prompt": "a photo"}, r"model\.prompt=a photo"),
        ({"architecture": "tiny-rn", "vision_attention": True}, "a ResNet has none"),
        ({"architecture": "tiny-rn", "pretrained": "openai", "checkpoint": "x"}, "pretrained=null"),
        ({"architecture": "tiny-vit", "preprocess": Preprocess(size=40)}, "size=40: .* 32"),
    ],
)
def test_impossible_options_are_named(tiny: None, options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(VlgroundError, match=message):
        ClipScorer(**options)


def test_weights_that_cannot_be_fetched_are_told(
    tiny: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    told = "pretrained=openai: not in the hub's cache, and could not be fetched"
    with torch.device("meta"), pytest.raises(VlgroundError, match=told):
        ClipScorer("RN50-quickgelu", pretrained="openai")


def test_the_mean_is_that_of_the_weights(tiny: None) -> None:
    clip = (0.48145466, 0.4578275, 0.40821073)
    assert tiny_clip("tiny-rn").preprocess == Preprocess(
        size=64, mean=clip, std=(0.26862954, 0.26130258, 0.27577711)
    )
