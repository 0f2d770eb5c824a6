"""Records of annotation files: JSON in every layout of `vlground.data.records`, and two more."""

from collections import Counter
from pathlib import Path
from typing import Any

from vlground.data.records import read_records
from vlground.errors import VlgroundError


def annotation_records(option: str, path: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Read every record that can be read.

    Args:
        option: That names the file, for the message.
        path: JSON (a list, lines, objects in a row), an object of records or of lists of them,
            whose keys become `image_id` where a record has none, or a parquet file.

    Returns:
        The records, and reason -> number of those that cannot be read.

    Raises:
        VlgroundError: The file cannot be read, or there is no record in it.
    """
    counts: Counter[str] = Counter()
    if path.suffix == ".parquet":
        records = _parquet(option, path)
    else:
        found = read_records(option, str(path))
        counts.update(found.skipped)
        records = [dict(record) for _, record in found.records]
    if len(records) == 1 and _keyed(records[0]):
        records = [one for key, inner in records[0].items() for one in _of_key(key, inner)]
    if not records:
        raise VlgroundError(f"{option}={path}: no record in it")
    return records, counts


def _keyed(record: dict[str, Any]) -> bool:
    return bool(record) and all(
        isinstance(inner, dict) or _objects(inner) for inner in record.values()
    )


def _objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _of_key(key: str, inner: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"image_id": key, **one} for one in (inner if isinstance(inner, list) else [inner])]


def _parquet(option: str, path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        names = [name for name in schema.names if name != "image"]  # pixels, which nobody reads
        records: list[dict[str, Any]] = pyarrow.parquet.read_table(path, columns=names).to_pylist()
    except (OSError, ValueError) as error:  # what pyarrow raises is one of these
        reason = " ".join(str(error).split())
        raise VlgroundError(f"{option}={path}: cannot read: {reason}") from error
    return records
