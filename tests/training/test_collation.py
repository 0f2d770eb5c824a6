"""Tensors of dialogues, against what the same processor writes of each by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.captioners.dialogues import TEMPLATE, pictures, write_llava, write_qwen

from vlground.errors import VlgroundError
from vlground.models.dialogue import load_dialogue_model
from vlground.training.collation import IGNORED, Collator
from vlground.training.dialogues import Dialogue
from vlground.training.loading import ends_of
from vlground.training.objective import answer_losses

ANSWERS = ("w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10")
CHAT = TEMPLATE.replace("{% endfor %}{% endfor %} ASSISTANT", "{% endfor %} {% endfor %}")
# As Qwen's: the answer has an end of its own, and something follows it.
ENDED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %} ASSISTANT"
    " {{ m['content'][0]['text'] }} w59 w0{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT{% endif %}"
)
TURNS = (  # as LLaVA's, where the captioner adds the end
    "{% for m in messages %}{% if m['role'] == 'user' %} USER{% else %} ASSISTANT{% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %} <image>{% else %}"
    " {{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT{% endif %}"
)


def dialogues() -> list[Dialogue]:
    return [
        Dialogue(sample.id, sample.image, "Describe it", answer)
        for sample, answer in zip(pictures(3), ANSWERS, strict=True)
    ]


def loaded(folder: Path, write: Any = write_llava, **options: Any) -> tuple[Any, Any]:
    where = write(folder / "m", **options)
    return load_dialogue_model("model.pretrained", where, None, torch.float32)


def learnt(collated: Any, tokenizer: Any) -> list[str]:
    return [
        " ".join(tokenizer.convert_ids_to_tokens(row[row != IGNORED])) for row in collated.labels
    ]


@pytest.mark.parametrize("write", [write_llava, write_qwen])
def test_only_answers_and_their_ends_are_learnt(tmp_path: Path, write: Any) -> None:
    network, processor = loaded(tmp_path, write)
    batch = Collator(processor, ends_of(network, processor), 50)(dialogues())
    assert learnt(batch, processor.tokenizer) == [f"{answer} </s>" for answer in ANSWERS]
    assert batch.ids == ("s0", "s1", "s2")
    assert (batch.labels != IGNORED).sum() == 3 + 1 + 6 + 3
    assert batch.cut == 0
    asked = batch.inputs["input_ids"][0][batch.labels[0] == IGNORED]
    assert "ASSISTANT" in processor.tokenizer.convert_ids_to_tokens(asked)


def test_a_template_with_its_own_end_is_followed(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path, template=ENDED)
    processor.tokenizer.add_tokens(["w59"], special_tokens=True)
    end = processor.tokenizer.convert_tokens_to_ids("w59")
    batch = Collator(processor, [2, end], 50)(dialogues())
    assert learnt(batch, processor.tokenizer) == [f"{answer} w59" for answer in ANSWERS]


def test_what_is_read_before_the_answer_is_what_the_captioner_reads(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path)
    (one, *_) = dialogues()
    content = [{"type": "image"}, {"type": "text", "text": one.question}]
    asked = [{"role": "user", "content": content}]
    words = processor.apply_chat_template(asked, add_generation_prompt=True)
    read = processor(text=[words], images=[[one.image]], return_tensors="pt")
    batch = Collator(processor, [2], 50)([one])
    length = read["input_ids"].shape[1]
    assert torch.equal(batch.inputs["input_ids"][:, :length], read["input_ids"])
    assert (batch.labels[0, :length] == IGNORED).all()
    assert batch.labels[0, length] != IGNORED
    torch.testing.assert_close(batch.inputs["pixel_values"], read["pixel_values"])


@pytest.mark.parametrize(("template", "end"), [(TURNS, "</s>"), (ENDED, "w59")])
def test_of_several_turns_all_answers_are_learnt_and_no_question(
    tmp_path: Path, template: str, end: str
) -> None:
    network, processor = loaded(tmp_path, template=template)
    processor.tokenizer.add_tokens(["w59"], special_tokens=True)
    collate = Collator(processor, [processor.tokenizer.convert_tokens_to_ids(end)], 50)
    one, alone, other = dialogues()
    several = replace(one, further=(("w11 w12", "w4"), ("w13", "w5 w6")))
    batch = collate([several, alone, other])
    assert learnt(batch, processor.tokenizer) == [
        f"w1 w2 w3 {end} w4 {end} w5 w6 {end}",
        f"w4 {end}",
        f"w5 w6 w7 w8 w9 w10 {end}",
    ]
    read = processor.tokenizer.convert_ids_to_tokens(batch.inputs["input_ids"][0])
    assert read.count("w11") == read.count("w13") == 1
    assert read.index("w3") < read.index("w12") < read.index("w4") < read.index("w13")
    images = (batch.inputs["input_ids"] == network.config.image_token_id).sum(dim=1).tolist()
    assert images[0] == images[1] == images[2]
    with torch.no_grad():  # what comes first reads nothing of what follows
        first, _ = answer_losses(network, collate([one]))
        labels = batch.labels.clone()
        known = (labels[0] != IGNORED).nonzero()[:, 0]
        labels[0, known[4:]] = IGNORED
        again, _ = answer_losses(network, replace(batch, labels=labels))
    torch.testing.assert_close(again[0], first[0])


def test_of_several_turns_each_answer_is_cut(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path, template=TURNS)
    several = replace(dialogues()[0], further=(("w11", "w4 w5 w6"), ("w13", "w7")))
    batch = Collator(processor, [2], 2)([several])
    assert learnt(batch, processor.tokenizer) == ["w1 w2 w4 w5 w7 </s>"]
    assert batch.cut == 2


def test_a_template_of_one_question_is_refused_where_there_are_more(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path)
    several = replace(dialogues()[0], further=(("w11", "w4"),))
    with pytest.raises(VlgroundError, match=r"model\.pretrained: its chat template"):
        Collator(processor, [2], 9)([several])


def test_long_answers_are_cut_and_counted(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path)
    batch = Collator(processor, [2], 3)(dialogues())
    assert learnt(batch, processor.tokenizer) == ["w1 w2 w3", "w4 </s>", "w5 w6 w7"]
    assert batch.cut == 2
    with pytest.raises(VlgroundError, match=r"task\.max_tokens=0"):
        Collator(processor, [2], 0)


@pytest.mark.parametrize("write", [write_llava, write_qwen])
def test_losses_are_those_of_transformers_for_each_dialogue_alone(
    tmp_path: Path, write: Any
) -> None:
    network, processor = loaded(tmp_path, write)
    collate = Collator(processor, [2], 50)
    with torch.no_grad():
        together, tokens = answer_losses(network, collate(dialogues()))
        for place, one in enumerate(dialogues()):
            alone = collate([one])
            found = network(**alone.inputs, labels=alone.labels).loss  # a mean
            assert float(together[place] / tokens[place]) == pytest.approx(float(found), rel=1e-4)
    assert tokens.tolist() == [4, 2, 7]


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(VlgroundError, match=r"task\.data: x1: .*bad\.png"):
        Collator(processor, [2], 9)([Dialogue("x1", bad, "Describe it", "w1")])


def test_an_answer_that_the_question_holds_too_is_learnt_at_its_place(tmp_path: Path) -> None:
    _, processor = loaded(tmp_path, template=CHAT)
    (one, *_) = pictures(1)
    batch = Collator(processor, [2], 9)([Dialogue("x", one.image, "Describe w1 it", "w1")])
    assert learnt(batch, processor.tokenizer) == ["w1 </s>"]
    assert (batch.labels[0] != IGNORED).nonzero()[0, 0] > len(batch.labels[0]) - 4
