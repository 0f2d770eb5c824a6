"""One step of an optimizer, and the refusal to make it with what is no number."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from vlground.errors import VlgroundError
from vlground.training.patches import PatchPretraining, pixels_of

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


def see(
    module: lightning.LightningModule,
    pretraining: PatchPretraining,
    optimizers: Sequence[Any],
    network: Any,  # noqa: ANN401 - of transformers
    processor: Any,  # noqa: ANN401
    number: int,
) -> Tensor:
    """A whole step of pretraining.

    Args:
        module: In training.
        pretraining: Its heads and options.
        optimizers: Of them and the network, in Lightning's wrappers.
        network: That learns to see.
        processor: Of the network.
        number: Of the step.

    Returns:
        The loss, of this process's scenes.

    Raises:
        VlgroundError: If it is not finite.
    """
    rank, world = module.global_rank, module.trainer.world_size
    scenes = pretraining.scenes(number)[rank::world]
    pixels = pixels_of(scenes, processor).to(module.device, network.dtype)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = pretraining.loss(network, pixels, scenes)
    # Processes may have unlike numbers of scenes, and their gradients are averaged.
    module.manual_backward(loss * (len(scenes) * world / pretraining.batch))
    check_finite("task.pretraining.learning_rate", loss, number, [s.name for s in scenes])
    nn.utils.clip_grad_norm_([*network.parameters(), *pretraining.parameters()], 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = pretraining.rate_at(number)
        optimizer.step()
    return loss.detach()


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
