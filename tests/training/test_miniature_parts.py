"""The small LLaVA and its vocabulary."""

import re

import pytest
import torch
from tests.training.parts import ARCHITECTURE, tiny_captioner

from vlground.data.shapes.claims import CONJECTURES, parse
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split
from vlground.training.miniature import random_captioner, word_tokenizer, words
from vlground.training.shapes_dialogues import ShapesDialogues

ERRORS = dict.fromkeys(("hallucination", "attribute", "relationship", "location"), 0.2)


def test_every_text_is_given_back_to_the_character() -> None:
    tokenizer = word_tokenizer()
    captions = ShapesDialogues(5, 300, "Describe this image in detail.", ERRORS)
    questions = ShapesDialogues(5, 300)
    said = [text for one in [*captions[:], *questions[:]] for text in (one.question, one.answer)]
    for text in [*said, *CONJECTURES, "There is a star."]:
        tokens = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in tokens, text
        assert tokenizer.decode(tokens, skip_special_tokens=True) == text
        assert len(tokens) == 1 + len(re.findall(r"\w+|[.?,:]", text))
    assert tokenizer("There is a unicorn.").input_ids.count(tokenizer.unk_token_id) == 1
    assert len(words()) == len(set(words()))


def test_the_dialogue_reads_alike_with_and_without_its_answer() -> None:
    _, processor = tiny_captioner()
    question = [{"type": "image"}, {"type": "text", "text": "Describe this image in detail."}]
    asked = [{"role": "user", "content": question}]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
    answer = [{"type": "text", "text": "There is a star."}]
    whole = processor.apply_chat_template([*asked, {"role": "assistant", "content": answer}])
    assert prompt == "USER: <image> Describe this image in detail. ASSISTANT:"
    assert whole == f"{prompt} There is a star."


def test_an_image_is_as_many_tokens_as_it_has_patches() -> None:
    network, processor = tiny_captioner()
    (one,) = ShapesDialogues(0, 1)
    read = processor(text=["USER: <image> Is"], images=[[one.image]], return_tensors="pt")
    image = network.config.image_token_id
    assert int((read["input_ids"] == image).sum()) == 16 == network.config.image_seq_length
    with torch.no_grad():
        assert network(**read).logits.shape[-1] == len(processor.tokenizer)


def test_weights_are_drawn_from_the_global_generator() -> None:
    one, other = tiny_captioner()[0].state_dict(), tiny_captioner()[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(VlgroundError, match=r"task\.initial\.architecture"):
        random_captioner({"text_config": ARCHITECTURE["text_config"]})


def test_planted_sentences_parse() -> None:
    for one in ShapesDialogues(5, 50, "x", ERRORS)[:]:
        assert all(parse(sentence.content) for sentence in split(one.answer))
