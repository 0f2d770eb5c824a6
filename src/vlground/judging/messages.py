"""What an endpoint is asked beside the words, and a verdict of what comes back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from vlground.contracts import Verdict
from vlground.errors import VlgroundError
from vlground.judging.answer import HIGHEST, error, read_digits, read_json, schema
from vlground.judging.prompt import Form

Score = Literal["written", "digits"]
Structured = Literal["json_schema", "json_object", "none"]


def check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of the allowed.

    Raises:
        VlgroundError: In one line that lists them.
    """
    if value not in allowed:
        raise VlgroundError(f"judge.{name}={value}: expected {', '.join(allowed)}")


def parameters(
    score: Score,
    structured: Structured,
    temperature: float | None,
    max_tokens: int | None,
    extra_body: Mapping[str, Any] | None,
    highest: int = HIGHEST,
) -> dict[str, Any]:
    """Fields of every request, on which answers depend; see `ChatJudge` for the arguments."""
    fields: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    fields = {name: value for name, value in fields.items() if value is not None}
    if score == "digits":
        fields |= {"logprobs": True, "top_logprobs": 20}
    elif structured == "json_schema":
        strict = {"name": "verdict", "strict": True, "schema": schema(highest)}
        fields["response_format"] = {"type": "json_schema", "json_schema": strict}
    elif structured == "json_object":
        fields["response_format"] = {"type": "json_object"}
    return {**fields, **(extra_body or {})}


def read_answer(
    found: Mapping[str, Any], form: Form, lowest_mass: float, highest: int = HIGHEST
) -> Verdict:
    """A verdict of an answer.

    Args:
        found: A chat completion with a choice.
        form: What was asked for.
        lowest_mass: See `ChatJudge`.
        highest: Best score of the rubric.
    """
    choice, usage = found["choices"][0], found.get("usage")
    verdict = _verdict(choice, form, lowest_mass, highest)
    tokens = usage if isinstance(usage, Mapping) else {}
    model = found.get("model")
    return replace(
        verdict,
        model=model if isinstance(model, str) else None,
        tokens_in=_count(tokens.get("prompt_tokens")),
        tokens_out=_count(tokens.get("completion_tokens")),
    )


def _verdict(choice: Mapping[str, Any], form: Form, lowest_mass: float, highest: int) -> Verdict:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    refusal = message.get("refusal")
    if refusal and isinstance(refusal, str):
        return Verdict("refusal", justification=refusal, reason="refusal")
    if choice.get("finish_reason") == "content_filter":
        return Verdict("refusal", reason="content filter")
    if form == "json":
        cut_off = choice.get("finish_reason") == "length"
        return read_json(_text(message.get("content")), cut_off, highest)
    tokens = _first_tokens(choice)
    return read_digits(tokens, lowest_mass, highest) if tokens else error("no logprobs")


def _text(content: object) -> str:
    """Of a message: a text, or several parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _first_tokens(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens and their log-probabilities; none where they are not as asked."""
    try:
        return [
            (str(one["token"]), float(one["logprob"]))
            for one in choice["logprobs"]["content"][0]["top_logprobs"]
        ]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
