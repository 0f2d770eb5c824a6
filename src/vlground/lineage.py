"""Which runs of the same folder a run builds on.

    sampling ─▶ scoring ─▶ rejection_sampling ──run:FINGERPRINT──▶ finetuning ──model/──▶ benchmark

A run names another one in its configuration (`run:FINGERPRINT`, a file in the other one's folder)
or in its results (the steps of a chain), or it reads the same stage of candidates as a run that
stands before it in the chain. Of the latter the evidence is equal, whoever made it first.
"""

import json
import re
from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path

# Task -> those before it whose candidates it shares.
_BEFORE = {
    "scoring": ("sampling",),
    "rejection_sampling": ("sampling", "scoring"),
    "claim_checking": ("sampling",),
    "branch_checking": ("sampling",),
    "word_reward": ("sampling",),
}
# `run:` with 8 to 16 digits; the last two parts of a run's folder, `TASK/…-` with 8 digits.
_NAMED = re.compile(
    r"""run:([0-9a-f]{8,16})\b|([\w.-]+)/([^/\s"']+-[0-9a-f]{8})(?=[/\s"',\]}]|$)"""
)


def parents(directory: Path) -> list[Path]:
    """The runs that a run builds on, of those that lie in the same folder and are done.

    Args:
        directory: Of a run that is done, `runs/TASK/NAME`.

    Returns:
        Their directories, absolute, in the order of their names, each once.
    """
    own = directory.absolute()
    runs = own.parents[1]
    found = {*_shared(own, runs)}
    for name in ("config.yaml", "results.json"):
        path = own / name
        text = path.read_text("utf-8") if path.exists() else ""
        for digits, task, folder in _NAMED.findall(text):
            found |= {*runs.glob(f"*/*-{digits[:8]}")} if digits else {runs / task / folder}
    found = {one for one in found if one.parent.name != "debug"}  # which may be partial
    return sorted(one for one in found - {own} if (one / "results.json").is_file())


def in_order(directories: Sequence[Path]) -> list[Path]:
    """Runs after those that they build on.

    Args:
        directories: Of runs that are done.
    """
    given = {one.absolute(): one for one in directories}
    graph = {one: [other for other in parents(one) if other in given] for one in given}
    return [given[one] for one in TopologicalSorter(graph).static_order()]


def _shared(directory: Path, runs: Path) -> list[Path]:
    """Runs of tasks that stand before this one's, on the same stage of candidates."""
    before = _BEFORE.get(directory.parent.name, ())
    stage = _stage(directory) if before else None
    paths = [path.parent for task in before for path in runs.glob(f"{task}/*/results.json")]
    return [path for path in paths if stage is not None and _stage(path) == stage]


def _stage(directory: Path) -> str | None:
    try:
        results = json.loads((directory / "results.json").read_text("utf-8"))
        return str(results["stage"])
    except (OSError, ValueError, KeyError):  # damaged: whoever reads it says so
        return None
