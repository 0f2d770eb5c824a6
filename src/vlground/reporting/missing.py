"""Cells that a sweep was to run and that have no results."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlground.sweeps import outcomes


@dataclass(frozen=True)
class MissingCell:
    """A cell without results.

    Attributes:
        experiment: Whose sweep it belongs to; None: of a sweep of the command line.
        cell: Its title if it was begun, else its overrides.
        reason: `not run`, or how it failed, in one line.
    """

    experiment: str | None
    cell: str
    reason: str


def missing_cells(runs: Path, experiments: Sequence[str] | None = None) -> list[MissingCell]:
    """What sweeps under a folder were to run, as far as no later or earlier one has done it.

    Two cells are the same if their commands are. What was done by a command of other words is not
    recognised; started again, its sweep finds it done already.

    Args:
        runs: The folder.
        experiments: Whose sweeps; None: all, also those of the command line.
    """
    settled: set[frozenset[str]] = set()
    open_ones: dict[frozenset[str], MissingCell] = {}
    for path in sorted(runs.glob("sweeps/*/cells.json")):  # their names are times
        try:
            sweep = json.loads(path.read_text("utf-8"))
            cells, experiment = sweep["cells"], sweep["experiment"]
        except (OSError, ValueError, KeyError):
            continue
        if sweep.get("dry_run") or (experiments is not None and experiment not in experiments):
            continue
        known = outcomes(path.parent)
        alike = set.intersection(*map(set, cells)) if len(cells) > 1 else set()
        for number, overrides in enumerate(cells):
            same, one = frozenset(overrides), known.get(number)
            if one is not None and _is_settled(runs, one):
                settled.add(same)
            elif one is not None and one["outcome"] == "failed":
                open_ones[same] = MissingCell(experiment, one["title"], one["told"])
            else:
                # What tells it from the others of its sweep.
                words = [word for word in overrides if not word.startswith("experiment=")]
                telling = " ".join(word for word in words if word not in alike)
                open_ones.setdefault(same, MissingCell(experiment, telling, "not run"))
    return [cell for same, cell in open_ones.items() if same not in settled]


def _is_settled(runs: Path, cell: Mapping[str, Any]) -> bool:
    """Whether a cell that ended needs no further run."""
    if cell["outcome"] in ("done now", "done already"):
        return (runs / cell["directory"] / "results.json").exists()  # nobody has removed it
    return bool(cell["outcome"] == "impossible")
