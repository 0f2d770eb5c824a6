"""Which W&B runs a run directory has: `wandb/runs.json`, beside W&B's own files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlground.whole import one_line_on_failure, write_json

_RECORD = Path("wandb", "runs.json")


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


def linkable(
    directories: Sequence[Path], url: str | None, entity: str | None, project: str
) -> list[Path]:
    """Those run directories that have a run in this project of a server, in whatever group.

    A run made offline has none before it is pushed. A question may leave server and entity open.
    """
    found = []
    for directory in directories:
        records = [one for one in _records(directory) if one["project"] == project and one["url"]]
        if any(url in (None, one["url"]) and entity in (None, one["entity"]) for one in records):
            found.append(directory)
    return found


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


def _records(directory: Path) -> list[dict[str, Any]]:
    path = directory / _RECORD
    return list(json.loads(path.read_text())) if path.exists() else []
