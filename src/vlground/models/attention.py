"""Attention whose probabilities a CAM can read, and whose image keys are computed once an image.

These modules take the place of a transformers attention (same weights, same names in a checkpoint)
and keep its numbers. Probabilities pass through `tap`, the target layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlground.contracts import Scorer


class SelfAttention(nn.Module):
    """Eager self-attention in place of BERT's and BLIP's.

    Args:
        original: Module with linear layers `query`, `key` and `value`.
        heads: Number of attention heads.

    Attributes:
        tap: Passes the probabilities `(q, heads, to, from)`.
    """

    def __init__(self, original: nn.Module, heads: int) -> None:
        super().__init__()
        self.query: nn.Linear = original.query  # type: ignore[assignment]
        self.key: nn.Linear = original.key  # type: ignore[assignment]
        self.value: nn.Linear = original.value  # type: ignore[assignment]
        self.heads = heads
        self.tap = nn.Identity()

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend from text to text; the arguments are those of the module it replaces.

        Args:
            hidden_states: `(q, t, width)`.
            attention_mask: Added to the scores, `(q, 1, 1, t)`.
            encoder_hidden_states: Not read.
            past_key_values: Not read.

        Returns:
            Context `(q, t, width)` and probabilities `(q, heads, t, t)`.
        """
        query, key, value = (
            split_heads(layer(hidden_states), self.heads)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if attention_mask is not None:
            scores = scores + attention_mask
        probabilities = self.tap(scores.softmax(dim=-1))
        return join_heads(probabilities @ value), probabilities


class CrossAttention(SelfAttention):
    """Eager attention from texts to images, in place of BERT's and BLIP's.

    `q` texts attend to `b` images. Keys and values are computed once an image and never copied for
    its texts: the texts of one image stand below each other as if they were one long text.

    Attributes:
        places: Where each text stands among those of its image, see `share_image`. None: text `q`
            attends to image `q`.
    """

    def __init__(self, original: nn.Module, heads: int) -> None:
        super().__init__(original, heads)
        self.places: Places | None = None

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend from text to image; the arguments are those of the module it replaces.

        Args:
            hidden_states: `(q, t, width)`.
            attention_mask: Not read: no image token is ever masked.
            encoder_hidden_states: `(b, n, image width)`.
            past_key_values: Not read.

        Returns:
            Context `(q, t, width)` and probabilities `(q, heads, t, n)`.
        """
        assert encoder_hidden_states is not None
        key, value = (
            split_heads(layer(encoder_hidden_states), self.heads)
            for layer in (self.key, self.value)
        )
        query = split_heads(self.query(hidden_states), self.heads)
        places = self.places
        if places is None:
            places = find_places(torch.arange(len(query), device=query.device), len(query))
        scores = places.together(query) @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        probabilities = self.tap(places.apart(scores).softmax(dim=-1))
        context = places.together(probabilities) @ value
        return join_heads(places.apart(context)), probabilities


class VisionAttention(nn.Module):
    """Self-attention of image tokens, in place of BLIP's and of ViT's.

    The kernel never holds the probabilities, unless somebody is to read them.

    Args:
        qkv: From `width` to queries, keys and values, one below the other.
        projection: Of the output.
        heads: Number of attention heads.

    Attributes:
        tap: Passes the probabilities `(b, heads, n, n)`; None until `read`.
    """

    def __init__(self, qkv: nn.Linear, projection: nn.Linear, heads: int) -> None:
        super().__init__()
        self.qkv = qkv
        self.projection = projection
        self.heads = heads
        self.tap: nn.Identity | None = None

    def read(self) -> nn.Identity:
        """Compute probabilities from now on, and return the tap through which they pass."""
        self.tap = nn.Identity()
        return self.tap

    def forward(self, hidden_states: Tensor, attention_mask: None = None) -> tuple[Tensor, None]:
        """Attend from image to image; the arguments are those of the modules it replaces.

        Args:
            hidden_states: `(b, n, width)`.
            attention_mask: Not read: no image token is ever masked.

        Returns:
            Context `(b, n, width)`, and nothing.
        """
        query, key, value = (
            split_heads(states, self.heads) for states in self.qkv(hidden_states).chunk(3, dim=-1)
        )
        if self.tap is None:
            context = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            context = self.tap(scores.softmax(dim=-1)) @ value
        return self.projection(join_heads(context)), None


def share_image(scorer: Scorer, owner: Tensor, images: int) -> None:
    """Tell every cross-attention of a scorer which image each text belongs to.

    Args:
        scorer: What is about to score.
        owner: `(q,)` int64.
        images: How many there are.
    """
    places = find_places(owner, images)
    for module in scorer.modules():
        if isinstance(module, CrossAttention):
            module.places = places


@dataclass(frozen=True, eq=False)
class Places:
    """Where texts stand if every image has room for as many as the fullest one.

    Attributes:
        index: `(q,)` int64, the place of each text.
        images: How many images there are.
        room: How many texts one image has room for.
    """

    index: Tensor
    images: int
    room: int

    def together(self, rows: Tensor) -> Tensor:
        """`(q, heads, t, n)` to `(b, heads, room * t, n)`, 0 where an image has fewer texts."""
        padded = rows.new_zeros(self.images * self.room, *rows.shape[1:])
        placed = padded.index_copy(0, self.index, rows)
        return placed.unflatten(0, (self.images, self.room)).transpose(1, 2).flatten(2, 3)

    def apart(self, grouped: Tensor) -> Tensor:
        """`(b, heads, room * t, n)` back to `(q, heads, t, n)`."""
        rows = grouped.unflatten(2, (self.room, -1)).transpose(1, 2).flatten(0, 1)
        return rows[self.index]


def find_places(owner: Tensor, images: int) -> Places:
    """Places of texts by the image that each belongs to.

    >>> places = find_places(torch.tensor([1, 0, 1]), 2)
    >>> places.index.tolist(), places.room
    ([2, 0, 3], 2)
    """
    mine = nn.functional.one_hot(owner, images)
    rank = (mine.cumsum(dim=0) * mine).sum(dim=1) - 1
    room = int(mine.sum(dim=0).max())
    return Places(owner * room + rank, images, room)


def split_heads(states: Tensor, heads: int) -> Tensor:
    """`(b, n, width)` to `(b, heads, n, width / heads)`."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(states: Tensor) -> Tensor:
    """`(b, heads, n, size)` to `(b, n, heads * size)`."""
    return states.transpose(1, 2).flatten(2)
