"""Attention that can be read gives what plain attention gives, with keys computed once an image."""

import math

import pytest
import torch
from torch import Tensor, nn

from vlground.models.attention import CrossAttention, SelfAttention, VisionAttention, find_places

HEADS, WIDTH, IMAGE = 2, 8, 6


class Original(nn.Module):
    """What transformers' attention consists of."""

    def __init__(self, source: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(source, WIDTH)
        self.value = nn.Linear(source, WIDTH)


def plain(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of `(t, width)` to `(n, width)`, head by head."""
    size = WIDTH // HEADS
    outputs, found = [], []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / math.sqrt(size)
        found.append(scores.softmax(dim=-1))
        outputs.append(found[-1] @ value[:, part])
    return torch.cat(outputs, dim=1), torch.stack(found)


@pytest.mark.parametrize("owner", [[0, 1, 2], [2, 0, 2, 2], [1], [0, 0, 0, 0]])
def test_texts_attend_to_their_image_wherever_they_stand(owner: list[int]) -> None:
    original = Original(IMAGE)
    attention = CrossAttention(original, HEADS)
    attention.places = find_places(torch.tensor(owner), 3)
    texts, images = torch.randn(len(owner), 5, WIDTH), torch.randn(3, 7, IMAGE)
    context, probabilities = attention(texts, encoder_hidden_states=images)
    for q, image in enumerate(owner):
        key, value = original.key(images[image]), original.value(images[image])
        expected, weights = plain(original.query(texts[q]), key, value)
        torch.testing.assert_close(context[q], expected)
        torch.testing.assert_close(probabilities[q], weights)


def test_keys_are_computed_once_an_image() -> None:
    attention = CrossAttention(Original(IMAGE), HEADS)
    attention.places = find_places(torch.tensor([0, 0, 1, 0, 0]), 2)
    seen: list[int] = []
    attention.key.register_forward_hook(lambda m, i, o: seen.append(len(o)))
    attention(torch.randn(5, 4, WIDTH), encoder_hidden_states=torch.randn(2, 7, IMAGE))
    assert seen == [2]


def test_text_attends_to_text_but_not_to_padding() -> None:
    original = Original(WIDTH)
    texts = torch.randn(2, 5, WIDTH)
    padding = torch.zeros(2, 1, 1, 5)
    padding[1, ..., 3:] = float("-inf")
    context, probabilities = SelfAttention(original, HEADS)(texts, padding)
    for q, length in enumerate((5, 3)):
        read = texts[q, :length]
        expected, weights = plain(original.query(read), original.key(read), original.value(read))
        torch.testing.assert_close(context[q, :length], expected)
        torch.testing.assert_close(probabilities[q, :, :length, :length], weights)
    assert (probabilities[1, ..., 3:] == 0).all()


def test_an_image_tower_reads_the_same_whether_or_not_it_is_read() -> None:
    torch.manual_seed(0)
    attention = VisionAttention(nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), HEADS)
    image = torch.randn(2, 7, WIDTH)
    fused, _ = attention(image)
    found: list[Tensor] = []
    attention.read().register_forward_hook(lambda m, i, o: found.append(o))
    context, _ = attention(image)
    for b in range(2):
        query, key, value = attention.qkv(image[b]).split(WIDTH, dim=1)
        expected, weights = plain(query, key, value)
        torch.testing.assert_close(context[b], attention.projection(expected))
        torch.testing.assert_close(found[0][b], weights)
    torch.testing.assert_close(fused, context)
