"""What stands under the tables: what was not scored, what was cut, what the columns are."""

from collections.abc import Callable, Mapping, Sequence

from vlground.labels import COLUMNS, FAITHFULNESS_COLUMNS, FAITHFULNESS_NOTES, MATRIX_NOTES
from vlground.reporting.tables import APART, Results, decides, options


def notes(results: Sequence[Results], columns: Mapping[str, str]) -> list[str]:
    """What stands under a table."""
    if columns is COLUMNS:
        return [*not_scored(results), *cut(results), interval_note(results)]
    if columns is FAITHFULNESS_COLUMNS:
        return [*not_scored(results), interval_note(results), FAITHFULNESS_NOTES]
    return [matrix_notes(results)] if any(map(decides, results)) else []


def not_scored(
    results: Sequence[Results],
    naming: Callable[[Sequence[Results], Sequence[Results]], str] | None = None,
) -> list[str]:
    """One line for each set of samples that some runs could not score, with the reasons.

    Args:
        results: The runs of a table.
        naming: Names some of them; None: by model and CAM.
    """
    name = naming or who
    lines: dict[str, list[Results]] = {}
    for result in results:
        counts = result["counts"]
        reasons = {**counts["skipped"], **counts["flagged"]}
        if reasons:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            line = f"{counts['samples'] - counts['scored']} of {counts['samples']}: {why}"
            lines.setdefault(line, []).append(result)
    told = [f"not scored, {name(runs, results)}: {line}" for line, runs in lines.items()]
    return [*told, *left_out(results)]


def left_out(results: Sequence[Results]) -> list[str]:
    """One line for each set of annotations that became no sample, with the reasons."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        reasons = result["counts"]["annotations_left_out"]
        if reasons:
            line = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            lines.setdefault(line, []).append(result)
    return [f"annotations left out, {who(runs, results)}: {line}" for line, runs in lines.items()]


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
        f"cut to the context, {who(runs, results, ('model',))}: {line}"
        for line, runs in lines.items()
    ]


def matrix_notes(results: Sequence[Results]) -> str:
    """What the columns of the matrix are, with the thresholds of these runs."""
    metrics = [result.get("identity", {}).get("metric", {}) for result in results]
    found = {(m.get("match_threshold", "?"), m.get("high_io_ratio", "?")) for m in metrics}
    match, high = found.pop() if len(found) == 1 else ("match_threshold", "high_io_ratio")
    return MATRIX_NOTES.format(match=match, high=high)


def outside_matrix(results: Sequence[Results]) -> list[str]:
    """Why some runs are not in the matrix; of classifiers alone there is nothing to say."""
    maps = [result for result in results if result.get("task") not in APART]
    return no_matrix(maps) if any(map(decides, maps)) else []


def no_matrix(results: Sequence[Results]) -> list[str]:
    """One line for each reason why some runs have no matrix, or half of it; none if none has it."""
    lines: dict[str, list[Results]] = {}
    for result in results:
        if missing := result.get("matrix", {}).get("missing"):
            lines.setdefault(missing, []).append(result)
    return [
        f"not in the matrix, {who(runs, results, ('model',))}: {line}"
        for line, runs in lines.items()
    ]


def interval_note(results: Sequence[Results]) -> str:
    """What stands under a value, or why nothing does."""
    if any(score["low"] is not None for r in results for score in r["scores"].values()):
        return "Below a mean: its 95 % percentile bootstrap interval over images."
    return "No intervals: fewer than 20 images."


def who(
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
    groups = (*groups, "dataset") if len(options(everyone, "dataset")) > 1 else groups
    names = ("·".join(str(run["choices"].get(name)) for name in groups) for run in runs)
    return ", ".join(dict.fromkeys(names))
