"""Options of `task=finetuning` that cannot be."""

from collections.abc import Mapping
from typing import Any

from vlground.errors import VlgroundError

_COUNTS = ("batch", "accumulate", "max_tokens", "steps", "checkpoint_every")
_POSITIVE = ("epochs", "learning_rate", "clip")
_WORDS = {
    "optimizer": ("adamw", "muon"),
    "average": ("tokens", "dialogues"),
    "schedule": ("cosine", "linear", "constant"),
    "saved_as": ("float32", "bfloat16", "float16"),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse them before anything is loaded.

    Args:
        options: The task's node.

    Raises:
        VlgroundError: If one cannot be.
    """
    for name in _COUNTS:
        if (number := options[name]) is not None and not _is_count(number):
            raise VlgroundError(f"task.{name}={number}: expected a positive number")
    for name in _POSITIVE:
        if not options[name] > 0:
            raise VlgroundError(f"task.{name}={options[name]}: expected more than 0")
    for name, allowed in _WORDS.items():
        if options[name] not in allowed:
            told = f"expected {', '.join(allowed)}"
            raise VlgroundError(f"task.{name}={options[name]}: {told}")
    if options["pretraining"] is not None and options["adapter"]["kind"] != "none":
        told = "not with task.pretraining, which trains all of what sees"
        raise VlgroundError(f"task.adapter.kind={options['adapter']['kind']}: {told}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0
