"""Does a judge look at the picture? Controls that it has to score below the real mask (ours).

Vision-language models answer from what is likely as much as from what they see. Hence the same
samples are shown again: black, a random part of equal area, the complement of what the map shows,
and the map's own part under another sample's label. Each has to score lower. The whole image may
score higher, so it is shown beside them and not tested.

The samples have to be ones whose maps are good (right predictions, or masks of the object itself):
of a map that misses the object, a sound judge likes the complement better.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlground.metrics.statistics import (
    MIN_IMAGES,
    Estimate,
    PairedDifference,
    bootstrap_mean,
    paired_difference,
)

OWN = "own"
CONTROLS = ("random", "black", "complement", "shuffled_label")


@dataclass(frozen=True)
class Sanity:
    """What `sanity` finds.

    Attributes:
        verdict: sound, if each difference is above 0 with its interval; unsound, if one of them is
            not; undecided, if none fails but one is missing or has too few images for an interval.
        failed: Comparisons that do not hold (`own > black`).
        open: Comparisons that cannot be made, with the reason.
        differences: Control -> own minus control, on the samples that have both scores.
        means: Mean score of own, of each control, and of whatever else was given.
    """

    verdict: Literal["sound", "unsound", "undecided"]
    failed: tuple[str, ...]
    open: dict[str, str]
    differences: dict[str, PairedDifference]
    means: dict[str, Estimate]

    @property
    def sentence(self) -> str:
        """The verdict in a line."""
        if self.verdict == "unsound":
            return f"unsound: not shown that {', '.join(self.failed)}"
        if self.verdict == "undecided":
            return f"undecided: {'; '.join(f'{k}: {why}' for k, why in self.open.items())}"
        return "sound: own mask above every control"


def sanity(
    scores: Mapping[str, Mapping[str, float]],
    image_of: Mapping[str, str],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Sanity:
    """Compare the judge's scores of real masks with those of the controls.

    Args:
        scores: `own`, and each of `CONTROLS` that was run (others are averaged only) -> sample id
            -> score 0-5; NaN where the judge gave none.
        image_of: Sample id -> image id.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    >>> names = [str(number) for number in range(20)]
    >>> alike = dict.fromkeys(names, 5.0)
    >>> sanity({"own": alike, "black": alike}, {name: name for name in names}).failed
    ('own > black',)
    """
    failed, left_open, differences = [], {}, {}
    for control in CONTROLS:
        name = f"{OWN} > {control}"
        if OWN not in scores or control not in scores:
            left_open[name] = "not run"
            continue
        both = scores[OWN], scores[control]
        made = paired_difference(*both, image_of, n_resamples, seed, level)
        differences[control] = made
        low, value = made.difference.low, made.difference.value
        if made.difference.n == 0:
            left_open[name] = "no sample has both scores"
        elif low is None:
            left_open[name] = f"fewer than {MIN_IMAGES} images"
        elif value <= 0 or low <= 0:
            failed.append(name)
    means = {}
    for setting, column in scores.items():
        values = np.array(list(column.values()), dtype=np.float64)
        images = [image_of[i] for i in column]
        means[setting] = bootstrap_mean(values, images, n_resamples, seed, level)
    verdict: Literal["sound", "unsound", "undecided"] = (
        "unsound" if failed else "undecided" if left_open else "sound"
    )
    return Sanity(verdict, tuple(failed), left_open, differences, means)
