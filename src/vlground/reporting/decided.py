"""What models decide beside the scores of their maps, sample by sample (ours)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.labels import BASELINES, COLUMNS
from vlground.metrics.matrix import rightness
from vlground.page.reading import Run
from vlground.reporting.tables import differences

if TYPE_CHECKING:
    import pandas

# Score -> its sign where more is to be better.
SIGNS = {"pointing_game": 1, "io_ratio": 1, "iou_soft": 1, "wdp_soft": -1, "pg_uncertainty": -1}
AREA = "area"  # of the box: large objects are easy, so this alone tells something
SCORES = (*SIGNS, AREA)
DECISIONS = ("matched", "foil", "ranked")


@dataclass(frozen=True, eq=False)
class Decided:
    """Samples of one run on which its model decided.

    Attributes:
        model: Model, with its CAM.
        data: Data set, with what the command line set of it.
        ids: `(n,)` of the samples.
        images: `(n,)` id of each sample's image.
        scores: As `signed` gives them.
        right: Name of `DECISIONS` -> `(n,)` 1 or 0, NaN where nothing was decided.
    """

    model: str
    data: str
    ids: np.ndarray
    images: np.ndarray
    scores: Mapping[str, np.ndarray]
    right: Mapping[str, np.ndarray]


def decided(runs: Sequence[Run]) -> list[Decided]:
    """What each run decided, beside its maps' scores.

    Args:
        runs: Any; read are those of `task=grounding` whose model decides, without baselines and
            masks, and of those that differ in options of the metric alone the first.
    """
    mine = [run for run in runs if _decides(run)]
    found: dict[tuple[str, str], Decided] = {}
    for run, setting in zip(mine, differences([one.results for one in mine]), strict=True):
        said, choices = setting.split(), run.results["choices"]
        of_model = [one for one in said if one.startswith(("model.", "cam."))]
        of_data = [one for one in said if one.startswith("dataset.")]
        model = " · ".join([str(choices.get("model")), str(choices.get("cam")), *of_model])
        data = " ".join([str(choices.get("dataset")), *of_data])
        if (model, data) not in found:
            found[model, data] = _of(run, model, data)
    return list(found.values())


def _of(run: Run, model: str, data: str) -> Decided:
    rows = run.rows
    assert rows is not None
    metric = (run.results.get("identity") or {}).get("metric") or {}
    threshold = float(metric.get("match_threshold", 0.5))
    match, foil = (rows[name].to_numpy(dtype=np.float64) for name in ("match", "foil_match"))
    right = {
        "matched": rightness(match, True, threshold),
        "foil": rightness(foil, False, threshold),
        "ranked": np.where(np.isnan(match) | np.isnan(foil), np.nan, match > foil),
    }
    ids, images = (rows[name].astype(str).to_numpy(dtype=str) for name in ("id", "image_id"))
    return Decided(model, data, ids, images, signed(rows), right)


def signed(rows: "pandas.DataFrame") -> dict[str, np.ndarray]:
    """Scores of maps so that more is better, and what the box alone says.

    Args:
        rows: Of `task=grounding`.

    Returns:
        Name of `SCORES` -> `(n,)`; NaN without a scored map. area: the box's share of the image.
    """
    found = {name: sign * rows[name].to_numpy(dtype=np.float64) for name, sign in SIGNS.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        share = found["io_ratio"] / rows["io_lift"].to_numpy(dtype=np.float64)
    return found | {AREA: np.where(np.isfinite(share), share, np.nan)}


def head(score: str) -> str:
    """What a score is called.

    >>> head("io_ratio"), head("area")
    ('IO_ratio', 'box area')
    """
    return "box area" if score == AREA else COLUMNS[score].rstrip(" ↑↓")


def _decides(run: Run) -> bool:
    choices, scores = run.results["choices"], run.results["scores"]
    made = run.results.get("task") == "grounding" and run.rows is not None
    plain = choices.get("cam") not in BASELINES and choices.get("mask", "none") == "none"
    return made and plain and "matched_accuracy" in scores
