"""Published numbers, and ours beside them.

`experiments/<paper>/<table>.csv` belongs to the experiment `<paper>_<table>`. Its columns: method,
dataset, score, value (a fraction), n (of samples), note.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlground.labels import BASELINES, COLUMNS

Results = Mapping[str, Any]

_PACKAGE = Path(__file__).parent
# The wheel carries experiments/ inside the package; in a checkout it lies two folders up.
_FOLDERS = (_PACKAGE / "experiments", _PACKAGE.parents[1] / "experiments")

NOTE = (
    "Difference: ours − published. ✓: the published value, as far as it was rounded, lies in our "
    "interval; ✗: it does not; neither: there is no interval."
)


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        value: In 0-1.
        rounding: Half a unit of its last published digit: the value before it was rounded is at
            most so far away.
        n: Samples it is a mean of.
        note: As it was published, where `value` is not.
    """

    value: float
    rounding: float
    n: int
    note: str


Cells = dict[tuple[str, str], dict[str, Published]]


@dataclass(frozen=True)
class Row:
    """One run beside the published numbers of its method on its data set.

    Attributes:
        method: As published.
        dataset: As published.
        results: What `results.json` says.
        published: Score -> published number.
    """

    method: str
    dataset: str
    results: Results
    published: Mapping[str, Published]

    def ours(self, score: str) -> Mapping[str, Any] | None:
        """Our value, low, high and n; None if the run has no such score."""
        found: Mapping[str, Any] | None = self.results["scores"].get(score)
        return found

    def difference(self, score: str) -> float | None:
        """Ours minus published; None if one is missing."""
        ours = self.ours(score)
        if ours is None or score not in self.published:
            return None
        return float(ours["value"]) - self.published[score].value

    def within(self, score: str) -> bool | None:
        """Whether the published value lies in our interval; None if there is no interval."""
        ours, published = self.ours(score), self.published.get(score)
        if ours is None or published is None or ours["low"] is None:
            return None
        slack = published.rounding
        return bool(ours["low"] - slack <= published.value <= ours["high"] + slack)


@dataclass(frozen=True)
class Comparison:
    """An experiment beside what was published.

    Attributes:
        experiment: Its name.
        rows: In the published order.
        missing: `method on dataset` of the published cells that have no run.
        scores: Those published, in the tables' order.
    """

    experiment: str
    rows: list[Row]
    missing: list[str]
    scores: list[str]


def experiments() -> dict[str, Path]:
    """Experiments with published numbers -> the file of these."""
    files = [path for folder in _FOLDERS for path in sorted(folder.glob("*/*.csv"))]
    return {f"{path.parent.name}_{path.stem}": path for path in reversed(files)}


def read_published(path: Path) -> Cells:
    """(method, data set) -> score -> published number, in the file's order."""
    cells: Cells = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            digits = len(line["value"].partition(".")[2])
            value = Published(float(line["value"]), 0.5 * 10**-digits, int(line["n"]), line["note"])
            cells.setdefault((line["method"], line["dataset"]), {})[line["score"]] = value
    return cells


def compare(experiment: str, results: Sequence[Results], cells: Cells) -> Comparison:
    """Put runs beside published numbers.

    A run belongs to the published method that has the name of its method, its model or
    `<model>_<cam>`. Baselines are left out: nobody published them.

    Args:
        experiment: Its name.
        results: Its runs; other experiments may have computed them.
        cells: As `read_published` gives them.
    """
    rows, missing = [], []
    maps = [run for run in results if run["choices"].get("cam") not in BASELINES]
    for (method, dataset), published in cells.items():
        runs = [run for run in maps if _is(run, method, dataset)]
        rows += [Row(method, dataset, run, published) for run in runs]
        missing += [] if runs else [f"{method} on {dataset}"]
    scores = [name for name in COLUMNS if any(name in published for published in cells.values())]
    return Comparison(experiment, rows, missing, scores)


def _is(run: Results, method: str, dataset: str) -> bool:
    choices = run["choices"]
    model, cam = choices.get("model"), choices.get("cam")
    names = (choices.get("method"),) if "method" in choices else (model, f"{model}_{cam}")
    if choices.get("dataset") != dataset or method not in names:
        return False
    own = pairing(method)  # `method=blip_base cam=rollout` is not what was published
    return all(choices.get(group) == option for group, option in own.items())


@cache
def pairing(method: str) -> dict[str, str]:
    """Model and CAM of `conf/method/<method>.yaml`, by group; nothing if there is no such file."""
    import yaml

    from vlground.run import CONF

    file = CONF / "method" / f"{method}.yaml"
    if not file.is_file():
        return {}
    defaults = yaml.safe_load(file.read_text("utf-8"))["defaults"]
    chosen = {key: option for line in defaults for key, option in line.items()}
    return {key.removeprefix("override /"): option for key, option in chosen.items()}


def lines(comparison: Comparison) -> list[str]:
    """What stands under the table: the missing cells, runs of other sizes, what the signs mean."""
    told = []
    if comparison.missing:
        told.append(f"not run ({len(comparison.missing)}): {_grouped(comparison.missing)}")
    partial: dict[str, list[str]] = {}
    for row in comparison.rows:
        size = next(iter(row.published.values())).n
        scored = row.results["counts"]["scored"]
        if scored != size:
            who = partial.setdefault(f"{scored} of the published {size}", [])
            if (name := f"{row.method} on {row.dataset}") not in who:
                who.append(name)
    told += [f"other samples, {', '.join(who)}: {what}" for what, who in partial.items()]
    return [*told, NOTE]


def comparison_table(
    comparison: Comparison, settings: Sequence[str], separator: str
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells: three lines a run, ours, published and the difference.

    Args:
        comparison: With one row at least.
        settings: For each row what else tells it apart, or "".
        separator: Between a value and its interval.
    """
    options = ["options"] if any(settings) else []
    heads = [
        "data set",
        "method",
        *options,
        "",
        "n",
        *(COLUMNS[name] for name in comparison.scores),
    ]
    rows: list[list[str]] = []
    above = ""
    for row, setting in zip(comparison.rows, settings, strict=True):
        names = ["" if row.dataset == above else row.dataset, row.method]
        names += [setting] if options else []
        above = row.dataset
        empty = [""] * len(names)
        size = str(next(iter(row.published.values())).n)
        scored = str(row.results["counts"]["scored"])
        ours = [interval(row.ours(name), separator) for name in comparison.scores]
        published = [_published(row.published.get(name)) for name in comparison.scores]
        rows.append([*names, "ours", scored, *ours])
        rows.append([*empty, "published", size, *published])
        rows.append([*empty, "difference", "", *(signed(row, name) for name in comparison.scores)])
    return heads, rows


def interval(score: Mapping[str, Any] | None, separator: str) -> str:
    """A value with its interval, if it has one.

    >>> interval({"value": 0.5, "low": 0.401, "high": 0.6}, " ")
    '0.500 0.40–0.60'
    """
    if score is None:
        return "–"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f}{separator}{score['low']:.2f}–{score['high']:.2f}"


def signed(row: Row, score: str) -> str:
    """The difference, and whether the published value lies in our interval."""
    difference, within = row.difference(score), row.within(score)
    if difference is None:
        return "–"
    return f"{difference:+.3f}" + {True: " ✓", False: " ✗", None: ""}[within]


def _published(number: Published | None) -> str:
    if number is None:
        return "–"
    return f"{number.value:.{2 if number.rounding > 1e-3 else 4}f}"


def _grouped(cells: Sequence[str]) -> str:
    """`a on x`, `a on y` as `a on x, y`."""
    methods: dict[str, list[str]] = {}
    for cell in cells:
        method, dataset = cell.split(" on ")
        methods.setdefault(method, []).append(dataset)
    return "; ".join(f"{method} on {', '.join(data)}" for method, data in methods.items())
