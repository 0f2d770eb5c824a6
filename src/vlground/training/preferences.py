"""Pairs of captions of which one is better, from files in TRL's format."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlground.errors import VlgroundError
from vlground.training.dialogues import file_of

_EXPORTED = Path("export/trl_dpo.jsonl")  # of a run of task=rejection_sampling


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a question about an image.

    Attributes:
        image: Path of the file.
        question: Without a placeholder for the image.
        chosen: The better one.
        rejected: The worse one.
    """

    image: Path
    question: str
    chosen: str
    rejected: str


def read_pairs(
    option: str, files: Sequence[str], root: str | None, runs: Path
) -> tuple[list[Pair], Counter[str]]:
    """Read files that task=rejection_sampling with task.export=[trl_dpo] has written, or the like.

    Args:
        option: That names them, for messages (`task.data.file`).
        files: JSON lines with `prompt`, `chosen`, `rejected` (conversational) and `images`; of a
            folder of a run, what it has exported. `run:FINGERPRINT` is such a run in `runs`.
        root: Where the images lie; None: paths are relative to their file.
        runs: The folder `runs`.

    Returns:
        The pairs, and reason -> number of records that became none.

    Raises:
        VlgroundError: If a file cannot be read or is in another format, or there is no pair.
    """
    if not isinstance(files, Sequence) or isinstance(files, str):
        raise VlgroundError(f"{option}={files}: expected a list of files: [{files}]")
    pairs, left_out = [], Counter[str]()
    for name in files:
        path = file_of(option, str(name), runs, _EXPORTED)
        folder = path.parent if root is None else Path(root).expanduser()
        for record in _records(f"{option}={name}", path):
            try:
                pair = _pair(record, folder)
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                told = f"not in TRL's format of preferences: {error!r}"
                raise VlgroundError(f"{option}={name}: {told}") from error
            reason = _obstacle(pair)
            left_out.update([reason] if reason else [])
            pairs += [] if reason else [pair]
    if not pairs:
        reasons = ", ".join(f"{why} ({n})" for why, n in left_out.items()) or "nothing"
        told = f"no pair to learn from; left out: {reasons}"
        raise VlgroundError(f"{option}={list(files)}: {told}")
    return pairs, left_out


def _pair(record: Mapping[str, Any], folder: Path) -> Pair:
    question, chosen, rejected = (_text(record[n]) for n in ("prompt", "chosen", "rejected"))
    (image,) = record.get("images") or [""]
    return Pair(folder / str(image), question, chosen, rejected)


def _text(messages: Any) -> str:  # noqa: ANN401 - of JSON
    """What the last message says."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content.strip()
    return " ".join(part["text"] for part in content if part["type"] == "text").strip()


def _obstacle(pair: Pair) -> str:
    if not pair.image.is_file():
        return "no such image"
    if not pair.chosen or not pair.rejected:
        return "empty answer"
    return "both answers read the same" if pair.chosen == pair.rejected else ""


def _records(told: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VlgroundError(f"{told}: cannot be read: {reason}") from error
