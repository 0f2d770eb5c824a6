"""Rows of candidates, made some images at a time: texts go to disk, numbers stay in memory."""

from collections.abc import Callable, Mapping, Sequence

import pandas

from vlground.cell import Cell
from vlground.contracts import Caption
from vlground.data.sample import Sample

TOGETHER = 500  # images whose captions are in memory
SAMPLED: Mapping[str, type] = {
    **{"id": str, "image_id": str, "candidate": int, "text": str, "words": int, "tokens": int},
    **{"log_probability": float, "cut_off": bool, "model": str, "flag": str},
    **{"degenerate": bool, "skipped": str, "truncated": str, "foil_truncated": str},
    **{"repeated": bool, "sentences": int},
}
SCORED: Mapping[str, type] = {
    **SAMPLED,
    **{"wrong_sentences": int, "unscored_sentences": int, "nouns": int, "grounded": int},
    **{"undetected": str, "untold": str},
}
SELECTED: Mapping[str, type] = {
    **SCORED,
    **{"penalty_sentences": float, "penalty_nouns": float, "penalty": float},
    **{"winner": bool, "worst": bool, "refined": str, "tied": int, "removed_sentences": int},
}


# Columns that stay in memory: what became of candidates, what is averaged over them.
FLAGS = ("id", "image_id", "flag", "degenerate", "skipped", "truncated", "foil_truncated")


def rows_in_parts(
    cell: Cell,
    images: Sequence[Sample],
    rows_of: Callable[[Sequence[Sample]], pandas.DataFrame],
    columns: Mapping[str, type],
    kept: Sequence[str],
    write: bool,
) -> pandas.DataFrame:
    """Make the rows of all images, and begin `rows.parquet` with them.

    Args:
        cell: Of the run.
        images: One sample an image.
        rows_of: Rows of some of them.
        columns: Name -> type, of the file.
        kept: Columns that are needed later.
        write: Whether this process writes the file.

    Returns:
        All rows, with these columns and `FLAGS`.
    """
    file, parts = cell.rows_in_parts(columns) if write else None, []
    for start in range(0, len(images), TOGETHER):
        rows = rows_of(images[start : start + TOGETHER])
        if file is not None:
            file.add(rows)
        parts.append(rows[[*FLAGS, *kept]])
    return pandas.concat(parts, ignore_index=True)


def sampled_rows(
    images: Sequence[Sample], candidates: Sequence[Sequence[Caption]]
) -> pandas.DataFrame:
    """One row a candidate, as `SAMPLED` without `sentences`; none written: flagged with the reason.

    Args:
        images: One sample an image.
        candidates: Of each.
    """
    found: list[dict[str, object]] = []
    for sample, captions in zip(images, candidates, strict=True):
        earlier: set[str] = set()
        for index, one in enumerate(captions):
            known = one.log_probabilities
            found.append(
                {
                    "id": f"{sample.image_id}/{index}",
                    "image_id": sample.image_id,
                    "candidate": index,
                    "text": one.text,
                    "words": len(one.text.split()),
                    "tokens": None if known is None else len(known),
                    "log_probability": None if known is None else float(sum(known)),
                    "cut_off": one.cut_off,
                    "model": one.model,
                    "flag": one.problem,
                    "degenerate": False,
                    "repeated": not one.problem and one.text in earlier,
                }
            )
            if not one.problem:
                earlier.add(one.text)
    rows = pandas.DataFrame(found, columns=[name for name in SAMPLED if name != "sentences"])
    numbers = ["tokens", "log_probability"]
    return rows.assign(**{name: rows[name].astype(float) for name in numbers})
