"""Files that are written whole, or not at all."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from vlground.errors import VlgroundError


def write_json(path: Path, value: object) -> None:
    """Write JSON through a temporary file and `os.replace`: whole, or not at all."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` if the block ends well.

    Raises:
        VlgroundError: If the disk is full or the folder cannot be written; `path` is untouched.
    """
    # Two hosts may have processes of one number.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with one_line_on_failure(path):
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def one_line_on_failure(path: Path) -> Iterator[None]:
    """Turn a failed write of the block into one line with the path and the option to change."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        known = error.strerror if isinstance(error, OSError) else None
        reason = known or str(error)
        raise VlgroundError(f"{path}: cannot write: {reason} (change it with runs=DIR)") from error
