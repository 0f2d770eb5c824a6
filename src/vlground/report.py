"""The command `vlground-report`: what lies under a folder of runs, as tables."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.labels import FAITHFULNESS_COLUMNS
from vlground.page.reading import Run, read, read_results
from vlground.page.reading import troubles as troubles_under
from vlground.published import Comparison, compare, experiments, read_published, values_of
from vlground.reporting.benchmarks import benchmark_blocks
from vlground.reporting.block import Block
from vlground.reporting.branches import branch_blocks
from vlground.reporting.claim_checks import claim_blocks
from vlground.reporting.html import html
from vlground.reporting.printing import latex, markdown, show
from vlground.reporting.reward_models import reward_model_blocks
from vlground.reporting.rewards import reward_blocks
from vlground.reporting.tables import Results, order
from vlground.reporting.word_rewards import word_reward_blocks

_NAMED = 8  # cells that nobody ran and that are named one by one
_FORMATS = {"markdown": markdown, "latex": latex, "html": html}


def main() -> None:
    """Entry point of `vlground-report`."""
    parser = _parser()
    arguments = parser.parse_intermixed_args()  # model=… may also stand behind --format=…
    folders = [one for one in arguments.runs if "=" not in one] or ["runs"]
    chosen = dict(one.split("=", 1) for one in arguments.runs if "=" in one)
    if len(folders) > 1:
        parser.error(f"one folder of runs, not {', '.join(folders)}")
    try:
        _report(Path(folders[0]), chosen, arguments)
    except VlgroundError as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vlground-report", description=__doc__)
    told = "folder (default: runs); experiment=NAME model=a,b …: what the tables show of it"
    parser.add_argument("runs", nargs="*", default=["runs"], help=told)
    parser.add_argument("--format", choices=("console", *_FORMATS), default="console")
    parser.add_argument("--no-page", action="store_true", help="do not write report.html there")
    parser.add_argument("--figures", action="store_true", help="write figures/*.png there, too")
    told = "rank models under every combination of what the paper leaves open, from stored maps"
    parser.add_argument("--multiverse", action="store_true", help=told)
    told = "fetch the runs of a W&B project into the folder, and report on them"
    parser.add_argument("--wandb", metavar="ENTITY/PROJECT", help=told)
    people = {
        "--human": "CSV of people's scores (id, annotator, score) to hold explanation runs against",
        "--acceptance": "CSV of their decisions, whether they accept a judge's answer",
    }
    for name, told in people.items():
        several = f"{told}; may be given several times"
        parser.add_argument(name, type=Path, action="append", metavar="FILE", help=several)
    told = "whose agreement others are held against"
    parser.add_argument("--reference", metavar="RUN", help=told)
    return parser


def _report(runs: Path, chosen: Mapping[str, str], arguments: argparse.Namespace) -> None:
    if arguments.wandb:
        from vlground.reporting.from_wandb import fetched

        runs = fetched(arguments.wandb, runs)
    results = collect(runs, chosen)
    compared = comparisons(runs, chosen)
    _tell_what_is_missing(runs, chosen)
    if not results:
        what = " ".join(f"{group}={options}" for group, options in chosen.items())
        none = f"{runs}: no results.json under it" + (f" of {what}" if what else "")
        if not compared:
            raise VlgroundError(none)
        print(none, file=sys.stderr)  # what was published is shown all the same
    extra = _further_tables(runs, chosen, results, arguments)
    if arguments.format == "console":
        show(results, compared, extra)
    else:
        print(_FORMATS[arguments.format](results, compared, extra))
    if results and not arguments.no_page:
        _write_page(runs, extra, arguments.human or ())
    if results and arguments.figures:
        from vlground.reporting.figures import write_figures

        people = arguments.human or (), arguments.reference
        for path in write_figures(runs, chosen, results, *people, arguments.multiverse):
            print(path, file=sys.stderr)


def _tell_what_is_missing(runs: Path, chosen: Mapping[str, str]) -> None:
    """Runs and cells without results; not among the tables, which may go into a file."""
    from vlground.reporting.missing import missing_cells

    troubles = troubles_under(runs)
    for trouble in troubles:
        print(f"{trouble.path}: {trouble.kind}: {trouble.line}", file=sys.stderr)
    told = {trouble.line for trouble in troubles}
    named = chosen["experiment"].split(",") if "experiment" in chosen else None
    missing: dict[tuple[str, str], list[str]] = {}
    for cell in missing_cells(runs, named):
        if cell.reason not in told:  # what failed once it was begun is told above
            missing.setdefault((cell.experiment or "a sweep", cell.reason), []).append(cell.cell)
    for (experiment, reason), cells in missing.items():
        more = f" and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
        shown = "; ".join(cells[:_NAMED])
        print(f"{experiment}: {reason} ({len(cells)}): {shown}{more}", file=sys.stderr)


def _further_tables(
    runs: Path, chosen: Mapping[str, str], results: Sequence[Results], arguments: argparse.Namespace
) -> list[Block]:
    """What is not said run by run: whether models rely on an artefact, judges beside people."""
    found: list[Block] = [*benchmark_blocks(results), *reward_blocks(results)]
    found += [*reward_model_blocks(results), *word_reward_blocks(results)]
    found += [*claim_blocks(results), *branch_blocks(results)]
    if _has("shortcut", results):
        from vlground.shortcuts.tables import tables as shortcuts

        found += shortcuts(runs, chosen)
    if whole := _chosen_runs(runs, results):
        from vlground.reporting.agreeing import agreeing
        from vlground.reporting.downstream import downstream_blocks
        from vlground.reporting.judge_beside import judge_blocks

        found += [*agreeing(whole), *downstream_blocks(whole), *judge_blocks(whole)]
        if _has("rejection_sampling", results):
            from vlground.reporting.error_types import error_type_blocks
            from vlground.reporting.winners import winner_blocks

            found += [*winner_blocks(whole), *error_type_blocks(whole)]
        if _has("rejection_finetuning", results):
            from vlground.reporting.tuning_blocks import tuning_blocks

            found += tuning_blocks(whole)
    if _has("explanation", results):
        from vlground.alignment.optimum import optimum_block

        found += optimum_block(whole)
    if arguments.multiverse:
        from vlground.multiverse import blocks as multiverse

        found += multiverse(runs, results, chosen.get("experiment"))
    if arguments.human or arguments.acceptance:
        from vlground.alignment import tables as people

        given = arguments.human or (), arguments.acceptance or (), arguments.reference
        found += people(runs, chosen, *given)
    return found


def _chosen_runs(runs: Path, results: Sequence[Results]) -> list[Run]:
    """The runs of these results, with their rows where a table needs them."""
    with_rows = ("explanation", "rejection_sampling", "rejection_finetuning")
    needed = any(_has(task, results) for task in with_rows) or any(
        name in result["scores"]
        for result in results
        for name in (*FAITHFULNESS_COLUMNS, "matched_accuracy")  # of models that decide
    )
    wanted = {result.get("fingerprint") for result in results}
    whole = read(runs)[0] if needed else []
    chosen = [run for run in whole if run.results.get("fingerprint") in wanted]
    return sorted(chosen, key=lambda run: order(run.results))


def _has(task: str, results: Sequence[Results]) -> bool:
    return any(result.get("task") == task for result in results)


def _write_page(runs: Path, extra: Sequence[Block], human: Sequence[Path]) -> None:
    from vlground.page.build import write_page

    page = write_page(runs, extra, human)
    print(f"{page.path}  ({page.runs} runs, {page.size / 1e6:.1f} MB)", file=sys.stderr)


def collect(runs: Path, chosen: Mapping[str, str] | None = None) -> list[Results]:
    """Results under a folder that can be read, debug runs left out, in the tables' order.

    Args:
        runs: The folder.
        chosen: `experiment`, a group or an option such as `mask.alpha` -> values, separated by
            commas, of the runs that are wanted; None: all.
    """
    readable = _readable(runs)
    found = [results for results, of in readable if _is_chosen(results, of, chosen or {})]
    return sorted(found, key=order)


def _readable(runs: Path) -> list[tuple[Results, set[str]]]:
    """Every result with the experiments that have this cell."""
    found = []
    for path in runs.glob("*/*/results.json"):
        results = read_results(path) if path.parts[-3] != "debug" else "debug"
        if not isinstance(results, str):
            others = path.parent / "experiments.txt"  # that found it done already
            names = others.read_text().split() if others.exists() else []
            found.append((results, {str(results.get("experiment")), *names}))
    return found


def _is_chosen(results: Results, experiments: set[str], chosen: Mapping[str, str]) -> bool:
    named = {group: values_of(results, group) for group in chosen} | {"experiment": experiments}
    return all(bool(named[group] & {*options.split(",")}) for group, options in chosen.items())


def comparisons(runs: Path, chosen: Mapping[str, str] | None = None) -> list[Comparison]:
    """The experiments under a folder that have published numbers, beside these.

    Args:
        runs: The folder.
        chosen: As for `collect`. An experiment that is named is there without any run, too: what
            was published, and what ours would need.
    """
    wanted, readable = dict(chosen or {}), _readable(runs)
    named = wanted.get("experiment")
    found = []
    for name, path in experiments().items():
        if named is not None and name not in named.split(","):
            continue
        mine = {**wanted, "experiment": name}
        results = sorted((one for one, of in readable if _is_chosen(one, of, mine)), key=order)
        if results or named is not None:
            found.append(compare(name, results, read_published(path)))
    return found


if __name__ == "__main__":
    main()
