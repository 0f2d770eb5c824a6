"""Ours beside published: the table of a comparison, and what is said below it."""

from collections.abc import Sequence

from vlground.labels import COLUMNS, EXPLANATION_COLUMNS
from vlground.published import Comparison, Published, Row, interval
from vlground.reporting.benchmarks import HEADS
from vlground.reporting.block import Block
from vlground.reporting.tables import differences

NOTE = (
    "Difference: ours − published. ✓: the published value, as far as it was rounded, lies in our "
    "interval; ✗: it does not; neither: there is no interval."
)
_DIGITS = 4  # of a published number; a count of thousands has more as a fraction
_HEADS = {
    **COLUMNS,
    **EXPLANATION_COLUMNS,
    **HEADS,
    "acceptance": "accepted ↑",
    "pearson": "Pearson ↑",
    "f1_gain": "F1 gain ↑",
    "rank": "mean rank ↓",
}


def beside_published(comparison: Comparison) -> Block:
    """An experiment's comparison with what was published."""
    heads, rows = comparison_table(comparison, settings_of(comparison), "\n")
    name = f"{comparison.experiment}: ours beside published"
    return Block(name, heads, rows, lines(comparison), heads.index("n"))


def settings_of(comparison: Comparison) -> list[str]:
    """For each row what its command line set beside what names the row; "" without a run."""
    runs = [row.results for row in comparison.rows if row.results is not None]
    told = iter(differences(runs))
    found = []
    for row in comparison.rows:
        words = [] if row.results is None else next(told).split()
        found.append(" ".join(word for word in words if word not in row.run.split()))
    return found


def comparison_table(
    comparison: Comparison, settings: Sequence[str], separator: str
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells: three lines a run, ours, published and the difference; one without a run.

    Args:
        comparison: With one row at least.
        settings: For each row what else tells it apart, or "".
        separator: Between a value and its interval.
    """
    datasets = any(row.dataset for row in comparison.rows)
    first = "run" if any("=" in row.run for row in comparison.rows) else "method"
    named = [*(["data set"] if datasets else []), first, *(["options"] if any(settings) else [])]
    heads = [*named, "", "n", *map(head, comparison.scores)]
    rows: list[list[str]] = []
    above = None
    for row, setting in zip(comparison.rows, settings, strict=True):
        names = [*(["" if row.dataset == above else row.dataset] if datasets else []), row.run]
        names += [setting] if any(settings) else []
        above = row.dataset
        empty = [""] * len(names)
        size = "" if row.n is None else str(row.n)
        published = [_published(row.published.get(name)) for name in comparison.scores]
        if row.results is None:
            rows.append([*names, "published", size, *published])
            continue
        ours = [interval(row.ours(name), separator) for name in comparison.scores]
        rows.append([*names, "ours", str(row.results["counts"]["scored"]), *ours])
        rows.append([*empty, "published", size, *published])
        rows.append([*empty, "difference", "", *(signed(row, name) for name in comparison.scores)])
    return heads, rows


def lines(comparison: Comparison) -> list[str]:
    """What stands under the table: why ours is missing, other samples, sources, the signs."""
    return [
        *_not_run(comparison.missing),
        *_not_measured(comparison),
        *_other_samples(comparison.rows),
        *_sources(comparison),
        *([NOTE] if len(comparison.missing) < len(comparison.rows) else []),
    ]


def head(score: str) -> str:
    """The head of a column.

    >>> head("pope/f1")
    'pope F1 ↑'
    """
    part, _, name = score.rpartition("/")
    return " ".join([*([part] if part else []), _HEADS.get(name, name.replace("_", " "))])


def signed(row: Row, score: str) -> str:
    """The difference, and whether the published value lies in our interval."""
    difference, within = row.difference(score), row.within(score)
    if difference is None:
        return "–"
    return f"{round(difference, 3) + 0.0:+.3f}" + {True: " ✓", False: " ✗", None: ""}[within]


def _not_run(rows: Sequence[Row]) -> list[str]:
    """One line for each thing that ours would take."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        needs = ", ".join(dict.fromkeys(one.needs for one in row.published.values()))
        found.setdefault(needs, []).append(row)
    return [
        f"not run ({len(who)}){_needing(needs)}: {_grouped(who)}" for needs, who in found.items()
    ]


def _not_measured(comparison: Comparison) -> list[str]:
    """One line for each published score that a run does not have."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        for score, number in row.published.items() if row.results is not None else ():
            if row.ours(score) is None:
                found.setdefault((head(score), number.needs), []).append(row.name)
    return [
        f"no {score} of ours{_needing(needs)}: {', '.join(dict.fromkeys(who))}"
        for (score, needs), who in found.items()
    ]


def _other_samples(rows: Sequence[Row]) -> list[str]:
    found: dict[str, list[str]] = {}
    for row in rows:
        scored = row.n if row.results is None else row.results["counts"]["scored"]
        if row.n is not None and scored != row.n:
            found.setdefault(f"{scored} of the published {row.n}", []).append(row.name)
    return [f"other samples, {', '.join(dict.fromkeys(who))}: {n}" for n, who in found.items()]


def _sources(comparison: Comparison) -> list[str]:
    """Where the numbers stand, and what is to be said of some of them."""
    numbers = [(s, one) for row in comparison.rows for s, one in row.published.items()]
    sources = ", ".join(dict.fromkeys(one.source for _, one in numbers))
    found: dict[str, list[str]] = {}
    for score, one in numbers:
        # How a fraction was printed is for whoever checks the file.
        if one.note and not one.note.startswith("published as "):
            found.setdefault(one.note, []).append(head(score))
    notes = [f"{', '.join(dict.fromkeys(scores))}: {note}" for note, scores in found.items()]
    return [f"published: {sources}", *notes]


def _needing(needs: str) -> str:
    return f", needs {needs}" if needs else ""


def _published(number: Published | None) -> str:
    if number is None:
        return "–"
    digits = len(number.text.partition("–")[0].partition(".")[2])
    return f"{number.low:.{_DIGITS}f}" if digits > _DIGITS else number.text


def _grouped(rows: Sequence[Row]) -> str:
    """`a on x`, `a on y` as `a on x, y`."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.run, []).append(row.dataset)
    told = [(run, ", ".join(filter(None, data))) for run, data in found.items()]
    return "; ".join(f"{run} on {data}" if data else run for run, data in told)
