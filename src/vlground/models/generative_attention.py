"""A language model's layers over what follows the image in a prompt, with attention to be read.

    prompt and image ── once an image ── keys and values of every layer (the prefix)
    question, text ──── once a text ──── attends to the prefix of its image, and to itself

The numbers are those of transformers' Llama and Qwen2 on the whole sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlground.models.attention import Places, join_heads


@dataclass(frozen=True, eq=False)
class Suffix:
    """Where the tokens after the image stand, and what of their attention is read.

    Attributes:
        places: Of each text among those of its image.
        rows: `(q, r)` int64, the tokens whose attention to the image passes through the taps; `t`,
            one more than there is, stands for none.
        rotation: Cosines and sines of the rotary positions, `(1, t, head size)` each.
        cells: How many of the prefix's last tokens are the image's.
    """

    places: Places
    rows: Tensor
    rotation: tuple[Tensor, Tensor]
    cells: int


def run_suffix(
    language: Any,  # noqa: ANN401 - transformers has a class for every language model
    hidden: Tensor,
    prefix: Tensor,
    suffix: Suffix,
    taps: Sequence[nn.Module],
) -> Tensor:
    """Run all layers of a language model over the suffixes of `q` texts.

    Args:
        language: transformers' `LlamaModel` or `Qwen2Model`.
        hidden: Embedded tokens `(q, t, width)`, padded on the right: no token looks ahead.
        prefix: Keys, rotated, and values of `b` images,
            `(b, layers, 2, key-value heads, p, head size)`.
        suffix: Where they stand.
        taps: One a layer, see `attend`.

    Returns:
        `(q, t, width)`, before the last norm.
    """
    for number, (layer, tap) in enumerate(zip(language.layers, taps, strict=True)):
        normed = layer.input_layernorm(hidden)
        hidden = hidden + attend(layer.self_attn, normed, prefix[:, number], suffix, tap)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return hidden


def attend(
    attention: Any,  # noqa: ANN401 - of transformers' Llama or Qwen2
    hidden: Tensor,
    prefix: Tensor,
    suffix: Suffix,
    tap: nn.Module,
) -> Tensor:
    """Attend from each text to the prefix of its image and to the text's own tokens before.

    Keys and values of a prefix are never copied for its texts, nor for the heads of a group
    (grouped-query attention, Ainslie et al. 2023, https://arxiv.org/abs/2305.13245).

    Args:
        attention: Has linear layers `q_proj`, `k_proj`, `v_proj` and `o_proj`.
        hidden: `(q, t, width)`.
        prefix: Of one layer, `(b, 2, key-value heads, p, head size)`.
        suffix: Where the tokens stand.
        tap: Passes the probabilities `(q, heads, r, cells)` of `suffix.rows`, float32; what leaves
            it is what is multiplied with the values.

    Returns:
        `(q, t, width)`.
    """
    places, size = suffix.places, attention.head_dim
    query, key, value = (
        part(hidden).unflatten(-1, (-1, size)).transpose(1, 2)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = _rotate(query, suffix.rotation), _rotate(key, suffix.rotation)
    kept_key, kept_value = prefix.unbind(1)
    length, before = hidden.shape[1], kept_key.shape[2]
    ahead = torch.full((length, length), float("-inf"), device=hidden.device).triu(1)
    to_prefix = places.apart(_product(places.together(query), kept_key.transpose(-1, -2)))
    to_itself = _product(query, key.transpose(-1, -2))
    scores = torch.cat([to_prefix, to_itself + ahead.to(to_itself)], dim=-1) * attention.scaling
    probabilities = scores.softmax(dim=-1, dtype=torch.float32)
    probabilities = _pass_through(tap, probabilities, suffix, before).to(value.dtype)
    context = places.apart(_product(places.together(probabilities[..., :before]), kept_value))
    context = context + _product(probabilities[..., before:], value)
    return attention.o_proj(join_heads(context))


def _pass_through(tap: nn.Module, probabilities: Tensor, suffix: Suffix, before: int) -> Tensor:
    """Let the rows and columns that are read pass through the tap; all others go past it."""
    parts = (before - suffix.cells, suffix.cells, probabilities.shape[-1] - before)
    others, image, itself = probabilities.split(parts, dim=-1)
    image = nn.functional.pad(image, (0, 0, 0, 1))  # the row that stands for none
    index = suffix.rows[:, None, :, None].expand(-1, image.shape[1], -1, suffix.cells)
    read = tap(image.gather(2, index))
    image = image.scatter(2, index, read)[:, :, :-1]
    return torch.cat([others, image, itself], dim=-1)


def _rotate(states: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), halves side by side."""
    cos, sin = rotation
    left, right = states.chunk(2, dim=-1)
    return states * cos + torch.cat([-right, left], dim=-1) * sin


def _product(rows: Tensor, columns: Tensor) -> Tensor:
    """`(b, heads, r, x)` by `(b, key-value heads, x, y)`: `(b, heads, r, y)`."""
    groups, count = columns.shape[1], rows.shape[2]
    together = rows.unflatten(1, (groups, -1)).flatten(2, 3) @ columns
    return together.unflatten(2, (-1, count)).flatten(1, 2)
