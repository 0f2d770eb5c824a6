"""Does the order of models survive another domain? (ours; next check 2 of Q-GroundCAM)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from vlground.metrics.statistics import paired_difference
from vlground.reporting.block import Block
from vlground.reporting.decided import SIGNS, Decided, head

_RESAMPLES = 500
_NOTE = (
    "Kendall's τ of the models' order by their mean score here and there; below it how many pairs "
    "of models are in the opposite order, the difference beyond noise on both sides (95 % paired "
    "bootstrap over images), of the pairs that are decided on both. Models with another kind of "
    "map than the others count as models, too."
)


def order_blocks(found: Sequence[Decided]) -> list[Block]:
    """One table, a row for each data set that was run in two ways, such as two looks.

    Args:
        found: Runs of several models on the same samples.
    """
    by_data: dict[str, dict[str, dict[str, Decided]]] = defaultdict(lambda: defaultdict(dict))
    for one in found:
        by_data[one.data.split(" ")[0]][one.data][one.model] = one
    rows = []
    for ways in by_data.values():
        (here, first), *others = sorted(ways.items())
        for there, second in others:
            models = sorted(first.keys() & second.keys())
            if len(models) > 2:
                cells = [_compared(first, second, models, score) for score in SIGNS]
                rows.append([here, there, str(len(models)), *cells])
    if not rows:
        return []
    heads = ["here", "there", "models", *map(head, SIGNS)]
    return [Block("does the order of models survive?", heads, rows, [_NOTE], words=2)]


def _compared(
    first: Mapping[str, Decided], second: Mapping[str, Decided], models: Sequence[str], score: str
) -> str:
    """τ, and pairs that are reversed of those that are decided on both sides."""
    means = [[np.nanmean(side[m].scores[score]) for m in models] for side in (first, second)]
    tau = stats.kendalltau(*means).statistic
    pairs = [
        [_order(side[one], side[other], score) for side in (first, second)]
        for one, other in combinations(models, 2)
    ]
    decided = [(here, there) for here, there in pairs if here and there]
    reverse = sum(here != there for here, there in decided)
    return "–" if not np.isfinite(tau) else f"{tau:.2f}\n{reverse} of {len(decided)}"


def _order(one: Decided, other: Decided, score: str) -> int:
    """1 if the first model's maps are better beyond noise, -1 if worse, else 0."""
    columns = [dict(zip(run.ids.tolist(), run.scores[score], strict=True)) for run in (one, other)]
    image_of = dict(zip(one.ids.tolist(), one.images.tolist(), strict=True))
    gap = paired_difference(columns[0], columns[1], image_of, _RESAMPLES).difference
    if gap.low is None or gap.high is None:
        return 0
    return int(gap.low > 0) - int(gap.high < 0)
