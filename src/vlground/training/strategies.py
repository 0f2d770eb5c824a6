"""Strategies of several processes: which can be, before anything is loaded."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from vlground.errors import VlgroundError


def check_strategy(trainer: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    """Refuse a strategy that cannot train a network.

    Args:
        trainer: Its node; `strategy` is a name of Lightning's.
        task: The node of `task=finetuning`.

    Raises:
        VlgroundError: fsdp and deepspeed need GPUs (on the CPU torch could share out weights, but
            Lightning does not let it) and AdamW, for of matrices a process then has pieces; ddp
            waits for the gradient of every weight that is not frozen.
    """
    strategy = str(trainer.get("strategy", "auto"))
    option, shared = f"trainer.strategy={strategy}", strategy.startswith(("fsdp", "deepspeed"))
    if strategy.startswith("deepspeed") and find_spec("deepspeed") is None:
        raise VlgroundError(f"{option}: needs deepspeed: pip install deepspeed")
    if shared and (trainer["accelerator"] == "cpu" or not torch.cuda.is_available()):
        raise VlgroundError(f"{option}: needs GPUs; expected ddp on the CPU")
    if shared and (task["optimizer"] != "adamw" or task["pretraining"] is not None):
        told = "not with task.optimizer=muon or task.pretraining, which need whole matrices"
        raise VlgroundError(f"{option}: {told}")
    waits = "vision_tower" not in task["freeze"] and task["adapter"]["kind"] == "none"
    if strategy == "ddp" and (waits or task["pretraining"] is not None):
        told = "without task.freeze=[vision_tower], or with task.pretraining, some weights get none"
        raise VlgroundError(f"{option}: {told}; expected ddp_find_unused_parameters_true")
