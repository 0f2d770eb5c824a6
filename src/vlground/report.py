"""The command `vlground-report`: what lies under a folder of runs, as tables."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlground.labels import BASELINES, COLUMNS, MATRIX_COLUMNS, MATRIX_NOTES, NOTES
from vlground.page.reading import read_results
from vlground.published import (
    Comparison,
    compare,
    comparison_table,
    experiments,
    interval,
    lines,
    read_published,
)

if TYPE_CHECKING:
    from rich.console import Console

Results = Mapping[str, Any]


def main() -> None:
    """Entry point of `vlground-report`."""
    parser = argparse.ArgumentParser(prog="vlground-report", description=__doc__)
    told = "folder (default: runs); experiment=NAME model=a,b …: what the tables show of it"
    parser.add_argument("runs", nargs="*", default=["runs"], help=told)
    parser.add_argument("--format", choices=("console", "markdown", "latex"), default="console")
    parser.add_argument("--no-page", action="store_true", help="do not write report.html there")
    parser.add_argument("--figures", action="store_true", help="write figures/*.png there, too")
    arguments = parser.parse_args()
    folders = [one for one in arguments.runs if "=" not in one] or ["runs"]
    chosen = dict(one.split("=", 1) for one in arguments.runs if "=" in one)
    if len(folders) > 1:
        parser.error(f"one folder of runs, not {', '.join(folders)}")
    runs = Path(folders[0])
    results = collect(runs, chosen)
    if not results:
        what = " ".join(f"{group}={options}" for group, options in chosen.items())
        sys.exit(f"{runs}: no results.json under it" + (f" of {what}" if what else ""))
    compared = comparisons(runs, chosen)
    if arguments.format == "console":
        show(results, compared)
    else:
        print((markdown if arguments.format == "markdown" else latex)(results, compared))
    if not arguments.no_page:
        _write_page(runs)
    if arguments.figures:
        _write_figures(runs)


def _write_figures(runs: Path) -> None:
    """Histograms of every data set, and figure 3 where there are pairs of them."""
    from vlground.page.reading import read
    from vlground.page.spreads import pairs, singles
    from vlground.plots import figure_3

    whole, _ = read(runs)
    whole.sort(key=lambda run: order(run.results))
    spreads = {f"histograms_{dataset}": rows for dataset, rows in singles(whole).items()}
    if paired := pairs(whole):
        spreads["figure_3"] = paired
    (runs / "figures").mkdir(exist_ok=True)
    for name, rows in spreads.items():
        figure_3(rows).save(runs / "figures" / f"{name}.png")
        print(runs / "figures" / f"{name}.png", file=sys.stderr)


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


def collect(runs: Path, chosen: Mapping[str, str] | None = None) -> list[Results]:
    """Results under a folder that can be read, debug runs left out, in the tables' order.

    Args:
        runs: The folder.
        chosen: `experiment` or a group -> options, separated by commas, of the runs that are
            wanted; None: all.
    """
    found = []
    for path in runs.glob("*/*/results.json"):
        results = read_results(path) if path.parts[-3] != "debug" else "debug"
        if not isinstance(results, str) and _is_chosen(results, path.parent, chosen or {}):
            found.append(results)
    return sorted(found, key=order)


def _is_chosen(results: Results, directory: Path, chosen: Mapping[str, str]) -> bool:
    shared = directory / "experiments.txt"  # of further experiments that have this cell
    experiments = [results.get("experiment")]
    experiments += shared.read_text().split() if shared.exists() else []
    return all(
        bool({*experiments} & {*options.split(",")})
        if group == "experiment"
        else results["choices"].get(group) in options.split(",")
        for group, options in chosen.items()
    )


def comparisons(runs: Path, chosen: Mapping[str, str] | None = None) -> list[Comparison]:
    """The experiments under a folder that have published numbers, beside these.

    Args:
        runs: The folder.
        chosen: As for `collect`; without `experiment`, all that any run belongs to.
    """
    wanted = dict(chosen or {})
    names = wanted.get("experiment", ",".join(experiments())).split(",")
    found = []
    for name, path in experiments().items():
        results = collect(runs, {**wanted, "experiment": name}) if name in names else []
        compared = compare(name, results, read_published(path))
        found += [compared] if compared.rows else []
    return found


def beside_published(
    comparison: Comparison, separator: str
) -> tuple[str, list[str], list[list[str]], list[str]]:
    """Caption, heads, cells and notes of a comparison."""
    settings = differences([row.results for row in comparison.rows])
    heads, rows = comparison_table(comparison, settings, separator)
    return f"{comparison.experiment}: ours beside published", heads, rows, lines(comparison)


def table(
    results: Sequence[Results], separator: str, columns: Mapping[str, str] = COLUMNS
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of a table, one row a run.

    Of several data sets, as the paper's table 1: rows grouped by data set and model, each named
    once, and no column for a CAM that all share (`caption` names it).

    Args:
        results: The runs, in the tables' order.
        separator: Between a value and its interval.
        columns: Score -> head, of those to show where a run has them.
    """
    names = [name for name in columns if any(name in r["scores"] for r in results)]
    several = len(_options(results, "dataset")) > 1
    # A group in which all runs have chosen the same says nothing, but for model and CAM.
    groups = ["dataset", "model"] if several else ["model", "cam"]
    others = [name for name in ("cam", "metric", "mask") if name not in groups]
    groups += [name for name in others if len(_options(results, name)) > 1]
    counted = "n" if columns is COLUMNS else "decisions"
    settings = differences(results)
    heads = [group.replace("dataset", "data set") for group in groups]
    heads += ["options"] if any(settings) else []
    heads += [counted, *(columns[name] for name in names)]
    rows: list[list[str]] = []
    above: list[str] = []
    for result, setting in zip(results, settings, strict=True):
        chosen = [str(result["choices"].get(group, "")) for group in groups]
        chosen += [setting] if any(settings) else []
        known = _in_common(chosen[:2], above) if several else 0
        above = chosen
        scores = [interval(result["scores"].get(name), separator) for name in names]
        n = result["counts"]["scored"] if counted == "n" else result["scores"]["accuracy"]["n"]
        rows.append([*[""] * known, *chosen[known:], str(n), *scores])
    return heads, rows


def differences(results: Sequence[Results]) -> list[str]:
    """What each run's command line set beside its choices, as far as not all runs did.

    Without it the rows of a sweep over `cam.layer` would look the same.
    """
    told = [
        [one for one in result.get("overrides", []) if "." in one.split("=")[0]]
        for result in results
    ]
    return [
        " ".join(one for one in mine if not all(one in others for others in told)) for mine in told
    ]


def tables(results: Sequence[Results]) -> list[tuple[str, list[Results], Mapping[str, str]]]:
    """Caption, runs and columns of every table: the scores, then the matrix of runs that have it.

    One table of scores for all data sets if there are several.
    """
    decided = [result for result in results if "accuracy" in result["scores"]]
    whole: list[tuple[str, list[Results], Mapping[str, str]]]
    drawn = [result for result in results if any(name in result["scores"] for name in COLUMNS)]
    whole = [(caption(drawn), drawn, COLUMNS)] if drawn or not decided else []
    if decided:
        whole.append((f"{caption(decided)}: decision × grounding", decided, MATRIX_COLUMNS))
    return whole


def caption(results: Sequence[Results]) -> str:
    """The data set's name; of several data sets the CAM that all runs share, if they do."""
    datasets, cams = _options(results, "dataset"), _options(results, "cam")
    if len(datasets) == 1:
        return datasets[0]
    return f"{len(datasets)} data sets" + (f", cam={cams[0]}" if len(cams) == 1 else "")


def markdown(results: Sequence[Results], compared: Sequence[Comparison] = ()) -> str:
    """Tables and notes in Markdown."""
    from tabulate import tabulate

    parts = []
    for name, runs, columns in tables(results):
        heads, rows = table(runs, " ", columns)
        body = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
        parts += [f"**{name}**", body, *_lines(runs, columns)]
    for comparison in compared:
        name, heads, rows, notes = beside_published(comparison, " ")
        body = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
        parts += [f"**{name}**", body, *notes]
    return "\n\n".join([*parts, *_half(results), NOTES])


def latex(results: Sequence[Results], compared: Sequence[Comparison] = ()) -> str:
    """Tables in LaTeX, captions and notes as comments."""
    from vlground.latex import comparison_table as beside
    from vlground.latex import scores_table

    parts = []
    for name, runs, columns in tables(results):
        heads, rows = table(runs, " ", columns)
        body = scores_table(runs, heads, rows, columns)
        parts += [f"% {name}", body, *(f"% {line}" for line in _lines(runs, columns))]
    for comparison in compared:
        name, heads, rows, notes = beside_published(comparison, " ")
        parts += [f"% {name}", beside(comparison, heads, rows), *(f"% {line}" for line in notes)]
    needs = "% needs booktabs and amssymb; ±: half the width of the 95 % interval"
    return "\n".join([needs, *parts, *(f"% {line}" for line in [*_half(results), NOTES])])


def show(results: Sequence[Results], compared: Sequence[Comparison] = ()) -> None:
    """Print tables and notes."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, runs, columns in tables(results):
        heads, rows = table(runs, "\n", columns)
        _print_table(console, name, heads, rows, _lines(runs, columns))
    for comparison in compared:
        name, heads, rows, notes = beside_published(comparison, "\n")
        _print_table(console, name, heads, rows, notes)
    for line in [*_half(results), NOTES]:
        console.print(line, style="italic", markup=False, highlight=False)


def _print_table(
    console: "Console",
    name: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> None:
    from rich import box
    from rich.table import Table

    grid = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    numbers = heads.index("n" if "n" in heads else "decisions")
    for place, head in enumerate(heads):
        # No interval and no word is cut in two.
        parts = " ".join([head, *(row[place] for row in rows)]).split()
        scores = place >= numbers
        width = max(map(len, parts)) if scores else None
        justify: Literal["left", "right"] = "right" if scores else "left"
        grid.add_column(head, justify=justify, no_wrap=not scores, min_width=width)
    for place, row in enumerate(rows):
        # A rule before each data set after the first.
        if place and heads[0] == "data set" and row[0]:
            grid.add_section()
        grid.add_row(*row)
    console.print(grid)
    for line in notes:
        console.print(line, style="italic", markup=False, highlight=False)
    console.print()


def _half(results: Sequence[Results]) -> list[str]:
    """Why some runs are not in the matrix; of classifiers alone there is nothing to say."""
    return no_matrix(results) if any("accuracy" in r["scores"] for r in results) else []


def _lines(results: Sequence[Results], columns: Mapping[str, str]) -> list[str]:
    """What stands under a table."""
    if columns is COLUMNS:
        return [*not_scored(results), *cut(results), interval_note(results)]
    return [matrix_notes(results)]


def not_scored(results: Sequence[Results]) -> list[str]:
    """One line for each set of samples that some runs could not score, with the reasons."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        counts = result["counts"]
        reasons = {**counts["skipped"], **counts["flagged"]}
        if reasons:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            line = f"{counts['samples'] - counts['scored']} of {counts['samples']}: {why}"
            lines.setdefault(line, []).append(result)
    told = [f"not scored, {_who(runs, results)}: {line}" for line, runs in lines.items()]
    return [*told, *left_out(results)]


def left_out(results: Sequence[Results]) -> list[str]:
    """One line for each set of annotations that became no sample, with the reasons."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        reasons = result["counts"]["annotations_left_out"]
        if reasons:
            line = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            lines.setdefault(line, []).append(result)
    return [f"annotations left out, {_who(runs, results)}: {line}" for line, runs in lines.items()]


def cut(results: Sequence[Results]) -> list[str]:
    """One line for each number of texts that some models did not read to the end."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        counts = result["counts"]
        texts, foils = counts.get("truncated", 0), counts.get("truncated_foils", 0)
        if texts or foils:
            line = f"{texts} texts and {foils} foils of {counts['samples']} samples"
            lines.setdefault(line, []).append(result)
    return [
        f"cut to the context, {_who(runs, results, ('model',))}: {line}"
        for line, runs in lines.items()
    ]


def matrix_notes(results: Sequence[Results]) -> str:
    """What the columns of the matrix are, with the thresholds of these runs."""
    metrics = [result.get("identity", {}).get("metric", {}) for result in results]
    found = {(m.get("match_threshold", "?"), m.get("high_io_ratio", "?")) for m in metrics}
    match, high = found.pop() if len(found) == 1 else ("match_threshold", "high_io_ratio")
    return MATRIX_NOTES.format(match=match, high=high)


def no_matrix(results: Sequence[Results]) -> list[str]:
    """One line for each reason why some runs have no matrix, or half of it; none if none has it."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        if missing := result.get("matrix", {}).get("missing"):
            lines.setdefault(missing, []).append(result)
    return [
        f"not in the matrix, {_who(runs, results, ('model',))}: {line}"
        for line, runs in lines.items()
    ]


def interval_note(results: Sequence[Results]) -> str:
    """What stands under a value, or why nothing does."""
    if any(score["low"] is not None for r in results for score in r["scores"].values()):
        return "Below a mean: its 95 % percentile bootstrap interval over images."
    return "No intervals: fewer than 20 images."


def _options(results: Sequence[Results], group: str) -> list[str]:
    """The different options that runs have chosen in a group."""
    return sorted({str(result["choices"].get(group, "")) for result in results})


def _in_common(names: Sequence[str], above: Sequence[str]) -> int:
    """With how many equal names two rows begin."""
    pairs = list(zip(names, above, strict=False))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _who(
    runs: Sequence[Results], everyone: Sequence[Results], groups: tuple[str, ...] = ("model", "cam")
) -> str:
    """Some runs by name, or "all".

    Args:
        runs: Which.
        everyone: Of these.
        groups: The choices that name them, beside the data set if there are several.
    """
    if len(runs) == len(everyone):
        return "all"
    groups = (*groups, "dataset") if len(_options(everyone, "dataset")) > 1 else groups
    names = ("·".join(str(run["choices"].get(name)) for name in groups) for run in runs)
    return ", ".join(dict.fromkeys(names))


def order(result: Results) -> tuple[str, str, int, str, str]:
    """Sorts runs: by data set and model, baselines after the CAMs they stand beside."""
    choices = result["choices"]
    cam = choices.get("cam", "")
    place = BASELINES.index(cam) + 1 if cam in BASELINES else 0
    last = " ".join([*result.get("overrides", []), str(result.get("fingerprint", ""))])
    return choices.get("dataset", ""), choices.get("model", ""), place, cam, last


if __name__ == "__main__":
    main()
