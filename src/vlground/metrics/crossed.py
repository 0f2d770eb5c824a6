"""Means over models of statistics of the same images, with intervals (ours).

Several trainings of one recipe caption the same images. An interval over images alone says nothing
of another training; so both are drawn, crossed (Owen 2007, https://doi.org/10.1214/07-AOAS122): a
resample takes as many images, and as many models, as there are, with replacement. Of three models
that is a rough measure: show each beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from vlground.metrics.statistics import MIN_IMAGES, Estimate

_CHUNK = 250  # resamples at once


@dataclass(frozen=True, eq=False)
class Ratios:
    """A score of one model: a weighted sum of r ratios of sums over `k` images.

    CHAIRi is one ratio; the mean F1 of three categories is three, each with a weight of 1/3.

    Attributes:
        parts: `(k, r)` what an image adds to each numerator.
        wholes: `(k, r)` what it adds to each denominator.
        weights: `(r,)`.
    """

    parts: np.ndarray
    wholes: np.ndarray
    weights: np.ndarray

    def of(self, times: np.ndarray) -> np.ndarray:
        """The score for `(b, k)` times that each image was drawn, `(b,)`; NaN where undefined."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: np.ndarray = ((times @ self.parts) / (times @ self.wholes)) @ self.weights
        return found


@dataclass(frozen=True)
class Crossed:
    """A statistic over models and images.

    Attributes:
        mean: Over the models that have it, with the interval over both.
        each: Model -> its own, with the interval over images alone.
    """

    mean: Estimate
    each: Mapping[str, Estimate]

    @property
    def side(self) -> int:
        """1 if the whole interval of the mean is above 0, -1 if below, else 0."""
        low, high = self.mean.low, self.mean.high
        if low is None or high is None:
            return 0
        return int(low > 0) - int(high < 0)


def crossed(
    scores: Mapping[str, Mapping[str, Ratios]],
    differences: Mapping[str, tuple[str, str]],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Crossed]:
    """Scores of several models, and paired differences of scores.

    All share their resamples. A model without a score does not count in that score's mean.

    Args:
        scores: Score -> model -> its ratios; all over the same k images in the same order.
        differences: Name -> (score, score that is taken from it).
        n_resamples: Number of bootstrap resamples.
        seed: Of them.
        level: Coverage of the intervals.

    Returns:
        Name of a score or a difference -> what it is; those that no model has are left out.
    """
    models = sorted({model for found in scores.values() for model in found})
    sizes = {len(one.parts) for found in scores.values() for one in found.values()}
    if len(sizes) > 1:
        raise ValueError(f"scores of {sorted(sizes)} images")
    images = sizes.pop() if sizes else 0
    rng = np.random.default_rng(seed)
    own = _values(scores, differences, models, np.ones((1, images)))
    drawn, luck = [], []
    for start in range(0, n_resamples if images >= MIN_IMAGES else 0, _CHUNK):
        size = min(_CHUNK, n_resamples - start)
        times = rng.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)
        drawn.append(_values(scores, differences, models, times))
        luck.append(rng.random((size, len(models))))
    tail = (1 - level) / 2
    found = {}
    for place, name in enumerate([*scores, *differences]):
        values = own[0, :, place]
        if not np.isfinite(values).any():
            continue
        resampled = np.concatenate([part[:, :, place] for part in drawn]) if drawn else None
        each = {
            model: _estimate(
                values[m], None if resampled is None else resampled[:, m], tail, images
            )
            for m, model in enumerate(models)
            if isfinite(values[m])
        }
        known = np.flatnonzero(np.isfinite(values))
        means = None if resampled is None else _mean(resampled[:, known], np.concatenate(luck))
        mean = _estimate(float(np.nanmean(values)), means, tail, images)
        found[name] = Crossed(mean, each)
    return found


def _values(
    scores: Mapping[str, Mapping[str, Ratios]],
    differences: Mapping[str, tuple[str, str]],
    models: Sequence[str],
    times: np.ndarray,
) -> np.ndarray:
    """`(b, models, scores and differences)`, NaN where a model has none."""
    found = np.full((len(times), len(models), len(scores) + len(differences)), np.nan)
    places = {name: place for place, name in enumerate(scores)}
    for name, of_models in scores.items():
        for model, ratios in of_models.items():
            found[:, models.index(model), places[name]] = ratios.of(times)
    for place, (first, second) in enumerate(differences.values(), len(scores)):
        found[:, :, place] = found[:, :, places[first]] - found[:, :, places[second]]
    return found


def _mean(resampled: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """Means over as many models as have the statistic, drawn from these, `(b,)`."""
    count = resampled.shape[1]
    picked = (luck[:, :count] * count).astype(np.int64)
    return np.asarray(np.take_along_axis(resampled, picked, axis=1).mean(axis=1))


def _estimate(value: float, resampled: np.ndarray | None, tail: float, n: int) -> Estimate:
    """No interval where more than 5 % of the resamples are undefined."""
    if resampled is None or np.isfinite(resampled).mean() < 0.95:
        return Estimate(float(value), None, None, n)
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Estimate(float(value), float(low), float(high), n)
