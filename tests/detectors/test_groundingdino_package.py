"""What of the adapter to groundingdino-py can be tested without the package."""

import importlib.util
from pathlib import Path

import PIL.Image
import pytest
import torch
from tests.detectors.grounded import photo, write_grounding_dino
from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessor

from vlground.detectors.groundingdino_package import (
    BertText,
    GroundingDinoPackageDetector,
    read_config,
    to_pixels,
)
from vlground.errors import VlgroundError


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_words_are_encoded_as_transformers_grounding_dino_does(
    tmp_path: Path, attention: str
) -> None:
    from transformers import AutoTokenizer
    from transformers.models.grounding_dino.modeling_grounding_dino import (
        generate_masks_with_special_tokens_and_transfer_map,
    )

    folder = write_grounding_dino(tmp_path)
    model = GroundingDinoForObjectDetection.from_pretrained(folder).eval().model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    read = tokenizer(["cat . wine glasses .", "ping pong . a dog ."], return_tensors="pt")
    seen, places = generate_masks_with_special_tokens_and_transfer_map(
        read.input_ids, model.special_tokens
    )
    asked = {"input_ids": read.input_ids, "token_type_ids": read.token_type_ids}
    with torch.no_grad():
        theirs = model.text_backbone(
            attention_mask=seen[:, None], position_ids=places, **asked
        ).last_hidden_state
        model.text_backbone.set_attn_implementation(attention)
        ours = BertText(model.text_backbone)(attention_mask=seen, position_ids=places, **asked)
        blind = BertText(model.text_backbone)(attention_mask=read.attention_mask, **asked)
    torch.testing.assert_close(ours["last_hidden_state"], theirs, atol=1e-5, rtol=1e-4)
    assert (blind["last_hidden_state"] - theirs).abs().max() > 1e-3


def test_the_parts_keep_their_names_in_a_checkpoint(tmp_path: Path) -> None:
    model = GroundingDinoForObjectDetection.from_pretrained(write_grounding_dino(tmp_path)).model
    names = set(BertText(model.text_backbone).state_dict())
    assert names == set(model.text_backbone.state_dict())


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 300), (500, 500)])
def test_images_are_resized_as_transformers_does(size: tuple[int, int]) -> None:
    image = PIL.Image.fromarray(photo(height=size[1], width=size[0]).image)
    ours = to_pixels(image)
    theirs = GroundingDinoImageProcessor()(images=image, return_tensors="pt").pixel_values[0]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 0.05


def test_a_long_image_is_resized_as_the_package_does() -> None:
    """Transformers has another way to round here: 1333."""
    image = PIL.Image.fromarray(photo(height=900, width=200).image)
    assert to_pixels(image).shape == (3, int(296 * 900 / 200), 296)


def test_a_config_is_read_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text('batch_size = 1\nreturn_interm_indices = [1, 2, 3]\nname = "bert"  # of it\n')
    expected = {"batch_size": 1, "return_interm_indices": [1, 2, 3], "name": "bert"}
    assert read_config(path) == expected
    for content in ("import os", "a = __import__('os')", "a = (", "a.b = 1"):
        path.write_text(content)
        with pytest.raises(VlgroundError, match="expected lines NAME = plain value"):
            read_config(path)
    with pytest.raises(VlgroundError, match=r"^detector\.config=.*: no such file$"):
        read_config(tmp_path / "none.py")


@pytest.mark.skipif(importlib.util.find_spec("groundingdino") is not None, reason="it is there")
def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("max_text_len = 256\n")
    with pytest.raises(VlgroundError, match=r"pip install 'vlground\[groundingdino\]'$"):
        GroundingDinoPackageDetector(str(path), str(tmp_path / "none.pth"))
