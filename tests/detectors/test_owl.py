"""OWLv2's probabilities and boxes are those of transformers' own post-processing."""

import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from tests.detectors.grounded import photo, stir
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
)

from vlground.detectors.owl import Owlv2Detector
from vlground.errors import VlgroundError

WORDS = ["<pad>", "<start>", "<end>", "a", "photo", "of", "cat", "dog", "wine", "glass"]
PHRASES = ["dog", "Wine glass", "cat"]


def write_owl(folder: Path) -> str:
    """Two layers of width 32, sixteen patches."""
    torch.manual_seed(0)
    tower = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = {**tower, **ends, "vocab_size": len(WORDS), "max_position_embeddings": 12}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    network = Owlv2ForObjectDetection(
        Owlv2Config(text_config=text, vision_config=vision, projection_dim=32)
    )
    stir(network)
    network.save_pretrained(folder)
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<start>", eos_token="<end>"
    )
    images = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_owl(tmp_path_factory.mktemp("owl"))


def test_probabilities_and_boxes_are_those_of_transformers(folder: str) -> None:
    detector = Owlv2Detector(folder, threshold=0.0)
    for sample in (photo(), photo("tall", 90, 40)):
        height, width = sample.image.shape[:2]
        (ours,) = detector.detect([sample], [PHRASES])
        asked = [f"a photo of a {phrase.lower()}" for phrase in PHRASES]
        inputs = detector.processor(
            text=[asked],
            images=PIL.Image.fromarray(sample.image),
            padding="max_length",
            max_length=12,
            return_tensors="pt",
        )
        with torch.no_grad():
            outputs = detector.network(**inputs)
        best = outputs.logits[0].sigmoid().amax(dim=0)
        assert [one.probability for one in ours] == pytest.approx(best.tolist(), abs=1e-5)
        for place, one in enumerate(ours):  # transformers gives each patch its best phrase only
            outputs_of_one = outputs.__class__(
                logits=outputs.logits[:, :, [place]], pred_boxes=outputs.pred_boxes
            )
            (theirs,) = detector.processor.post_process_grounded_object_detection(
                outputs_of_one, threshold=0.0, target_sizes=[(height, width)]
            )
            order = theirs["scores"].argsort(descending=True)
            np.testing.assert_allclose(one.scores, theirs["scores"][order], atol=1e-5)
            limits = torch.tensor([width, height, width, height])
            inside = theirs["boxes"][order].clamp(min=0).minimum(limits)
            np.testing.assert_allclose(one.boxes, inside, atol=1e-3)


def test_a_phrase_does_not_depend_on_the_others(folder: str) -> None:
    detector = Owlv2Detector(folder)
    ((alone,),) = detector.detect([photo()], [["cat"]])
    (beside,) = detector.detect([photo()], [["dog", "cat", "", "CAT [1,2,3,4] "]])
    assert beside[1].probability == pytest.approx(alone.probability, abs=1e-6)
    assert beside[3].probability == beside[1].probability != beside[0].probability
    assert math.isnan(beside[2].probability)
    assert detector.detect([photo()], [[" "]])[0][0].boxes.shape == (0, 4)


def test_the_template_is_asked_and_long_phrases_are_cut(folder: str) -> None:
    plain = Owlv2Detector(folder, template="{}")
    asked = ["photo of a cat", "cat", " ".join(["cat"] * 50), " ".join(["cat"] * 10)]
    first, second, long, cut = (one.probability for one in plain.detect([photo()], [asked])[0])
    ((whole,),) = Owlv2Detector(folder, template="photo of a {}").detect([photo()], [["cat"]])
    assert first == pytest.approx(whole.probability, abs=1e-6)
    assert first != pytest.approx(second, abs=1e-4)
    assert long == pytest.approx(cut, abs=1e-6)
    with pytest.raises(VlgroundError, match=r"^detector\.template='cat': expected one \{\}$"):
        Owlv2Detector(folder, template="cat")
