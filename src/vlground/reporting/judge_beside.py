"""Do grounding scores go with a judge's, map by map, and with right predictions? (ours)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from vlground.metrics.correlation import area_under_curve, spearman
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.page.reading import Run
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.decided import head, signed
from vlground.reporting.tables import differences

if TYPE_CHECKING:
    import pandas

JUDGE = "judge's score"
_NOTE = (
    "Samples of a grounding run and an explanation run of the same model, CAM and images. ρ: "
    "Spearman's, of a grounding score, signed so that more is better, and the judge's, over "
    "samples predicted rightly, where both maps are of the same class. AUC: chance that a rightly "
    "predicted sample has a better score than a wrongly predicted one; of the map of the true "
    "class, the judge's of that of the predicted one. 95 % intervals over images. n: right + wrong."
)


def judge_blocks(runs: Sequence[Run]) -> list[Block]:
    """One table: each explanation run that stands beside a grounding run, a row a score.

    Args:
        runs: Any.
    """
    judged = [run for run in runs if _is(run, "explanation")]
    pairs = [(run, other) for run in judged for other in runs if _same(run, other)]
    if not pairs:
        return []
    rows = []
    settings = differences([run.results for run, _ in pairs])
    for (run, other), setting in zip(pairs, settings, strict=True):
        assert run.rows is not None
        assert other.rows is not None
        choices = run.results["choices"]
        chosen = [str(choices.get(group)) for group in ("model", "cam", "dataset", "judge")]
        name = " · ".join([*chosen, setting] if setting else chosen)
        n, found = beside(other.rows, run.rows)
        for place, (score, (rho, auc)) in enumerate(found.items()):
            first = [name, n] if not place else ["", ""]
            called = score if score == JUDGE else head(score)
            rows.append([*first, called, _shown(rho), _shown(auc)])
    heads = ["run", "n", "score", "ρ with the judge", "AUC of right predictions"]
    return [Block("boxes beside the judge", heads, rows, [_NOTE], words=3)]


def beside(
    grounding: "pandas.DataFrame", explanation: "pandas.DataFrame"
) -> tuple[str, dict[str, tuple[Statistic, Statistic]]]:
    """What scores of maps have to do with the judge's score and with right predictions.

    Args:
        grounding: Rows of `task=grounding`.
        explanation: Rows of `task=explanation` of the same samples.

    Returns:
        How many samples were predicted rightly + wrongly; and of each grounding score and of the
        judge's own its ρ with the judge's, and the AUC.
    """
    both = grounding.merge(explanation, on="id", suffixes=("", "_judged"), validate="one_to_one")
    right = both["correct"].to_numpy(dtype=np.float64)
    judged = both["score"].to_numpy(dtype=np.float64)
    images = both["image_id"].astype(str).to_numpy(dtype=str)
    found = {}
    for name, values in (signed(both) | {JUDGE: judged}).items():
        same = np.isfinite(values) & np.isfinite(judged) & (right == 1)
        told = np.isfinite(values) & np.isfinite(right)
        rho = Statistic(None, None, None, int(same.sum()), "the judge's own")
        if name != JUDGE:
            rho = _rho(values[same], judged[same], images[same])
        found[name] = rho, _area(values[told], right[told] == 1, images[told])
    return f"{int((right == 1).sum())}+{int((right == 0).sum())}", found


def _rho(x: np.ndarray, y: np.ndarray, images: np.ndarray) -> Statistic:
    return bootstrap(lambda weights: {"": spearman(x, y, weights)}, images.tolist())[""]


def _area(x: np.ndarray, right: np.ndarray, images: np.ndarray) -> Statistic:
    return bootstrap(lambda w: {"": area_under_curve(x, right, w)}, images.tolist())[""]


def _is(run: Run, task: str) -> bool:
    return run.results.get("task") == task and run.rows is not None


def _same(judged: Run, run: Run) -> bool:
    """Whether a run is of the same images, model and CAM, held against boxes as they stand."""
    if not _is(run, "grounding") or run.results["choices"].get("mask", "none") != "none":
        return False
    mine, theirs = judged.results, run.results
    groups = ("model", "cam", "dataset")
    chosen = all(mine["choices"].get(g) == theirs["choices"].get(g) for g in groups)
    scored = "io_ratio" in theirs["scores"]
    return chosen and scored and _data(mine) == _data(theirs)


def _data(results: Mapping[str, Any]) -> object:
    return (results.get("identity") or {}).get("data")


def _shown(one: Statistic) -> str:
    return interval(None if one.value is None else asdict(one), "\n")
