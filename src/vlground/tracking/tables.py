"""Lines and columns of the tables that W&B shows of a run; nothing of W&B is needed for them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlground.labels import CELLS, TEXTS

# The columns a reader looks at stand first and last; the task's scores are between them.
_FIRST = ("id", "text", "overlay")
_LAST = ("flag", "skipped")
CONFUSION = ("decision", "grounding", "samples", "share", "share_low", "share_high")


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
    return columns, [[held(row.get(name)) for name in columns] for row in shown]


def held(value: object) -> object:
    """A value as a table holds it: one type a column, with None for what is undefined.

    >>> held([1, 2]), held(float("nan")), held("dog")
    ('[1, 2]', None, 'dog')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return json.dumps(value) if isinstance(value, list | dict) else value
