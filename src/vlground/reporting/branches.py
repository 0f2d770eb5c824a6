"""The tables of task=branch_checking: what each branch catches, and which thresholds suit nouns."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.data.shapes.claims import ERROR_TYPES
from vlground.metrics.presence import ALL
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import interval_note
from vlground.reporting.tables import Results, differences

TASK = "branch_checking"
_HEADS = {
    "automatic": "automatic ↑",
    "human": "human ↑",
    "both": "both",
    "automatic_alone": "automatic alone",
    "human_alone": "human alone",
    "neither": "neither ↓",
    "auc/automatic": "AUC automatic ↑",
    "auc/human": "AUC human ↑",
}
_NOTE = (
    "Share of the sentences with such an error that a branch calls wrong; automatic: with a noun "
    "that the detector does not find; human: by the scorer of sentences. any: with any error; "
    "none: right sentences, so those shares are false alarms. AUC: against right sentences of the "
    "same kind; 0.5: the branch knows nothing of it. n: sentences."
)
_NOUNS = (
    "Two numbers at each threshold. kept: of the shapes named that are in the image, those found; "
    "rejected: of those that are not, those not found. AUC: of presence, over all thresholds. "
    "best: highest mean of both, of equal ones the middle. n: pairs of an image and a shape that "
    "is there + those of one that is not."
)


def branch_blocks(results: Sequence[Results]) -> list[Block]:
    """What is caught, type by type; then a table of thresholds a run.

    Args:
        results: Any runs; those of `task=branch_checking` are shown.
    """
    mine = [result for result in results if result.get("task") == TASK]
    if not mine:
        return []
    names = _names(mine)
    shown = [head for head in _HEADS if any(f"{head}/any" in r["scores"] for r in mine)]
    rows = []
    for run, result in zip(names, mine, strict=True):
        scores = result["scores"]
        first = next((one for one in shown if f"{one}/any" in scores), shown[0])
        types = [one for one in (*ERROR_TYPES, "any", "none") if f"{first}/{one}" in scores]
        for place, name in enumerate(types):
            cells = [interval(scores.get(f"{of}/{name}"), "\n") for of in shown]
            rows.append(
                [run if not place else "", name, str(scores[f"{first}/{name}"]["n"]), *cells]
            )
    lines = [f"{run}: {_unread(result)}" for run, result in zip(names, mine, strict=True)]
    heads = ["run", "error", "n", *(_HEADS[name] for name in shown)]
    caught = Block(
        "errors caught by each branch", heads, rows, [_NOTE, *lines, interval_note(mine)], 2
    )
    tables = (_thresholds(run, result) for run, result in zip(names, mine, strict=True))
    return [caught, *(block for block in tables if block is not None)]


def _thresholds(run: str, result: Results) -> Block | None:
    """One row a category; kept above rejected at each threshold."""
    told: Mapping[str, Any] = result.get(TASK) or {}
    shares: Mapping[str, Any] = told.get("shares") or {}
    if not shares:
        return None
    cuts = list(dict.fromkeys(name.rpartition("/")[2] for name in shares))
    own, common = told["thresholds"]["own"], told["thresholds"]["common"]
    rows = []
    for noun in dict.fromkeys(name.split("/")[1] for name in shares):
        numbers = [
            shares.get(f"{kind}/{noun}/{cuts[0]}", {}).get("n", 0) for kind in ("kept", "rejected")
        ]
        cells = [
            "\n".join(_share(shares.get(f"{kind}/{noun}/{cut}")) for kind in ("kept", "rejected"))
            for cut in cuts
        ]
        best = common if noun == ALL else own.get(noun)
        area = interval(told["areas"].get(noun), "\n")
        count = "+".join(map(str, numbers))
        rows.append([noun, count, "–" if best is None else f"{best:g}", area, *cells])
    heads = ["shape", "n", "best", "AUC ↑", *cuts]
    notes = [_NOUNS, *_gain(result["scores"])]
    return Block(f"thresholds of nouns: {run}", heads, rows, notes, 1)


def _gain(scores: Mapping[str, Any]) -> list[str]:
    """What thresholds that were chosen on other images are worth."""
    if "gain/own" not in scores:
        return []
    told = {name: interval(scores[f"balanced/{name}"], " ") for name in ("own", "common", "paper")}
    gains = {name: interval(scores[f"gain/{name}"], " ") for name in ("own", "common")}
    return [
        "Chosen on one half of the images, measured on the other: mean of kept and rejected over "
        f"shapes {told['own']} with a threshold for every shape, {told['common']} with one for "
        f"all, {told['paper']} with 0.25; gain of own over common {gains['own']}, of common over "
        f"0.25 {gains['common']}."
    ]


def _share(one: Mapping[str, Any] | None) -> str:
    return "–" if one is None else f"{one['value']:.3f}"


def _unread(result: Results) -> str:
    told: Mapping[str, Any] = result.get(TASK) or {}
    return f"{told.get('sentences', 0)} sentences; {told.get('unparsed', 0)} more cannot be read."


def _names(results: Sequence[Results]) -> list[str]:
    """Who wrote, who was asked, and what else the command line said."""
    groups = ("model", "detector", "reward")
    return [
        " · ".join(filter(None, [*(str(r["choices"].get(g, "none")) for g in groups), setting]))
        for r, setting in zip(results, differences(results), strict=True)
    ]
