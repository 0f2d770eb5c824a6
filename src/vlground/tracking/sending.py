"""What a W&B run is given: summary, tables and plots, and the files of the run as an artifact."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlground import judged, rewarded
from vlground.lineage import parents
from vlground.tracking.numbers import flat_scores
from vlground.tracking.records import linkable
from vlground.tracking.tables import CONFUSION, confusion, held, samples

if TYPE_CHECKING:
    import wandb

ARTIFACT = "results"  # the type of the artifact, and how its name begins
FILES = ("results.json", "rows.parquet", "config.yaml")


def send(
    run: "wandb.Run",
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
) -> None:
    """Put scores and counts into the summary, the samples that have a picture into a table.

    Scores without their intervals are also one step of the history: of that W&B makes bar charts.
    The matrix of a model that decides, or of a judge, is a plot with its table; of any other it is
    said why not. Runs that reward captions have histograms, and tables of nouns and winners.

    Args:
        run: Where to.
        results: As in `results.json`.
        rows: Those with a picture, at least.
        figures: Sample id -> picture.
    """
    import wandb

    numbers = flat_scores(results)
    run.summary.update({**numbers, **judged.words(results)})
    if missing := results.get("matrix", {}).get("missing"):
        run.summary["matrix/missing"] = missing
    logged: dict[str, Any] = {name: numbers[name] for name in numbers if f"{name}_n" in numbers}
    if results["task"] in rewarded.TASKS:
        logged |= _rewards(results, rows, figures)
    else:
        logged[f"{results['task']}/samples"] = _table(*samples(rows, figures))
    for text, lines in confusion(results).items():
        title = f"{text} text: decision × grounding"
        logged[f"matrix/{text}"] = _matrix_plot(CONFUSION, lines, title)
    if lines := judged.matrix(results):
        title = "prediction × judge"
        logged["matrix/judge"] = _matrix_plot(judged.MATRIX_COLUMNS, lines, title)
    heads, lines = judged.classes(results)
    if lines:
        logged[f"{judged.TASK}/classes"] = wandb.Table(columns=heads, data=lines)
    if logged:
        with _files_beside(run):
            run.log(logged)


def attach(run: "wandb.Run", directory: Path) -> list[Path]:
    """Log what a run wrote as an artifact, and name the artifacts of the runs it builds on.

    An offline run keeps its artifact for `wandb sync`; W&B lets it name no other one.

    Args:
        run: Where to.
        directory: Of the run.

    Returns:
        The runs it builds on whose artifacts are not in this project.
    """
    import wandb

    if run.disabled:
        return []
    before = parents(directory)
    results = json.loads((directory / "results.json").read_text("utf-8"))
    facts = {"task": results["task"], "parents": [_fingerprint(one) for one in before]}
    artifact = wandb.Artifact(f"{ARTIFACT}-{results['fingerprint']}", ARTIFACT, metadata=facts)
    with _files_beside(run):
        for name in FILES:
            if (directory / name).exists():
                artifact.add_file(str(directory / name))
        run.log_artifact(artifact)
    place = run.settings.base_url, run.entity, run.project
    there = [] if run.offline else linkable(before, *place)
    return [one for one in before if one not in there or not _linked(run, one)]


def _linked(run: "wandb.Run", directory: Path) -> bool:
    """Whether the artifact of another run could be named as one that this run uses."""
    import wandb

    name = f"{run.entity}/{run.project}/{ARTIFACT}-{_fingerprint(directory)}:latest"
    try:
        run.use_artifact(name, type=ARTIFACT)
    except (wandb.Error, ValueError):  # deleted there, or logged by an older version
        return False
    return True


def _fingerprint(directory: Path) -> str:
    results = json.loads((directory / "results.json").read_text("utf-8"))
    return str(results["fingerprint"])


def _table(columns: Sequence[str], lines: list[list[Any]]) -> "wandb.Table":
    """A table in which files are pictures."""
    import wandb

    table = wandb.Table(columns=list(columns))
    for line in lines:
        table.add_data(
            *(wandb.Image(str(cell)) if isinstance(cell, Path) else cell for cell in line)
        )
    return table


def _rewards(
    results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Path]
) -> dict[str, Any]:
    """Histograms a stream, and the tables of nouns and of winners, as far as the run has them."""
    import wandb

    logged: dict[str, Any] = {
        name: wandb.Histogram(np_histogram=(counts, edges))  # type: ignore[arg-type]  # lists do
        for name, (counts, edges) in rewarded.histograms(results).items()
    }
    if lines := rewarded.nouns(results):
        logged["reward/nouns"] = _table(rewarded.NOUN_COLUMNS, lines)
    if lines := rewarded.winners(rows, figures):
        cells = [[held(cell) for cell in line] for line in lines]
        logged["reward/winners"] = _table(rewarded.WINNER_COLUMNS, cells)
    return logged


def _matrix_plot(columns: Sequence[str], lines: list[list[Any]], title: str) -> Any:  # noqa: ANN401
    """W&B's own confusion matrix, with other words on its two axes: the first two columns."""
    import wandb

    return wandb.plot_table(
        data_table=wandb.Table(columns=list(columns), data=lines),
        vega_spec_name="wandb/confusion_matrix/v1",
        fields={"Actual": columns[0], "Predicted": columns[1], "nPredictions": "samples"},
        string_fields={"title": title},
    )


@contextmanager
def _files_beside(run: "wandb.Run") -> Iterator[None]:
    """Let W&B keep pictures and artifacts with the run; by default they go to the home folder."""
    if "WANDB_DATA_DIR" in os.environ or run.disabled:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(Path(run.dir).parent / "data")
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]
