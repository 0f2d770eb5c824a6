"""A reward model's head: where it is read, what it is read with, what is saved of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.captioners.dialogues import pictures, write_llava, write_qwen
from torch import Tensor

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.network import SentenceReward
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.reading import Reading
from vlground.rewards.trained import TrainedSentences

ONE = ["w1 w2 w3 ", "w4 ", "w5 w6 w7 w8 w9"]
TWO = ["w10 w11", "w12 w13 w14"]
READING = Reading("Describe it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_llava(tmp_path_factory.mktemp("llava"))


def model(folder: str, **options: Any) -> SentenceReward:
    loaded = load_dialogue_model("task.backbone.pretrained", folder, None, torch.float32)
    made = SentenceReward(*loaded, ERROR_TYPES, replace(READING, **options))
    made.requires_grad_(False)
    made.head.weight.copy_(torch.randn(made.head.weight.shape, generator=torch.manual_seed(0)))
    return made


def read(made: SentenceReward, count: int) -> list[dict[str, Tensor]]:
    return [made.read(load_image(sample)) for sample in pictures(count)]


def plainly(made: SentenceReward, image: dict[str, Tensor], text: str) -> Tensor:
    """Logits at the last token of what the processor would read as one text, uncached."""
    ids = made.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")
    tokens = torch.cat([image["input_ids"], ids["input_ids"]], dim=1)
    others = {k: v for k, v in image.items() if v.shape != image["input_ids"].shape}
    if "mm_token_type_ids" in image:
        kind = image["mm_token_type_ids"]
        others["mm_token_type_ids"] = torch.cat([kind, torch.zeros_like(ids["input_ids"])], dim=1)
    found = made.network(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        output_hidden_states=True,
        use_cache=False,
        **others,
    )
    logits: Tensor = made.head(found.hidden_states[-1][0, -1])
    return logits


def seen(context: str, sentences: Sequence[str], number: int) -> str:
    before = {"none": [], "preceding": sentences[:number]}
    before["caption"] = [*sentences, *sentences[:number]]
    return " ".join([*before[context], sentences[number]])


@pytest.mark.parametrize("prefix", ["shared", "repeated"])
@pytest.mark.parametrize("context", ["preceding", "none", "caption"])
def test_each_sentence_is_read_at_its_last_token(folder: str, context: str, prefix: str) -> None:
    made = model(folder, context=context, prefix=prefix)
    images = read(made, 2)
    found = made(images, [[ONE, TWO], [TWO]])
    assert [[len(one) for one in of_image] for of_image in found] == [[3, 2], [2]]
    for image, of_image, captions in zip(images, found, [[ONE, TWO], [TWO]], strict=True):
        for rows, sentences in zip(of_image, captions, strict=True):
            for number, row in enumerate(rows):
                expected = plainly(made, image, seen(context, sentences, number))
                torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    assert (found[0][1] - found[1][0]).abs().max() > 0.1  # one caption, two images


def test_a_whole_caption_has_one_label_which_all_of_its_sentences_get(folder: str) -> None:
    made = model(folder, level="caption")
    images = read(made, 1)
    ((logits, _),) = made(images, [[ONE, TWO]])
    torch.testing.assert_close(
        logits[0], plainly(made, images[0], " ".join(ONE)), atol=1e-4, rtol=0
    )
    ((told, other),) = made.probabilities(images, [[ONE, TWO]])
    assert told.shape == (3, 6)
    assert other.shape == (2, 6)
    torch.testing.assert_close(told, logits.sigmoid().expand(3, -1))


def test_a_model_with_positions_of_three_axes_reads_its_prefix_again(tmp_path: Path) -> None:
    made = model(write_qwen(tmp_path), prefix="repeated")
    images = read(made, 2)
    found = made(images, [[ONE, TWO], [TWO]])
    for number in range(3):
        expected = plainly(made, images[0], seen("preceding", ONE, number))
        torch.testing.assert_close(found[0][0][number], expected, rtol=1e-3, atol=1e-3)


def test_a_blind_model_says_the_same_of_every_image(folder: str) -> None:
    made = model(folder, image=False)
    images = read(made, 2)
    assert all(float(one["pixel_values"].abs().max()) == 0 for one in images)
    first, second = made(images, [[ONE], [ONE]])
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first[0][1], plainly(made, images[0], seen("preceding", ONE, 1)))


def test_what_is_blank_or_too_far_behind_has_no_score(folder: str) -> None:
    made = model(folder, max_tokens=4)
    ((found,),) = made(read(made, 1), [[["w1 w2 ", " ", "w3 w4", "w5"]]])
    assert found.isnan().all(dim=1).tolist() == [False, True, False, True]
    assert made.scored([[["w1 w2 ", " ", "w3 w4", "w5"]]])[:, 0].tolist() == [1, 0, 1, 0]
    assert made(read(made, 1), [[[" "], []]])[0][0].isnan().all()
    whole = model(folder, max_tokens=2, level="caption")
    images = read(whole, 1)
    ((found,),) = whole(images, [[ONE]])
    torch.testing.assert_close(found[0], plainly(whole, images[0], "w1 w2"), atol=1e-4, rtol=0)


def test_what_class_weights_add_is_taken_off_probabilities(folder: str) -> None:
    made = model(folder)
    images = read(made, 1)
    ((logits,),) = made(images, [[ONE]])
    made.offset.copy_(torch.tensor([3.0, 1, 1, 1, 1, 1]).log())
    ((told,),) = made.probabilities(images, [[ONE]])
    odds = (logits.exp() / torch.tensor([3.0, 1, 1, 1, 1, 1])).clamp(max=1e6)
    torch.testing.assert_close(told, odds / (1 + odds), atol=1e-5, rtol=1e-4)


def test_what_is_saved_scores_as_what_was_trained(folder: str, tmp_path: Path) -> None:
    made = model(folder, context="none")
    made.offset.fill_(0.5)
    made.save(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    scorer = TrainedSentences(str(tmp_path), batch_size=1)
    assert scorer.model.reading == made.reading
    one, two = pictures(2)
    told = scorer.score([one, two, one], [ONE, TWO, TWO])
    expected = made.probabilities(read(made, 2), [[ONE, TWO], [TWO]])
    for found, wanted in zip(told, [expected[0][0], expected[1][0], expected[0][1]], strict=True):
        assert [list(sentence) for sentence in found] == [list(ERROR_TYPES)] * len(wanted)
        values = torch.tensor([list(sentence.values()) for sentence in found])
        torch.testing.assert_close(values, wanted, atol=2e-2, rtol=0)  # half precision on disk


def test_an_image_that_cannot_be_read_has_no_scores_and_is_counted(
    folder: str, tmp_path: Path
) -> None:
    model(folder).save(tmp_path / "model")
    scorer = TrainedSentences(str(tmp_path / "model"))
    gone = Sample("gone", "gone", tmp_path / "gone.png", "")
    told = scorer.score([gone, *pictures(1)], [ONE, ["w1", " "]])
    assert told[0] == [{}, {}, {}]
    assert [bool(sentence) for sentence in told[1]] == [True, False]
    assert sorted(scorer.counts.values()) == [1, 3]
    assert scorer.score([gone], [ONE]) == [[{}, {}, {}]]
    assert scorer.score([], []) == []


def test_what_is_no_reward_model_is_refused_in_one_line(folder: str, tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"reward.pretrained=.*: no reward model there"):
        TrainedSentences(folder)
    model(folder).save(tmp_path)
    (tmp_path / "reward.json").write_text('{"types": ["a"], "offset": [0], "reading": {"no": 1}}')
    with pytest.raises(VlgroundError, match="no reward model there"):
        TrainedSentences(str(tmp_path))
    (tmp_path / "reward.json").write_text(
        '{"types": ["a"], "offset": [0.0], "reading": {"prompt": "x"}}'
    )
    with pytest.raises(VlgroundError, match="does not fit the network"):
        TrainedSentences(str(tmp_path))
    with pytest.raises(VlgroundError, match=r"reward\.dtype=int8: expected float32"):
        TrainedSentences(folder, dtype="int8")  # type: ignore[arg-type]
    for options, told in (
        ({"context": "all"}, r"task\.context=all: expected one of preceding, caption, none"),
        ({"level": "caption", "context": "none"}, r"task\.context=none: task\.level=caption"),
        ({"max_tokens": 0}, r"task\.max_tokens=0"),
    ):
        with pytest.raises(VlgroundError, match=told):
            replace(READING, **options)  # type: ignore[arg-type]
