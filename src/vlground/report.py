"""The command `vlground-report`: what lies under a folder of runs, as tables."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.labels import FAITHFULNESS_COLUMNS
from vlground.page.reading import Run, read, read_results
from vlground.published import Comparison, compare, experiments, read_published
from vlground.reporting.benchmarks import benchmark_blocks
from vlground.reporting.block import Block
from vlground.reporting.claim_checks import claim_blocks
from vlground.reporting.printing import latex, markdown, show
from vlground.reporting.reward_models import reward_model_blocks
from vlground.reporting.rewards import reward_blocks
from vlground.reporting.tables import Results, order
from vlground.reporting.word_rewards import word_reward_blocks


def main() -> None:
    """Entry point of `vlground-report`."""
    parser = argparse.ArgumentParser(prog="vlground-report", description=__doc__)
    told = "folder (default: runs); experiment=NAME model=a,b …: what the tables show of it"
    parser.add_argument("runs", nargs="*", default=["runs"], help=told)
    parser.add_argument("--format", choices=("console", "markdown", "latex"), default="console")
    parser.add_argument("--no-page", action="store_true", help="do not write report.html there")
    parser.add_argument("--figures", action="store_true", help="write figures/*.png there, too")
    people = {
        "--human": "CSV of people's scores (id, annotator, score) to hold explanation runs against",
        "--acceptance": "CSV of their decisions, whether they accept a judge's answer",
    }
    for name, told in people.items():
        several = f"{told}; may be given several times"
        parser.add_argument(name, type=Path, action="append", metavar="FILE", help=several)
    parser.add_argument(
        "--reference", metavar="RUN", help="whose agreement others are held against"
    )
    arguments = parser.parse_intermixed_args()  # model=… may also stand behind --format=…
    folders = [one for one in arguments.runs if "=" not in one] or ["runs"]
    chosen = dict(one.split("=", 1) for one in arguments.runs if "=" in one)
    if len(folders) > 1:
        parser.error(f"one folder of runs, not {', '.join(folders)}")
    runs = Path(folders[0])
    results = collect(runs, chosen)
    if not results:
        what = " ".join(f"{group}={options}" for group, options in chosen.items())
        sys.exit(f"{runs}: no results.json under it" + (f" of {what}" if what else ""))
    try:
        _report(runs, chosen, results, arguments)
    except VlgroundError as error:
        sys.exit(str(error))


def _report(
    runs: Path, chosen: Mapping[str, str], results: Sequence[Results], arguments: argparse.Namespace
) -> None:
    compared = comparisons(runs, chosen)
    extra = _further_tables(runs, chosen, results, arguments)
    if arguments.format == "console":
        show(results, compared, extra)
    else:
        printed = markdown if arguments.format == "markdown" else latex
        print(printed(results, compared, extra))
    if not arguments.no_page:
        _write_page(runs, extra)
    if arguments.figures:
        _write_figures(runs, chosen, results, arguments)


def _further_tables(
    runs: Path, chosen: Mapping[str, str], results: Sequence[Results], arguments: argparse.Namespace
) -> list[Block]:
    """What is not said run by run: whether models rely on an artefact, judges beside people."""
    found: list[Block] = [*benchmark_blocks(results), *reward_blocks(results)]
    found += [*reward_model_blocks(results), *word_reward_blocks(results), *claim_blocks(results)]
    if _has("shortcut", results):
        from vlground.shortcuts.tables import tables as shortcuts

        found += shortcuts(runs, chosen)
    if whole := _chosen_runs(runs, results):
        from vlground.reporting.agreeing import agreeing

        found += agreeing(whole)
        if _has("rejection_sampling", results):
            from vlground.reporting.winners import winner_blocks

            found += winner_blocks(whole)
        if _has("rejection_finetuning", results):
            from vlground.reporting.tuning_blocks import tuning_blocks

            found += tuning_blocks(whole)
    if _has("explanation", results):
        from vlground.alignment.optimum import optimum_block

        found += optimum_block(whole)
    if arguments.human or arguments.acceptance:
        from vlground.alignment import tables as people

        given = arguments.human or (), arguments.acceptance or (), arguments.reference
        found += people(runs, chosen, *given)
    return found


def _chosen_runs(runs: Path, results: Sequence[Results]) -> list[Run]:
    """The runs of these results, with their rows where a table needs them."""
    with_rows = ("explanation", "rejection_sampling", "rejection_finetuning")
    needed = any(_has(task, results) for task in with_rows) or any(
        name in result["scores"] for result in results for name in FAITHFULNESS_COLUMNS
    )
    wanted = {result.get("fingerprint") for result in results}
    whole = read(runs)[0] if needed else []
    chosen = [run for run in whole if run.results.get("fingerprint") in wanted]
    return sorted(chosen, key=lambda run: order(run.results))


def _write_figures(
    runs: Path, chosen: Mapping[str, str], results: Sequence[Results], arguments: argparse.Namespace
) -> None:
    """Histograms of every data set, figure 3, heat maps, curves: what there are runs of."""
    from vlground.page.spreads import pairs, singles
    from vlground.plots import figure_3

    whole, _ = read(runs)
    whole.sort(key=lambda run: order(run.results))
    spreads = {f"histograms_{dataset}": rows for dataset, rows in singles(whole).items()}
    if paired := pairs(whole):
        spreads["figure_3"] = paired
    drawn = {name: figure_3(rows) for name, rows in spreads.items()}
    if _has("explanation", results):
        from vlground.alignment import figures

        drawn |= figures(runs, chosen, arguments.human or (), arguments.reference)
    if _has("shortcut", results):
        from vlground.shortcuts.figure import dose_response_figure
        from vlground.shortcuts.models import read_models, settings_of

        for number, setting in enumerate(settings_of(runs, chosen)):
            if curves := dose_response_figure(read_models(runs, chosen, setting)):
                drawn[f"dose_response_{number}" if number else "dose_response"] = curves
    (runs / "figures").mkdir(exist_ok=True)
    for name, picture in drawn.items():
        picture.save(runs / "figures" / f"{name}.png")
        print(runs / "figures" / f"{name}.png", file=sys.stderr)


def _has(task: str, results: Sequence[Results]) -> bool:
    return any(result.get("task") == task for result in results)


def _write_page(runs: Path, extra: Sequence[Block]) -> None:
    from vlground.page.build import write_page

    page = write_page(runs, extra)
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
    named = {group: {results["choices"].get(group)} for group in chosen}
    for group in chosen:
        part, _, option = group.partition(".")
        if option:  # mask.alpha=25, as the tables name what differs
            node = (results.get("identity") or {}).get(part)
            value = node.get(option) if isinstance(node, Mapping) else None
            named[group] = {str(value), f"{value:g}" if isinstance(value, float) else str(value)}
    named["experiment"] = {*experiments}
    return all(bool(named[group] & {*options.split(",")}) for group, options in chosen.items())


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


if __name__ == "__main__":
    main()
