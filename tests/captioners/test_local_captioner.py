"""Captions of a model of transformers: each depends on (seed, image, index) and on nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.captioners.dialogues import VOCABULARY, pictures, write_llava, write_qwen

from vlground.captioners.local import LocalCaptioner, Prefix
from vlground.contracts import Caption
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError, VlgroundError

PROMPT = "Describe it"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def captioner(folder: str) -> LocalCaptioner:
    return LocalCaptioner(folder, max_tokens=24)


def texts(captions: Sequence[Sequence[Caption]]) -> list[list[str]]:
    return [[one.text for one in row] for row in captions]


def asked(
    captioner: LocalCaptioner, samples: Sequence[Sample], n: int, seed: int, first: int = 0
) -> list[list[Caption]]:
    return captioner.caption(samples, [PROMPT] * len(samples), n, seed, first)


def inputs_of(captioner: LocalCaptioner, sample: Any) -> Any:
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    words = captioner.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return captioner.processor(text=[words], images=[load_image(sample)], return_tensors="pt")


def test_a_candidate_depends_on_seed_image_and_index_alone(captioner: LocalCaptioner) -> None:
    samples = pictures(4)
    whole = asked(captioner, samples, 5, seed=3)
    assert len({text for row in texts(whole) for text in row}) == 20, "all differ"
    for place, sample in enumerate(samples):
        assert texts(asked(captioner, [sample], 5, 3)) == texts([whole[place]])
        assert texts(asked(captioner, [sample], 4, 3, first=3)) == [[whole[place][3].text]]
    assert texts(asked(captioner, samples, 2, 3)) == [row[:2] for row in texts(whole)]
    assert texts(asked(captioner, samples[::-1], 5, 3)) == texts(whole)[::-1]
    other = asked(captioner, samples, 5, seed=4)
    assert not {t for row in texts(other) for t in row} & {t for row in texts(whole) for t in row}
    assert texts(asked(captioner, [], 5, 3)) == []
    assert texts(asked(captioner, samples[:1], 0, 3)) == [[]]
    assert texts(asked(captioner, samples, 5, 3, first=2)) == [row[2:] for row in texts(whole)]
    assert texts(asked(captioner, samples[:1], 2, 3, first=2)) == [[]]


def test_reading_the_prefix_once_changes_no_text(folder: str, captioner: LocalCaptioner) -> None:
    slow = LocalCaptioner(folder, max_tokens=24, prefix="repeated")
    samples = pictures(3)
    ours, theirs = (asked(one, samples, 3, 0) for one in (captioner, slow))
    assert texts(ours) == texts(theirs)
    for row, other in zip(ours, theirs, strict=True):
        for one, two in zip(row, other, strict=True):
            assert one.cut_off == two.cut_off
            assert one.log_probabilities == pytest.approx(two.log_probabilities, abs=1e-4)


@pytest.mark.parametrize("prefix", ["shared", "repeated"])
def test_each_sample_is_asked_its_own_prompt(folder: str, prefix: Prefix) -> None:
    """Prompts of one length are read together; none of them is asked of another sample."""
    captioner = LocalCaptioner(folder, max_tokens=12, prefix=prefix)
    samples = pictures(4)
    samples[1] = replace(samples[1], image=samples[0].image, image_id=samples[0].image_id)
    prompts = ["Describe it", "w5 w9", "it", "Describe it"]
    found = texts(captioner.caption(samples, prompts, 2, 0))
    assert found[0] != found[1], "the same image, and another question"
    for sample, prompt, row in zip(samples, prompts, found, strict=True):
        assert texts(captioner.caption([sample], [prompt], 2, 0)) == [row]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        captioner.caption(samples, prompts[:2], 1, 0)


def test_pictures_of_other_sizes_are_read_together_where_they_can_be(tmp_path: Path) -> None:
    folder = write_qwen(tmp_path)
    shared = LocalCaptioner(folder, max_tokens=10)
    samples = []
    for place, shape in enumerate([(64, 32), (64, 64), (128, 32)]):
        pixels = np.random.default_rng(place).integers(0, 256, (*shape, 3), dtype=np.uint8)
        samples.append(Sample(f"s{place}", f"i{place}", pixels, ""))
    sizes = [shared._read(sample, PROMPT)["input_ids"].shape[1] for sample in samples]
    assert sizes[0] < sizes[1] == sizes[2], "of equal length, and still of other positions"
    found = asked(shared, samples, 3, 0)
    repeated = LocalCaptioner(folder, max_tokens=10, prefix="repeated")
    assert texts(found) == texts(asked(repeated, samples, 3, 0))
    for sample, row in zip(samples, texts(found), strict=True):
        assert texts(asked(repeated, [sample], 3, 0)) == [row]


def test_greedy_equals_generate(folder: str) -> None:
    captioner = LocalCaptioner(folder, temperature=0, max_tokens=20)
    samples = pictures(3)
    for sample, row in zip(samples, asked(captioner, samples, 2, 0), strict=True):
        inputs = inputs_of(captioner, sample)
        made = captioner.network.generate(**inputs, do_sample=False, max_new_tokens=20)
        words = made[0, inputs["input_ids"].shape[1] :]
        expected = captioner.processor.tokenizer.decode(words, skip_special_tokens=True)
        assert [one.text for one in row] == [expected, expected]


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_log_probabilities_are_of_the_model_as_it_is(folder: str, temperature: float) -> None:
    captioner = LocalCaptioner(folder, max_tokens=12, temperature=temperature, top_p=0.9)
    (sample,) = pictures(1)
    inputs = inputs_of(captioner, sample)
    found = asked(captioner, [sample], 6, 0)[0]
    whole = [c for c in found if len(c.text.split()) == len(c.log_probabilities or ())]
    assert len(whole) > 1, "texts without special tokens, which can be read again"
    for caption in whole:
        ids = torch.tensor([[VOCABULARY[word] for word in caption.text.split()]])
        start = inputs["input_ids"].shape[1]
        with torch.no_grad():
            logits = captioner.network(
                input_ids=torch.cat([inputs["input_ids"], ids], dim=1),
                pixel_values=inputs["pixel_values"],
            ).logits
        known = logits.log_softmax(dim=-1)[0, start - 1 : -1].gather(1, ids[0][:, None])[:, 0]
        assert caption.log_probabilities == pytest.approx(known.tolist(), abs=1e-4)


def test_texts_end_at_an_end_token_or_are_cut_off(tmp_path: Path) -> None:
    captioner = LocalCaptioner(write_llava(tmp_path, end=9), max_tokens=24)
    assert VOCABULARY["w2"] == 9
    found = [one for row in asked(captioner, pictures(6), 5, 0) for one in row]
    lengths = [len(one.log_probabilities or ()) for one in found]
    assert {one.cut_off for one in found} == {True, False}
    for one, length in zip(found, lengths, strict=True):
        assert one.cut_off == (length == 24)
        assert len(one.text.split()) <= length
        assert "w2" not in one.text.split()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": -1}, r"model\.temperature=-1: expected 0 or more"),
        ({"top_p": 0}, r"model\.top_p=0: expected more than 0, at most 1"),
        ({"max_tokens": 0}, r"model\.max_tokens=0: expected a positive number"),
        ({"prefix": "none"}, r"model\.prefix=none: expected shared, repeated"),
        ({"dtype": "int8"}, r"model\.dtype=int8: expected float32, bfloat16, float16"),
    ],
)
def test_wrong_options_are_refused(folder: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(VlgroundError, match=f"^{told}$"):
        LocalCaptioner(folder, **options)


def test_a_folder_without_model_or_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^model\.pretrained=.*: no model with a processor"):
        LocalCaptioner(str(tmp_path / "none"))
    folder = write_llava(tmp_path / "plain", template=None)
    with pytest.raises(VlgroundError, match="its processor has no chat template"):
        LocalCaptioner(folder)


def test_an_unreadable_image_is_no_caption(captioner: LocalCaptioner, tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        asked(captioner, [Sample("a", "a", tmp_path / "none.jpg", "")], 1, 0)
    grey = Sample("g", "g", np.zeros((20, 30), np.uint8), "")
    assert asked(captioner, [grey], 1, 0)[0][0].problem == ""
