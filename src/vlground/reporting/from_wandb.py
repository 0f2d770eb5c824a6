"""`vlground-report --wandb`: a folder of runs, fetched from Weights & Biases."""

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from vlground import tracking
from vlground.errors import VlgroundError
from vlground.page.reading import read_results
from vlground.push import FETCHED

if TYPE_CHECKING:
    import wandb
    from wandb.apis.public import Run

_UNSAFE = re.compile(r"[^\w+-]+")


def fetched(project: str, into: Path) -> Path:
    """Fetch what the runs of a project have logged as artifacts.

    Overlays are not fetched; they stay in W&B. Of several W&B runs of one cell the newest counts.

    Args:
        project: `entity/project`, or the name of a project of one's own.
        into: A folder of runs; what is fetched lies in `wandb/` there, anew each time, and
            `vlground-push` does not send it back.

    Returns:
        A folder as `vlground` writes it, `TASK/NAME/results.json` …, for the report.

    Raises:
        VlgroundError: Without a login or a network, without such a project, or if none of its runs
            has results; one line says what to do.
    """
    import wandb

    tracking.hush()
    if not tracking.logged_in():
        told = "no W&B login: run `wandb login`, or set WANDB_API_KEY"
        raise VlgroundError(f"--wandb={project}: {told}")
    with _one_line(project, "; is there a network, and are WANDB_BASE_URL and the key right?"):
        api = wandb.Api()
    with _one_line(project):
        runs = list(api.runs(project))
    folder = into / FETCHED / _UNSAFE.sub("_", project)
    shutil.rmtree(folder, ignore_errors=True)
    lacking = 0
    for run in runs:
        with _one_line(project), TemporaryDirectory() as place:
            problem = _fetch(run, Path(place), folder)
        if problem:
            lacking += 1
            print(f"--wandb={project}: {run.name} ({run.id}): {problem}", file=sys.stderr)
    if lacking == len(runs):
        told = "`vlground-push again=true` sends what is on disk"
        raise VlgroundError(f"--wandb={project}: none of {len(runs)} runs has results; {told}")
    return folder


def _fetch(run: "Run", place: Path, folder: Path) -> str:
    """Put the files of a W&B run where the report looks for them.

    Args:
        run: Of W&B.
        place: An empty folder.
        folder: Of runs.

    Returns:
        Why there are none, or "".
    """
    artifact = _newest(run)
    if artifact is None:
        return f"no artifact of type {tracking.ARTIFACT} ({run.state})"
    entries = artifact.manifest.entries
    if {*entries} - {*tracking.FILES} or any(entry.ref for entry in entries.values()):
        return f"{artifact.name}: not of vlground"
    artifact.download(str(place), skip_cache=True)
    results = read_results(place / "results.json")
    if isinstance(results, str):
        return results
    task, fingerprint = str(results.get("task")), str(results.get("fingerprint"))
    if not (re.fullmatch(r"\w+", task) and re.fullmatch("[0-9a-f]{16}", fingerprint)):
        return "results.json: not of vlground"
    _keep(run, results, place, folder / task / _name(results))
    return ""


def _keep(run: "Run", results: Mapping[str, Any], place: Path, directory: Path) -> None:
    """Put files into a run's directory; the experiments that any of its W&B runs is of are kept."""
    shared = directory / "experiments.txt"
    known = shared.read_text().splitlines() if shared.exists() else []
    others = {*known, *([run.group] if run.group else [])} - {results.get("experiment")}
    shutil.copytree(place, directory, dirs_exist_ok=True)
    shared.write_text("".join(f"{name}\n" for name in sorted(others)))


def _name(results: Mapping[str, Any]) -> str:
    """As of `Cell.directory`, whatever the choices of others are called."""
    parts = tracking.title(results["choices"]).split(" · ")
    return "-".join([*(_UNSAFE.sub("_", part) for part in parts), results["fingerprint"][:8]])


def _newest(run: "Run") -> "wandb.Artifact | None":
    """What a run has logged last of its results."""
    found = [one for one in run.logged_artifacts() if one.type == tracking.ARTIFACT]
    return max(found, key=lambda one: str(one.created_at), default=None)


@contextmanager
def _one_line(project: str, hint: str = "") -> Iterator[None]:
    """Whatever W&B raises, of its server or of the network, as one line."""
    try:
        yield
    except Exception as error:
        raise VlgroundError(f"--wandb={project}: {tracking.one_line(error)}{hint}") from error
