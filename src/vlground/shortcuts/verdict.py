"""Which of many classifiers rely on the artefact, and which signal would have told.

An alarm is a signal above those of clean classifiers of the same architecture: a threshold from
nowhere promises nothing. A clean classifier is judged by the others, never by itself. Ours; the
paper (AutoXplain, arXiv 2508.20227) has the correlation of Correct-Low with the poison rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal

import numpy as np
from scipy import stats

from vlground.metrics.bias import Detection, detection, dose_response
from vlground.metrics.proportions import wilson
from vlground.metrics.resampling import Statistic
from vlground.metrics.statistics import Estimate
from vlground.shortcuts.models import Model

Relies = Literal["yes", "no", "undecided"]

PROMISED = 0.2  # a calibration that cannot promise fewer false alarms decides nothing
LEVEL = 0.05  # of the permutation test; the false-alarm rate to aim at
_EFFECT, _FOUND = "Δ logit", "suspects"


@dataclass(frozen=True)
class Alarm:
    """A signal of one model, held against clean ones.

    Attributes:
        value: Of the signal.
        threshold: Largest clean signal that is no alarm; None without a clean model.
        nominal: False-alarm rate that this threshold promises; None likewise.
        bound: Of one more clean model with a chance of 95 %, if clean signals are normal (Student's
            prediction bound); None with fewer than two.
    """

    value: float
    threshold: float | None
    nominal: float | None
    bound: float | None

    @property
    def raised(self) -> bool | None:
        """Whether the signal is above; None without a clean model."""
        return None if self.threshold is None else self.value > self.threshold


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is held of one model.

    Attributes:
        model: Which.
        relies: Whether it relies on the artefact.
        why: In words.
        alarms: Signal -> its alarm.
    """

    model: Model
    relies: Relies
    why: str
    alarms: dict[str, Alarm]


@dataclass(frozen=True)
class Power:
    """How well a signal tells poisoned from clean models of one architecture.

    Attributes:
        at: Poison rate -> share of its models with an alarm.
        false_alarms: Share of clean models with an alarm, each judged by the other clean ones.
        nominal: False-alarm rate that all clean models together promise for a new one.
        auc: ROC area, poisoned against clean.
    """

    at: dict[float, Estimate]
    false_alarms: Estimate
    nominal: float
    auc: Statistic


def names_of(models: Sequence[Model]) -> list[str]:
    """The signals that any model has, in the order in which they come."""
    return list(dict.fromkeys(signal for model in models for signal in model.signals))


def verdicts(models: Sequence[Model]) -> list[Verdict]:
    """Judge every model by the clean ones of its architecture.

    The known artefact's intervention decides: yes if it moves the logit by more than chance, more
    than in any clean model, and beyond the bound of clean models; no if not more than in all clean
    models, and no suspicion of the search was confirmed. All else is undecided, and so are models
    that too few clean ones stand beside: of five clean models one always exceeds the others.
    """
    found = []
    for model in models:
        same = [m for m in models if m.architecture == model.architecture and m is not model]
        clean = [m for m in same if m.poison == 0]
        alarms = {name: _alarm(value, name, clean) for name, value in model.signals.items()}
        relies, why = _decide(model, alarms)
        found.append(Verdict(model, relies, why, alarms))
    return found


def responses(models: Sequence[Model], signal: str) -> dict[str, Statistic]:
    """Pearson's r and Spearman's ρ of a signal with the poison rate.

    Intervals resample models: their pictures, weights and orders are drawn from different seeds at
    one rate, but from equal seeds at different rates, so models of one seed stay together if there
    are enough seeds for an interval.
    """
    known = [m for m in models if m.poison is not None and signal in m.signals]
    seeds = [f"{m.architecture} {m.seed}" for m in known]
    groups = seeds if len(set(seeds)) >= 20 else [m.checksum for m in known]
    rates = np.array([m.poison for m in known], dtype=np.float64)
    return dose_response(rates, np.array([m.signals[signal] for m in known]), groups)


def power(models: Sequence[Model], signal: str) -> Power | None:
    """How well a signal finds the poisoned among models of one architecture.

    Returns:
        None with fewer than two clean models, or without a poisoned one.
    """
    known = [m for m in models if m.poison is not None and isfinite(m.signals.get(signal, np.nan))]
    clean = np.array([m.signals[signal] for m in known if m.poison == 0])
    rates = sorted({m.poison for m in known if m.poison})
    if len(clean) < 2 or not rates:
        return None
    poisoned = np.array([m.signals[signal] for m in known if m.poison])
    whole = detection(clean, clean, poisoned, LEVEL)
    alarms = [_left_out(clean, number).false_alarms.value for number in range(len(clean))]
    at = {}
    for rate in rates:
        values = [m.signals[signal] for m in known if m.poison == rate]
        at[rate] = wilson(sum(value > whole.threshold for value in values), len(values))
    return Power(at, wilson(int(sum(alarms)), len(alarms)), whole.nominal, whole.auc)


def _left_out(clean: np.ndarray, number: int) -> Detection:
    one = clean[number : number + 1]
    return detection(np.delete(clean, number), one, one, LEVEL)


def _alarm(value: float, signal: str, clean: Sequence[Model]) -> Alarm:
    known = np.array([m.signals[signal] for m in clean if signal in m.signals])
    if not len(known):
        return Alarm(value, None, None, None)
    found = detection(known, np.zeros(0), np.array([value]), LEVEL)
    bound, n = None, len(known)
    if n > 1:
        spread = float(known.std(ddof=1)) * sqrt(1 + 1 / n)
        bound = float(known.mean() + stats.t.ppf(1 - LEVEL, n - 1) * spread)
    return Alarm(value, found.threshold, found.nominal, bound)


def _decide(model: Model, alarms: dict[str, Alarm]) -> tuple[Relies, str]:
    effect, found = alarms.get(_EFFECT), model.signals.get(_FOUND, 0.0)
    if effect is None or model.shortcut is None:
        return "undecided", "no run of task=shortcut"
    if effect.threshold is None or effect.nominal is None or effect.nominal > PROMISED + 1e-9:
        return "undecided", "too few clean models of this architecture"
    assert effect.bound is not None
    p = model.shortcut.get("p")
    why = f"Δ logit {effect.value:.2f}, clean {effect.threshold:.2f} (bound {effect.bound:.2f})"
    why = f"{why}; {found:.0f} found by the search"
    raised = bool(effect.raised) and p is not None and p <= LEVEL
    if raised and effect.value > effect.bound:
        return "yes", why
    return ("undecided" if raised or found else "no"), why
