"""Which alpha and beta a judge likes best, for each model and CAM; no people are asked (ours).

The best of twenty settings looks better than it is on the images that it was chosen on. So it is
chosen on one half of the images, by the hash of their names, and measured on the other, both ways
round; against the paper's 25 and 0.6.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlground.alignment.runs import is_paper, sigmoid_of
from vlground.metrics.statistics import Estimate, paired_difference
from vlground.page.reading import Run
from vlground.reporting.block import Block

Setting = tuple[float, float]
Scores = Mapping[str, float]

CAPTION = "alpha and beta that the judge likes best"
HEADS = ("model", "cam", "judge", "n", "alpha", "beta", "score", "score at 25, 0.6", "gain")
NOTE = (
    "gain: of the setting chosen on one half of the images, measured on the other, over alpha 25 "
    "and beta 0.6, with its 95 % interval over images; score: of the setting chosen on all images."
)


@dataclass(frozen=True)
class Optimum:
    """Of one model, CAM and judge.

    Attributes:
        names: Model, CAM and judge.
        n: Images that every setting has a score of.
        best: Alpha and beta with the largest mean score.
        score: That mean, 0-5.
        paper: The mean at the paper's setting; None if it was not run.
        gain: Of the settings chosen on the other half, over the paper's.
    """

    names: tuple[str, str, str]
    n: int
    best: Setting
    score: float
    paper: float | None
    gain: Estimate | None


def optima(runs: Sequence[Run]) -> list[Optimum]:
    """The best setting of every model, CAM, data set and judge with several settings.

    Args:
        runs: Of `task=explanation`; those with another mask than the sigmoid are left out.
    """
    groups: dict[tuple[str, ...], dict[Setting, Run]] = defaultdict(dict)
    for run in runs:
        setting = sigmoid_of(run.results)
        if setting is not None and run.rows is not None:
            choices = run.results["choices"]
            key = tuple(str(choices.get(name)) for name in ("model", "cam", "judge", "dataset"))
            groups[key].setdefault(setting, run)
    return [
        _optimum((key[0], key[1], key[2]), settings)
        for key, settings in groups.items()
        if len(settings) > 1
    ]


def optimum_block(runs: Sequence[Run]) -> list[Block]:
    """The table of `optima`; none if there is nothing to choose from."""
    rows = []
    for one in optima(runs):
        gain = "–" if one.gain is None else f"{one.gain.value:+.2f}"
        if one.gain is not None and one.gain.low is not None:
            gain += f"\n{one.gain.low:+.2f} – {one.gain.high:+.2f}"
        paper = "–" if one.paper is None else f"{one.paper:.2f}"
        alpha, beta = (f"{value:g}" for value in one.best)
        rows.append([*one.names, str(one.n), alpha, beta, f"{one.score:.2f}", paper, gain])
    return [Block(CAPTION, HEADS, rows, (NOTE,), words=3)] if rows else []


def _optimum(names: tuple[str, str, str], settings: Mapping[Setting, Run]) -> Optimum:
    scores = {setting: _scores(run) for setting, run in settings.items()}
    images = {i: image for run in settings.values() for i, image in _images(run).items()}
    shared = sorted(set.intersection(*(set(column) for column in scores.values())))
    best, mean = _best(scores, shared)
    papers = [setting for setting, run in settings.items() if is_paper(run.results)]
    if not papers or not shared:
        return Optimum(names, len(shared), best, mean, None, None)
    halves: tuple[list[str], list[str]] = ([], [])
    for name in shared:
        halves[hashlib.sha256(images[name].encode()).digest()[0] % 2].append(name)
    chosen: dict[str, float] = {}
    for here, there in (halves, halves[::-1]):
        setting, _ = _best(scores, there)
        chosen |= {name: scores[setting][name] for name in here}
    gain = paired_difference(chosen, {name: scores[papers[0]][name] for name in shared}, images)
    at_paper = sum(scores[papers[0]][name] for name in shared) / len(shared)
    return Optimum(names, len(shared), best, mean, at_paper, gain.difference)


def _best(scores: Mapping[Setting, Scores], names: Sequence[str]) -> tuple[Setting, float]:
    """The setting with the largest mean over some samples; of equals the smallest."""
    means = {s: sum(column[n] for n in names) / len(names) for s, column in scores.items() if names}
    if not means:
        return min(scores), math.nan
    best = max(sorted(means), key=means.__getitem__)
    return best, means[best]


def _scores(run: Run) -> dict[str, float]:
    assert run.rows is not None
    scored = run.rows[run.rows["score"].notna()]
    return dict(zip(scored["id"].astype(str), scored["score"].astype(float), strict=True))


def _images(run: Run) -> dict[str, str]:
    assert run.rows is not None
    ids, images = run.rows["id"].astype(str), run.rows["image_id"].astype(str)
    return dict(zip(ids, images, strict=True))
