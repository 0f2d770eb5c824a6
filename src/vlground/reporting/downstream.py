"""Do grounding scores go with what a model decides? (ours; open question 3 of Q-GroundCAM).

    sample ──▶ its map ──▶ grounding score ─┐
       └─────▶ decision, right or wrong ────┴─▶ AUC over samples, rank correlation over runs

A model that decides is asked whether the sample's text fits, and whether its foil does, which is
POPE's question; and it ranks one above the other, which is retrieval with two texts. All of it is
held against the one map of the run, that of the sample's own text.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from vlground.metrics.correlation import spearman
from vlground.metrics.discrimination import auc_within
from vlground.metrics.resampling import Statistic
from vlground.page.reading import Run
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.decided import AREA, DECISIONS, SCORES, Decided, decided, head
from vlground.reporting.orders import order_blocks

LIKE_SIZE = "io_ratio, like size"
_FEWEST = 10  # wrong decisions, below which an AUC would say nothing
_SIZES = 5  # parts of a run's samples, by the area of the box
_RESAMPLES = 2000  # of runs
_OF_IMAGES = 500  # of which a hundred statistics are drawn
_NOTE = (
    "Chance that a sample that was decided wrongly has a worse grounding score than one of the "
    "same run that was decided rightly, ties half; 0.5: the score says nothing of the decision. "
    "matched: the sample's text is accepted; foil: its foil is refused; ranked: the text has a "
    "higher probability than its foil. Of WDP and PG uncertainty lower is better. box area: what "
    "the size of the object tells without any map; IO_ratio, like size: within fifths of a run's "
    "samples by that area. 95 % intervals over images; "
    f"– with fewer than {_FEWEST} wrong decisions."
)
_RUNS = (
    "Spearman's ρ of a run's mean grounding score, signed so that more is better, and the share "
    "of its right decisions. within data sets: both less their mean over models; within models: "
    "less their mean over data sets. Intervals draw models and data sets again, both; of few "
    "models they are rough. n: runs."
)


def downstream_blocks(runs: Sequence[Run]) -> list[Block]:
    """Decisions beside maps: sample by sample of each model and data set, and run by run.

    Also whether the order of models by their maps is the same in another look.

    Args:
        runs: Any; those of `task=grounding` whose model decides are read, baselines left out.
    """
    found = decided(runs)
    if not any(
        (one.right[decision] == 0).sum() >= _FEWEST for one in found for decision in DECISIONS
    ):
        return []  # as of a few photos
    by_model = _samples("model", found, [one.model for one in found])
    by_data = _samples("data set", found, [one.data for one in found])
    return [by_model, by_data, *_over_runs(found), *order_blocks(found)]


def area(found: Sequence[Decided], score: str, decision: str) -> tuple[int, int, Statistic]:
    """AUC of a grounding score for right decisions, within runs.

    Args:
        found: Some runs.
        score: One of `SCORES`, or `LIKE_SIZE`.
        decision: One of `DECISIONS`.

    Returns:
        How many decisions with a scored map there are, how many of them are wrong, and the AUC.
    """
    of = "io_ratio" if score == LIKE_SIZE else score
    scores = np.concatenate([one.scores[of] for one in found])
    right = np.concatenate([one.right[decision] for one in found])
    images = np.concatenate([one.images for one in found])
    runs = np.repeat(np.arange(len(found)), [len(one.images) for one in found])
    if score == LIKE_SIZE:
        runs = _SIZES * runs + np.concatenate([_fifths(one.scores[AREA]) for one in found])
    known = ~np.isnan(scores) & ~np.isnan(right)
    wrong = right[known] == 0
    told = -scores[known], wrong, ~wrong, runs[known].astype(str), images[known]
    if wrong.sum() < _FEWEST:
        few = Statistic(None, None, None, int(known.sum()), f"fewer than {_FEWEST} wrong decisions")
        return int(known.sum()), int(wrong.sum()), few
    return int(known.sum()), int(wrong.sum()), auc_within("", *told, _OF_IMAGES)[""]


def correlations(found: Sequence[Decided], decision: str) -> Iterator[tuple[str, str, Statistic]]:
    """Rank correlation over runs of mean scores and right decisions.

    Args:
        found: The runs.
        decision: One of `DECISIONS`.

    Yields:
        Score, over which runs (all, within data sets, within models), and ρ.
    """
    of_model = np.array([one.model for one in found])
    of_data = np.array([one.data for one in found])
    right = np.array([_mean(one.right[decision]) for one in found])
    for score in SCORES:
        values = np.array([_mean(one.scores[score]) for one in found])
        known = np.isfinite(values) & np.isfinite(right)
        x, y, models, data = (column[known] for column in (values, right, of_model, of_data))
        ways = {
            "all": (x, y),
            "within data sets": (_centred(x, data), _centred(y, data)),
            "within models": (_centred(x, models), _centred(y, models)),
        }
        for way, (one, other) in ways.items():
            yield score, way, _rank_correlation(one, other, models, data)


def _samples(what: str, found: Sequence[Decided], names: Sequence[str]) -> Block:
    """One row a decision of each model, or of each data set."""
    rows = []
    for name in dict.fromkeys(names):
        mine = [one for one in found if name in (one.model, one.data)]
        for decision in DECISIONS:
            told = {score: area(mine, score, decision) for score in (*SCORES, LIKE_SIZE)}
            n, wrong, _ = told["io_ratio"]
            cells = [_shown(statistic) for _, _, statistic in told.values()]
            first = name if decision == DECISIONS[0] else ""
            rows.append([first, decision, str(n), str(wrong), *cells])
    heads = [what, "decision", "n", "wrong", *map(head, SCORES), "IO_ratio, like size"]
    return Block(f"do maps tell right decisions? by {what}", heads, rows, [_NOTE], words=2)


def _over_runs(found: Sequence[Decided]) -> list[Block]:
    if len({one.model for one in found}) < 2 or len({one.data for one in found}) < 2:
        return []
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for decision in DECISIONS:
        for _, way, statistic in correlations(found, decision):
            rows[decision, way].append(_shown(statistic))
    lines = [[*key, str(len(found)), *cells] for key, cells in rows.items()]
    heads = ["decision", "runs", "n", *map(head, SCORES)]
    caption = "do models and data sets with better maps decide better?"
    return [Block(caption, heads, lines, [_RUNS], words=2)]


def _rank_correlation(
    x: np.ndarray, y: np.ndarray, models: np.ndarray, data: np.ndarray
) -> Statistic:
    """ρ over runs; its interval draws models and data sets with replacement, crossed."""
    value = float(spearman(x, y, np.ones((1, len(x))))[0]) if len(x) > 2 else np.nan
    if not np.isfinite(value):
        return Statistic(None, None, None, len(x), "undefined")
    rng = np.random.default_rng(0)
    weights = np.ones((_RESAMPLES, len(x)))
    for groups in (models, data):
        names, place = np.unique(groups, return_inverse=True)
        shares = np.full(len(names), 1 / len(names))
        weights *= rng.multinomial(len(names), shares, size=_RESAMPLES)[:, place]
    resampled = spearman(x, y, weights)
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < 0.95 * _RESAMPLES:
        return Statistic(value, None, None, len(x), "undefined in more than 5 % of the resamples")
    low, high = np.quantile(defined, [0.025, 0.975])
    return Statistic(value, float(low), float(high), len(x))


def _fifths(areas: np.ndarray) -> np.ndarray:
    """`(n,)` 0 to 4, by area; equal areas stay together, and who has none comes first."""
    known = areas[~np.isnan(areas)]
    cuts = np.quantile(known, np.arange(1, _SIZES) / _SIZES) if len(known) else np.zeros(0)
    return np.searchsorted(cuts, np.nan_to_num(areas), side="left")


def _centred(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values less the mean of their group."""
    _, place = np.unique(groups, return_inverse=True)
    centred: np.ndarray = values - (np.bincount(place, values) / np.bincount(place))[place]
    return centred


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _shown(one: Statistic) -> str:
    return interval(None if one.value is None else asdict(one), "\n")
