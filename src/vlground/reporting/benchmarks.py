"""The tables of benchmark runs: CHAIR, POPE and MME, one table a benchmark."""

from collections.abc import Sequence

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.tables import Results, differences

_HEADS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "recall": "recall ↑",
    "words": "words",
    "accuracy": "accuracy ↑",
    "precision": "precision ↑",
    "f1": "F1 ↑",
    "yes_ratio": "yes ratio",
    "perception": "perception ↑",
    "cognition": "cognition ↑",
}
_ORDER = {
    "chair": ("chair_i", "chair_s", "recall", "words"),
    "pope": ("accuracy", "precision", "recall", "f1", "yes_ratio"),
    "mme": ("perception", "cognition"),
}
_NOTES = {
    "chair": "CHAIRi: share of the named objects that the image does not hold; CHAIRs: of the "
    "captions with such an object. Fewer hallucinations are cheap for those who say little: read "
    "them beside recall and words. n: captions.",
    "pope": "Of each category and, without a name before it, their mean. yes ratio: of the "
    "answers, not of the labels. n: questions.",
    "mme": "100 x accuracy + 100 x accuracy plus, up to 200 a subtask; sums only where all of "
    "their subtasks are there. n: questions.",
}


def benchmark_blocks(results: Sequence[Results]) -> list[Block]:
    """One table a benchmark, one row a run.

    Args:
        results: Any runs; those of `task=benchmark` are shown.
    """
    blocks = []
    for metric, names in _ORDER.items():
        mine = [
            r for r in results if r.get("task") == "benchmark" and r["choices"]["metric"] == metric
        ]
        if not mine:
            continue
        found = dict.fromkeys(name for result in mine for name in result["scores"])
        further = [name for name in found if name not in names and name.endswith(("f1", "score"))]
        shown = [*(name for name in names if name in found), *further]
        settings = differences(mine)
        rows = [
            [
                setting or str(result["fingerprint"]),
                str(result["counts"]["samples"]),
                *(interval(result["scores"].get(name), "\n") for name in shown),
            ]
            for result, setting in zip(mine, settings, strict=True)
        ]
        heads = ["run", "n", *(_HEADS.get(name, name) for name in shown)]
        notes = [_NOTES[metric], *_open(mine, settings)]
        blocks.append(Block(metric, heads, rows, notes, words=1))
    return blocks


def _open(results: Sequence[Results], settings: Sequence[str]) -> list[str]:
    """What no score shows: questions without an answer, records that became no sample."""
    lines = []
    for result, setting in zip(results, settings, strict=True):
        counts = result["counts"]
        told = {**counts["flagged"], **counts["annotations_left_out"]}
        if told:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(told.items()))
            lines.append(f"{setting or result['fingerprint']}: {why}")
    return lines
