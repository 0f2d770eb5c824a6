"""How the winners of task=rejection_sampling came about: a note a run, of many runs a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.reporting.block import Block
from vlground.reporting.tables import Results

FEW = 4  # runs that a note each is enough for
_COUNTS = {
    "images": "images",
    "ties": "ties",
    "all_tied": "all tied",
    "no_candidate_scored": "nothing could be taken",
    "emptied": "emptied",
    "sentences_removed": "sentences removed",
    "winners_without_known_objects": "winners without known objects",
}
_RARE = "winners_without_known_objects"
_OPTIONS = ("normalise", "amount", "noun_weight", "refine")


def selection_notes(names: Sequence[str], results: Sequence[Results]) -> list[str]:
    """One line a run, where there are few.

    Args:
        names: Of the runs.
        results: Of task=rejection_sampling.
    """
    return [
        f"{name}: {', '.join(_counted(result))}; {', '.join(_chosen(result))}."
        for name, result in zip(names, results, strict=True)
        if len(results) <= FEW
    ]


def selection_block(caption: str, names: Sequence[str], results: Sequence[Results]) -> list[Block]:
    """One row a run, where there are many; what all have chosen stands below.

    Args:
        caption: Of the table of arms.
        names: See `selection_notes`.
        results: See there.
    """
    if len(results) <= FEW:
        return []
    counts = [_counts(result) for result in results]
    shown = [key for key in _COUNTS if key != _RARE or any(key in one for one in counts)]
    chosen = [_chosen(result) for result in results]
    told = [[one for one in mine if any(one not in other for other in chosen)] for mine in chosen]
    rows = [
        [name, ", ".join(mine), *(one.get(key, "–") for key in shown)]
        for name, mine, one in zip(names, told, counts, strict=True)
    ]
    shared = [one for one in chosen[0] if all(one in other for other in chosen)]
    heads = ["run", "chosen", *(_COUNTS[key] for key in shown)]
    notes = [f"all: {', '.join(shared)}."] if shared else []
    return [Block(f"{caption}: how winners came about", heads, rows, notes, 2)]


def _counts(result: Results) -> dict[str, str]:
    counts: Mapping[str, int] = (result.get("reward") or {}).get("counts") or {}
    found = {key: str(counts.get(key, 0)) for key in _COUNTS if key not in ("ties", _RARE)}
    if "ties" in result["scores"]:
        share = result["scores"]["ties"]["value"]
        found["ties"] = f"{share:.3f} ({counts.get('ties', 0)})"
    if missing := counts.get(_RARE):
        found[_RARE] = str(missing)
    return {key: found[key] for key in _COUNTS if key in found}


def _counted(result: Results) -> list[str]:
    found = _counts(result)
    told = [f"{_COUNTS[key]} {value}" for key, value in found.items() if key != "images"]
    return [f"{found['images']} images", *told]


def _chosen(result: Results) -> list[str]:
    block: Mapping[str, Any] = result.get("reward") or {}
    metric: Mapping[str, Any] = (result.get("identity") or {}).get("metric") or {}
    how = [f"streams {'+'.join(metric.get('streams') or ['?'])}"]
    how += [f"pool {metric.get('pool', '?')} {block.get('pool', '?')}"]
    return how + [f"{name} {metric[name]}" for name in _OPTIONS if name in metric]
