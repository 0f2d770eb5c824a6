"""Options of `task=reward_model` that cannot be."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from vlground.errors import VlgroundError
from vlground.models.dialogue import Dtype
from vlground.rewards.labelled import class_weights, whole


def check_options(task: Mapping[str, Any], trainer: Mapping[str, Any]) -> None:
    """Refuse them before anything is computed.

    Args:
        task: The task's node.
        trainer: The trainer's.

    Raises:
        VlgroundError: If one cannot be.
    """
    for name in ("epochs", "images"):
        if not isinstance(task[name], int) or task[name] < 1:
            raise VlgroundError(f"task.{name}={task[name]}: expected a positive number")
    for name in ("learning_rate", "head_learning_rate"):
        if not task[name] > 0:
            raise VlgroundError(f"task.{name}={task[name]}: expected more than 0")
    if (dtype := task["backbone"]["dtype"]) not in get_args(Dtype):
        raise VlgroundError(f"task.backbone.dtype={dtype}: expected {', '.join(get_args(Dtype))}")
    if (kind := task["adapter"]["kind"]) == "qlora":
        told = "a reward model has weights of full width; expected none, lora"
        raise VlgroundError(f"task.adapter.kind={kind}: {told}")
    strategy = str(trainer.get("strategy", "auto"))
    if not strategy.startswith(("auto", "ddp")):
        told = "not with task=reward_model, which keeps whole networks; expected auto, ddp"
        raise VlgroundError(f"trainer.strategy={strategy}: {told}")
    class_weights([np.zeros((1, 1))], task["class_weights"])
    whole(np.zeros((1, 1)), task["holistic"])
