"""How a small OWLv2 learns: what batches say of patches, and that the loss goes down on them."""

import numpy as np
import pytest
import torch

from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.errors import VlgroundError
from vlground.training.open_vocabulary import DetectionStream, detection_loss
from vlground.training.small_owl import random_owl, word_tokenizer

ARCHITECTURE = {
    "projection_dim": 24,
    "vision_config": {
        "image_size": 96,
        "patch_size": 12,
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "text_config": {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}
STREAM = DetectionStream(seed=0, images=6, described=12)


def test_patches_show_what_is_drawn_there() -> None:
    batch = STREAM.batch(3, 8)
    assert batch.there.shape == (6, 64, len(batch.texts))
    assert batch.texts[-1] == "unicorn"
    assert not batch.there[..., -1].any()
    shown = 0
    for number in range(6):
        scene = scene_of(f"shapes_captions/train/in/96/0.5/0/{2_000_000 + 3 * 6 + number}")
        for patch in range(64):
            x, y = 12 * (patch % 8) + 6, 12 * (patch // 8) + 6
            inside = [
                thing
                for thing in scene.things
                if thing.box[0] <= x < thing.box[2] and thing.box[1] <= y < thing.box[3]
            ]
            box = batch.boxes[number, patch].double().numpy() * 96
            if not inside:
                assert not box.any()
                assert not batch.there[number, patch].any()
                continue
            thing = min(inside, key=lambda one: one.side)  # that in a ring, not the ring
            shown += 1
            expected = (*thing.centre, thing.side, thing.side)
            np.testing.assert_allclose(box, expected, atol=1e-4)
            for text, fits in zip(batch.texts[:-1], batch.there[number, patch], strict=False):
                words = text.split()
                bare = text if words[0] in ("a", "an") else f"a{'n' * (text[0] in 'aeiou')} {text}"
                claim = parse(f"There is {bare}.")
                assert claim is not None
                told = (claim.object.shape, claim.object.colour, claim.object.size)  # type: ignore[attr-defined]
                true = (thing.shape, thing.colour, thing.size)
                same = all(one in (None, other) for one, other in zip(told, true, strict=True))
                assert bool(fits) == same
    assert shown > 30


def test_a_batch_is_that_of_its_seed_and_step_alone() -> None:
    one, again, other = STREAM.batch(1, 8), STREAM.batch(1, 8), STREAM.batch(2, 8)
    assert one.texts == again.texts != other.texts
    assert torch.equal(one.boxes, again.boxes)
    assert not np.array_equal(one.images, other.images)
    articles = [text.split()[0] in ("a", "an") for text in one.texts]
    assert any(articles)
    assert not all(articles)


def test_the_loss_goes_down_and_rests_on_texts_and_on_boxes() -> None:
    torch.manual_seed(0)
    network, processor = random_owl(ARCHITECTURE)
    batch = STREAM.batch(0, 8)
    pixels = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float() / 255 - 0.5
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = detection_loss(network, processor.tokenizer, pixels, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    heads = {
        "box_head": network.box_head.dense2.weight,
        "texts": network.owlv2.text_projection.weight,
        "class_head": network.class_head.dense0.weight,
    }
    assert all(weight.grad is not None and weight.grad.any() for weight in heads.values())


def test_it_begins_with_boxes_of_its_patches_and_with_texts_that_hardly_fit() -> None:
    """As transformers draws the heads, boxes have no extent or fill the image."""
    torch.manual_seed(0)
    network, processor = random_owl(ARCHITECTURE)
    text = processor.tokenizer(["star", "a red ring"], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = network(pixel_values=torch.randn(2, 3, 96, 96), **text)
    assert found.pred_boxes[..., 2:].sub(1 / 8).abs().max() < 0.01
    assert found.logits.abs().max() <= 15
    assert found.logits.mean() < 0


def test_words_are_tokens_and_the_last_one_is_the_highest() -> None:
    tokenizer = word_tokenizer()
    ids = tokenizer("a small red star").input_ids
    assert len(ids) == 6
    assert max(ids) == ids[-1] == tokenizer.eos_token_id
    assert tokenizer("unicorn").input_ids[1] == tokenizer.unk_token_id
    padded = tokenizer(["star", "a small red star"], padding=True).input_ids
    assert padded[0][3:] == [tokenizer.pad_token_id] * 3


def test_an_architecture_that_is_none_is_refused() -> None:
    for wrong in ({}, {**ARCHITECTURE, "vision_config": {"patch_size": 12}}):
        with pytest.raises(VlgroundError, match=r"^task\.initial\.architecture: not OWLv2's: "):
            random_owl(wrong)
