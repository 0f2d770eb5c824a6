"""From what a judge wrote to a verdict: strictly, for a failure must never look like a score.

Scores lie on the prompt's rubric, 0-5 unless it says otherwise. A number beside that range, a
fraction in words ("3/5"), two scores in one object, an answer that was cut off: each is an error
with its own reason.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vlground.contracts import Verdict

HIGHEST = 5

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
_DIGIT = re.compile(r"[0-9]", re.ASCII)
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
# Word marks of sentencepiece and of byte-level vocabularies.
_MARKS = str.maketrans("", "", "▁Ġ")


def schema(highest: int = HIGHEST) -> dict[str, Any]:
    """JSON schema of an answer with a score of 0-highest."""
    return {
        "type": "object",
        # Words before the number: what is written first is what the number can rest on.
        "properties": {
            "description": {"type": "string"},
            "justification": {"type": "string"},
            "score": {"type": "integer", "minimum": 0, "maximum": highest},
        },
        "required": ["description", "justification", "score"],
        "additionalProperties": False,
    }


def read_json(text: str, cut_off: bool = False, highest: int = HIGHEST) -> Verdict:
    """Read an answer that ought to be one JSON object.

    Args:
        text: All that the judge wrote. A fence of three backticks around all of it is taken away.
        cut_off: It ended at the longest answer that was allowed.
        highest: Best score of the rubric.

    Returns:
        A score or an error.

    >>> read_json('{"description": "a wheel", "justification": "a part", "score": 3}').score
    3.0
    >>> read_json('{"description": "", "justification": "", "score": "3/5"}').reason
    'score is no number 0-5'
    >>> read_json("I give it a 4").reason, read_json(" ").reason
    ('no JSON', 'empty answer')
    """
    text = text.strip()
    if not text:
        return error("cut off before the answer" if cut_off else "empty answer")
    fenced = _FENCED.fullmatch(text)
    try:
        found = json.loads(
            fenced[1] if fenced else text, object_pairs_hook=_once, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        if cut_off:
            return error("cut off: longer than max_tokens")
        return error("broken JSON" if text.startswith(("{", "```")) else "no JSON")
    if not isinstance(found, dict):
        return error("no JSON object")
    description, justification = found.get("description"), found.get("justification")
    if not isinstance(description, str) or not isinstance(justification, str):
        return error("no description or justification")
    score = _score(found.get("score"), highest)
    if score is None:
        return error(f"score is no number 0-{highest}")
    return Verdict("score", score, description, justification)


def read_digits(
    tokens: Iterable[tuple[str, float]], lowest_mass: float, highest: int = HIGHEST
) -> Verdict:
    """The expected score, from the probabilities of the first token.

    It is Σ p(d)·d / Σ p(d) over the digits d = 0 … highest, as in G-Eval (Liu et al. 2023,
    https://arxiv.org/abs/2303.16634) but from probabilities in place of repeated answers. Tokens
    that differ only in white space before the digit count together.

    Args:
        tokens: Token and its natural log-probability.
        lowest_mass: Σ p(d) below which the answer is an error: the judge wanted to say something
            else than a digit.
        highest: Best score of the rubric, at most 9.

    Returns:
        A score or an error; probabilities and covered mass are in its justification.

    >>> read_digits([("4", -0.6931472), (" 5", -1.3862944), ("The", -1.3862944)], 0.5)
    ... # doctest: +ELLIPSIS
    Verdict(outcome='score', score=4.33..., justification='P(4) 0.667, P(5) 0.333; mass 0.750', ...
    """
    mass = np.zeros(highest + 1)
    for token, logarithm in tokens:
        digit = as_digit(token, highest)
        if digit is not None:
            mass[digit] += math.exp(min(logarithm, 0.0))
    return expected_score(mass, lowest_mass)


def expected_score(mass: Sequence[float] | np.ndarray, lowest_mass: float) -> Verdict:
    """The expected score of `(highest + 1,)` probabilities of digits; see `read_digits`."""
    mass = np.asarray(mass, dtype=float)
    covered = float(mass.sum())
    if not math.isfinite(covered) or covered <= 0 or covered < lowest_mass:
        return error("digits are improbable", f"mass {covered:.3f}")
    share = mass / covered
    listed = [f"P({digit}) {p:.3f}" for digit, p in enumerate(share) if p >= 0.0005]
    told = f"{', '.join(listed)}; mass {covered:.3f}"
    return Verdict("score", float(share @ np.arange(len(share))), justification=told)


def as_digit(token: str, highest: int = HIGHEST) -> int | None:
    """The digit 0-highest that a token is, beside white space and word marks; None: it is none.

    >>> as_digit("4"), as_digit("▁4"), as_digit(" 5"), as_digit("6"), as_digit("45")
    (4, 4, 5, None, None)
    """
    digit = token.translate(_MARKS).strip()
    return int(digit) if _DIGIT.fullmatch(digit) and int(digit) <= highest else None


def error(reason: str, justification: str = "") -> Verdict:
    """An error, with a reason in words that are counted."""
    return Verdict("error", justification=justification, reason=reason)


def _score(value: object, highest: int) -> float | None:
    """0-highest, of a number or of a text that is nothing but one."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= highest else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
