"""What Weights & Biases shows of explanation runs beside scores, counts and samples."""

from collections.abc import Mapping
from typing import Any

from vlground.labels import CELLS, EXPLANATION_COLUMNS

TASK = "explanation"
MATRIX_COLUMNS = ("prediction", "judge", "samples", "share", "share_low", "share_high")
_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n"))
_USAGE = ("scores", "cached", "calls", "tokens_in", "tokens_out", "cost")


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Numbers like `explanation/sanity/black` and `matrix/count/judge_correct_low`.

    Args:
        results: As in `results.json`.

    Returns:
        Nothing of a run of another task.
    """
    if results["task"] != TASK:
        return {}
    block = results.get(TASK) or {}
    found: dict[str, float] = {}
    sanity = block.get("sanity") or {}
    for name, score in (sanity.get("means") or {}).items():
        found |= ends(f"{TASK}/sanity/{name}", score)
    for name, score in (sanity.get("differences") or {}).items():
        found |= ends(f"{TASK}/sanity/own_minus_{name}", score)
    usage = block.get("usage") or {}
    found |= {f"{TASK}/usage/{k}": usage[k] for k in _USAGE if usage.get(k) is not None}
    for name, count in (results.get("matrix") or {}).get("judge", {}).items():
        found[f"matrix/count/judge_{name.replace(' ', '_')}"] = count
    return found


def ends(name: str, score: Mapping[str, Any]) -> dict[str, float]:
    """An estimate under its name, with `_low`, `_high` and `_n`, as far as they are known.

    >>> ends("t/io", {"value": 0.5, "low": None, "high": None, "n": 3})
    {'t/io': 0.5, 't/io_n': 3}
    """
    return {f"{name}{end}": score[key] for end, key in _ENDS if score[key] is not None}


def words(results: Mapping[str, Any]) -> dict[str, str]:
    """Whether the judge is sound, and which models answered; nothing of another task."""
    if results["task"] != TASK:
        return {}
    block = results.get(TASK) or {}
    sanity = block.get("sanity") or {"verdict": "not tested", "sentence": "no controls were run"}
    models = (block.get("usage") or {}).get("models") or {}
    found = {f"{TASK}/sanity": sanity["verdict"], f"{TASK}/sanity_finding": sanity["sentence"]}
    answered = ", ".join(f"{name} ({count})" for name, count in sorted(models.items()))
    return found | ({f"{TASK}/judge_models": answered} if answered else {})


def matrix(results: Mapping[str, Any]) -> list[list[Any]]:
    """Lines of the judge's 2 × 2 table, with `MATRIX_COLUMNS`; none without one."""
    counts: Mapping[str, int] = (results.get("matrix") or {}).get("judge") or {}
    lines: list[list[Any]] = []
    for cell in CELLS if counts else ():
        score = results["scores"].get(cell, {})  # none, if no sample has a label and a score
        share = [score.get(key) for key in ("value", "low", "high")]
        lines.append([*cell.split("_"), counts[cell], *share])
    return lines


def classes(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Columns and lines of the table by class of the label; no lines of a run without classes."""
    columns = ["class", *(f"{score}{end}" for score in EXPLANATION_COLUMNS for end, _ in _ENDS)]
    lines = [
        [name, *(scores.get(s, {}).get(key) for s in EXPLANATION_COLUMNS for _, key in _ENDS)]
        for name, scores in ((results.get(TASK) or {}).get("per_class") or {}).items()
    ]
    return columns, lines
