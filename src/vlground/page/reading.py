"""What a folder of runs holds: runs that are whole, and those that are not, with the reason."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Run:
    """One run that can be read.

    Attributes:
        path: Of its directory, relative to the folder of runs, with slashes.
        folder: The directory itself.
        results: What `results.json` says.
        rows: One row a sample; None if `rows.parquet` cannot be read.
        problem: Why there are no rows, or "".
    """

    path: str
    folder: Path
    results: Mapping[str, Any]
    rows: "pandas.DataFrame | None"
    problem: str


@dataclass(frozen=True)
class Trouble:
    """A run directory that holds no results.

    Attributes:
        path: Relative to the folder of runs, with slashes.
        kind: `failed` (it left error.txt), `unfinished` (no results) or `broken` (torn results).
        line: What went wrong, in one line.
    """

    path: str
    kind: str
    line: str


def read(runs: Path) -> tuple[list[Run], list[Trouble]]:
    """Read every run directory `runs/*/*`, debug runs left out.

    Nothing that lies there makes this fail: a run killed halfway is listed as trouble.
    """
    whole: list[Run] = []
    troubles: list[Trouble] = []
    for folder in _directories(runs):
        path = folder.relative_to(runs).as_posix()
        if not (folder / "results.json").exists():
            troubles.append(_without_results(runs, folder, path))
            continue
        results = read_results(folder / "results.json")
        if isinstance(results, str):
            troubles.append(Trouble(path, "broken", results))
            continue
        rows, problem = _rows(folder / "rows.parquet")
        whole.append(Run(path, folder, results, rows, problem))
    return whole, troubles


def troubles(runs: Path) -> list[Trouble]:
    """Run directories `runs/*/*` without results, as `read` lists them; no rows are read."""
    found = []
    for folder in _directories(runs):
        path = folder.relative_to(runs).as_posix()
        if not (folder / "results.json").exists():
            found.append(_without_results(runs, folder, path))
        elif isinstance(told := read_results(folder / "results.json"), str):
            found.append(Trouble(path, "broken", told))
    return found


def read_results(path: Path) -> Mapping[str, Any] | str:
    """The content of a `results.json`, or why it is none."""
    try:
        results = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return f"results.json: {_line(error)}"
    if not isinstance(results, dict):
        return "results.json: not an object"
    for name in ("choices", "scores", "counts"):
        if not isinstance(results.get(name), dict):
            return f"results.json: no {name}"
    for score in results["scores"].values():
        if not isinstance(score, dict) or not isinstance(score.get("value"), int | float):
            return "results.json: a score without a value"
    return results


def _directories(runs: Path) -> Iterator[Path]:
    for folder in sorted(runs.glob("*/*")):
        # Only a run writes config.yaml before anything else; evidence and sweeps have none.
        known = any((folder / name).exists() for name in ("results.json", "error.txt", "run.log"))
        if known and folder.is_dir() and folder.parent.name not in ("debug", "evidence"):
            yield folder


def _without_results(runs: Path, folder: Path, path: str) -> Trouble:
    try:
        lines = (folder / "error.txt").read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return Trouble(path, "unfinished", "no results.json: killed, or still running")
    line = lines[-1] if lines else "error.txt is empty"
    line = line.removeprefix("vlground.errors.VlgroundError: ")  # meant for the reader as it stands
    # A page is made to be passed on; where the folder lay on this machine is nobody's business.
    return Trouble(path, "failed", line.replace(str(runs.absolute()), "runs"))


def _rows(path: Path) -> tuple["pandas.DataFrame | None", str]:
    import pandas

    if not path.exists():
        return None, "no rows.parquet"
    try:
        rows = pandas.read_parquet(path)
    # pyarrow raises its own classes, OSError or ValueError, depending on where the file is torn.
    except Exception as error:
        return None, f"rows.parquet: {_line(error)}"
    missing = {"id", "image_id"} - set(rows.columns)
    if missing:
        return None, f"rows.parquet: no column {', '.join(sorted(missing))}"
    return rows.drop_duplicates("id").reset_index(drop=True), ""


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
