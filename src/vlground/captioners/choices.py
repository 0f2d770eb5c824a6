"""Captions of what an endpoint of chat completions answers."""

from collections.abc import Mapping
from typing import Any

from vlground.contracts import Caption
from vlground.data.records import whole


def read_choices(answer: Mapping[str, Any], count: int) -> list[Caption]:
    """Read the candidates of an answer.

    Args:
        answer: A chat completion.
        count: Candidates that were asked for.

    Returns:
        `count` captions in the order of the choices' `index`; where the server sent fewer, the rest
        have the problem `fewer candidates than asked`.
    """
    model = answer.get("model")
    name = model if isinstance(model, str) else None
    choices = [choice for choice in answer["choices"] if isinstance(choice, Mapping)]
    choices.sort(key=_index)
    found = [_caption(choice, name) for choice in choices[:count]]
    missing = Caption("", problem="fewer candidates than asked", model=name)
    return found + [missing] * (count - len(found))


def _caption(choice: Mapping[str, Any], model: str | None) -> Caption:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    if message.get("refusal"):
        return Caption("", problem="refusal", model=model)
    if choice.get("finish_reason") == "content_filter":
        return Caption("", problem="content filter", model=model)
    content = message.get("content")
    if not isinstance(content, str):
        return Caption("", problem="no text", model=model)
    cut_off = choice.get("finish_reason") == "length"
    return Caption(whole(content).strip(), _log_probabilities(choice), cut_off, model=model)


def _log_probabilities(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Of the tokens; None where they are not as asked."""
    try:
        return tuple(float(one["logprob"]) for one in choice["logprobs"]["content"])
    except (KeyError, TypeError, ValueError):
        return None


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
