"""The small LLaVA and its vocabulary."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.parts import ARCHITECTURE, tiny_captioner
from transformers import AutoTokenizer

from vlground.data.shapes.claims import CONJECTURES, parse
from vlground.errors import VlgroundError
from vlground.rewards.sentences import split
from vlground.run import CONF
from vlground.training.miniature import grown_captioner, random_captioner, word_tokenizer, words
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


def test_a_model_grows_words_and_keeps_what_it_has_learnt(tmp_path: Path) -> None:
    folder = CONF.parent / "src" / "vlground" / "miniatures" / "mini_llava"
    torch.manual_seed(3)
    network, processor = grown_captioner(str(folder))
    learnt, words = load_file(folder / "model.safetensors"), AutoTokenizer.from_pretrained(folder)
    state = network.state_dict()
    layer = "model.language_model.layers.1.mlp.up_proj.weight"
    (known,) = [
        weights for name, weights in learnt.items() if name.endswith("layers.1.mlp.up_proj.weight")
    ]
    assert torch.equal(state[layer], known.float())
    (rows,) = [weights for name, weights in learnt.items() if name.endswith("embed_tokens.weight")]
    new = state["model.language_model.embed_tokens.weight"]
    ids = processor.tokenizer.convert_tokens_to_ids
    for word, old in (
        ("▁star", "star"),
        ("▁Is", "is"),
        ("▁crosses", "cross"),
        ("<image>", "<image>"),
    ):
        source = words.convert_tokens_to_ids(old)
        assert torch.equal(new[ids(word)], rows[source].float()), word
    drawn = ids("▁probably")
    torch.manual_seed(4)
    other = grown_captioner(str(folder))[0].state_dict()
    assert not torch.equal(new[drawn], other["model.language_model.embed_tokens.weight"][drawn])
    with pytest.raises(VlgroundError, match=r"task\.initial\.pretrained="):
        grown_captioner(str(tmp_path))


def test_planted_sentences_parse() -> None:
    for one in ShapesDialogues(5, 50, "x", ERRORS)[:]:
        assert all(parse(sentence.content) for sentence in split(one.answer))
