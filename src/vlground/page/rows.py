"""The rows of all runs as compact columns, within a budget."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from vlground.labels import CELLS
from vlground.page.explained import gallery
from vlground.page.reading import Run

_CODED = ("cell", "foil_cell")  # names of cells become their places in CELLS
# Of explanations: what was predicted, and what the judge said.
_WORDS = ("label", "predicted", "description", "justification", "judge_model")
_YES_OR_NO = ("winner",)  # of rewards, as 1 and 0
_TEXT = ("id", "image_id", "text", "foil", "flag", "skipped", "degenerate")


@dataclass
class Table:
    """Rows of several runs; what runs share (samples, equal columns) is stored once.

    Attributes:
        samples: `[id, image id, text]` of every sample that any run has a row of.
        sets: Lists of indices into `samples`, one for each different selection.
        columns: Lists of values, rounded to four digits, null where there is none.
        reasons: Lists of `[place, reason]` of rows that are not scored.
        cuts: Lists of `[place, column, text as the model read it]`.
        foils: Lists of foils, of runs whose model decided on them.
        words: Lists of texts, of runs of task=explanation.
        runs: For each run its set, its columns by name, its reasons, its cuts, its foils (or None),
            its words by name, and how many rows it has.
    """

    samples: list[list[str]] = field(default_factory=list)
    sets: list[list[int]] = field(default_factory=list)
    columns: list[list[float | None]] = field(default_factory=list)
    reasons: list[list[list[Any]]] = field(default_factory=list)
    cuts: list[list[list[Any]]] = field(default_factory=list)
    foils: list[list[str]] = field(default_factory=list)
    words: list[list[str]] = field(default_factory=list)
    runs: list[dict[str, Any] | None] = field(default_factory=list)


@lru_cache(maxsize=2**18)  # runs of one data set share their samples
def rank(sample_id: str) -> str:
    """Sorts samples in an order that has nothing to do with the data, the same for every run."""
    return hashlib.sha256(sample_id.encode()).hexdigest()


def table(runs: Sequence[Run], budget: int) -> Table:
    """All rows if their JSON fits the budget in bytes, else those of the same samples in each run.

    Whatever the budget, a run's gallery is there.

    Args:
        runs: The runs, with rows or without.
        budget: Bytes.
    """
    most = max((len(run.rows) for run in runs if run.rows is not None), default=0)
    # Values take three bytes at least: no need to write out a million rows to see they do not fit.
    cells = sum(len(_scores(run.rows)) for run in runs if run.rows is not None)
    keep = min(most, max(1, budget // max(1, 3 * cells)))
    while True:
        made = _table(runs, keep)
        text = json.dumps(made.__dict__, separators=(",", ":"))
        size = len(text) + 5 * text.count("<")  # which the page writes as \u003c
        if size <= budget or keep <= 1:
            return made
        keep = max(1, min(keep - 1, int(keep * budget / size * 0.95)))


def _table(runs: Sequence[Run], keep: int) -> Table:
    made = Table()
    places: dict[tuple[str, ...], int] = {}
    known: dict[str, int] = {}

    def stored(kind: str, store: list[Any], value: Any) -> int:  # noqa: ANN401 - anything JSON
        key = f"{kind} {json.dumps(value)}"
        if key not in known:
            known[key] = len(store)
            store.append(value)
        return known[key]

    for run in runs:
        if run.rows is None:
            made.runs.append(None)
            continue
        rows = run.rows
        if len(rows) > keep:
            names = rows["id"].astype(str).tolist()
            kept = {*sorted(names, key=rank)[:keep], *gallery(run)}
            rows = rows[[name in kept for name in names]]
        # Two data sets may use the same ids for different images.
        dataset = str(run.results["choices"].get("dataset", ""))
        texts = rows["text"] if "text" in rows else rows["id"]
        indices = []
        for names in zip(rows["id"], rows["image_id"], texts, strict=True):
            sample = tuple(map(str, names))
            key = (dataset, *sample)
            if key not in places:
                places[key] = len(made.samples)
                made.samples.append(list(sample))
            indices.append(places[key])
        made.runs.append(
            {
                "set": stored("set", made.sets, indices),
                "columns": {
                    name: stored("column", made.columns, _rounded(rows[name].to_numpy()))
                    for name in _scores(rows)
                }
                | {
                    name: stored("column", made.columns, _codes(rows[name]))
                    for name in _CODED
                    if name in rows and rows[name].notna().any()
                },
                "reasons": stored("reasons", made.reasons, _reasons(rows)),
                "cuts": stored("cuts", made.cuts, _cuts(rows)),
                "foils": stored("foils", made.foils, [str(foil or "") for foil in rows["foil"]])
                if "foil_match" in rows and rows["foil_match"].notna().any()
                else None,
                "words": {
                    name: stored("words", made.words, _said(rows[name]))
                    for name in (_WORDS if run.results.get("task") == "explanation" else ())
                    if name in rows
                },
                "rows": len(run.rows),
            }
        )
    return made


def _scores(rows: Any) -> list[str]:  # noqa: ANN401 - a DataFrame
    """Names of its columns of numbers, but for those without any."""
    kinds = {str(name): rows[name].dtype.kind for name in rows.columns if name not in _TEXT}
    return [
        name
        for name, kind in kinds.items()
        if (kind in "fiu" or name in _YES_OR_NO) and rows[name].notna().any()
    ]


def _codes(cells: Any) -> list[int | None]:  # noqa: ANN401 - a Series
    return [CELLS.index(cell) if cell in CELLS else None for cell in cells]


def _said(column: Any) -> list[str]:  # noqa: ANN401 - a Series
    return [text if isinstance(text, str) else "" for text in column]


def _cuts(rows: Any) -> list[list[Any]]:  # noqa: ANN401 - a DataFrame
    return [
        [place, name, text]
        for name in ("truncated", "foil_truncated")
        if name in rows
        for place, text in enumerate(rows[name])
        if isinstance(text, str)
    ]


def _rounded(values: np.ndarray) -> list[float | None]:
    numbers = np.asarray(values, dtype=np.float64)
    # Whole numbers without ".0": a quarter of the size of pointing games and numbers of peaks.
    return [
        None if not np.isfinite(v) else int(v) if v == int(v) else round(float(v), 4)
        for v in numbers.tolist()
    ]


def _reasons(rows: Any) -> list[list[Any]]:  # noqa: ANN401 - a DataFrame
    columns = [rows[name].tolist() for name in ("skipped", "flag") if name in rows]
    # Of a row that has neither, pandas says None or NaN.
    found = [
        next((r for r in row if isinstance(r, str) and r), "") for row in zip(*columns, strict=True)
    ]
    return [[place, reason] for place, reason in enumerate(found) if reason]
