"""Weights & Biases: what one run looks like there, whether it is live or pushed from disk."""

import json
import logging
import math
import netrc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vlground import judged, rewarded
from vlground.labels import CELLS, MATRIX, TEXTS
from vlground.store import one_line_on_failure, write_json

if TYPE_CHECKING:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    from vlground.cell import Cell

log = logging.getLogger("vlground")

# The columns a reader looks at stand first and last; the task's scores are between them.
_FIRST = ("id", "text", "overlay")
_LAST = ("flag", "skipped")
CONFUSION = ("decision", "grounding", "samples", "share", "share_low", "share_high")
_RECORD = Path("wandb", "runs.json")
_TITLE = ("model", "cam", "dataset", "mask", "judge", "detector", "reward")


@dataclass(frozen=True)
class Described:
    """What W&B calls a run.

    Attributes:
        name: Shown in lists.
        group: The experiment.
        job_type: The task.
        tags: As chosen.
        notes: As chosen.
        config: Choices, seed, fingerprint, commit; the whole configuration under `cfg`.
    """

    name: str
    group: str | None
    job_type: str
    tags: list[str]
    notes: str
    config: dict[str, Any]

    @classmethod
    def of(
        cls,
        choices: Mapping[str, str],
        node: Mapping[str, Any],
        experiment: str | None,
        facts: Mapping[str, Any],
    ) -> "Described":
        """Describe a cell, of the command line or read from disk.

        Args:
            choices: Group -> option.
            node: The whole configuration.
            experiment: It belongs to, if any.
            facts: Seed, fingerprint and commit.
        """
        return cls(
            name=title(choices),
            group=experiment,
            job_type=choices["task"],
            tags=list(node["tags"]),
            notes=node["notes"],
            config={**choices, **facts, "cfg": dict(node)},
        )

    def begin(
        self,
        project: str,
        entity: str | None,
        directory: Path,
        mode: str | None,
        identifier: str | None = None,
        settings: "wandb.Settings | None" = None,
    ) -> "wandb.Run":
        """Open the W&B run.

        Args:
            project: W&B project.
            entity: W&B user or team; None is the default one.
            directory: Where W&B keeps its own files.
            mode: `online`, `offline` or `disabled`; None is W&B's own default.
            identifier: Of a run to create or to update; None is always a new one.
            settings: Further settings of W&B.
        """
        import wandb

        return wandb.init(
            project=project,
            entity=entity,
            group=self.group,
            job_type=self.job_type,
            name=self.name,
            tags=self.tags,
            notes=self.notes,
            config=self.config,
            dir=str(directory),
            mode=mode,  # type: ignore[arg-type]  # W&B checks the word
            id=identifier,
            resume=None if identifier is None else "allow",
            settings=settings,
        )


def title(choices: Mapping[str, str]) -> str:
    """The name of a run.

    >>> title({"model": "clip_rn50", "cam": "gradcam", "dataset": "photos", "mask": "none"})
    'clip_rn50 · gradcam · photos'
    """
    shown = [choices.get(group) for group in _TITLE]
    return " · ".join(name for name in shown if name and name != "none")


def wandb_logger(cell: "Cell", project: str, entity: str | None = None) -> "WandbLogger":
    """A Weights & Biases run that needs no login: without a key it is offline.

    `WANDB_MODE` wins. A training that was interrupted goes on in its own run, whose id is in the
    checkpoint; else no id is set, so that a deleted run can be logged again.

    Args:
        cell: The run.
        project: W&B project.
        entity: W&B user or team; None is the default one.
    """
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

    run = _live(cell, project, entity) if rank_zero_only.rank == 0 else None
    return WandbLogger(experiment=run, save_dir=str(cell.directory))


def send(
    run: "wandb.Run",
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Path],
) -> None:
    """Put scores and counts into the summary, the samples that have a picture into a table.

    The matrix of a model that decides, or of a judge, is a plot with its table; of any other it is
    said why not. Runs that reward captions have histograms, and tables of nouns and winners.

    Args:
        run: Where to.
        results: As in `results.json`.
        rows: Those with a picture, at least.
        figures: Sample id -> picture.
    """
    import wandb

    run.summary.update({**flat_scores(results), **judged.words(results)})
    if missing := results.get("matrix", {}).get("missing"):
        run.summary["matrix/missing"] = missing
    logged: dict[str, Any] = {}
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
        with _pictures_beside(run):
            run.log(logged)


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
        cells = [[_cell(cell) for cell in line] for line in lines]
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


def close(exit_code: int) -> list[str]:
    """End the run of this process, if there is one.

    Returns:
        What could not be uploaded. W&B itself only prints that, and says nothing to the caller.
    """
    import wandb

    run = wandb.run
    if run is None or run.disabled:
        wandb.finish(exit_code)
        return []
    journal = Path(run.settings.log_internal)
    run.finish(exit_code)
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    errors = [str(r["msg"]) for r in records if str(r["level"]).startswith("ERROR")]
    return [" ".join(error.split()) for error in errors]


def flat_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """`grounding/io_ratio`, `grounding/io_ratio_low` … and the counts, as in W&B's summary.

    What belongs to the matrix of a model that decides has a namespace of its own:
    `matrix/matched_correct_high` … An explanation's scores stay `explanation/accuracy` …, and a
    benchmark's have its name: `pope/adversarial/f1`. Scores of captions by rewards are
    `reward/winner/recall` ….
    """
    task, benchmark = results["task"], results["task"] == "benchmark"
    own = str(results["choices"]["metric"]) if benchmark else rewarded.space(task)
    numbers: dict[str, float] = {}
    for name, score in results["scores"].items():
        space = "matrix" if name in MATRIX and task != judged.TASK and not benchmark else own
        numbers |= judged.ends(f"{space}/{name}", score)
    for name, value in results["counts"].items():
        numbers[f"{rewarded.space(task)}/count/{name}"] = (
            sum(value.values()) if isinstance(value, dict) else value
        )
    for text in TEXTS:
        for name, count in results.get("matrix", {}).get(text, {}).items():
            numbers[f"matrix/count/{text}_{name}"] = count
    return {**numbers, **judged.numbers(results), **rewarded.numbers(results)}


def confusion(results: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """For each kind of text that the model decides on the lines of a table with `CONFUSION`."""
    tables: dict[str, list[list[Any]]] = {}
    for text in TEXTS:
        counts = results.get("matrix", {}).get(text)
        if counts is None:
            continue
        tables[text] = []
        for cell in CELLS:
            decision, grounding = cell.split("_")
            score = results["scores"].get(f"{text}_{cell}", {})  # none, if no map is scored
            share = [score.get(key) for key in ("value", "low", "high")]
            tables[text].append([decision, grounding, counts[cell], *share])
    return tables


def samples(
    rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Path]
) -> tuple[list[str], list[list[Any]]]:
    """Columns and lines of the table; a line for every row that has a picture.

    Columns come from all rows, so that they do not depend on which samples have a picture.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    middle = [name for name in names if name not in (*_FIRST, *_LAST)]
    columns = [*_FIRST, *middle, *_LAST]
    shown = [{**row, "overlay": figures[row["id"]]} for row in rows if row["id"] in figures]
    return columns, [[_cell(row.get(name)) for name in columns] for row in shown]


def known_run(
    directory: Path, url: str | None, entity: str | None, project: str, group: str | None
) -> dict[str, Any] | None:
    """The W&B run that a run directory has in this project and group.

    A run made offline fits every server and entity; so does a question that leaves them open.
    """
    for record in _records(directory):
        where = [(record["url"], url), (record["entity"], entity)]
        if (record["project"], record["group"]) == (project, group) and all(
            None in pair or pair[0] == pair[1] for pair in where
        ):
            return record
    return None


def remember(directory: Path, record: Mapping[str, Any]) -> None:
    """Note a W&B run beside the results, in place of the one with the same destination.

    Args:
        directory: Of the run.
        record: `url`, `entity`, `project`, `group`, `id`, and `sent`: a digest of what it holds.
    """
    place = [record[key] for key in ("url", "entity", "project", "group")]
    old = known_run(directory, *place)
    records = [other for other in _records(directory) if other != old]
    with one_line_on_failure(directory):
        (directory / _RECORD).parent.mkdir(parents=True, exist_ok=True)
    write_json(directory / _RECORD, [*records, record])


def hush() -> None:
    """Let W&B say only what went wrong; it reads the variable when its session begins."""
    os.environ.setdefault("WANDB_SILENT", "true")


def logged_in() -> bool:
    """Whether there are credentials for the W&B server that is configured."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(wandb.setup().settings.base_url).netloc
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _live(cell: "Cell", project: str, entity: str | None) -> "wandb.Run":
    """Open the run of a cell; a server that cannot be reached costs no experiment."""
    import wandb

    from vlground.training.checkpoints import wandb_run

    hush()
    stages = (cell.stage.fingerprint, cell.fingerprint)
    known = wandb_run(cell.directory / "checkpoints", stages)
    described = Described.of(cell.choices, cell.node, cell.experiment, cell.facts())
    # Read here, because W&B itself does so only when its session begins.
    mode = os.environ.get("WANDB_MODE") or (None if logged_in() else "offline")
    try:
        run = described.begin(project, entity, cell.directory, mode, known)
    except wandb.Error as error:
        log.warning("W&B: %s; offline from here on, upload with vlground-push", one_line(error))
        os.environ["WANDB_MODE"] = "offline"
        run = described.begin(project, entity, cell.directory, "offline", known)
    if not run.disabled:
        url = None if run.offline else run.settings.base_url
        place = {"url": url, "entity": run.entity or entity, "project": project}
        record = {**place, "group": described.group, "id": run.id, "sent": None}
        remember(cell.directory, record)
    return run


def one_line(error: Exception) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _pictures_beside(run: "wandb.Run") -> Iterator[None]:
    """Let W&B keep a table's pictures with the run; by default they go to the home folder."""
    if "WANDB_DATA_DIR" in os.environ or run.disabled:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(Path(run.dir).parent / "data")
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _records(directory: Path) -> list[dict[str, Any]]:
    path = directory / _RECORD
    return list(json.loads(path.read_text())) if path.exists() else []


def _cell(value: object) -> object:
    """A value as a table holds it: one type a column, with None for what is undefined."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value) if isinstance(value, list | dict) else value
