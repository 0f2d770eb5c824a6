"""What Weights & Biases shows of the runs that reward captions, beside scores and counts."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

TASKS = ("sampling", "scoring", "rejection_sampling", "claim_checking", "branch_checking")
SPACE = "reward"
MOST = 100  # winners in the table
NOUN_COLUMNS = ("noun", "captions", "images", "undetected", "presence")
_HELD = ("penalty_sentences", "penalty_nouns", "penalty", "tied", "removed_sentences")
WINNER_COLUMNS = ("image_id", "picture", "candidate", "caption", "refined", *_HELD)


def space(task: str) -> str:
    """The namespace of a task's scores and counts.

    >>> space("rejection_sampling"), space("sampling")
    ('reward', 'sampling')
    """
    return SPACE if task in ("scoring", "rejection_sampling") else task


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """What became of images and sentences: `reward/count/emptied` … ; nothing of another task."""
    counts: Mapping[str, int] = _block(results).get("counts") or {}
    return {f"{SPACE}/count/{name}": count for name, count in counts.items()}


def histograms(results: Mapping[str, Any]) -> dict[str, tuple[list[int], list[float]]]:
    """`reward/histogram/penalty_total` … -> counts and edges; nothing of another task."""
    found: Mapping[str, Any] = _block(results).get("histograms") or {}
    return {
        f"{SPACE}/histogram/{name}": (one["counts"], one["edges"]) for name, one in found.items()
    }


def nouns(results: Mapping[str, Any]) -> list[list[Any]]:
    """Lines of the table by noun, with `NOUN_COLUMNS`; none of another task."""
    found: Sequence[Mapping[str, Any]] = _block(results).get("nouns") or ()
    return [[one.get(name) for name in NOUN_COLUMNS] for one in found]


def winners(rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Path]) -> list[list[Any]]:
    """Lines of the table of winners, with `WINNER_COLUMNS`.

    Args:
        rows: Of candidates, the winners at least; those of another task have none.
        figures: Id of a winner -> picture of its image.

    Returns:
        Up to `MOST`, those with a picture first, then by hash of the image's id: the same images in
        every run.
    """
    won = [row for row in rows if row.get("winner")]
    won.sort(key=lambda row: _place(row["id"], row["image_id"], figures))
    return [
        [
            row["image_id"],
            figures.get(row["id"]),
            row["candidate"],
            row["text"],
            row["refined"],
            *(row.get(name) for name in _HELD),
        ]
        for row in won[:MOST]
    ]


def is_shown(table: "pandas.DataFrame", figures: Mapping[str, Path]) -> "pandas.Series":
    """Which rows W&B needs: those with a picture, and the winners that it shows.

    Args:
        table: Rows of any task.
        figures: Row's id -> picture.
    """
    pictured = table["id"].isin(list(figures))
    if "winner" not in table:
        return pictured
    won = table[table["winner"]]
    images = dict(zip(won["id"].tolist(), won["image_id"].tolist(), strict=True))
    first = sorted(images, key=lambda name: _place(name, images[name], figures))[:MOST]
    return pictured | table["id"].isin(first)


def _place(name: str, image_id: str, figures: Mapping[str, Path]) -> tuple[bool, str]:
    return name not in figures, _hash(str(image_id))


def _block(results: Mapping[str, Any]) -> Mapping[str, Any]:
    return results.get(SPACE) or {} if results["task"] in TASKS else {}


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
