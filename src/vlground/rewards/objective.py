"""What the training of a reward model makes small, and by which steps."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.rewards.network import SentenceReward
from vlground.rewards.reading_images import Read


def losses_of(
    network: SentenceReward, batch: Sequence[Read], targets: Sequence[np.ndarray]
) -> tuple[Tensor, int]:
    """Cross entropy of each sentence (or caption) and type that has a label.

    Args:
        network: That is asked.
        batch: Images that could be read, at least one.
        targets: `(s, types)` of each caption, one image after the other; NaN of what has no label.

    Returns:
        Their sum in nats, and how many there are.
    """
    found = network([read.inputs for read in batch], [read.captions for read in batch])
    logits = torch.cat([one for of_image in found for one in of_image])
    wanted = torch.tensor(np.concatenate(targets), dtype=logits.dtype, device=logits.device)
    # A row of logits is NaN where nothing was read; NaN of a network that diverged has a graph.
    known = ~wanted.isnan() & network.scored(read.captions for read in batch).to(logits.device)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.where(known, 0.0),
        wanted.where(known, 0.0),
        pos_weight=network.offset.exp(),
        reduction="none",
    )
    return losses.where(known, 0.0).sum(), int(known.sum())


def optimizer_of(
    networks: Iterable[SentenceReward], options: Mapping[str, Any]
) -> torch.optim.AdamW:
    """AdamW of all that is trained; heads, which begin at zero, have a rate of their own.

    Args:
        networks: All of them.
        options: `learning_rate`, `head_learning_rate`, and `weight_decay`, of matrices.
    """
    rate, decay = options["learning_rate"], options["weight_decay"]
    groups: list[dict[str, Any]] = []
    for network in networks:
        weights = [w for w in network.network.parameters() if w.requires_grad]
        matrices = [w for w in weights if w.ndim > 1]
        others = [w for w in weights if w.ndim <= 1]
        groups.append({"params": matrices, "lr": rate, "weight_decay": decay})
        groups.append({"params": others, "lr": rate})
        head = {"params": list(network.head.parameters()), "lr": options["head_learning_rate"]}
        groups.append(head)
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.98), weight_decay=0.0
    )


def factor_at(step: int, steps: int, warmup: int) -> float:
    """What the learning rates are multiplied with: a warm-up, then half a cosine.

    >>> [round(factor_at(step, 4, 1), 2) for step in range(4)]
    [0.5, 0.85, 0.5, 0.15]
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    return min(1.0, (step + 1) / (1 + warmup)) * cosine


def clip(network: SentenceReward, norm: float) -> Tensor:
    """Shorten the gradients of a network to a norm; what it was before."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return nn.utils.clip_grad_norm_(weights, norm)


def check_finite(option: str, name: str, value: Tensor, step: int, images: Sequence[str]) -> None:
    """Stop a training that has left the numbers.

    Args:
        option: That most often is why, with its value.
        name: Of the network.
        value: Its loss, or the norm of its gradients.
        step: Its number.
        images: What was learnt from.

    Raises:
        VlgroundError: If it is not finite.
    """
    if torch.isfinite(value):
        return
    told = f"the loss of the {name} model or its gradient is {float(value)} at step {step}"
    raise VlgroundError(f"{option}: {told}; expected a smaller one; images {', '.join(images)}")


def freeze_unused(
    network: SentenceReward, batch: Sequence[Read], targets: Sequence[np.ndarray]
) -> None:
    """Train no weight that no loss depends on.

    Of a vision tower the layers behind the one that is read are such; processes that share their
    gradients would wait for them.

    Args:
        network: Some weights of which are frozen.
        batch: See `losses_of`.
        targets: Likewise.
    """
    losses_of(network, batch, targets)[0].backward()
    for weight in network.parameters():
        if weight.grad is None:
            weight.requires_grad_(False)
        weight.grad = None
