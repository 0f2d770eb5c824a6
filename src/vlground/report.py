"""The command `vlground-report`: what lies under a folder of runs, as one table."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Score -> column head; the arrow says what is better.
COLUMNS = {
    "pointing_game": "PG ↑",
    "pg_uncertainty": "PG unc. ↓",
    "io_ratio": "IO_ratio ↑",
    "io_lift": "lift",
    "iou_soft": "IoU soft ↑",
    "iou_binary": "IoU bin. ↑",
    "dice_soft": "Dice soft ↑",
    "dice_binary": "Dice bin. ↑",
    "wdp_soft": "WDP* soft ↓",
    "wdp_binary": "WDP* bin. ↓",
}
NOTES = (
    "IO_ratio is also called energy pointing game and relevance mass accuracy; lift is IO_ratio "
    "over the box's share of the image, 1 for a uniform map.",
    "* WDP is reconstructed: its formula is not public.",
)
_BASELINES = ("uniform", "center", "random", "shuffled_text")


def main() -> None:
    """Entry point of `vlground-report`."""
    parser = argparse.ArgumentParser(prog="vlground-report", description=__doc__)
    parser.add_argument("runs", nargs="?", default="runs", type=Path, help="folder (default: runs)")
    parser.add_argument("--format", choices=("console", "markdown"), default="console")
    arguments = parser.parse_args()
    results = collect(arguments.runs)
    if not results:
        sys.exit(f"{arguments.runs}: no results.json under it")
    if arguments.format == "markdown":
        print(markdown(results))
    else:
        show(results)


def collect(runs: Path) -> list[dict[str, Any]]:
    """All results under a folder, debug runs left out, in the order of the table."""
    found = [
        json.loads(path.read_text())
        for path in runs.glob("*/*/results.json")
        if path.parts[-3] != "debug"
    ]
    return sorted(found, key=_order)


def table(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the table, one row a run."""
    names = [name for name in COLUMNS if any(name in r["scores"] for r in results)]
    groups = ["dataset", "model", "cam", "metric", "mask"]
    # A choice that is the same everywhere and the default says nothing.
    silent = {"metric": {"q_groundcam"}, "mask": {"none"}}
    groups = [g for g in groups if {r["choices"].get(g) for r in results} != silent.get(g)]
    heads = [*groups, "n", *(COLUMNS[name] for name in names), "not scored"]
    rows = [
        [
            *(str(r["choices"].get(group, "")) for group in groups),
            str(r["counts"]["scored"]),
            *(_number(r["scores"].get(name)) for name in names),
            _not_scored(r["counts"]),
        ]
        for r in results
    ]
    return heads, rows


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """The table and its notes in Markdown."""
    from tabulate import tabulate

    heads, rows = table(results)
    body = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    return "\n\n".join([body, *NOTES, _intervals(results)])


def show(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the table and its notes."""
    from rich.console import Console
    from rich.table import Table

    heads, rows = table(results)
    grid = Table(*heads, header_style="bold", row_styles=["", "dim"])
    for row in rows:
        grid.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(grid)
    for note in (*NOTES, _intervals(results)):
        console.print(note, style="italic", markup=False, highlight=False)


def _intervals(results: Iterable[Mapping[str, Any]]) -> str:
    with_interval = any(
        score["low"] is not None for result in results for score in result["scores"].values()
    )
    if with_interval:
        return "[low, high]: 95 % percentile bootstrap over images."
    return "No intervals: fewer than 20 images."


def _number(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "–"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} [{score['low']:.2f}, {score['high']:.2f}]"


def _not_scored(counts: Mapping[str, Any]) -> str:
    reasons = {**counts["skipped"], **counts["flagged"]}
    return "; ".join(f"{reason}: {count}" for reason, count in reasons.items())


def _order(result: Mapping[str, Any]) -> tuple[str, str, bool, str, str]:
    choices = result["choices"]
    cam = choices.get("cam", "")
    place = str(_BASELINES.index(cam)) if cam in _BASELINES else cam
    return (
        choices.get("dataset", ""),
        choices.get("model", ""),
        cam in _BASELINES,
        place,
        result["fingerprint"],
    )
