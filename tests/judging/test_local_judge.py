"""The local judge is transformers' own model: what it writes, and how probable its digits are."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.judging.server import asking, verdicts
from tests.models.matchers import stir
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlground.contracts import JudgeRequest
from vlground.errors import VlgroundError
from vlground.judging.local import LocalJudge

SPECIAL = ["<pad>", "<unk>", "</s>", "<image>"]
PIECES = ['{"description":', '"a wheel",', '"justification":', '"of it",', '"score":', "3", "}"]
WORDS = [
    "ANSWER",
    "boat",
    "car",
    "red",
    "score",
    " ",
    "0",
    "1",
    "2",
    "4",
    "5",
    "Ġ4",
    "wheels",
    "8}",
]
VOCABULARY = {word: i for i, word in enumerate([*SPECIAL, *PIECES, *WORDS])}
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} ANSWER"
)
SIZE = 64
NAMES = ["boat", "a red car", "red red red boat", "car"]
TOWER = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIG: dict[str, Any] = {
    "vision_config": {
        **TOWER,
        "model_type": "clip_vision_model",
        "hidden_size": 24,
        "image_size": 32,
        "patch_size": 8,
    },
    "text_config": {
        **TOWER,
        "model_type": "llama",
        "hidden_size": SIZE,
        "vocab_size": len(VOCABULARY),
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "eos_token_id": 2,
    },
    "image_token_index": VOCABULARY["<image>"],
}


def write_processor(folder: Path, template: str | None = TEMPLATE, left_out: str = "") -> None:
    known = {word: i for word, i in VOCABULARY.items() if word not in left_out.split()}
    made = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


def write(folder: Path, network: Any) -> str:
    network.generation_config.eos_token_id = VOCABULARY["</s>"]
    network.save_pretrained(folder)
    write_processor(folder)
    return str(folder)


def stirred(folder: Path) -> str:
    """Random weights with which every picture and word counts."""
    torch.manual_seed(0)
    network = LlavaForConditionalGeneration(LlavaConfig(**CONFIG))
    stir(network)
    return write(folder, network)


def saying(folder: Path, *words: str) -> str:
    """A model that says these words after ANSWER, each sure to follow the one before."""
    network = LlavaForConditionalGeneration(LlavaConfig(**CONFIG))
    language = network.model.language_model
    with torch.no_grad():
        for layer in language.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        language.embed_tokens.weight.copy_(torch.eye(len(VOCABULARY), SIZE))
        network.lm_head.weight.zero_()
        chain = ["ANSWER", *words]
        for before, after in pairwise(chain):
            network.lm_head.weight[VOCABULARY[after], VOCABULARY[before]] = 1.0
    return write(folder, network)


def judge_of(folder: str, **options: Any) -> LocalJudge:
    return LocalJudge(folder, **{"prompt": "short", "max_tokens": 12, "device": "cpu"} | options)


def test_what_it_writes_is_read(tmp_path: Path) -> None:
    judge = judge_of(saying(tmp_path / "sure", *PIECES[:7], "</s>"))
    first, second = verdicts(judge, ["boat", "red car"])
    assert (first.outcome, first.score) == ("score", 3.0)
    assert (first.description, first.justification) == ("a wheel", "of it")
    assert (first.model, first.tokens_out) == ("sure", 7), "no path of this machine"
    assert first.tokens_in is not None
    assert second.tokens_in == first.tokens_in + 2, "it is named twice"
    assert judge.usage.tokens_out == 14


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((*PIECES[:5], "8}", "</s>"), "score is no number 0-5"),
        ((*PIECES[:6], "</s>"), "broken JSON"),
        (("wheels", "</s>"), "no JSON"),
        (("</s>",), "empty answer"),
        ((PIECES[0], "red", PIECES[0]), "cut off: longer than max_tokens"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, words: Any, reason: str) -> None:
    judge = judge_of(saying(tmp_path, *words))
    (found,) = verdicts(judge, ["boat"])
    assert (found.outcome, found.score, found.reason) == ("error", None, reason)
    assert judge.usage.errors == {reason: 1}


def test_a_random_model_says_nothing_that_counts(tmp_path: Path) -> None:
    judge = judge_of(stirred(tmp_path), batch_size=3)
    assert {one.outcome for one in verdicts(judge, NAMES)} == {"error"}
    assert sum(judge.usage.errors.values()) == len(NAMES)


@torch.no_grad()
def test_digit_probabilities_are_those_of_the_model(tmp_path: Path) -> None:
    folder = stirred(tmp_path)
    judge = judge_of(folder, score="digits", lowest_mass=0.0)
    network = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    processor = LlavaProcessor.from_pretrained(folder)
    scores = []
    for request, verdict in judge.judge(asking(NAMES)):
        words = f"<image> {judge.prompt.write(request, 'digit')} ANSWER"
        inputs = processor(text=words, images=request.images[0], return_tensors="pt")
        p = network(**inputs).logits[0, -1].softmax(-1)
        mass = np.array([float(p[VOCABULARY[str(d)]]) for d in range(6)])
        mass[4] += float(p[VOCABULARY["Ġ4"]])
        assert verdict.score == pytest.approx(float(mass @ np.arange(6) / mass.sum()), rel=1e-4)
        assert verdict.justification.endswith(f"mass {mass.sum():.3f}")
        scores.append(verdict.score)
    assert np.std(scores) > 0.001, "scores that are all the same compare nothing"
    strict = judge_of(folder, score="digits", lowest_mass=0.99)
    assert {one.reason for one in verdicts(strict, NAMES)} == {"digits are improbable"}


def test_a_space_before_the_digit_is_skipped(tmp_path: Path) -> None:
    judge = judge_of(saying(tmp_path, " ", "4", "</s>"), score="digits")
    (found,) = verdicts(judge, ["boat"])
    sure = np.exp(8) / (np.exp(8) + len(VOCABULARY) - 1)
    rest = (1 - sure) / (len(VOCABULARY) - 1)
    mass = np.full(6, rest) + np.eye(6)[4] * sure + np.eye(6)[4] * rest
    assert found.score == pytest.approx(float(mass @ np.arange(6) / mass.sum()), rel=1e-3)


def test_a_batch_gives_what_each_gives_alone(tmp_path: Path) -> None:
    folder, options = stirred(tmp_path), {"score": "digits", "lowest_mass": 0.0}
    alone = verdicts(judge_of(folder, **options), NAMES)
    together = verdicts(judge_of(folder, batch_size=4, **options), NAMES)
    assert len({one.tokens_in for one in alone}) > 1, "prompts of one length are not padded"
    for one, other in zip(alone, together, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-4)
        assert one.tokens_in == other.tokens_in


def test_words_alone_are_judged_on_their_own_rubric(tmp_path: Path) -> None:
    words = ("contents", "question", "reference", "answer")
    request = JudgeRequest("1", dict.fromkeys(words, "boat"), ())
    asking_words = {"prompt": "mmhal", "score": "digits", "lowest_mass": 0.0}
    with pytest.raises(VlgroundError, match=r"its vocabulary lacks the digits 0-6"):
        judge_of(stirred(tmp_path / "few"), **asking_words)
    judge = judge_of(saying(tmp_path / "sure", *PIECES[:7], "</s>"), prompt="mmhal")
    assert (judge.shows, judge.highest) == ("nothing", 6)
    ((_, found),) = judge.judge([request])
    assert (found.outcome, found.score) == ("score", 3.0)


def test_what_it_said_is_kept(tmp_path: Path) -> None:
    folder = saying(tmp_path / "model", *PIECES[:7], "</s>")
    options = {"cache_dir": str(tmp_path / "runs")}
    verdicts(judge_of(folder, **options), ["boat"])
    judge = judge_of(folder, **options)
    found = verdicts(judge, ["boat", "car"])
    assert [one.cached for one in found] == [True, False]
    stirred(tmp_path / "model")
    assert not verdicts(judge_of(folder, **options), ["boat"])[0].cached


def test_a_model_that_cannot_judge_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"judge\.pretrained=.*no model with a processor there"):
        judge_of(str(tmp_path / "nowhere"))
    folder = stirred(tmp_path / "silent")
    write_processor(Path(folder), left_out="5")
    with pytest.raises(VlgroundError, match=r"its vocabulary lacks the digits 0-5"):
        judge_of(folder, score="digits")
    (Path(folder) / "chat_template.jinja").unlink()
    with pytest.raises(VlgroundError, match=r"its processor has no chat template"):
        judge_of(folder)
    for options in ({"score": "digit"}, {"dtype": "int8"}, {"batch_size": 0}, {"max_tokens": 0}):
        with pytest.raises(VlgroundError, match=rf"judge\.{next(iter(options))}="):
            judge_of(folder, **options)
