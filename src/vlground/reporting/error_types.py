"""Which errors selection and refinement leave, type by type, in drawn scenes (ours).

    candidates    all of them: what a pick by chance is like
    winner        the lowest penalty
    refined       the winner without the sentences that were held against it

The truth is read off the scene, whichever branches selected.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlground.data.sample import Sample
from vlground.data.shapes.claims import ERROR_TYPES
from vlground.metrics.claims import estimates, rows_of
from vlground.metrics.statistics import Estimate, bootstrap_mean
from vlground.page.reading import Run
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.tables import Results, differences
from vlground.rewards.sentences import split

if TYPE_CHECKING:
    import pandas

ARMS = ("candidates", "winner", "refined")
_WORLD = "shapes_captions/"
_HEADS = {
    "wrong_sentences": "wrong sentences ↓",
    **{f"error/{name}": name for name in ERROR_TYPES},
    "right": "right sentences a caption ↑",
}
_NOTE = (
    "Shares of the sentences that can be read, by what is true of the drawn scene: with an error "
    "of any type, and of each. candidates: all of them, as a pick by chance has it; winner: the "
    "lowest penalty; refined: the winner without what was held against it. Fewer errors are cheap "
    "for those who say little: read them beside the right sentences. 95 % intervals over images. "
    "n: captions."
)


def error_type_blocks(runs: Sequence[Run]) -> list[Block]:
    """One table, three rows a run.

    Args:
        runs: Any; those of `task=rejection_sampling` on drawn scenes, with rows, are shown.
    """
    mine = [run for run in runs if run.results.get("task") == "rejection_sampling" and _drawn(run)]
    if not mine:
        return []
    rows = []
    for name, run in zip(_names([run.results for run in mine]), mine, strict=True):
        assert run.rows is not None
        for arm in ARMS:
            n, found = errors_left(run.rows, arm)
            cells = [interval(_given(found.get(score)), "\n") for score in _HEADS]
            rows.append([name if arm == ARMS[0] else "", arm, str(n), *cells])
    heads = ["run", "arm", "n", *_HEADS.values()]
    return [Block("errors left, by type: drawn scenes", heads, rows, [_NOTE], words=2)]


def errors_left(rows: "pandas.DataFrame", arm: str) -> tuple[int, dict[str, Estimate]]:
    """What the captions of an arm are like.

    Args:
        rows: Of a run of `task=rejection_sampling`, one a candidate.
        arm: One of `ARMS`.

    Returns:
        How many captions, and `wrong_sentences`, `error/TYPE`, … of `vlground.metrics.claims` with
        `right`: right sentences a caption.

    Raises:
        VlgroundError: An image is of another world.
    """
    taken = rows if arm == ARMS[0] else rows[rows["winner"].fillna(False).astype(bool)]
    texts = taken["refined" if arm == "refined" else "text"].fillna("").astype(str).tolist()
    ids, images = taken["id"].astype(str), taken["image_id"].astype(str)
    captions = [
        Sample(name, image, Path(), text)
        for name, image, text in zip(ids, images, texts, strict=True)
    ]
    said = rows_of(captions, [[one.text for one in split(text)] for text in texts])
    right = (said["sentences"] - said["unparsed"] - said["wrong"]).to_numpy(dtype=np.float64)
    found = estimates(said) | {"right": bootstrap_mean(right, images.tolist())}
    return len(captions), found


def _drawn(run: Run) -> bool:
    rows = run.rows
    return rows is not None and len(rows) > 0 and str(rows["image_id"].iloc[0]).startswith(_WORLD)


def _names(results: Sequence[Results]) -> list[str]:
    """Who wrote, who was asked, and what else the command line said."""
    named = [
        [str(result["choices"].get(group, "none")) for group in ("model", "detector", "reward")]
        for result in results
    ]
    return [
        " · ".join(filter(None, [*groups, setting, str(result.get("fingerprint", ""))[:8]]))
        for groups, setting, result in zip(named, differences(results), results, strict=True)
    ]


def _given(one: Estimate | None) -> dict[str, object] | None:
    return None if one is None or one.value != one.value else asdict(one)
