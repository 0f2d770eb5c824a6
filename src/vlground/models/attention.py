"""Attention whose probabilities a CAM can read, and whose image keys are computed once an image.

Both modules take the place of a transformers attention (`query`, `key`, `value`, same weights, same
names in a checkpoint) and keep its numbers. Probabilities pass through `tap`, the target layer.
"""

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
        owner: `(q,)` int64, which image each text attends to; set before `forward`. None: text `q`
            to image `q`.
    """

    def __init__(self, original: nn.Module, heads: int) -> None:
        super().__init__(original, heads)
        self.owner: Tensor | None = None

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
        images = len(encoder_hidden_states)
        owner = torch.arange(len(query)) if self.owner is None else self.owner
        place, room = _places(owner.to(query.device), images)
        scores = _together(query, place, images, room) @ key.transpose(-1, -2)
        scores = _apart(scores * query.shape[-1] ** -0.5, place, room)
        probabilities = self.tap(scores.softmax(dim=-1))
        context = _together(probabilities, place, images, room) @ value
        return join_heads(_apart(context, place, room)), probabilities


def share_image(scorer: Scorer, owner: Tensor | None) -> None:
    """Tell every cross-attention of a scorer which image each text belongs to."""
    for module in scorer.modules():
        if isinstance(module, CrossAttention):
            module.owner = owner


def split_heads(states: Tensor, heads: int) -> Tensor:
    """`(b, n, width)` to `(b, heads, n, width / heads)`."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(states: Tensor) -> Tensor:
    """`(b, heads, n, size)` to `(b, n, heads * size)`."""
    return states.transpose(1, 2).flatten(2)


def _places(owner: Tensor, images: int) -> tuple[Tensor, int]:
    """Where each text stands if every image has room for as many as the fullest one, and the room.

    >>> place, room = _places(torch.tensor([1, 0, 1]), 2)
    >>> place.tolist(), room
    ([2, 0, 3], 2)
    """
    mine = nn.functional.one_hot(owner, images)
    rank = (mine.cumsum(dim=0) * mine).sum(dim=1) - 1
    room = int(mine.sum(dim=0).max())
    return owner * room + rank, room


def _together(rows: Tensor, place: Tensor, images: int, room: int) -> Tensor:
    """`(q, heads, t, n)` to `(b, heads, room * t, n)`, zeros where an image has fewer texts."""
    padded = rows.new_zeros(images * room, *rows.shape[1:]).index_copy(0, place, rows)
    return padded.unflatten(0, (images, room)).transpose(1, 2).flatten(2, 3)


def _apart(grouped: Tensor, place: Tensor, room: int) -> Tensor:
    """`(b, heads, room * t, n)` back to `(q, heads, t, n)`."""
    return grouped.unflatten(2, (room, -1)).transpose(1, 2).flatten(0, 1)[place]
