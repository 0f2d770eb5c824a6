"""People's scores: a long table (sample, annotator, score) as a matrix."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.errors import VlgroundError
from vlground.metrics.agreement import HIGHEST

if TYPE_CHECKING:
    import pandas

COLUMNS = ("id", "annotator", "score")  # of the CSV file


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who scored which sample how.

    Attributes:
        ids: `(n,)` sample of each row, sorted.
        annotators: `(a,)` annotator of each column, sorted.
        scores: `(n, a)`, 0-5; NaN where the annotator did not score the sample.
    """

    ids: tuple[str, ...]
    annotators: tuple[str, ...]
    scores: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """`(n,)` mean of the annotators of each sample."""
        return mean_of(self.scores)


def mean_of(scores: np.ndarray) -> np.ndarray:
    """`(n,)` means of the rows of `(n, a)` without their NaN; NaN of a row of nothing else.

    >>> mean_of(np.array([[1.0, 2.0], [np.nan, 4.0], [np.nan, np.nan]])).tolist()
    [1.5, 4.0, nan]
    """
    there = ~np.isnan(scores)
    with np.errstate(invalid="ignore"):
        return np.where(there, scores, 0).sum(axis=1) / there.sum(axis=1)


def ratings(table: "pandas.DataFrame") -> Ratings:
    """Bring a long table into the form of a matrix.

    Args:
        table: With `COLUMNS`. A row without a score is a sample that was shown and not scored; it
            counts as absent.

    Raises:
        VlgroundError: A column is missing; a score is no number from 0 to 5; an annotator scored a
            sample twice.

    >>> import pandas
    >>> rows = {"id": ["s", "s", "t"], "annotator": ["A", "B", "A"], "score": [1, 2, 5]}
    >>> ratings(pandas.DataFrame(rows)).scores.tolist()
    [[1.0, 2.0], [5.0, nan]]
    """
    import pandas

    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        has = ", ".join(map(str, table.columns))
        raise VlgroundError(f"human scores: no column {', '.join(missing)}; there are {has}")
    scored = table.loc[table["score"].notna(), list(COLUMNS)]
    numbers = pandas.to_numeric(scored["score"], errors="coerce")
    wrong = scored[~numbers.between(0, HIGHEST)]
    if len(wrong):
        row = wrong.iloc[0]
        who = f"{row['annotator']} on {row['id']}"
        raise VlgroundError(f"human scores: {who}: {row['score']} is no number from 0 to {HIGHEST}")
    scored = scored.assign(score=numbers.astype(float), id=scored["id"].astype(str))
    scored["annotator"] = scored["annotator"].astype(str)
    twice = scored[scored.duplicated(["id", "annotator"])]
    if len(twice):
        row = twice.iloc[0]
        raise VlgroundError(f"human scores: {row['annotator']} scored {row['id']} twice")
    matrix = scored.pivot(index="id", columns="annotator", values="score")
    return Ratings(tuple(matrix.index), tuple(matrix.columns), matrix.to_numpy(dtype=np.float64))
