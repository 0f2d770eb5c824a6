"""Grounding DINO's probabilities are those of a phrase's own tokens, whatever stands beside it."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.detectors.grounded import LONGEST, PLACES, photo, write_grounding_dino

from vlground.detectors.caption_spans import join_phrases
from vlground.detectors.detection import from_queries
from vlground.detectors.grounding_dino import GroundingDinoDetector
from vlground.errors import VlgroundError

PHRASES = ["dog", "wine glasses", "Ping Pong", "cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_grounding_dino(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="module")
def detector(folder: str) -> GroundingDinoDetector:
    return GroundingDinoDetector(folder, threshold=0.0)


def probabilities(detector: GroundingDinoDetector, *phrases: str) -> list[float]:
    ((*found,),) = detector.detect([photo()], [phrases])
    return [one.probability for one in found]


@torch.no_grad()
def whole(detector: GroundingDinoDetector, caption: str) -> Any:
    """Of transformers' processor and model, as its documentation has it."""
    import PIL.Image

    image = PIL.Image.fromarray(photo().image)
    inputs = detector.processor(images=image, text=caption, return_tensors="pt")
    return inputs, detector.network(**inputs)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_a_phrase_scores_by_its_tokens(folder: str, pool: str) -> None:
    detector = GroundingDinoDetector(folder, pool=pool, threshold=0.0)  # type: ignore[arg-type]
    inputs, outputs = whole(detector, "cat . dog . ping pong . wine glasses .")
    words = detector.processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert words[5:12] == ["ping", "pong", ".", "wine", "glass", "##es", "."]
    given = outputs.logits[0].sigmoid()
    for phrase, places in (("cat", [1]), ("ping pong", [5, 6]), ("wine glasses", [8, 9, 10])):
        own = given[:, places].mean(1) if pool == "mean" else given[:, places].amax(1)
        found = dict(zip(PHRASES, probabilities(detector, *PHRASES), strict=True))
        name = "Ping Pong" if phrase == "ping pong" else phrase
        assert found[name] == pytest.approx(float(own.max()), abs=1e-5)


def test_boxes_are_those_of_transformers_own_post_processing(folder: str) -> None:
    sample = photo()
    one = GroundingDinoDetector(folder, pool="max", threshold=0.0)
    _, outputs = whole(one, "wine glasses.")
    queries = outputs.logits[0].sigmoid()[:, 1:4].amax(dim=1)
    cut = float(queries.median())
    outputs.logits = outputs.logits.clone()
    outputs.logits[:, :, [0, 4, 5]] = -torch.inf  # what is no token of the phrase
    (theirs,) = one.processor.post_process_grounded_object_detection(
        outputs, threshold=cut, target_sizes=[sample.image.shape[:2]]
    )
    detector = GroundingDinoDetector(folder, pool="max", threshold=cut)
    ((ours,),) = detector.detect([sample], [["wine glasses"]])
    order = theirs["scores"].argsort(descending=True)
    assert len(ours.boxes) == len(order) == 5
    np.testing.assert_allclose(ours.scores, theirs["scores"][order], atol=1e-5)
    limits = torch.tensor([100.0, 60.0, 100.0, 60.0])
    inside = theirs["boxes"][order].clamp(min=0).minimum(limits)
    np.testing.assert_allclose(ours.boxes, inside, atol=1e-3)
    assert ours.probability == ours.scores[0]


def test_a_lone_pass_differs_from_a_joint_one(folder: str, detector: Any) -> None:
    lone = GroundingDinoDetector(folder, joint=False)
    apart, together = probabilities(lone, *PHRASES), probabilities(detector, *PHRASES)
    assert apart == [probabilities(detector, phrase)[0] for phrase in PHRASES]
    assert np.abs(np.subtract(apart, together)).max() > 1e-4


def test_probabilities_depend_on_the_set_of_phrases(detector: GroundingDinoDetector) -> None:
    given = probabilities(detector, "dog", "cat", "Dog.", " wine  glasses")
    assert given[0] == given[2]
    again = probabilities(detector, "wine glasses", "cat", "dog")
    assert again == [given[3], given[1], given[0]]
    other = photo("b", 80, 50)
    alone = detector.detect([photo()], [PHRASES])[0]
    batch = detector.detect([other, photo()], [["car"], PHRASES])[1]
    assert [one.probability for one in alone] == [one.probability for one in batch]


def test_more_phrases_than_fit_are_split(detector: GroundingDinoDetector) -> None:
    names = ["cat", "dog", "table", "car", "taxi", "wine glasses", "ping pong", "cat of a dog"]
    tokenizer = detector.processor.tokenizer
    captions = join_phrases(names, tokenizer, LONGEST, joint=True)
    assert [one.caption for one in captions] == [
        "car . cat . cat of a dog . dog . ping pong .",
        "table . taxi . wine glasses .",
    ]
    for one in captions:
        ids = tokenizer(one.caption).input_ids
        assert len(ids) <= LONGEST
        for phrase, places in zip(one.phrases, one.tokens, strict=True):
            assert tokenizer.decode([ids[place] for place in places]) == phrase
    found = probabilities(detector, *names)
    first = probabilities(detector, "car", "cat", "cat of a dog", "dog", "ping pong")
    assert found[:2] == first[1:4:2]


@pytest.mark.parametrize("longest", range(6, 24))
def test_captions_are_as_full_as_they_can_be(detector: GroundingDinoDetector, longest: int) -> None:
    tokenizer = detector.processor.tokenizer
    names = ["cat", "dog", "wine glasses", "ping pong", "a car", "taxi", "table of a dog", "of"]
    captions = join_phrases(names, tokenizer, longest, joint=True)
    assert [phrase for one in captions for phrase in one.phrases] == sorted(names)
    read = [tokenizer(one.caption).input_ids for one in captions]
    assert max(map(len, read)) <= longest
    for ids, following in pairwise(read):
        assert len(ids) + following.index(PLACES["."]) > longest, "the next phrase had room"


def test_a_phrase_that_is_too_long_is_cut(detector: GroundingDinoDetector) -> None:
    long = " ".join(["cat"] * 40)
    (given,) = join_phrases([long], detector.processor.tokenizer, LONGEST, joint=True)
    assert given.caption == " ".join(["cat"] * 13) + " ."
    assert probabilities(detector, long) == probabilities(detector, " ".join(["cat"] * 13))


def test_a_phrase_without_a_word_is_neither_yes_nor_no(
    folder: str, detector: GroundingDinoDetector
) -> None:
    found = probabilities(detector, " . ", "\u200b", "cat")
    assert [math.isnan(one) for one in found] == [True, True, False]
    largest = GroundingDinoDetector(folder, pool="max")
    assert math.isnan(probabilities(largest, "\u200b", "cat")[0])
    ((one,),) = detector.detect([photo()], [["?"]])
    assert (len(one.boxes), len(one.scores)) == (0, 0)
    assert detector.detect([photo()], [[]]) == [[]]


def test_boxes_end_where_the_image_does() -> None:
    boxes = torch.tensor([[0.5, 0.5, 1.2, 1.2], [0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.2, 0.4]])
    scores = torch.tensor([0.5, 0.25, 0.9])
    found = from_queries(scores, boxes, (100, 60), (100, 60), 0.25)
    np.testing.assert_allclose(found.boxes, [[40, 18, 60, 42], [0, 0, 100, 60]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.5])


def test_wrong_options_and_folders_are_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^detector\.pool=sum: expected mean, max$"):
        GroundingDinoDetector(folder, pool="sum")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"^detector\.threshold=2: expected 0 to 1$"):
        GroundingDinoDetector(folder, threshold=2)
    with pytest.raises(VlgroundError, match=r"^detector\.dtype=int8: expected float32"):
        GroundingDinoDetector(folder, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"^detector\.pretrained=.*: no detector with a"):
        GroundingDinoDetector(str(tmp_path))


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_grounding_dino(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["model.text_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(VlgroundError, match=r"missing: model\.text_projection\.weight$"):
        GroundingDinoDetector(folder)
