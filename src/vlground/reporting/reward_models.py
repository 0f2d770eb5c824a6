"""The table of task=reward_model: how well errors are told, beside a blind baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import interval_note, left_out
from vlground.reporting.tables import Results, differences
from vlground.rewards.options import ERROR_TYPES
from vlground.tracking import title

TASK = "reward_model"
_HEADS = {
    "auc": "AUC ↑",
    "blind/auc": "AUC, blind",
    "gain/auc": "AUC over blind ↑",
    "average_precision": "AP ↑",
    "blind/average_precision": "AP, blind",
    "ece": "calibration error ↓",
    "blind/ece": "calibration error, blind",
}
_NOTE = (
    "Of sentences of held-out images: is it wrong (any), and does it make this error? blind: the "
    "same model, trained alike, that sees the mean image. A type that only some kinds of sentence "
    "can make is told by words alone. AP of chance is the share. n: sentences."
)


def reward_model_blocks(results: Sequence[Results]) -> list[Block]:
    """One row an error type of each run, the run named once.

    Args:
        results: Any runs; those of `task=reward_model` are shown.
    """
    mine = [result for result in results if result.get("task") == TASK]
    if not mine:
        return []
    shown = [name for name in _HEADS if any(f"{name}/any" in r["scores"] for r in mine)]
    several = len(mine) > 1
    rows = []
    for run, result in zip(_names(mine), mine, strict=True):
        scores = result["scores"]
        types = [name for name in ("any", *ERROR_TYPES) if f"ece/{name}" in scores]
        for place, name in enumerate(types):
            cells = [interval(scores.get(f"{score}/{name}"), "\n") for score in shown]
            first = ["" if place else run] if several else []
            rows.append([*first, name, str(scores[f"ece/{name}"]["n"]), *cells])
    heads = [*(["run"] if several else []), "error", "n", *(_HEADS[name] for name in shown)]
    lines = [_trained(run, result) for run, result in zip(_names(mine), mine, strict=True)]
    notes = [_NOTE, *lines, *left_out(mine), interval_note(mine)]
    return [Block("reward model: held-out sentences", heads, rows, notes, heads.index("n"))]


def _names(results: Sequence[Results]) -> list[str]:
    """Runs by choices, what their command lines set, and the fingerprint."""
    settings = differences(results)
    return [
        " · ".join(filter(None, [title(r["choices"]), setting, str(r.get("fingerprint", ""))[:8]]))
        for r, setting in zip(results, settings, strict=True)
    ]


def _trained(run: str, result: Results) -> str:
    """What a model was trained on, how it reads, and what was left out."""
    block: Mapping[str, Any] = result.get(TASK) or {}
    counts: Mapping[str, int] = block.get("counts") or {}
    reading: Mapping[str, Any] = block.get("reading") or {}
    told = "; ".join(f"{name} {count}" for name, count in counts.items())
    how = ", ".join(f"{name} {reading[name]}" for name in ("level", "context") if name in reading)
    return f"{run}: {how}; {told}."
