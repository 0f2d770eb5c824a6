"""What people said, from CSV files: scores 0-5, and judge's answers accepted or rejected.

Every annotator exports a file of their own, so several files make one table.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.metrics.ratings import COLUMNS, Ratings, ratings

DECISIONS = ("id", "annotator", "accepted", "mask")  # columns of a file of decisions


@dataclass(frozen=True, eq=False)
class Scores:
    """People's scores.

    Attributes:
        ratings: As a matrix.
        empty: Rows without a score: shown, and not scored.
    """

    ratings: Ratings
    empty: int


@dataclass(frozen=True)
class Decision:
    """One annotator on one answer of the judge."""

    id: str
    annotator: str
    mask: str
    accepted: bool


def read_scores(paths: Sequence[Path]) -> Scores:
    """Read people's scores.

    Args:
        paths: CSV files with the columns id, annotator, score; others are not read.

    Raises:
        VlgroundError: A file cannot be read; a column or an entry is missing; a score is no number
            from 0 to 5; an annotator scored a sample twice; there is no score at all.
    """
    import pandas

    rows = [row for path in paths for row in _rows(path, COLUMNS, may_lack="score")]
    table = pandas.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    table["score"] = table["score"].where(table["score"] != "", None)
    files = ", ".join(map(str, paths))
    try:
        found = ratings(table)
    except VlgroundError as error:
        raise VlgroundError(f"{files}: {error}") from error
    if not found.ids:
        raise VlgroundError(f"{files}: no score in it")
    return Scores(found, int(table["score"].isna().sum()))


def read_decisions(paths: Sequence[Path]) -> list[Decision]:
    """Read which answers of the judge people accepted.

    Args:
        paths: CSV files with the columns id, annotator, accepted (1 or 0) and mask (the option of
            the run whose pictures were shown: sigmoid, overlay); others are not read.

    Raises:
        VlgroundError: A file cannot be read; a column or an entry is missing; `accepted` is neither
            0 nor 1; an annotator decided twice on a sample and mask; there is no decision at all.
    """
    found: dict[tuple[str, str, str], Decision] = {}
    for path in paths:
        for row in _rows(path, DECISIONS):
            key = row["id"], row["annotator"], row["mask"]
            who = f"{row['annotator']} on {row['id']}, mask {row['mask']}"
            if row["accepted"] not in ("0", "1"):
                raise VlgroundError(f"{path}: {who}: accepted={row['accepted']}: expected 0 or 1")
            if key in found:
                raise VlgroundError(f"{path}: {who}: decided twice")
            found[key] = Decision(row["id"], row["annotator"], row["mask"], row["accepted"] == "1")
    if not found:
        raise VlgroundError(f"{', '.join(map(str, paths))}: no decision in it")
    return list(found.values())


def _rows(path: Path, columns: Sequence[str], may_lack: str = "") -> list[dict[str, str]]:
    """The rows of a file, as text without the blanks around it."""
    try:
        # Spreadsheets write a byte order mark, which utf-8-sig takes away.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            heads = [head.strip() for head in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VlgroundError(f"{path}: cannot be read as CSV: {error}") from error
    if missing := [name for name in columns if name not in heads]:
        has = ", ".join(heads) or "nothing"
        raise VlgroundError(f"{path}: no column {', '.join(missing)}; its first line has {has}")
    rows = []
    for number, line in lines:
        if len(line) != len(heads):
            told = f"{len(line)} entries in {len(heads)} columns"
            raise VlgroundError(f"{path}: line {number}: {told}")
        row = dict(zip(heads, map(str.strip, line), strict=True))
        if empty := [name for name in columns if not row[name] and name != may_lack]:
            raise VlgroundError(f"{path}: line {number}: no {', '.join(empty)}")
        rows.append({name: row[name] for name in columns})
    return rows
