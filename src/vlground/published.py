"""Published numbers, and which runs they are to be held against.

`experiments/<paper>/<table>.csv` belongs to the experiment `<paper>_<table>`. Its columns:

    run      who: a method, or what its runs have chosen, `option=value` with spaces between
    dataset  on which data set; empty: any
    score    its name here
    value    a fraction where the score is one, or a range such as 0.54–0.64
    n        samples that it is a mean of; empty: not known
    needs    what a number of ours takes: checkpoints, judge and people
    source   where it is published
    note     how sure it is, and as what it was published where that is not `value`
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
FOLDERS = (_PACKAGE / "experiments", _PACKAGE.parents[1] / "experiments")


@dataclass(frozen=True)
class Published:
    """One published number, or a range of them.

    Attributes:
        text: As in the file.
        low: The number, or where the range begins.
        high: The number, or where the range ends.
        rounding: Half a unit of its last published digit: the value before it was rounded is at
            most so far away.
        n: Samples it is a mean of; None: not known.
        needs: What a number of ours takes, or "".
        source: Where it is published.
        note: What else is to be said of it.
    """

    text: str
    low: float
    high: float
    rounding: float
    n: int | None
    needs: str
    source: str
    note: str

    @classmethod
    def of(cls, line: Mapping[str, str]) -> "Published":
        """From a line of the file."""
        first, _, last = line["value"].partition("–")
        size = int(line["n"]) if line["n"] else None
        digits = len(first.partition(".")[2])
        numbers = line["value"], float(first), float(last or first), 0.5 * 10**-digits, size
        return cls(*numbers, line["needs"], line["source"], line["note"])

    @property
    def value(self) -> float:
        """The number; of a range its middle."""
        return (self.low + self.high) / 2


Cells = dict[tuple[str, str], dict[str, Published]]


@dataclass(frozen=True)
class Row:
    """Published numbers of one method on one data set, and a run of it.

    Attributes:
        run: Who, as in the file.
        dataset: On what, as in the file.
        results: What `results.json` says; None: there is no such run.
        published: Score -> published number.
    """

    run: str
    dataset: str
    results: Results | None
    published: Mapping[str, Published]

    @property
    def name(self) -> str:
        """`method on data set`."""
        return f"{self.run} on {self.dataset}" if self.dataset else self.run

    @property
    def n(self) -> int | None:
        """Samples of the published numbers; None: not known."""
        return next(iter(self.published.values())).n

    def ours(self, score: str) -> Mapping[str, Any] | None:
        """Our value, low, high and n; None if there is no run, or it has no such score."""
        found: Mapping[str, Any] | None = (self.results or {"scores": {}})["scores"].get(score)
        return found

    def difference(self, score: str) -> float | None:
        """Ours minus published, of a range its nearer end and 0 inside; None if one is missing."""
        ours, published = self.ours(score), self.published.get(score)
        if ours is None or published is None:
            return None
        value = float(ours["value"])
        return value - min(max(value, published.low), published.high)

    def within(self, score: str) -> bool | None:
        """Whether the published value lies in our interval; None if there is no interval."""
        ours, published = self.ours(score), self.published.get(score)
        if ours is None or published is None or ours["low"] is None:
            return None
        slack = published.rounding
        return bool(ours["low"] - slack <= published.high and published.low <= ours["high"] + slack)


@dataclass(frozen=True)
class Comparison:
    """An experiment beside what was published.

    Attributes:
        experiment: Its name.
        rows: In the published order; a method without a run has a row without results.
        scores: Those published, in the tables' order.
    """

    experiment: str
    rows: list[Row]
    scores: list[str]

    @property
    def missing(self) -> list[Row]:
        """The published cells that have no run."""
        return [row for row in self.rows if row.results is None]


def experiments() -> dict[str, Path]:
    """Experiments with published numbers -> the file of these."""
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*/*.csv"))]
    return {f"{path.parent.name}_{path.stem}": path for path in reversed(files)}


def read_published(path: Path) -> Cells:
    """(run, data set) -> score -> published number, in the file's order."""
    cells: Cells = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            cell = cells.setdefault((line["run"], line["dataset"]), {})
            cell[line["score"]] = Published.of(line)
    return cells


def compare(experiment: str, results: Sequence[Results], cells: Cells) -> Comparison:
    """Put runs beside published numbers.

    A run belongs to the published method that has the name of its method, its model or
    `<model>_<cam>`, or to that whose options it has chosen. Baselines are left out: nobody
    published them.

    Args:
        experiment: Its name.
        results: Its runs; other experiments may have computed them.
        cells: As `read_published` gives them.
    """
    rows = []
    maps = [run for run in results if run["choices"].get("cam") not in BASELINES]
    for (name, dataset), published in cells.items():
        runs = [run for run in maps if _is(run, name, dataset) and published.keys() & run["scores"]]
        rows += [Row(name, dataset, run, published) for run in runs]
        rows += [] if runs else [Row(name, dataset, None, published)]
    # In the tables' order, those that other tasks have in the file's.
    named = dict.fromkeys([*COLUMNS, *(name for cell in cells.values() for name in cell)])
    scores = [name for name in named if any(name in published for published in cells.values())]
    return Comparison(experiment, rows, scores)


def _is(run: Results, name: str, dataset: str) -> bool:
    choices = run["choices"]
    if dataset and choices.get("dataset") != dataset:
        return False
    if "=" in name:
        pairs = (pair.split("=", 1) for pair in name.split())
        return all(value in values_of(run, option) for option, value in pairs)
    model, cam = choices.get("model"), choices.get("cam")
    names = (choices.get("method"),) if "method" in choices else (model, f"{model}_{cam}")
    own = pairing(name)  # `method=blip_base cam=rollout` is not what was published
    return name in names and all(choices.get(group) == option for group, option in own.items())


def values_of(run: Results, name: str) -> set[str]:
    """What a run has chosen, as one may write it.

    Args:
        run: What its `results.json` says.
        name: Of a group, or of an option such as `mask.alpha`.

    >>> run = {"choices": {}, "identity": {"mask": {"alpha": 25.0}}}
    >>> sorted(values_of(run, "mask.alpha"))
    ['25', '25.0']
    """
    group, _, option = name.partition(".")
    if not option:
        return {str(run["choices"].get(name))}
    node = (run.get("identity") or {}).get(group)
    value = node.get(option) if isinstance(node, Mapping) else None
    # What an identity leaves out, such as `task.arm` and files by name, the command line has said.
    told = [one.lstrip("+").partition("=") for one in run.get("overrides", [])]
    said = {word for key, _, word in told if key == name}
    return {str(value), f"{value:g}" if isinstance(value, float) else str(value), *said}


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
