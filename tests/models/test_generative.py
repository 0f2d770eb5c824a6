"""The generative scorer is transformers' LLaVA on the whole sequence, one text at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.matchers import TOWER, WORDS, noise, stir
from tests.worlds import planted
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vlground.cams.attention import AttentionGradCAM
from vlground.cams.gradient import GradCAM
from vlground.cams.gscore import GScoreCAM
from vlground.cams.legrad import LeGrad
from vlground.cams.relevance import GenericAttention, Rollout
from vlground.contracts import TargetLayer, check_pair
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.gradients import differentiate
from vlground.models.generative import GenerativeScorer
from vlground.models.generative_prompt import Prompt
from vlground.preprocess import Preprocess
from vlground.testing import check_cam, check_scorer

TEXTS = ["red star", "a small blue ring left of the red star", "green", "the star"]
OWNER = torch.tensor([1, 0, 1, 1])
PROMPT = 'USER: <image>\nDoes this show "{}"? Answer. ASSISTANT:'
CAPTION = "USER: <image>\nAnswer. ASSISTANT:"
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>"]
SPOKEN = ["USER", ":", "Does", "this", "show", '"', '"?', "Answer", ".", "ASSISTANT", "Yes", "No"]
VOCABULARY = {word: i for i, word in enumerate([*SPECIAL, *SPOKEN, *WORDS])}
LANGUAGE = {
    **TOWER,
    "vocab_size": len(VOCABULARY) + 1,
    "max_position_embeddings": 96,
    "num_key_value_heads": 2,
}
LLAVA: dict[str, Any] = {
    "vision_config": {
        **TOWER,
        "model_type": "clip_vision_model",
        "hidden_size": 24,
        "image_size": 32,
        "patch_size": 8,
    },
    "text_config": {**LANGUAGE, "model_type": "llama"},
    "image_token_index": VOCABULARY["<image>"],
}
KINDS: dict[str, dict[str, Any]] = {
    "grouped": LLAVA,
    "all_heads": {**LLAVA, "text_config": {**LLAVA["text_config"], "num_key_value_heads": 4}},
    "qwen2": {**LLAVA, "text_config": {**LANGUAGE, "model_type": "qwen2"}},
    "class_token": {**LLAVA, "vision_feature_select_strategy": "full"},
    "siglip": {
        **LLAVA,
        "vision_config": {
            **LLAVA["vision_config"],
            "model_type": "siglip_vision_model",
            "vision_use_head": False,
        },
        "vision_feature_select_strategy": "full",
        "vision_feature_layer": -1,
        "text_config": {**LANGUAGE, "model_type": "qwen2", "tie_word_embeddings": True},
    },
}


def write_tokenizer(folder: Path) -> str:
    """Words, and a start of the text."""
    made = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", VOCABULARY["<s>"])]
    )
    return save(made, folder)


def save(made: Tokenizer, folder: Path) -> str:
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    fast.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """LLaVAs as they are published, by kind."""
    made = {}
    for kind, architecture in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        torch.manual_seed(0)
        network = LlavaForConditionalGeneration(LlavaConfig(**architecture))
        stir(network)
        network.save_pretrained(folder)
        made[kind] = write_tokenizer(folder)
    return made


def original(folder: str) -> Any:
    network = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager")
    return network.eval().requires_grad_(False)


def tiny(folders: dict[str, str], kind: str = "grouped", **options: Any) -> GenerativeScorer:
    target = options.get("target")
    prompt = CAPTION if target == "text_log_probability" else PROMPT
    return GenerativeScorer(folders[kind], **{"prompt": prompt, "context": 16, **options})


def sequence(text: str, follows: bool, images: int = 16) -> tuple[Tensor, list[int], int]:
    """Ids of the whole prompt, places of the text's tokens, and of what predicts."""
    word = VOCABULARY.__getitem__
    words = [word(w) for w in text.split()]
    before = [word("<s>"), word("USER"), word(":"), *[word("<image>")] * images]
    if follows:
        before += [word(w) for w in ("Answer", ".", "ASSISTANT", ":")]
        ids, end = [*before, *words], len(before) - 1
    else:
        before += [word(w) for w in ("Does", "this", "show", '"')]
        after = [word(w) for w in ('"?', "Answer", ".", "ASSISTANT", ":")]
        ids = [*before, *words, *after]
        end = len(ids) - 1
    places = list(range(len(before), len(before) + len(words)))
    return torch.tensor([ids]), places, end


def expected_score(network: Any, pixels: Tensor, text: str, target: str, images: int) -> Tensor:
    ids, places, end = sequence(text, target == "text_log_probability", images)
    logits = network(input_ids=ids, pixel_values=pixels[None]).logits[0].log_softmax(-1)
    if target == "text_log_probability":
        return torch.stack([logits[p - 1, ids[0, p]] for p in places]).mean()
    yes, no = logits[end, VOCABULARY["Yes"]], logits[end, VOCABULARY["No"]]
    return yes - no if target == "margin" else yes


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("target", ["answer_log_probability", "margin", "text_log_probability"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_scores_are_those_of_transformers(
    folders: dict[str, str], kind: str, target: str, features: bool
) -> None:
    scorer = tiny(folders, kind, target=target, features=features)
    network, pixels = original(folders[kind]), noise()
    images = 17 if kind == "class_token" else 16
    expected = torch.stack(
        [
            expected_score(network, pixels[o], text, target, images)
            for text, o in zip(TEXTS, OWNER, strict=True)
        ]
    )
    encoded = scorer.encode(pixels)
    found = scorer.score(encoded, TEXTS, OWNER)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.01, "scores that are all the same compare nothing"
    match = scorer.match(encoded, TEXTS, OWNER)
    if target == "text_log_probability":
        assert match is None
        return
    assert match is not None
    margins = [
        expected_score(network, pixels[o], t, "margin", images)
        for t, o in zip(TEXTS, OWNER, strict=True)
    ]
    torch.testing.assert_close(match, torch.stack(margins).sigmoid(), rtol=1e-5, atol=1e-5)


def brute_force(
    network: Any, pixels: Tensor, text: str, target: str, number: int, images: int
) -> tuple[Tensor, Tensor]:
    """Attention of one layer and its gradient, rows and columns as a CAM reads them."""
    from transformers.models.llama import modeling_llama
    from transformers.models.qwen2 import modeling_qwen2

    kept: list[Tensor] = []
    own = torch.nn.functional.softmax
    calls = iter(range(99))

    def keep(scores: Tensor, dim: int, dtype: Any = None) -> Tensor:
        probabilities = own(scores, dim=dim, dtype=dtype)
        if next(calls) == number:
            kept.append(probabilities.detach().requires_grad_())
            return kept[0]
        return probabilities

    with pytest.MonkeyPatch.context() as patch:
        for module in (modeling_llama, modeling_qwen2):
            patch.setattr(module.nn.functional, "softmax", keep)
        vision = len(network.model.vision_tower.encoder.layers)  # eager too: they come first
        number += vision
        score = expected_score(network, pixels, text, target, images)
    (gradient,) = torch.autograd.grad(score, kept)
    _, places, end = sequence(text, target == "text_log_probability", images)
    first = 3 + images - 16
    rows, columns = [end, *places], slice(first, first + 16)
    return kept[0][0][:, rows, columns].detach(), gradient[0][:, rows, columns]


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("target", ["answer_log_probability", "text_log_probability"])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_and_gradients_are_those_of_one_text_alone(
    folders: dict[str, str], kind: str, target: str, features: bool
) -> None:
    scorer = tiny(folders, kind, target=target, features=features)
    network, pixels = original(folders[kind]), noise()
    images = 17 if kind == "class_token" else 16
    with torch.no_grad():
        encoded = scorer.encode(pixels)
    layers = scorer.target_layers[1:] if features else scorer.target_layers
    assert [layer.name for layer in layers] == [f"crossattention.{k}" for k in range(3)]
    for number, layer in enumerate(layers):
        (attention,), (gradient,) = differentiate(scorer, [layer], encoded, TEXTS, OWNER)
        assert attention.shape == (4, 4, 1 + 9, 16)
        assert layer.token_mask is not None
        for q, (text, o) in enumerate(zip(TEXTS, OWNER, strict=True)):
            count = 1 + len(text.split())
            assert layer.token_mask[q].tolist() == [True] * count + [False] * (10 - count)
            own, slope = brute_force(network, pixels[o], text, target, number, images)
            torch.testing.assert_close(attention[q, :, :count], own, rtol=1e-5, atol=1e-6)
            assert float((gradient[q, :, :count] - slope).abs().max()) < 1e-5 * float(
                slope.abs().max()
            )
            assert not attention[q, :, count:].any()
            assert not gradient[q, :, count:].any()
            assert own.std() > 0.005, "attention that is uniform compares nothing"
    _, (slope,) = differentiate(scorer, layers[-1:], encoded, TEXTS, OWNER)
    reaches = slope.abs().amax(dim=(0, 1, 3)) > 0
    if target == "answer_log_probability":
        assert reaches.tolist() == [True] + [False] * 9, "only one token of the last layer counts"


def test_all_layers_at_once_have_the_gradients_of_each_alone(folders: dict[str, str]) -> None:
    scorer = tiny(folders)
    encoded = scorer.encode(noise())
    _, together = differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    for layer, slope in zip(scorer.target_layers, together, strict=True):
        _, (alone,) = differentiate(scorer, [layer], encoded, TEXTS, OWNER)
        torch.testing.assert_close(slope, alone, rtol=1e-5, atol=1e-7)


def test_an_image_may_be_encoded_in_inference_mode(folders: dict[str, str]) -> None:
    scorer = tiny(folders)
    layers = scorer.target_layers[:1]
    with torch.inference_mode():
        encoded = scorer.encode(noise())
        (found,), (slope,) = differentiate(scorer, layers, encoded, TEXTS, OWNER)
    (read,), (expected,) = differentiate(scorer, layers, scorer.encode(noise()), TEXTS, OWNER)
    torch.testing.assert_close(found, read)
    torch.testing.assert_close(slope, expected)


def test_the_projector_is_differentiated_through_prefix_and_suffix(folders: dict[str, str]) -> None:
    scorer, network, pixels = tiny(folders, features=True), original(folders["grouped"]), noise()
    layer, kept = scorer.target_layers[0], []
    with torch.no_grad():
        encoded = scorer.encode(pixels)
    (found,), (slope,) = differentiate(scorer, [layer], encoded, TEXTS, OWNER)
    for q, (text, o) in enumerate(zip(TEXTS, OWNER, strict=True)):
        kept.clear()
        handle = network.model.multi_modal_projector.register_forward_hook(
            lambda m, i, output: kept.append(output.requires_grad_()) or output
        )
        score = expected_score(network, pixels[o], text, "answer_log_probability", 16)
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept)
        torch.testing.assert_close(found[q], kept[0][0].detach(), rtol=1e-5, atol=1e-5)
        assert float((slope[q] - gradient[0]).abs().max()) < 1e-5 * float(gradient.abs().max())
    assert (layer.name, layer.kind, layer.grid) == ("projector", "features", (4, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["answer_log_probability", "text_log_probability"])
def test_it_conforms(folders: dict[str, str], kind: str, target: str) -> None:
    check_scorer(tiny(folders, kind, target=target), TEXTS)
    check_scorer(tiny(folders, kind, target=target, features=True), TEXTS)


def test_cams_read_it(folders: dict[str, str]) -> None:
    samples = [replace(one, text=text) for one, text in zip(planted(4), TEXTS, strict=True)]
    scorer, seeing = tiny(folders), tiny(folders, "class_token", features=True)
    for cam in (
        AttentionGradCAM(),
        AttentionGradCAM(layer="crossattention.2", tokens="first"),
        AttentionGradCAM(tokens="words"),
        GradCAM(),
        Rollout(),
        GenericAttention(),
        LeGrad(),
    ):
        check_cam(cam, scorer, samples)
    for cam in (GradCAM(), GScoreCAM(channels=4), AttentionGradCAM()):
        check_cam(cam, seeing, samples)
    with pytest.raises(ImpossiblePairError):
        check_pair(scorer, GScoreCAM(channels=4))


def test_generic_attention_is_the_sum_of_what_the_answer_reads(folders: dict[str, str]) -> None:
    scorer, pixels = tiny(folders), noise()
    with torch.no_grad():
        encoded = scorer.encode(pixels)
        maps = GenericAttention()(scorer, encoded, TEXTS, OWNER, [])
    read, slopes = differentiate(scorer, scorer.target_layers, encoded, TEXTS, OWNER)
    each = [(a * g).relu().mean(dim=1)[:, 0] for a, g in zip(read, slopes, strict=True)]
    torch.testing.assert_close(maps.flatten(1), torch.stack(each).sum(dim=0))


def default(scorer: GenerativeScorer) -> list[str]:
    return [layer.name for layer in scorer.target_layers if layer.default]


def test_the_middle_layer_is_the_default_and_another_can_be(folders: dict[str, str]) -> None:
    assert default(tiny(folders)) == ["crossattention.1"]
    assert default(tiny(folders, layer=2)) == ["crossattention.2"]
    assert default(tiny(folders, layer=2, features=True)) == ["projector", "crossattention.2"]
    with pytest.raises(VlgroundError, match=r"model\.layer=3: expected 0 to 2"):
        tiny(folders, layer=3)


def test_the_image_is_read_once_and_its_keys_are_not_copied(folders: dict[str, str]) -> None:
    scorer, seen = tiny(folders), []
    language = scorer.network.model.language_model
    handle = language.layers[0].mlp.register_forward_hook(lambda m, i, o: seen.append(o.shape[:2]))
    encoded = scorer.encode(noise())
    assert encoded.features.shape == (2, 3, 2, 2, 3 + 16, 8)
    scorer.score(encoded, TEXTS, OWNER)
    handle.remove()
    assert seen == [(2, 19), (4, 18)]
    assert encoded.features[:, 1, 0].flatten(0, 1).data_ptr() == encoded.features[0, 1].data_ptr()


def test_halves_of_precision_give_maps_in_full(folders: dict[str, str]) -> None:
    full, half = tiny(folders), tiny(folders, dtype="bfloat16")
    pixels, maps, scores = noise(), [], []
    for scorer in (full, half):
        with torch.no_grad():
            encoded = scorer.encode(pixels)
            scores.append(scorer.score(encoded, TEXTS, OWNER))
        maps.append(AttentionGradCAM()(scorer, encoded, TEXTS, OWNER, []))
    assert encoded.features.dtype == torch.bfloat16
    assert maps[1].dtype == scores[1].dtype == torch.float32
    assert 0 < float((scores[0] - scores[1]).abs().max()) < 0.2
    together = torch.stack([one.flatten() for one in maps])
    assert float(torch.corrcoef(together)[0, 1]) > 0.9


def test_autocast_gives_about_the_same(folders: dict[str, str]) -> None:
    scorer, pixels = tiny(folders, features=True), noise()
    plain = GradCAM()(scorer, scorer.encode(pixels), TEXTS, OWNER, [])
    for one in (scorer, tiny(folders)):
        with torch.autocast("cpu", torch.bfloat16):
            maps = GradCAM()(one, one.encode(pixels), TEXTS, OWNER, [])
        assert maps.dtype == torch.float32
        assert torch.isfinite(maps).all()
        if one is scorer:
            assert float(torch.corrcoef(torch.stack([plain.flatten(), maps.flatten()]))[0, 1]) > 0.9


@pytest.mark.parametrize("kind", ["grouped", "siglip"])
def test_what_it_saves_it_loads(folders: dict[str, str], kind: str, tmp_path: Path) -> None:
    scorer = tiny(folders, kind)
    scorer.save(tmp_path)
    loaded = tiny({kind: str(tmp_path)}, kind)
    state = loaded.network.state_dict()
    for name, weight in scorer.network.state_dict().items():
        assert torch.equal(state[name], weight.half().float()), name
    assert loaded.prompt.read(TEXTS).ids.tolist() == scorer.prompt.read(TEXTS).ids.tolist()


@torch.no_grad()
def test_at_another_size_positions_are_interpolated(folders: dict[str, str]) -> None:
    scorer = tiny(folders, preprocess=Preprocess(size=48))
    assert scorer.target_layers[-1].grid == (6, 6)
    pixels, network = noise(1, 48), original(folders["grouped"])
    found = scorer.score(scorer.encode(pixels), ["green"], torch.tensor([0]))
    ids, _, end = sequence("green", False, 36)
    image = network.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output[0]
    embedded = network.get_input_embeddings()(ids)
    embedded[0, 3:39] = image
    logits = network(inputs_embeds=embedded).logits[0, end].log_softmax(-1)
    torch.testing.assert_close(found[0], logits[VOCABULARY["Yes"]], rtol=1e-5, atol=1e-5)


def test_pixels_are_those_that_the_tower_was_trained_on(folders: dict[str, str]) -> None:
    clip, siglip = tiny(folders).preprocess, tiny(folders, "siglip").preprocess
    assert (clip.size, clip.resize, clip.mean[0]) == (32, "squash", 0.48145466)
    assert (siglip.size, siglip.mean, siglip.std) == (32, (0.5,) * 3, (0.5,) * 3)
    odd = {**LLAVA, "vision_config": {**LLAVA["vision_config"], "image_size": 38}}
    scorer = GenerativeScorer(
        architecture=odd, tokenizer=folders["grouped"], prompt=PROMPT, context=16
    )
    assert (scorer.preprocess.size, scorer.target_layers[0].grid) == (32, (4, 4))


def test_a_long_text_is_cut_and_the_prompt_is_not(folders: dict[str, str]) -> None:
    scorer = tiny(folders, context=3)
    assert scorer.truncated("red star left") is None
    assert scorer.truncated(" a small blue ring left ") == "a small blue"
    encoded, rows = scorer.encode(noise(1)), torch.tensor([0])
    cut = scorer.score(encoded, ["a small blue ring left"], rows)
    torch.testing.assert_close(cut, scorer.score(encoded, ["a small blue"], rows))
    assert abs(float(cut - scorer.score(encoded, ["a small"], rows))) > 1e-4
    with pytest.raises(VlgroundError, match=r"context=80: with the prompt and the image 108"):
        tiny(folders, context=80)


def test_it_knows_what_its_tokenizer_does(folders: dict[str, str]) -> None:
    scorer = tiny(folders)
    assert scorer.knows("red elephant")
    assert not scorer.knows("elephant")
    assert not scorer.knows(" ")
    assert not scorer.knows("red <image>"), "an image that is not there"


CORPUS = [PROMPT.format("a red star of the small green ring left"), "Yes No yellow", CAPTION] * 9


def like_llama(folder: Path) -> str:
    """Pieces that begin with ▁ where a word does."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    made.decoder = decoders.Metaspace(prepend_scheme="first")
    return trained(made, folder)


def like_qwen(folder: Path) -> str:
    """Pieces of bytes that begin with Ġ where a space does."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return trained(made, folder, pre_tokenizers.ByteLevel.alphabet())


def trained(made: Tokenizer, folder: Path, alphabet: list[str] | None = None) -> str:
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=SPECIAL,
        initial_alphabet=alphabet or [],
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return save(made, folder)


@pytest.mark.parametrize("write", [like_llama, like_qwen])
@pytest.mark.parametrize(("prompt", "follows"), [(PROMPT, False), (CAPTION, True)])
def test_a_texts_pieces_are_found_in_the_prompt(
    write: Any, prompt: str, follows: bool, tmp_path: Path
) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(write(tmp_path))
    texts = ["small green rings", "red", "  a star of gold "]
    asked = Prompt(tokenizer, prompt, follows, 20).read(texts)
    for text, row, mask, ids in zip(texts, asked.rows, asked.token_mask, asked.ids, strict=True):
        first, *places = row[mask].tolist()
        words = tokenizer.decode(ids[places])
        assert text.strip() in words
        assert len(words) <= len(text.strip()) + 2, "the neighbours that a piece has swallowed"
        assert tokenizer.decode(ids[: first + 1]).rstrip().endswith("ASSISTANT:")
    assert not asked.token_mask.all(), "texts of the same length compare nothing"


def test_a_cut_text_ends_with_a_piece(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(like_qwen(tmp_path))
    prompt, text = Prompt(tokenizer, PROMPT, False, 4), "a small red star of the green ring"
    cut = prompt.truncated(text)
    assert cut is not None
    assert text.startswith(cut)
    assert prompt.truncated(cut) is None
    assert prompt.read([text]).rows.shape == (1, 5)
    assert prompt.read([text]).ids.tolist() == prompt.read([cut]).ids.tolist()


def test_a_text_at_the_end_is_predicted_from_and_read_once(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(write_tokenizer(tmp_path))
    asked = Prompt(tokenizer, "<image> {}", False, 8).read(["red star left", "green"])
    assert asked.rows.tolist() == [[2, 0, 1], [0, 3, 3]]


def test_answers_are_pieces_with_their_space(tmp_path: Path) -> None:
    llama = PreTrainedTokenizerFast.from_pretrained(like_llama(tmp_path / "llama"))
    spaced = Prompt(llama, PROMPT, False, 8)
    assert llama.convert_ids_to_tokens(spaced.answer("Yes")) == "▁Yes"
    with pytest.raises(VlgroundError, match=r"model\.answers=yellowish: expected one .* '▁yellow"):
        spaced.answer("yellowish")
    qwen = PreTrainedTokenizerFast.from_pretrained(like_qwen(tmp_path / "qwen"))
    assert qwen.convert_ids_to_tokens(Prompt(qwen, PROMPT, False, 8).answer("No")) == "ĠNo"
    turn = Prompt(qwen, "<image>\n{}\nASSISTANT:\n", False, 8)
    assert qwen.convert_ids_to_tokens(turn.answer("Yes")) == "Yes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "USER: {}"}, r"expected one <image>"),
        ({"prompt": "<image> this"}, r"expected one \{\}"),
        ({"prompt": "{} <image> ASSISTANT:"}, r"expected <image> before \{\}"),
        ({"prompt": PROMPT, "target": "text_log_probability"}, r"the text follows"),
        ({"prompt": "<image>", "target": "text_log_probability"}, r"words between"),
        ({"answers": [True, False]}, r"model\.answers=\[True, False\]: expected two words"),
        ({"answers": ["Yes", "Yes"]}, r"both are the same token"),
        ({"answers": ["Yes", "Nope"]}, r"model\.answers=Nope: .*'<unk>'"),
        ({"answers": ["Yes", "No star"]}, r"model\.answers=No star: .*'No' 'star'"),
        ({"target": "logit"}, r"model\.target=logit"),
        ({"dtype": "int8"}, r"model\.dtype=int8"),
        ({"context": 0}, r"model\.context=0"),
        ({"preprocess": Preprocess(size=36)}, r"size=36: expected a multiple of the patches' 8"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(
    folders: dict[str, str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VlgroundError, match=message):
        tiny(folders, **options)


def test_random_weights_need_an_architecture_and_a_tokenizer(
    folders: dict[str, str], tmp_path: Path
) -> None:
    tokenizer = folders["grouped"]
    small = {**LLAVA, "text_config": {**LLAVA["text_config"], "vocab_size": 9}}
    llama3 = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    shifting = {**LLAVA["text_config"], "rope_parameters": llama3}
    sliding = {**KINDS["qwen2"]["text_config"], "use_sliding_window": True, "max_window_layers": 1}
    drops = {**KINDS["siglip"], "vision_feature_select_strategy": "default"}
    gpt = {"model_type": "gpt2", "n_embd": 32, "n_head": 4, "n_layer": 1, "vocab_size": 40}
    for options, message in (
        ({}, r"model\.pretrained=null: needs model\.architecture"),
        ({"architecture": LLAVA}, r"model\.tokenizer=null"),
        ({"architecture": LLAVA, "tokenizer": str(tmp_path / "x")}, "no tokenizer there"),
        ({"architecture": small}, r"has 28 tokens, but the model knows 9"),
        ({"architecture": {**LLAVA, "text_config": gpt}}, "language model of type gpt2"),
        ({"architecture": {**LLAVA, "text_config": shifting}}, "positions of type dynamic"),
        ({"architecture": {**LLAVA, "text_config": sliding}}, "attention of type sliding"),
        ({"architecture": drops}, "SigLIP has no class token to drop"),
    ):
        needed = {} if "tokenizer" in message or not options else {"tokenizer": tokenizer}
        with pytest.raises(VlgroundError, match=message):
            GenerativeScorer(**{"prompt": PROMPT, "context": 16, **needed, **options})


def test_what_is_no_llava_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    text = {**TOWER, "vocab_size": 30, "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text)).save_pretrained(tmp_path / "clip")
    with pytest.raises(VlgroundError, match=r"clip: (not LLaVA|cannot be read)"):
        GenerativeScorer(str(tmp_path / "clip"), prompt=PROMPT)
    network = original(folders["grouped"])
    state = network.state_dict()
    norm = "model.language_model.norm.weight"
    for name, change in (
        ("missing", {k: v for k, v in state.items() if k != norm}),
        ("unexpected", {**state, "model.language_model.other.weight": state[norm].clone()}),
    ):
        network.save_pretrained(tmp_path / name, state_dict=change)
        with pytest.raises(VlgroundError, match=rf"{name}: not LLaVA; {name}: .*language_model"):
            GenerativeScorer(str(tmp_path / name), tokenizer=folders["grouped"], prompt=PROMPT)
    with pytest.raises(VlgroundError, match="not a folder of LLaVA"):
        GenerativeScorer(str(tmp_path / "none"), prompt=PROMPT)


def test_it_says_what_its_target_layers_are(folders: dict[str, str]) -> None:
    for layer in tiny(folders).target_layers:
        assert isinstance(layer, TargetLayer)
        assert (layer.kind, layer.grid, layer.end_token) == ("cross_attention", (4, 4), False)
