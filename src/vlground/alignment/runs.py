"""The explanation runs under a folder, and what tells them apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlground.errors import VlgroundError
from vlground.page.options import differing
from vlground.page.reading import Run, read
from vlground.report import collect
from vlground.reporting.tables import order

PAPER = {"alpha": 25.0, "beta": 0.6}  # the mask that AutoXplain finds closest to people
_GROUPS = ("dataset", "model", "cam", "mask", "judge")
_NEEDED = ("id", "image_id", "score", "outcome", "predicted")  # columns of their rows


def explained(folder: Path, chosen: Mapping[str, str] | None = None) -> list[Run]:
    """The runs of `task=explanation` under a folder, as the tables order them, then alpha and beta.

    Args:
        folder: Of runs.
        chosen: As for `vlground.report.collect`.

    Raises:
        VlgroundError: There is none, or the rows of one cannot be read.
    """
    wanted = {results.get("fingerprint") for results in collect(folder, chosen)}
    whole = [run for run in read(folder)[0] if run.results.get("fingerprint") in wanted]
    found = [run for run in whole if run.results.get("task") == "explanation"]
    if not found:
        raise VlgroundError(f"{folder}: no run of task=explanation under it")
    for run in found:
        if run.rows is None:
            raise VlgroundError(f"{run.folder}: {run.problem}; run it again with overwrite=true")
        if missing := [name for name in _NEEDED if name not in run.rows]:
            raise VlgroundError(f"{run.folder}: rows.parquet: no column {', '.join(missing)}")
    return sorted(found, key=lambda run: _place(run.results))


def settings(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each run: the choices and options in which the runs differ.

    Runs that nothing tells apart get their fingerprints. A single run is named after its choices.

    >>> masks = [{"alpha": 25.0, "beta": 0.4}, {"alpha": 25.0, "beta": 0.6}]
    >>> settings([{"choices": {"mask": "sigmoid"}, "identity": {"mask": mask}} for mask in masks])
    ['mask.beta=0.4', 'mask.beta=0.6']
    """
    varied = [g for g in _GROUPS if len({str(one["choices"].get(g)) for one in results}) > 1]
    names = []
    for result, found in zip(results, differing(results), strict=True):
        chosen = {group: str(result["choices"].get(group, "")) for group in _GROUPS}
        parts = [chosen[group] for group in varied]
        # The data differ wherever the limit does, and their checksum says nothing to a reader.
        parts += [f"{name}={value}" for name, value in found.items() if name != "data"]
        alone = [chosen[group] for group in ("model", "cam", "mask")]
        names.append(" ".join(parts or alone))
    alike = {name for name in names if names.count(name) > 1}
    return [
        f"{name} {result.get('fingerprint', '')}".strip() if name in alike else name
        for name, result in zip(names, results, strict=True)
    ]


def reference_of(runs: Sequence[Run], names: Sequence[str], wanted: str | None = None) -> str:
    """The name of the run that the others are compared with.

    Args:
        runs: In the tables' order.
        names: Of the runs, see `settings`.
        wanted: A name, the name of a run's folder, or how its fingerprint begins; None: the paper's
            mask (sigmoid, alpha 25, beta 0.6) if a run has it, else the first run.

    Raises:
        VlgroundError: If no run or several are meant.
    """
    if wanted is None:
        papers = [name for run, name in zip(runs, names, strict=True) if is_paper(run.results)]
        return [*papers, *names][0]
    exact = [name for name in names if name == wanted]
    meant = exact or [
        name
        for run, name in zip(runs, names, strict=True)
        if run.folder.name == wanted or str(run.results.get("fingerprint")).startswith(wanted)
    ]
    if len(meant) != 1:
        told = "several runs" if meant else "no run"
        raise VlgroundError(f"--reference {wanted}: {told} of that name: {'; '.join(names)}")
    return meant[0]


def sigmoid_of(results: Mapping[str, Any]) -> tuple[float, float] | None:
    """Alpha and beta of a run with the sigmoid mask; None of other masks, controls among them."""
    mask = (results.get("identity") or {}).get("mask")
    if results["choices"].get("mask") != "sigmoid" or not isinstance(mask, Mapping):
        return None
    alpha, beta = mask.get("alpha"), mask.get("beta")
    if not isinstance(alpha, int | float) or not isinstance(beta, int | float):
        return None
    return float(alpha), float(beta)


def is_paper(results: Mapping[str, Any]) -> bool:
    """Whether a run's mask has the paper's best alpha and beta."""
    return sigmoid_of(results) == (PAPER["alpha"], PAPER["beta"])


def _place(results: Mapping[str, Any]) -> tuple[Any, ...]:
    *choices, last = order(results)
    return (*choices, sigmoid_of(results) or (), last)
