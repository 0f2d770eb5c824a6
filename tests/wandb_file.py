"""Reads back what W&B wrote offline: its transaction log, and the files beside it."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768  # as in LevelDB's log format
_HEADER = struct.Struct("<IHB")  # checksum, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Record]:
    """All records of a `.wandb` file."""
    data = path.read_bytes()
    assert data[:4] == b":W&B", "not a .wandb file"
    position, parts = 7, []
    while position + _HEADER.size <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER.size:
            position += left  # padding
            continue
        _, length, kind = _HEADER.unpack_from(data, position)
        assert kind in (_FULL, _FIRST, _MIDDLE, _LAST), f"unknown chunk {kind} at {position}"
        position += _HEADER.size
        parts.append(data[position : position + length])
        position += length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record
    assert not parts, "the last record is torn"


@dataclass(frozen=True)
class OfflineRun:
    """One folder `offline-run-*`."""

    folder: Path

    @cached_property
    def records(self) -> list[Record]:
        (path,) = self.folder.glob("*.wandb")
        return list(records(path))

    def of(self, kind: str) -> list[Any]:
        """The records of one kind."""
        found = [record for record in self.records if record.WhichOneof("record_type") == kind]
        return [getattr(record, kind) for record in found]

    @property
    def run(self) -> Any:
        """The one record that describes the run."""
        (run,) = self.of("run")
        return run

    @cached_property
    def config(self) -> dict[str, Any]:
        """What `wandb.init` got, without W&B's own entry."""
        given = {item.key: json.loads(item.value_json) for item in self.run.config.update}
        return {key: value for key, value in given.items() if key != "_wandb"}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """All summary entries under their flat keys; a nested one has a tuple."""
        flat: dict[Any, Any] = {}
        for record in self.of("summary"):
            for item in record.update:
                key = item.key or (item.nested_key[0], *item.nested_key[1:])
                flat[key if isinstance(key, str) or len(key) > 1 else key[0]] = json.loads(
                    item.value_json
                )
        return flat

    @property
    def numbers(self) -> dict[str, float]:
        """The summary without W&B's own entries and without the table."""
        flat = {key: value for key, value in self.summary.items() if isinstance(key, str)}
        return {
            key: value
            for key, value in flat.items()
            if not key.startswith("_") and isinstance(value, int | float)
        }

    @property
    def exit_code(self) -> int:
        (end,) = self.of("exit")
        return int(end.exit_code)

    @property
    def files(self) -> dict[str, Path]:
        """What the artifacts of the run's tables hold: path inside them -> where it lies."""
        contents = [entry for found in self.of("artifact") for entry in found.manifest.contents]
        return {entry.path: Path(entry.local_path) for entry in contents}

    @property
    def charts(self) -> dict[str, str]:
        """Key of a chart -> the preset that draws it."""
        updates = [item for record in self.of("config") for item in record.update]
        return {
            item.nested_key[-1]: json.loads(item.value_json)["panel_config"]["panelDefId"]
            for item in updates
            if list(item.nested_key[:2]) == ["_wandb", "visualize"]
        }

    def table(self, key: str) -> "Table":
        """A table, as the artifact holds it: pictures are entries, not words."""
        files = self.files
        content = json.loads(files[f"{key}.table.json"].read_text())
        return Table(content["columns"], content["data"], files)


@dataclass(frozen=True)
class Table:
    """Columns, lines, and the files that lines refer to."""

    columns: list[str]
    data: list[list[Any]]
    files: dict[str, Path]

    def column(self, name: str) -> list[Any]:
        place = self.columns.index(name)
        return [line[place] for line in self.data]

    def pictures(self, name: str) -> list[Path]:
        return [self.files[entry["path"]] for entry in self.column(name)]
