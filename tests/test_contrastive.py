"""Training of CLIP: what is true of which scene, the loss, exact resuming, what is saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_matching import OPTIONS, STREAM, Stop, carry_out, samples
from vlground.data.shapes.language import WORDS
from vlground.errors import VlgroundError
from vlground.miniatures.merges import write
from vlground.models.clip import ClipScorer
from vlground.run import CONF
from vlground.tasks.contrastive import Contrastive, contrastive_loss

MERGES = CONF.parent / "src" / "vlground" / "miniatures" / "vocabulary" / "merges.txt.gz"
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 611, "width": 16, "heads": 2, "layers": 1},
}


def scorer(**options: Any) -> ClipScorer:
    torch.manual_seed(1)
    return ClipScorer(ARCHITECTURE, tokenizer=str(MERGES), **options)


def task(folder: Path, **options: Any) -> Contrastive:
    return Contrastive(scorer(), STREAM, samples(4), {**OPTIONS, **options}, folder)


def test_the_shipped_merges_are_those_of_the_words_and_a_word_is_one_token(tmp_path: Path) -> None:
    write(tmp_path / "merges.txt.gz")
    assert (tmp_path / "merges.txt.gz").read_bytes() == MERGES.read_bytes()
    tokenizer = scorer().tokenizer
    assert {len(tokenizer.encode(word)) for word in WORDS} == {1}
    assert tokenizer.decode(tokenizer.encode("an orange star")).strip() == "an orange star"


def test_truth_is_over_all_scenes() -> None:
    batch = STREAM.batch(5)
    texts, truth = batch.truth()
    assert len(texts) == len(set(texts)) == truth.shape[1]
    for text, owner, fits in zip(batch.texts, batch.owner, batch.fits, strict=True):
        assert truth[owner, texts.index(text)] == bool(fits)
    for place, text in enumerate(texts):
        article, *words = text.split()
        if article != "the" and len(words) == 2:  # "a red star"
            expected = [tuple(words) in scene.pairs for scene in batch.scenes]
            assert truth[:, place].tolist() == expected, text


def test_the_loss_is_that_of_a_literal_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=generator)
    # The last text is true of nothing; the second image has two texts, the first text two images.
    truth = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]).bool()
    expected = 0.0
    for scores, true in ((logits.numpy(), truth.numpy()), (logits.numpy().T, truth.numpy().T)):
        each = []
        for row, places in zip(scores, true, strict=True):
            if places.any():
                shares = np.exp(row) / np.exp(row).sum()
                each.append(-np.log(shares[places]).mean())
        expected += 0.5 * np.mean(each)
    assert float(contrastive_loss(logits, truth)) == pytest.approx(expected, rel=1e-5)


def test_scores_of_all_are_the_scores() -> None:
    model, texts = scorer(), ["a red star", "a blue ring", "a green cross"]
    encoded = model.encode(torch.randn(2, 3, 64, 64))
    owner = torch.tensor([0, 0, 0, 1, 1, 1])
    expected = model.score(encoded, texts * 2, owner).view(2, 3)
    torch.testing.assert_close(model.scores_of_all(encoded, texts), expected, rtol=1e-4, atol=1e-4)


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
    assert set(whole.scores()) == {"ranking_accuracy"}


def test_batch_statistics_are_learnt_and_what_is_saved_scores_alike(tmp_path: Path) -> None:
    made = task(tmp_path, export=str(tmp_path / "export"), steps=20)
    before = made.scorer.network.visual.bn1.running_mean.clone()
    carry_out(made)
    assert not torch.equal(made.scorer.network.visual.bn1.running_mean, before)
    assert not any(module.training for module in made.scorer.modules())
    loaded = scorer(checkpoint=str(tmp_path / "export" / "model.safetensors"))
    pixels, texts = torch.randn(1, 3, 64, 64), ["a red star", "a blue ring"]
    with torch.no_grad():
        scores = [one.scores_of_all(one.encode(pixels), texts) for one in (made.scorer, loaded)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=0.05)  # half precision, scale 14


def test_the_loss_falls(tmp_path: Path) -> None:
    made = task(tmp_path, steps=40, pretraining_epochs=0, epochs=1, auxiliary=0.0)
    before = float(made.loss(STREAM.batch(0), pretraining=False).detach())
    carry_out(made)
    assert float(made.loss(STREAM.batch(0), pretraining=False).detach()) < before


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"model\.tokenizer=null: has 49408 tokens, .* 611"):
        ClipScorer(ARCHITECTURE)
    (tmp_path / "merges.txt").write_text("r e\n")
    with pytest.raises(VlgroundError, match=r"merges\.txt: no gzipped file of merges"):
        ClipScorer(ARCHITECTURE, tokenizer=str(tmp_path / "merges.txt"))
    with pytest.raises(VlgroundError, match=r"model\.pretrained=openai: model\.architecture is no"):
        ClipScorer(ARCHITECTURE, pretrained="openai")
    with pytest.raises(VlgroundError, match=r"model\.architecture=.*unexpected keyword"):
        ClipScorer({**ARCHITECTURE, "colour": 1})
