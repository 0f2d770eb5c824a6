"""What supervised fine-tuning makes small."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vlground.training.collation import IGNORED, Collated


def answer_losses(network: Any, batch: Collated) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Cross entropy of answers, each token given all before it.

    Logits are computed only where some row of the batch has an answer: of a vocabulary of 32,000
    they take more memory than anything else.

    Args:
        network: An image-text-to-text model of transformers.
        batch: On its device.

    Returns:
        Of each dialogue the sum of the losses of its tokens, `(b,)` float32, in nats, and their
        number, `(b,)` int64.
    """
    known = (batch.labels != IGNORED).any(dim=0).nonzero()[:, 0]
    if not len(known):
        nothing = torch.zeros(len(batch.labels), device=batch.labels.device)
        return nothing, nothing.long()
    first, last = int(known[0]), int(known[-1]) + 1
    wanted = batch.labels[:, first:last]
    logits = _logits(network, batch.inputs, first - 1, last - 1)
    each = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return each.view(wanted.shape).sum(dim=1), (wanted != IGNORED).sum(dim=1)


def _logits(network: Any, inputs: Mapping[str, Tensor], start: int, stop: int) -> Tensor:  # noqa: ANN401
    """Logits of the places `start` … `stop - 1`, `(b, stop - start, vocabulary)`."""
    if "logits_to_keep" not in inspect.signature(network.forward).parameters:
        found: Tensor = network(**inputs, use_cache=False).logits
        return found[:, start:stop]
    kept = torch.arange(start, stop, device=inputs["input_ids"].device)
    return network(**inputs, use_cache=False, logits_to_keep=kept).logits


def shares(batch: Collated, average: str) -> Tensor:
    """How much the loss of each dialogue's tokens counts, `(b,)`, before it is divided by all.

    Args:
        batch: Any.
        average: tokens: each token as much as any other, so that long answers count more;
            dialogues: each dialogue, so that a yes or no counts as much as a caption (ours).
    """
    tokens = (batch.labels != IGNORED).sum(dim=1)
    return torch.ones(len(tokens)) if average == "tokens" else 1 / tokens.clamp(min=1)
