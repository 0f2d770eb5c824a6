"""ViGoR's released annotations (data CC-BY-NC-4.0), whose keys are known in part only.

    {"image_id", "text", "annotations": {"per_sentence_scores": {"0": {"Accurate": "Yes" | "No",
     "InAcc-Re…": reason or reasons, creative …}, …}, "overall_detail_score": number}}

`annotations` may be a JSON text, or its content may stand in the record itself. Keys are matched by
their beginning. Whether sentences are numbered from 0 or 1 is told from the numbers.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from vlground.rewards.annotated import Annotated, first, rest, unknown
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split

# Part of a reason -> error type, the first that fits; `unspecified` if none does.
_REASONS = {
    "hallu": "hallucination",
    "exist": "hallucination",
    "attr": "attribute",
    "relat": "relationship",
    "locat": "location",
    "conj": "conjecture",
    "unreason": "conjecture",
    "posit": "location",
    "object": "hallucination",
}
_YES = ("yes", "true", "1", "y", "accurate", "creative")
_NO = ("no", "false", "0", "n", "inaccurate", "not creative", "not_creative", "notcreative")


def read(record: dict[str, Any], counts: Counter[str]) -> list[Annotated]:
    """Read one record.

    Args:
        record: A caption with its annotations.
        counts: Reasons, added to.

    Returns:
        The caption, or nothing if it has no text, no image id or no sentence scores.
    """
    inner = first(record, "annotation")
    if isinstance(inner, str):
        inner = _parsed(inner)
    if not isinstance(inner, dict):
        inner = record
    scores = first(inner, "per_sentence", "sentence")
    image_id, text = first(record, "image_id", "image"), first(record, "text", "caption")
    if not isinstance(text, str) or not isinstance(image_id, str | int):
        counts["no text or image id"] += 1
        return []
    by_number = _numbered(scores)
    if not by_number:
        counts["no sentence scores"] += 1
        return []
    sentences = len(split(text))
    base = _base(by_number, sentences)
    rows = max(max(by_number) - base + 1, sentences)
    errors, creative = unknown(rows), {}
    extra: dict[str, Any] = rest(record, "image", "text", "caption", "annotation", "per_sentence")
    for number, score in by_number.items():
        row = number - base
        errors[row] = _errors(score, counts)
        told = _yes(first(score, "creativ", "is_creativ"))
        if told is not None:
            creative[row] = told
        left = rest(score, "acc", "creativ", "is_creativ")
        if left:
            extra[f"sentence {row}"] = left
    aligned = rows == sentences and set(by_number) == set(range(base, base + sentences))
    detail = _number(next((v for k, v in inner.items() if "detail" in str(k).lower()), None))
    return [Annotated(str(image_id), text, errors, aligned, creative, detail, extra)]


def _numbered(scores: object) -> dict[int, dict[str, Any]]:
    if isinstance(scores, list):
        scores = dict(enumerate(scores))
    if not isinstance(scores, Mapping):
        return {}
    named = {
        str(name).lower().removeprefix("sentence").strip(" _-"): s for name, s in scores.items()
    }
    # Nine digits: a number nobody means would make as many rows.
    return {
        int(name): score
        for name, score in named.items()
        if name.isascii() and name.isdigit() and len(name) < 5 and isinstance(score, dict)
    }


def _base(numbers: Mapping[int, object], sentences: int) -> int:
    """0 or 1: what the first sentence is called."""
    if 0 in numbers:
        return 0
    return int(max(numbers) >= sentences or 1 in numbers)


def _errors(score: Mapping[str, Any], counts: Counter[str]) -> np.ndarray:
    accurate = _yes(first(score, "acc", "is_acc"))
    reasons = _reasons(first(score, "inacc"))
    if accurate is None and not reasons:
        counts["sentence without a verdict"] += 1
        return unknown(1)[0]
    if accurate and reasons:
        counts["accurate sentence with a reason"] += 1
    row = np.zeros(len(ERROR_TYPES))
    if accurate:
        return row
    types = {_type(reason) for reason in reasons} or {"unspecified"}
    if reasons and "unspecified" in types:
        counts["reason not understood"] += 1
    row[[ERROR_TYPES.index(name) for name in types]] = 1.0
    return row


def _type(reason: str) -> str:
    return next((kind for part, kind in _REASONS.items() if part in reason.lower()), "unspecified")


def _reasons(value: object) -> list[str]:
    if isinstance(value, Mapping):  # reason -> whether it applies
        return [
            str(name) for name, applies in value.items() if applies and _yes(applies) is not False
        ]
    if isinstance(value, list):
        return [str(reason) for reason in value if str(reason).strip()]
    if isinstance(value, str):
        found = [part.strip() for part in value.replace(";", ",").split(",")]
        return [part for part in found if part and part.lower() not in ("none", "n/a", "na", "-")]
    return [] if value is None else [str(value)]


def _yes(value: object) -> bool | None:
    name = str(value).strip().lower()
    return True if name in _YES else False if name in _NO else None


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
