"""Does a model rely on a known artefact, such as a red dot?

Maps only show where a model looks. What it relies on is shown by an intervention: the same image
with and without the artefact. Whether a signal finds poisoned models is a matter of many models,
clean ones among them: a detector without a false-alarm rate detects nothing. All of it is ours; the
paper (AutoXplain, arXiv 2508.20227) compares the share of Correct-Low with the poison rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from vlground.metrics.agreement import explained, paired, undefined
from vlground.metrics.correlation import area_under_curve, pearson, spearman
from vlground.metrics.proportions import share, wilson
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.metrics.statistics import Estimate, bootstrap_mean

EXACT = 12  # up to so many images all 2 ** n signs are tried
_DRAWS = 10_000
_CHUNK = 2**20  # signs held at once


@dataclass(frozen=True)
class Intervention:
    """The same images with and without the artefact.

    Attributes:
        difference: Mean logit with minus without; above 0, the artefact speaks for the class.
        p: Two-sided sign-flip permutation test over images; None without a pair.
        flips: Share of samples whose predicted class changes.
        into: Share of samples not predicted as the class without the artefact that are with it;
            None if no class was named.
    """

    difference: Estimate
    p: float | None
    flips: Estimate
    into: Estimate | None


@dataclass(frozen=True)
class Detection:
    """A signal's power to tell poisoned models from clean ones.

    Attributes:
        threshold: An alarm is a signal above it.
        nominal: False-alarm rate that the calibration promises on average.
        power: Share of poisoned models with an alarm.
        false_alarms: Share with an alarm of clean models that were not calibrated on.
        auc: ROC area, poisoned against clean held-out models.
    """

    threshold: float
    nominal: float
    power: Estimate
    false_alarms: Estimate
    auc: Statistic


def intervention(
    logit_with: np.ndarray,
    logit_without: np.ndarray,
    predicted_with: np.ndarray,
    predicted_without: np.ndarray,
    image_ids: Sequence[str],
    target: int | str | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Intervention:
    """What the artefact does to a model.

    Args:
        logit_with: `(n,)` logit of the class in question, of the image with the artefact; NaN where
            the model failed.
        logit_without: `(n,)`, of the image without it.
        predicted_with: `(n,)` predicted classes.
        predicted_without: `(n,)` predicted classes.
        image_ids: `(n,)` image of each sample.
        target: The class that the artefact was planted in.
        seed: Seed of resamples and of permutations.
        level: Coverage of the intervals.
    """
    after, before = np.asarray(predicted_with), np.asarray(predicted_without)
    difference = np.asarray(logit_with, dtype=np.float64) - logit_without
    failed = np.isnan(difference)
    flips = np.where(failed, np.nan, after != before)
    into = None
    if target is not None:
        moved = np.where(failed | (before == target), np.nan, after == target)
        into = share(moved, image_ids, level, seed)
    return Intervention(
        bootstrap_mean(difference, image_ids, seed=seed, level=level),
        sign_flip(difference, image_ids, seed),
        share(flips, image_ids, level, seed),
        into,
    )


def sign_flip(difference: np.ndarray, image_ids: Sequence[str], seed: int = 0) -> float | None:
    """Two-sided p of paired differences around 0, by flipping the signs of whole images.

    Exact up to 12 images, else of 10,000 draws with the data themselves as one more.

    Args:
        difference: `(n,)`; NaN rows are dropped.
        image_ids: `(n,)` image of each row.
        seed: Seed of the draws.

    Returns:
        None without rows.

    >>> sign_flip(np.array([1.0, 2.0, 3.0]), ["a", "b", "c"])
    0.25
    """
    (values,), images = paired([difference], image_ids)
    if not images:
        return None
    _, which = np.unique(images, return_inverse=True)
    sums = np.bincount(which, values)
    n, seen = len(sums), abs(float(sums.sum()))
    seen -= 1e-9 * float(np.abs(sums).sum())  # the same sum added up in another order
    if n <= EXACT:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= seen).mean())
    rng, extreme, left = np.random.default_rng(seed), 1, _DRAWS
    while left:
        size = min(left, max(1, _CHUNK // n))
        signs = rng.integers(2, size=(size, n), dtype=np.int8)
        # ±1 without making them: twice the sum of the kept ones, less the sum of all.
        extreme += int((np.abs(2 * (signs @ sums) - sums.sum()) >= seen).sum())
        left -= size
    return extreme / (_DRAWS + 1)


def dose_response(
    rates: np.ndarray,
    signal: np.ndarray,
    models: Sequence[str],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Statistic]:
    """Does a signal rise with the share of poisoned training images?

    Args:
        rates: `(m,)` poison rate of each model, 0-1.
        signal: `(m,)`, such as the Correct-Low share; NaN where it is not defined.
        models: `(m,)` what is resampled: each model for itself, or equal names for what belongs
            together (models of one seed). From 20 on there is an interval.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        `pearson` and `spearman`, over models.

    >>> found = dose_response(np.array([0, 0.5, 1]), np.array([0, 1, 4]), ["a", "b", "c"])
    >>> found["spearman"].value
    1.0
    """
    (x, y), kept = paired([rates, signal], models)
    found = bootstrap(
        lambda w: {"pearson": pearson(x, y, w), "spearman": spearman(x, y, w)},
        kept,
        n_resamples,
        seed,
        level,
    )
    return explained(found, undefined(x, y, "the poison rates", "the signals", "models"))


def detection(
    calibration: np.ndarray,
    clean: np.ndarray,
    poisoned: np.ndarray,
    false_alarm_rate: float = 0.05,
    seed: int = 0,
    level: float = 0.95,
) -> Detection:
    """Set an alarm on clean models, and try it on others.

    The threshold is the k-th smallest of the c calibration signals, k = ⌈(c + 1)(1 - rate)⌉ or the
    largest: of a new clean model it is exceeded with probability 1 - k / (c + 1) at most, whatever
    the signal's distribution (split-conformal prediction). With fewer than 1 / rate - 1 calibration
    models the rate cannot be kept; `nominal` says what is.

    Args:
        calibration: `(c,)` signals of clean models, c >= 1; all signals are finite.
        clean: `(k,)` of other clean models (other seeds).
        poisoned: `(p,)` of poisoned models.
        false_alarm_rate: To aim at, 0-1.
        seed: Seed of the bootstrap of the area.
        level: Coverage of the intervals.

    Raises:
        ValueError: No calibration model, or a signal that is not finite.

    >>> found = detection(np.arange(19), np.array([1.0, 25.0]), np.array([20.0, 21.0]))
    >>> found.threshold, round(found.nominal, 3), found.power.value, found.false_alarms.value
    (18.0, 0.05, 1.0, 0.5)
    """
    ordered = np.sort(np.asarray(calibration, dtype=np.float64))
    signals = np.concatenate([clean, poisoned]).astype(np.float64)
    if not len(ordered):
        raise ValueError("no clean model to calibrate on")
    if not (np.isfinite(ordered).all() and np.isfinite(signals).all()):
        raise ValueError("a signal is not finite")  # it would count as no alarm
    # The small number: (149 + 1) * (1 - 0.18) is 123, but a little more in floating point.
    k = min(len(ordered), max(1, ceil((len(ordered) + 1) * (1 - false_alarm_rate) - 1e-9)))
    threshold = float(ordered[k - 1])
    positive = np.arange(len(signals)) >= len(clean)
    found = bootstrap(
        lambda w: {"auc": area_under_curve(signals, positive, w)},
        [str(i) for i in range(len(signals))],
        seed=seed,
        level=level,
    )
    return Detection(
        threshold,
        (len(ordered) + 1 - k) / (len(ordered) + 1),
        wilson(int((np.asarray(poisoned) > threshold).sum()), len(poisoned), level),
        wilson(int((np.asarray(clean) > threshold).sum()), len(clean), level),
        found["auc"],
    )


def mass_inside(maps: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """How much of each map lies in the artefact, against the artefact's share of the image.

    Args:
        maps: `(n, h, w)` raw maps; values below 0 count as 0.
        inside: `(n, h, w)`, share of each cell that the artefact covers, 0-1 (or bool). A clean
            image gets the place where the artefact would have been: its control.

    Returns:
        `(n,)` arrays: `mass`, share of the map inside; `area`, share of the image; `lift`, their
        ratio, 1 for a map that knows nothing of the artefact. NaN of a map that is not finite or
        nowhere above 0, and of a lift without area.
    """
    positive = np.maximum(np.asarray(maps, dtype=np.float64), 0)
    covered = np.asarray(inside, dtype=np.float64)
    total = positive.sum(axis=(1, 2))
    area = covered.mean(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = np.isfinite(total) & (total > 0)
        mass = np.where(usable, (positive * covered).sum(axis=(1, 2)) / total, np.nan)
        lift = np.where(area > 0, mass / area, np.nan)
    return {"mass": mass, "area": area, "lift": lift}
