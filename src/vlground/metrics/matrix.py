"""Right or wrong × well or badly grounded, for models that decide whether a text fits (ours).

A model is asked of two texts whether they fit the image: the sample's own (matched), and its foil.
A decision is right if it says yes to the first, or no to the second. The map is well grounded
(high) if enough of it lies in the box of the sample's own text. Hence two 2 × 2 tables:

                        io_ratio >= high_io_ratio      io_ratio < high_io_ratio
    decision right      correct_high                   correct_low
    decision wrong      wrong_high                     wrong_low

Both tables are about the run's one map. With most CAMs that is the map for the sample's own text,
also in the table of the foil: was the model deceived although, asked for the truth, it looks at the
right place? With `cam=shuffled_text` the map is the foil's, still held against the box of the
sample's own text. Explanations of classifiers use the same four names.
"""

from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from vlground.labels import CELLS, TEXTS
from vlground.metrics.statistics import Estimate, bootstrap_means

if TYPE_CHECKING:
    import pandas

RANKS_ONLY = "the model ranks texts but does not decide whether one fits"
NO_FOIL = "no foil that the model knows"


def rightness(probability: np.ndarray, fits: bool, threshold: float) -> np.ndarray:
    """Whether each decision is right: 1.0 or 0.0, NaN where there is no decision.

    Args:
        probability: `(n,)` that the text fits, 0..1; NaN where the model was not asked.
        fits: Whether the texts do fit.
        threshold: From this probability on the model says that it fits.

    >>> rightness(np.array([0.5, 0.4, np.nan]), fits=False, threshold=0.5).tolist()
    [0.0, 1.0, nan]
    """
    right = (probability >= threshold) == fits
    return np.where(np.isnan(probability), nan, right.astype(np.float64))


def cells(right: np.ndarray, io_ratio: np.ndarray, high_io_ratio: float) -> np.ndarray:
    """The cell of each sample; None without a decision or without a map that can be scored.

    Args:
        right: `(n,)` as `rightness` gives it.
        io_ratio: `(n,)`, 0..1; NaN of a map that is degenerate or was not drawn.
        high_io_ratio: From here on a map is well grounded.

    >>> cells(np.array([1.0, 0.0, 1.0]), np.array([0.6, 0.2, np.nan]), 0.5).tolist()
    ['correct_high', 'wrong_low', None]
    """
    place = 2 * (right == 0) + (io_ratio < high_io_ratio)
    names = np.array(CELLS, dtype=object)[place]
    names[np.isnan(right) | np.isnan(io_ratio)] = None
    return np.asarray(names)


def estimates(rows: "pandas.DataFrame", match_threshold: float) -> dict[str, Estimate]:
    """Accuracies, and the share of each cell, with their intervals over images.

    Args:
        rows: With the columns of `TEXTS`, and `image_id`.
        match_threshold: From this probability on the model says that a text fits.

    Returns:
        Estimates of `vlground.labels.MATRIX`. An accuracy is over all decisions, whatever the map;
        the shares of a table's cells are over its samples that have a decision and a scored map,
        and add up to 1.
    """
    n = len(rows)
    columns: dict[str, np.ndarray] = {}
    right = np.full((len(TEXTS), n), nan)
    for half, (text, (match, cell)) in enumerate(TEXTS.items()):
        # One column is as long as both texts of all samples, so that `accuracy` can be over both.
        column = np.full((1 + len(CELLS), len(TEXTS), n), nan)
        right[half] = rightness(rows[match].to_numpy(), text == "matched", match_threshold)
        column[0, half] = right[half]
        placed = rows[cell].notna()
        for name, share in zip(CELLS, column[1:, half], strict=True):
            share[placed] = rows[cell][placed] == name
        names = (f"{text}_accuracy", *(f"{text}_{name}" for name in CELLS))
        columns |= dict(zip(names, column.reshape(len(column), -1), strict=True))
    columns = {"accuracy": right.ravel()} | columns
    return bootstrap_means(columns, rows["image_id"].tolist() * len(TEXTS))


def tally(rows: "pandas.DataFrame") -> dict[str, Any]:
    """How many samples are in each cell, and what became of the others that were not skipped.

    Args:
        rows: With the columns of `TEXTS`, `foil` and `skipped`.

    Returns:
        For each kind of text that was decided on: the four cells; `outside`, decided but the map
        cannot be scored; `undecided`, no probability came of it. And `missing`: why a kind of text
        is not there, or "".

    >>> import pandas
    >>> columns = {"match": [0.9, 0.8], "cell": ["correct_low", None], "foil": [None, None]}
    >>> columns |= {"foil_match": [nan, nan], "foil_cell": [None, None], "skipped": [None, None]}
    >>> tally(pandas.DataFrame(columns))  # doctest: +NORMALIZE_WHITESPACE
    {'matched': {'correct_high': 0, 'correct_low': 1, 'wrong_high': 0, 'wrong_low': 0,
                 'outside': 1, 'undecided': 0},
     'missing': 'no foil that the model knows'}
    """
    found: dict[str, Any] = {}
    for text, (match, cell) in TEXTS.items():
        asked = rows["skipped"].isna()
        if text == "foil":
            asked &= rows["foil"].notna()
        decided = rows[match].notna()
        if decided.any():
            counts = rows[cell].value_counts()
            found[text] = {name: int(counts.get(name, 0)) for name in CELLS}
            found[text]["outside"] = int((decided & rows[cell].isna()).sum())
            found[text]["undecided"] = int((asked & ~decided).sum())
    missing = RANKS_ONLY if "matched" not in found else NO_FOIL if "foil" not in found else ""
    return {**found, "missing": missing}
