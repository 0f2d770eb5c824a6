"""Rows of a run that are written part by part, so that their texts never lie in memory together."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlground.errors import VlgroundError
from vlground.whole import one_line_on_failure

if TYPE_CHECKING:
    import pandas

_BATCH = 4096  # rows that are looked at together
_TYPES = {str: "string", int: "int64", float: "double", bool: "bool"}


class RowFile:
    """A parquet file that becomes `rows.parquet` when all of it is there.

    Args:
        path: What it becomes.
        columns: Name -> str, int, float or bool; whole numbers may be missing.
    """

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        import pyarrow
        from pyarrow import parquet

        self.path = path
        self.schema = pyarrow.schema(
            [(name, pyarrow.type_for_alias(_TYPES[kind])) for name, kind in columns.items()]
        )
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with one_line_on_failure(path):
            self._writer: Any = parquet.ParquetWriter(self._temporary, self.schema)

    def add(self, rows: "pandas.DataFrame") -> None:
        """Write a part.

        Args:
            rows: With all of the columns; others are left out.

        Raises:
            VlgroundError: The disk is full, or the folder cannot be written.
        """
        import pyarrow

        columns = [
            pyarrow.array(rows[column.name], type=column.type, from_pandas=True)
            for column in self.schema
        ]
        with one_line_on_failure(self.path):
            self._writer.write_table(pyarrow.table(columns, schema=self.schema))

    def read(self, ids: Collection[str]) -> "pandas.DataFrame":
        """Whole rows, by `id`, when all are written.

        Args:
            ids: Of those that are wanted.
        """
        import pandas
        import pyarrow
        from pyarrow import compute, parquet

        self._close()
        wanted = pyarrow.array(list(ids), type=pyarrow.string())
        with parquet.ParquetFile(self._temporary) as file:
            parts = [
                batch.filter(compute.is_in(batch["id"], value_set=wanted)).to_pandas()
                for batch in file.iter_batches(_BATCH)
            ]
        return pandas.concat(parts, ignore_index=True)

    def finish(self) -> None:
        """Put the file into its place.

        Raises:
            VlgroundError: The disk is full, or the folder cannot be written.
        """
        self._close()
        with one_line_on_failure(self.path):
            with self._temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Leave nothing behind of what was not finished, also where a full disk ends it."""
        with suppress(VlgroundError):
            self._close()
        self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with one_line_on_failure(self.path):
                writer.close()
