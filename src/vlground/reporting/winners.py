"""How much one option of the reward changes which candidate wins (ours).

Two runs of one pool that differ in one option alone are held against each other, image by image;
so each option is judged over all settings of the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from vlground.identity import digest
from vlground.metrics.statistics import bootstrap_mean
from vlground.page.reading import Run
from vlground.published import interval
from vlground.reporting.block import Block

if TYPE_CHECKING:
    import pandas

_HEADS = ("option", "values", "pairs of runs", "same winner", "least", "most")
_NOTE = (
    "Share of images in which two runs that differ in this option alone take the same candidate, "
    "over all pairs of such runs; least and most: of a single pair. n images"
)


def winner_blocks(runs: Sequence[Run]) -> list[Block]:
    """A table for each pool that at least two settings of the reward chose from.

    Args:
        runs: Any; those of `task=rejection_sampling` with rows are read.
    """
    pools: dict[str, list[Run]] = {}
    for run in runs:
        identity = run.results.get("identity")
        if run.results.get("task") != "rejection_sampling" or run.rows is None or not identity:
            continue
        same = {name: value for name, value in identity.items() if name != "metric"}
        pools.setdefault(digest(same), []).append(run)
    blocks = [_block(mine) for mine in pools.values() if len(mine) > 1]
    return [block for block in blocks if block is not None]


def _block(runs: Sequence[Run]) -> Block | None:
    winners = [_winners(run.rows) for run in runs if run.rows is not None]
    options = [run.results["identity"]["metric"] for run in runs]
    found: dict[str, list[np.ndarray]] = {}
    values: dict[str, set[str]] = {}
    images: list[str] = sorted(set(winners[0]).intersection(*winners[1:]))
    for one, other, name in _pairs(options):
        pairs = ((winners[one][image], winners[other][image]) for image in images)
        found.setdefault(name, []).append(np.array([a == b for a, b in pairs], dtype=float))
        values.setdefault(name, set()).update(str(options[i][name]) for i in (one, other))
    if not found or not images:
        return None
    rows = []
    for name, shares in sorted(found.items(), key=lambda item: float(np.mean(item[1]))):
        estimate = bootstrap_mean(np.mean(shares, axis=0), images)
        told = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        ends = [f"{float(np.mean(one)):.3f}" for one in shares]
        of = ", ".join(sorted(values[name]))
        rows.append([name, of, str(len(shares)), interval(told, "\n"), min(ends), max(ends)])
    title = f"winners: {runs[0].results['choices'].get('dataset', '')}"
    return Block(title, list(_HEADS), rows, [f"{_NOTE}: {len(images)}; runs: {len(runs)}."], 2)


def _pairs(options: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, str]]:
    """Places of two settings, and the one option in which they differ."""
    for one, other in combinations(range(len(options)), 2):
        a, b = options[one], options[other]
        differ = [name for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
        if len(differ) == 1:
            yield one, other, differ[0]


def _winners(rows: "pandas.DataFrame") -> dict[str, int]:
    """Image id -> number of its winner."""
    won = rows[rows["winner"].fillna(False).astype(bool)]
    return dict(zip(won["image_id"].astype(str), won["candidate"].astype(int), strict=True))
