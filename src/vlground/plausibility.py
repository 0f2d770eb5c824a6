"""Whether plausible and faithful maps agree, sample by sample (ours).

A map is plausible if it lies where people look: in the box (IO_ratio), or as a judge scores it. It
is faithful if the model's score depends on what it highlights. Neither implies the other (Jacovi
and Goldberg 2020): here their rank correlation is measured over the samples of one model, one CAM
and one data set, of which one run was scored by `metric=q_groundcam` or `task=explanation`, another
by `metric=faithfulness`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.metrics.agreement import explained, paired, undefined
from vlground.metrics.correlation import spearman
from vlground.metrics.faithfulness import SCORES
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.published import interval

if TYPE_CHECKING:
    import pandas

# Column of rows -> what it is called.
PLAUSIBLE = {"io_ratio": "IO_ratio", "score": "judge's score"}
LOWER = frozenset({"deletion", "average_drop", "road_morf"})  # is better; of the others higher
HEADS = ["faithfulness", "plausibility", "n", "Spearman's ρ", "do they agree?"]


@dataclass(frozen=True)
class Plausibility:
    """One faithfulness score beside one of plausibility.

    Attributes:
        faithful: Name of `vlground.metrics.faithfulness.SCORES`.
        plausible: Name of `PLAUSIBLE`.
        spearman: Their correlation as the scores stand, -1 to 1: of `LOWER` a negative one says
            that plausible maps are faithful. n: samples that have both.
        verdict: yes, if the interval says that plausible maps are the faithful ones; no, if it says
            the opposite; open, if it holds 0; "" without an interval.
        common: Samples in both tables.
        other_text: Of these, how many were left out because the two maps are for different texts.
    """

    faithful: str
    plausible: str
    spearman: Statistic
    verdict: str
    common: int
    other_text: int


def plausibility(
    faithful: "pandas.DataFrame",
    plausible: Sequence["pandas.DataFrame"],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Plausibility]:
    """Correlate every faithfulness score with every score of plausibility, over samples.

    Rows are joined by sample id. An explanation's map is for the predicted class: where that is not
    the text that the other map is for, the sample is left out and counted.

    Args:
        faithful: Rows of a run with `metric=faithfulness`.
        plausible: Rows of runs with the same model, CAM and data set, each with a column of
            `PLAUSIBLE`.
        n_resamples: Number of bootstrap resamples, of images.
        seed: Seed of the resamples.
        level: Coverage of the intervals; they are not corrected for how many there are.

    Returns:
        One entry for each pair of scores that any sample has, in the order of `PLAUSIBLE`.

    Raises:
        ValueError: A table has no column of scores, or an id twice, or two tables give a sample
            different images.
    """
    scores = [name for name in SCORES if name in faithful and faithful[name].notna().any()]
    if not scores:
        raise ValueError("the first rows have no score of faithfulness")
    found: list[Plausibility] = []
    for rows in plausible:
        names = [name for name in PLAUSIBLE if name in rows]
        if not names:
            raise ValueError(f"rows without a column of {', '.join(PLAUSIBLE)}")
        both = _joined(faithful, rows)
        same = both[_same_text(both)]
        images = same["image_id"].astype(str).tolist()
        for name in names:
            for score in scores:
                columns = [same[one].to_numpy(dtype=np.float64) for one in (score, name)]
                statistic = _correlation(columns, images, n_resamples, seed, level)
                verdict = _verdict(statistic, lower=score in LOWER)
                left_out = len(both) - len(same)
                found.append(Plausibility(score, name, statistic, verdict, len(both), left_out))
    return sorted(found, key=lambda one: list(PLAUSIBLE).index(one.plausible))


def plausibility_table(
    found: Sequence[Plausibility], separator: str = " "
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells, one row a pair of scores; arrows say what is better.

    Args:
        found: As `plausibility` gives it.
        separator: Between a correlation and its interval.
    """
    rows = []
    for one in found:
        value = None if one.spearman.value is None else asdict(one.spearman)
        arrow = "↓" if one.faithful in LOWER else "↑"
        verdict = one.verdict or one.spearman.reason
        n, told = str(one.spearman.n), interval(value, separator)
        rows.append([f"{one.faithful} {arrow}", f"{PLAUSIBLE[one.plausible]} ↑", n, told, verdict])
    return list(HEADS), rows


def _joined(faithful: "pandas.DataFrame", rows: "pandas.DataFrame") -> "pandas.DataFrame":
    """Samples of both tables; columns that both have get a suffix where they are of the second."""
    both = faithful.merge(rows, on="id", suffixes=("", "_other"), validate="one_to_one")
    differing = both["image_id"].astype(str) != both["image_id_other"].astype(str)
    if differing.any():
        name = both["id"][differing].iloc[0]
        raise ValueError(f"sample {name} has different images: these are not of one data set")
    return both


def _same_text(both: "pandas.DataFrame") -> np.ndarray:
    """`(n,)` bool, whether both maps are for the same text."""
    asked, other = both["text"].map(_plain), both["text_other"].map(_plain)
    if "predicted" in both:
        # A right prediction may go by another name than the label: any of several synonyms.
        right = (both["correct"] == 1) & (both["label"].map(_plain) == asked)
        other = both["predicted"].map(_plain).where(~right, asked)
    return np.asarray(asked == other, dtype=bool)


def _plain(name: object) -> str:
    return " ".join(str(name).replace("_", " ").lower().split())


def _correlation(
    columns: Sequence[np.ndarray], images: Sequence[str], n_resamples: int, seed: int, level: float
) -> Statistic:
    (x, y), kept = paired(columns, images)
    found = bootstrap(lambda w: {"rho": spearman(x, y, w)}, kept, n_resamples, seed, level)
    why = undefined(x, y, "the scores of faithfulness", "the scores of plausibility")
    return explained(found, why)["rho"]


def _verdict(statistic: Statistic, lower: bool) -> str:
    if statistic.low is None or statistic.high is None:
        return ""
    if statistic.low <= 0 <= statistic.high:
        return "open"
    return "yes" if (statistic.low > 0) != lower else "no"
