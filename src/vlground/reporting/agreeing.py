"""Whether plausible and faithful maps agree, of the runs of a folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.alignment.runs import is_paper
from vlground.labels import FAITHFULNESS_COLUMNS
from vlground.page.reading import Run
from vlground.plausibility import plausibility, plausibility_table
from vlground.reporting.block import Block

_GROUPS = ("dataset", "model", "cam")
_NOTE = (
    "Rank correlation over samples, arrows say what is better. yes: the interval says that the "
    "plausible maps are the faithful ones; no: the opposite; open: neither. Not corrected for how "
    "many there are. A judge's map counts where it is for the same class."
)


def agreeing(runs: Sequence[Run]) -> list[Block]:
    """One table a faithfulness run that stands beside others of its model, CAM and data.

    Args:
        runs: Of a folder; of explanations the one with the paper's mask counts, or the only one.
    """
    blocks = []
    for run in runs:
        if run.rows is None or not any(s in run.results["scores"] for s in FAITHFULNESS_COLUMNS):
            continue
        beside = [one for one in runs if _same(one.results, run.results)]
        grounding = [one for one in beside if "io_ratio" in one.results["scores"]][:1]
        judged = [one for one in beside if one.results["task"] == "explanation"]
        judged = [one for one in judged if is_paper(one.results) or len(judged) == 1][:1]
        tables = [one.rows for one in (*grounding, *judged) if one.rows is not None]
        found = plausibility(run.rows, tables) if tables else []
        if found:
            heads, rows = plausibility_table(found, "\n")
            name = " · ".join(str(run.results["choices"].get(group)) for group in _GROUPS)
            caption = f"{name}: are plausible maps faithful?"
            notes = [_NOTE, *_left_out([one.other_text for one in found])]
            blocks.append(Block(caption, heads, rows, notes, words=2))
    return blocks


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs are of the same maps and samples; masked maps are others."""
    mine, theirs = (r.get("identity") or {} for r in (one, other))
    masked = one["task"] == "grounding" and one["choices"].get("mask", "none") != "none"
    chosen = all(one["choices"].get(g) == other["choices"].get(g) for g in _GROUPS)
    return chosen and not masked and mine.get("data") == theirs.get("data")


def _left_out(counts: Sequence[int]) -> list[str]:
    most = max(counts)
    return [f"{most} samples left out: the judge's map is for another class."] if most else []
