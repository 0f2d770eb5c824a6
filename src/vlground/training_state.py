"""Looking into a network in the middle of its training, and leaving no trace of it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def untouched(module: nn.Module, device: torch.device, ranks: int) -> Iterator[None]:
    """Let maps be drawn of a network in training, and leave no trace of it.

    Modes, `requires_grad`, gradients, buffers and the states of all global generators of random
    numbers are put back. Inside, no tensor is made in inference mode, which knows no gradients.
    """
    python, legacy = random.getstate(), np.random.get_state()
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            frozen(module),
            _buffers_of_rank_zero(module, ranks),
        ):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode, frozen weights and no gradients, and all as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    weights = [(weight, weight.requires_grad, weight.grad) for weight in module.parameters()]
    try:
        for part, _ in modes:
            part.training = False  # not by eval(), in which some layers merge their adapters
        for weight, _, _ in weights:
            weight.requires_grad_(False)
            weight.grad = None  # pytorch-grad-cam sets gradients to zero
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for weight, wanted, gradient in weights:
            weight.requires_grad_(wanted)
            weight.grad = gradient


@contextmanager
def _buffers_of_rank_zero(module: nn.Module, ranks: int) -> Iterator[None]:
    """Lend every rank the buffers that checkpoints hold; BatchNorm's are each rank's own."""
    if ranks == 1:
        yield
        return
    own = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        for buffer, _ in own:
            torch.distributed.broadcast(buffer, src=0)
        yield
    finally:
        for buffer, saved in own:
            buffer.copy_(saved)
