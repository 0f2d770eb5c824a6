"""The table of task=claim_checking: which errors the automatic branch catches, type by type."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import interval_note
from vlground.reporting.tables import Results
from vlground.rewards.options import ERROR_TYPES

TASK = "claim_checking"
_SHARES = {"auc": "AUC ↑", "caught": "caught ↑", "asked": "asked"}
_NOTE = (
    "AUC: chance that a wrong sentence is less sure by its least sure phrase than a right one of "
    "the same kind; 0.5: the branch knows nothing of it. caught: share of the type's sentences "
    "with a phrase that is not detected; of type none (right sentences): false alarms; of type "
    "link: right but for a box of another object. asked: "
    "share with a phrase of which the detector can tell. n: sentences."
)


def claim_blocks(results: Sequence[Results]) -> list[Block]:
    """One table, a row an error type of each run.

    Args:
        results: Any runs; those of `task=claim_checking` are shown.
    """
    mine = [result for result in results if result.get("task") == TASK]
    rows = []
    for result in mine:
        scores = result["scores"]
        types = [one for one in (*ERROR_TYPES, "link", "any", "none") if f"caught/{one}" in scores]
        for place, name in enumerate(types):
            detector = str(result["choices"].get("detector", ""))
            first = ["", ""] if place else [detector, _phrases(result)]
            cells = [interval(scores.get(f"{of}/{name}"), "\n") for of in _SHARES]
            rows.append([*first, name, str(scores[f"caught/{name}"]["n"]), *cells])
    if not rows:
        return []
    heads = ["detector", "phrases", "error", "n", *_SHARES.values()]
    return [Block("errors caught by phrases", heads, rows, [_NOTE, interval_note(mine)], words=3)]


def _phrases(result: Results) -> str:
    """Which phrases were asked."""
    identity: Mapping[str, Any] = result.get("identity") or {}
    nouns: Mapping[str, Any] = identity.get("task.nouns") or {}
    return str(nouns.get("phrases", "nouns"))
