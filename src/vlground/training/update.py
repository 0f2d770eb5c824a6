"""One step of an optimizer, and the refusal to make it with what is no number."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from vlground.errors import VlgroundError

_SHOWN = 8


def update(
    module: lightning.LightningModule,
    optimizers: Sequence[Any],
    network: nn.Module,
    rate: float,
    clip: float,
) -> Tensor:
    """Clip the gradients and make a step.

    Args:
        module: In training.
        optimizers: Of the network, in Lightning's wrappers.
        network: With gradients.
        rate: Of learning.
        clip: Largest norm of all gradients together.

    Returns:
        The norm before; where DeepSpeed keeps and clips the gradients itself, 0. The step is not
        made if it is no number.
    """
    from lightning.pytorch.strategies import DeepSpeedStrategy

    strategy = module.trainer.strategy
    norm = torch.zeros(())
    if isinstance(strategy.model, FullyShardedDataParallel):
        norm = strategy.model.clip_grad_norm_(clip)
    elif not isinstance(strategy, DeepSpeedStrategy):
        norm = nn.utils.clip_grad_norm_(network.parameters(), clip)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        if torch.isfinite(norm):
            optimizer.step()
    return norm


def check_finite(option: str, value: Tensor, step: int, ids: Sequence[str]) -> None:
    """Stop a training that has left the numbers.

    Args:
        option: That most often is why.
        value: A loss, or the norm of its gradients.
        step: Its number.
        ids: What was learnt from.

    Raises:
        VlgroundError: If it is not finite.
    """
    if torch.isfinite(value):
        return
    shown = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if ids[_SHOWN:] else "")
    told = f"step {step}: the loss or its gradient is {float(value)}, learning from {shown}"
    raise VlgroundError(f"{option}: too high, or a bad example? {told}")
