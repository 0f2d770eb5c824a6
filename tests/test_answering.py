"""Training of a LLaVA-type model to answer: exact resuming, what is saved, the vocabulary."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_matching import OPTIONS, STREAM, Stop, carry_out, samples
from vlground.data.shapes.language import WORDS
from vlground.miniatures.word_level import write
from vlground.models.generative import GenerativeScorer
from vlground.run import CONF
from vlground.tasks.answering import Answering

VOCABULARY = CONF.parent / "src" / "vlground" / "miniatures" / "word_level"
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
ARCHITECTURE: dict[str, Any] = {
    "image_token_index": 4,
    "vision_feature_layer": -1,
    "vision_config": {
        **TOWER,
        "model_type": "clip_vision_model",
        "image_size": 96,
        "patch_size": 24,
        "projection_dim": 16,
    },
    "text_config": {
        **TOWER,
        "model_type": "llama",
        "vocab_size": 41,
        "max_position_embeddings": 64,
        "num_key_value_heads": 2,
    },
}


def scorer(**options: Any) -> GenerativeScorer:
    torch.manual_seed(1)
    fixed = {"prompt": "<image> is there {} ?", "answers": ["yes", "no"], "context": 24}
    weights = {"architecture": ARCHITECTURE, "tokenizer": str(VOCABULARY), "features": True}
    return GenerativeScorer(**{**fixed, **weights, **options})


def task(folder: Path, **options: Any) -> Answering:
    return Answering(scorer(), STREAM, samples(4), {**OPTIONS, **options}, folder)


def test_the_shipped_vocabulary_is_that_of_the_words(tmp_path: Path) -> None:
    write(tmp_path)
    for file in VOCABULARY.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
    tokens = scorer().prompt.read(["an orange star next to a cross"])
    assert tokens.token_mask.sum() == 1 + 7  # what predicts, and the words
    assert all(scorer().knows(word) for word in WORDS)
    assert not scorer().knows("giraffe")


def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(tmp_path: Path) -> None:
    whole = task(tmp_path / "whole")
    carry_out(whole)
    with pytest.raises(RuntimeError, match="stopped"):
        carry_out(task(tmp_path / "broken"), [Stop(2)])
    resumed = task(tmp_path / "broken")
    carry_out(resumed)
    expected = whole.scorer.state_dict()
    for name, tensor in resumed.scorer.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.table.equals(whole.table)
    assert whole.scores()["accuracy"]["n"] == 8


def test_the_loss_is_that_of_the_answers_and_falls(tmp_path: Path) -> None:
    made = task(tmp_path, steps=40, pretraining_epochs=0, epochs=1, auxiliary=0.0)
    batch = STREAM.batch(0)
    before = made.loss(batch, pretraining=False)
    with torch.no_grad():  # log P(yes), of the model that is trained, one text at a time
        encoded = made.encode(batch)
        each = []
        for text, owner, fits in zip(batch.texts, batch.owner, batch.fits, strict=True):
            one = made.scorer.score(encoded, [text], owner[None])[0]
            other = made.scorer.answer_logits(encoded, [text], owner[None])[0].log_softmax(0)
            assert torch.allclose(one, other[made.scorer.answers[0]], atol=1e-5)
            each.append(one if fits else other[made.scorer.answers[1]])
    torch.testing.assert_close(before, -torch.stack(each).mean(), rtol=1e-4, atol=1e-5)
    carry_out(made)
    assert float(made.loss(batch, pretraining=False).detach()) < float(before.detach())


def test_what_is_saved_scores_as_what_was_trained(tmp_path: Path) -> None:
    made = task(tmp_path, export=str(tmp_path / "export"))
    carry_out(made)
    loaded = scorer(pretrained=str(tmp_path / "export"), tokenizer=None, features=False)
    pixels, owner = torch.randn(1, 3, 96, 96), torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        scores = [
            float(one.score(one.encode(pixels), ["a red star"], owner))
            for one in (made.scorer, loaded)
        ]
    assert scores[0] == pytest.approx(scores[1], abs=5e-3)  # half precision on disk
