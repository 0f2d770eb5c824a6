"""The command `vlground-report`: what lies under a folder of runs, as tables."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from vlground.page.reading import read_results

Results = Mapping[str, Any]

# Score -> column head; the arrow says what is better.
COLUMNS = {
    "pointing_game": "PG ↑",
    "pg_uncertainty": "PG unc. ↓",
    "io_ratio": "IO_ratio ↑",
    "io_lift": "IO lift ↑",
    "iou_soft": "IoU soft ↑",
    "iou_binary": "IoU bin. ↑",
    "dice_soft": "Dice soft ↑",
    "dice_binary": "Dice bin. ↑",
    "wdp_soft": "WDP* soft ↓",
    "wdp_binary": "WDP* bin. ↓",
}
NOTES = (
    "IO_ratio: also called energy pointing game and relevance mass accuracy. IO lift: IO_ratio "
    "over the box's share of the image, 1 for a uniform map. * WDP is reconstructed: its formula "
    "is not public. uniform, center, random and shuffled_text are baselines."
)
BASELINES = ("uniform", "center", "random", "shuffled_text")


def main() -> None:
    """Entry point of `vlground-report`."""
    parser = argparse.ArgumentParser(prog="vlground-report", description=__doc__)
    parser.add_argument("runs", nargs="?", default="runs", type=Path, help="folder (default: runs)")
    parser.add_argument("--format", choices=("console", "markdown"), default="console")
    parser.add_argument("--no-page", action="store_true", help="do not write report.html there")
    arguments = parser.parse_args()
    results = collect(arguments.runs)
    if not results:
        sys.exit(f"{arguments.runs}: no results.json under it")
    if arguments.format == "markdown":
        print(markdown(results))
    else:
        show(results)
    if not arguments.no_page:
        _write_page(arguments.runs)


def _write_page(runs: Path) -> None:
    from vlground.errors import VlgroundError
    from vlground.page.build import write_page

    try:
        page = write_page(runs)
    except VlgroundError as error:
        sys.exit(str(error))
    # Not among the tables: they may go into a file.
    for trouble in page.troubles:
        print(f"{trouble.path}: {trouble.kind}: {trouble.line}", file=sys.stderr)
    print(f"{page.path}  ({page.runs} runs, {page.size / 1e6:.1f} MB)", file=sys.stderr)


def collect(runs: Path) -> list[Results]:
    """All results under a folder that can be read, debug runs left out, in the tables' order."""
    paths = [path for path in runs.glob("*/*/results.json") if path.parts[-3] != "debug"]
    read = [read_results(path) for path in paths]
    return sorted((results for results in read if not isinstance(results, str)), key=order)


def table(results: Sequence[Results], separator: str) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the table of one data set, one row a run.

    Args:
        results: The runs.
        separator: Between a value and its interval.
    """
    names = [name for name in COLUMNS if any(name in r["scores"] for r in results)]
    # A group in which all runs have chosen the same says nothing, but for model and CAM.
    groups = [
        group
        for group in ("model", "cam", "metric", "mask")
        if group in ("model", "cam") or len({r["choices"].get(group) for r in results}) > 1
    ]
    heads = [*groups, "n", *(COLUMNS[name] for name in names)]
    rows = [
        [
            *(str(r["choices"].get(group, "")) for group in groups),
            str(r["counts"]["scored"]),
            *(_number(r["scores"].get(name), separator) for name in names),
        ]
        for r in results
    ]
    return heads, rows


def markdown(results: Sequence[Results]) -> str:
    """Tables and notes in Markdown."""
    from tabulate import tabulate

    parts = []
    for dataset, group in _by_dataset(results):
        heads, rows = table(group, " ")
        body = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
        parts += [f"**{dataset}**", body, *not_scored(group), interval_note(group)]
    return "\n\n".join([*parts, NOTES])


def show(results: Sequence[Results]) -> None:
    """Print tables and notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)
    for dataset, group in _by_dataset(results):
        heads, rows = table(group, "\n")
        grid = Table(title=dataset, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in heads:
            words = head in COLUMNS.values() or head == "n"
            grid.add_column(head, justify="right" if words else "left", no_wrap=not words)
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
        for line in (*not_scored(group), interval_note(group)):
            console.print(line, style="italic", markup=False, highlight=False)
        console.print()
    console.print(NOTES, style="italic", markup=False, highlight=False)


def not_scored(results: Sequence[Results]) -> list[str]:
    """One line for each set of samples that some runs could not score, with the reasons."""
    lines: dict[str, list[str]] = {}
    for result in results:
        counts = result["counts"]
        reasons = {**counts["skipped"], **counts["flagged"]}
        if reasons:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            line = f"{counts['samples'] - counts['scored']} of {counts['samples']}: {why}"
            lines.setdefault(line, []).append(
                f"{result['choices']['model']}·{result['choices']['cam']}"
            )
    everyone = len(results)
    return [
        f"not scored, {'all' if len(runs) == everyone else ', '.join(runs)}: {line}"
        for line, runs in lines.items()
    ]


def interval_note(results: Sequence[Results]) -> str:
    """What stands under a value, or why nothing does."""
    if any(score["low"] is not None for r in results for score in r["scores"].values()):
        return "Below a mean: its 95 % percentile bootstrap interval over images."
    return "No intervals: fewer than 20 images."


def _by_dataset(results: Sequence[Results]) -> list[tuple[str, list[Results]]]:
    groups = groupby(results, key=lambda result: str(result["choices"].get("dataset", "")))
    return [(dataset, list(group)) for dataset, group in groups]


def _number(score: Mapping[str, Any] | None, separator: str) -> str:
    if score is None:
        return "–"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f}{separator}{score['low']:.2f}–{score['high']:.2f}"


def order(result: Results) -> tuple[str, str, int, str, str]:
    """Sorts runs: by data set and model, baselines after the CAMs they stand beside."""
    choices = result["choices"]
    cam = choices.get("cam", "")
    place = BASELINES.index(cam) + 1 if cam in BASELINES else 0
    last = str(result.get("fingerprint", ""))
    return choices.get("dataset", ""), choices.get("model", ""), place, cam, last


if __name__ == "__main__":
    main()
