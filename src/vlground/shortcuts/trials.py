"""A suspicion is tried by an intervention: the region is blanked, and as much elsewhere.

Blanked is imputed from what is around (ROAD's, see `vlground.metrics.road`), so that the picture
stays one that the model could have seen. Ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.identity import digest
from vlground.metrics.bias import sign_flip
from vlground.metrics.dependent import holm
from vlground.metrics.road import impute
from vlground.metrics.statistics import Estimate, bootstrap_mean
from vlground.shortcuts.candidates import Candidate, Seen
from vlground.shortcuts.options import Search

_DRAWS = 100  # of a place of control, before a picture is given up
_TOGETHER = 64  # pictures imputed at once


@dataclass(frozen=True, eq=False)
class Trial:
    """One picture of a suspicion.

    Attributes:
        id: Of the sample.
        region: `(h, w)` bool, what is suspected.
        control: `(h, w)` bool, the same shape elsewhere, off the object and off the region.
    """

    id: str
    region: np.ndarray
    control: np.ndarray


@dataclass(frozen=True, eq=False)
class Suspect:
    """A suspicion after its trials.

    Attributes:
        kind: place or looks.
        label: The class that seems to rely on it.
        where: Ninths of the picture.
        trials: Its pictures, the largest effect first.
        effect: Of blanking the region, beyond that of blanking as much elsewhere, as a share of the
            predicted class' lead over the mean of the other logits.
        logit: The same in logits.
        elsewhere: What blanking elsewhere takes from the logit.
        p: One-sided sign-flip test of an effect above `least_effect`, after Holm's correction for
            all suspicions of the run; None if there was no trial.
        confirmed: p is small enough.
        facts: Of the candidate.
    """

    kind: str
    label: str
    where: Sequence[str]
    trials: Sequence[Trial]
    effect: Estimate
    logit: Estimate
    elsewhere: Estimate
    p: float | None
    confirmed: bool
    facts: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """All of it, `trials` as sample ids; None for what is not defined."""
        numbers = {name: asdict(getattr(self, name)) for name in ("effect", "logit", "elsewhere")}
        return {
            "kind": self.kind,
            "label": self.label,
            "where": list(self.where),
            "trials": [trial.id for trial in self.trials],
            **{k: one if isfinite(one["value"]) else None for k, one in numbers.items()},
            "p": self.p,
            "confirmed": self.confirmed,
            "facts": dict(self.facts),
        }


def trials(candidate: Candidate, seen: Sequence[Seen], options: Search) -> list[Trial]:
    """The pictures of a suspicion in which there is room for its control.

    The first `pictures` by hash of their id; the place of control is drawn from (seed, id).
    """
    found = []
    for number in sorted(candidate.regions, key=lambda n: digest([options.seed, seen[n].id])):
        region, one = candidate.regions[number], seen[number]
        rng = np.random.default_rng(int(digest([options.seed, one.id]), 16))
        control = elsewhere(region, one.near | region, rng)
        if control is not None:
            found.append(Trial(one.id, region, control))
        if len(found) == options.pictures:
            break
    return found


def elsewhere(region: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The region shifted to a random place that is free, edges joined; None if none was found.

    Args:
        region: `(h, w)` bool.
        taken: `(h, w)` bool, where it may not come to lie.
        rng: Draws the place.
    """
    for _ in range(_DRAWS):
        shift = tuple(int(rng.integers(length)) for length in region.shape)
        moved = np.roll(region, shift, (0, 1))
        if not (moved & taken).any():
            return np.asarray(moved)
    return None


def blanked(pairs: Sequence[tuple[Sample, np.ndarray]]) -> Iterator[np.ndarray]:
    """Pictures `(h, w, 3)` uint8 with some pixels imputed from the others.

    Args:
        pairs: Samples, each with `(h, w)` bool of what is blanked: never all of it.
    """
    for start in range(0, len(pairs), _TOGETHER):
        part = pairs[start : start + _TOGETHER]
        images = [np.asarray(load_image(sample)) for sample, _ in part]
        same = len({image.shape for image in images}) == 1
        for group in [range(len(part))] if same else [[place] for place in range(len(part))]:
            stack = torch.from_numpy(np.stack([images[place] for place in group]))
            removed = torch.from_numpy(np.stack([part[place][1] for place in group]))
            filled = impute(stack.permute(0, 3, 1, 2).float(), removed)
            yield from filled.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def suspect(
    candidate: Candidate,
    tried: Sequence[Trial],
    whole: np.ndarray,
    without: np.ndarray,
    control: np.ndarray,
    options: Search,
) -> Suspect:
    """What the trials of one suspicion say, before the correction for their number.

    Args:
        candidate: The suspicion.
        tried: `n` trials, one an image.
        whole: `(n, classes)` logits of the pictures.
        without: Of those without the region.
        control: Of those without as much elsewhere.
        options: Where reliance begins.
    """
    ids, rows, best = [one.id for one in tried], np.arange(len(tried)), whole.argmax(axis=1)
    own = whole[rows, best]
    others = (whole.sum(axis=1) - own) / max(1, whole.shape[1] - 1)
    lost = control[rows, best] - without[rows, best]
    share = lost / (own - others)
    both = sign_flip(share - options.least_effect, ids, options.seed)
    above = share.mean() > options.least_effect
    p = None if both is None else both / 2 if above else 1 - both / 2
    order = np.argsort(-share, kind="stable")
    return Suspect(
        candidate.kind,
        candidate.label,
        candidate.where(),
        [tried[place] for place in order],
        bootstrap_mean(share, ids, seed=options.seed),
        bootstrap_mean(lost, ids, seed=options.seed),
        bootstrap_mean(own - control[rows, best], ids, seed=options.seed),
        p,
        confirmed=False,
        facts=dict(candidate.facts),
    )


def confirm(found: Sequence[Suspect], options: Search) -> list[Suspect]:
    """Correct for the number of suspicions, and confirm; the largest effect first."""
    tested = {str(n): one.p for n, one in enumerate(found) if one.p is not None}
    corrected = holm(tested)
    whole = []
    for number, one in enumerate(found):
        p = corrected.get(str(number))
        confirmed = p is not None and p <= options.level
        whole.append(replace(one, p=p, confirmed=confirmed))
    return sorted(whole, key=lambda one: (not one.confirmed, -np.nan_to_num(one.effect.value)))
