"""Options of `task=finetuning`, and of `task=dpo` and `task=grpo`, that cannot be."""

import math
from collections.abc import Mapping, Sequence
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
    _check(options, _COUNTS, _POSITIVE, _WORDS)
    if options["pretraining"] is not None and options["adapter"]["kind"] != "none":
        told = "not with task.pretraining, which trains all of what sees"
        raise VlgroundError(f"task.adapter.kind={options['adapter']['kind']}: {told}")


def check_preference_options(options: Mapping[str, Any]) -> None:
    """Refuse those of `task=dpo` and `task=grpo`.

    Args:
        options: The task's node.

    Raises:
        VlgroundError: If one cannot be.
    """
    of_one = ("images", "n") if "images" in options else ("batch",)
    counts = (*of_one, "accumulate", "max_tokens", "steps", "checkpoint_every")
    words = {name: _WORDS[name] for name in ("schedule", "saved_as")}
    _check(options, counts, _POSITIVE, words)
    if (kind := options["adapter"]["kind"]) == "qlora":
        raise VlgroundError(f"task.adapter.kind={kind}: expected none or lora")
    if not options["beta"] >= 0:
        raise VlgroundError(f"task.beta={options['beta']}: expected 0 or more")
    if options.get("n", 2) < 2:
        raise VlgroundError(f"task.n={options['n']}: expected 2 or more, which are compared")
    size, parts = math.prod(options[name] for name in of_one), options["accumulate"]
    if size % parts:
        told = f"expected a divisor of {' × '.join(f'task.{name}' for name in of_one)} = {size}"
        raise VlgroundError(f"task.accumulate={parts}: {told}")


def _check(
    options: Mapping[str, Any],
    counts: Sequence[str],
    positive: Sequence[str],
    words: Mapping[str, Sequence[str]],
) -> None:
    for name in counts:
        if (number := options[name]) is not None and not _is_count(number):
            raise VlgroundError(f"task.{name}={number}: expected a positive number")
    for name in positive:
        if not options[name] > 0:
            raise VlgroundError(f"task.{name}={options[name]}: expected more than 0")
    for name, allowed in words.items():
        if options[name] not in allowed:
            told = f"expected {', '.join(allowed)}"
            raise VlgroundError(f"task.{name}={options[name]}: {told}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0
