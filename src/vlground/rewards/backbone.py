"""The networks that a reward model and its blind baseline begin with."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.network import SentenceReward
from vlground.rewards.reading import Reading

_READING = ("context", "level", "image", "max_tokens", "prefix")


def networks_of(
    task: Mapping[str, Any], types: Sequence[str]
) -> tuple[SentenceReward, SentenceReward | None]:
    """Load the backbone and put heads on it.

    Args:
        task: The node of `task=reward_model`.
        types: What each logit is about.

    Returns:
        The model, and its baseline if there is one: the same, but that it sees the mean image.

    Raises:
        VlgroundError: If there is no such backbone, or an option of reading does not fit.
    """
    backbone = task["backbone"]
    reading = Reading(task["prompt"], **{name: task[name] for name in _READING})
    network, processor = load_dialogue_model(
        "task.backbone.pretrained",
        backbone["pretrained"],
        backbone["revision"],
        getattr(torch, backbone["dtype"]),
    )
    blind = None
    if task["blind"] and task["image"]:
        blind = SentenceReward(deepcopy(network), processor, types, replace(reading, image=False))
    return SentenceReward(network, processor, types, reading), blind
