"""The gradient of one step of fine-tuning, the same on however many processes."""

from collections.abc import Sequence

import lightning
import torch
from torch import Tensor

from vlground.training.collation import IGNORED
from vlground.training.objective import answer_losses, shares
from vlground.training.steps import Step


def accumulate(
    module: lightning.LightningModule, step: Step, average: str
) -> tuple[Tensor, list[tuple[str, float]]]:
    """Add the gradient of the mean loss over all that is learnt in a step, part after part.

    Args:
        module: In training, with a `network`.
        step: This process's share.
        average: What counts alike: tokens or dialogues, see `shares`.

    Returns:
        The mean over all processes, and what each dialogue of this one adds to it (not divided).
    """
    counted = [shares(part, average) for part in step.parts]
    known = [(part.labels != IGNORED).sum(dim=1) for part in step.parts]
    mine = sum(float((one * n).sum()) for one, n in zip(counted, known, strict=True))
    total, world = summed(module, torch.tensor(mine)), module.trainer.world_size
    lost: list[tuple[str, float]] = []
    for part, share in zip(step.parts, counted, strict=True):
        moved = part.to(module.device, module.network.dtype)
        losses, _ = answer_losses(module.network, moved)
        losses = losses * share.to(losses.device)
        module.manual_backward(losses.sum() * (world / total))
        lost += zip(part.ids, losses.tolist(), strict=True)
    return summed(module, torch.tensor(sum(one for _, one in lost))) / total, lost


def named(lost: Sequence[tuple[str, float]]) -> list[str]:
    """Whose loss is no number; all, if each is one.

    >>> named([("a", 1.0), ("b", float("nan"))]), named([("a", 1.0), ("b", 2.0)])
    (['b'], ['a', 'b'])
    """
    bad = [name for name, one in lost if one != one or abs(one) == float("inf")]
    return bad or [name for name, _ in lost]


def summed(module: lightning.LightningModule, value: Tensor) -> Tensor:
    """A number over all processes."""
    found: Tensor = module.trainer.strategy.reduce(value.to(module.device), reduce_op="sum")
    return found
