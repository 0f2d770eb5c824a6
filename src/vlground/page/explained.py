"""What the page holds of an explanation run beside its scores."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from vlground.labels import EXPLANATION_COLUMNS
from vlground.page.reading import Run

CLASSES = 100  # of a run's classes those with the most samples are shown
_GALLERIES = ("correct_low", "wrong_high")


def explained(run: Run) -> dict[str, Any] | None:
    """Sanity, usage, gallery and classes of a run; None of a run of another task.

    Returns:
        `sanity` (or None) and `usage` as in `results.json`; `gallery`: cell -> sample ids, worst
        first; `classes`: `[name, [score, …]]`, a score `[value, low, high, n]` in the order of
        `EXPLANATION_COLUMNS` or null, of the largest
        classes first; `allClasses`: how many there are.
    """
    if run.results.get("task") != "explanation":
        return None
    block = _block(run)
    classes = block.get("per_class") or {}
    largest = sorted(classes.items(), key=lambda item: (-_size(item[1]), item[0]))[:CLASSES]
    return {
        "sanity": block.get("sanity"),
        "usage": block.get("usage") or {},
        "gallery": {cell: _ids(block, cell) for cell in _GALLERIES},
        "classes": [
            [name, [_short(scores.get(score)) for score in EXPLANATION_COLUMNS]]
            for name, scores in largest
        ],
        "allClasses": len(classes),
    }


def gallery(run: Run) -> list[str]:
    """Ids of the samples of a run's gallery, worst first, its cells in turn; of others none."""
    columns = [_ids(_block(run), cell) for cell in _GALLERIES]
    return [name for names in zip_longest(*columns) for name in names if name is not None]


def _block(run: Run) -> Mapping[str, Any]:
    found = run.results.get("explanation")
    return found if isinstance(found, Mapping) else {}


def _ids(block: Mapping[str, Any], cell: str) -> list[str]:
    return list(map(str, (block.get("gallery") or {}).get(cell, [])))


def _size(scores: Mapping[str, Any]) -> int:
    return max((int(score["n"]) for score in scores.values()), default=0)


def _short(score: Mapping[str, Any] | None) -> list[float | None] | None:
    """Rounded: a thousand classes of twenty runs would take megabytes."""
    if score is None or score["value"] is None:
        return None
    ends = [score[key] for key in ("value", "low", "high")]
    return [*(None if end is None else round(end, 3) for end in ends), score["n"]]
