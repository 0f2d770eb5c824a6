"""How often people accept what a judge said, masked pictures against overlays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from vlground.alignment.people import Decision
from vlground.metrics.dependent import CLUSTERED, holm
from vlground.metrics.proportions import McNemar, mcnemar, share
from vlground.metrics.statistics import Estimate

REFERENCE = "overlay"  # what AutoXplain compares its masked pictures with


@dataclass(frozen=True)
class Rate:
    """The acceptance rate of one mask.

    Attributes:
        mask: Option of the run whose pictures were shown.
        accepted: Share of the samples that more than half of their annotators accept.
        annotators: How many people decided.
        split: Samples on which they are divided evenly; they are not in the share.
        in_no_run: Samples that no run has; they enter nothing.
    """

    mask: str
    accepted: Estimate
    annotators: int
    split: int
    in_no_run: int


@dataclass(frozen=True)
class Pair:
    """Two masks on the same samples.

    Attributes:
        first: A mask.
        second: The mask it is compared with.
        test: McNemar's, of samples decided for both.
        p_holm: Its p after Holm's correction over all pairs; None where there is no test.
        reason: Why there is none, or "".
    """

    first: str
    second: str
    test: McNemar
    p_holm: float | None
    reason: str


@dataclass(frozen=True)
class Acceptance:
    """What `accept` finds.

    Attributes:
        rates: One a mask, by name.
        pairs: Every other mask against overlay; against the first mask if nobody saw overlays.
        several: Whether images have several samples, so that intervals are bootstraps over images.
    """

    rates: tuple[Rate, ...]
    pairs: tuple[Pair, ...]
    several: bool


def accept(decisions: Sequence[Decision], images: dict[str, str], seed: int = 0) -> Acceptance:
    """Acceptance rates with Wilson's intervals, and McNemar's test between masks.

    The authors' study has one person's accept or reject a sample. Of several people the majority
    counts (ours), so that samples stay independent of each other.

    Args:
        decisions: From `vlground.alignment.people.read_decisions`.
        images: Sample id -> image id, see `vlground.alignment.analysis.images_of`.
        seed: Of the bootstrap, which is drawn where images have several samples.
    """
    ids = sorted({one.id for one in decisions if one.id in images})
    image_ids = [images[name] for name in ids]
    rates, columns = [], {}
    ordered = sorted(decisions, key=lambda one: (one.mask, one.id))
    for mask, group in groupby(ordered, key=lambda one: one.mask):
        mine = list(group)
        known = [one for one in mine if one.id in images]
        votes = _majorities(known)
        columns[mask] = np.array([votes.get(name, np.nan) for name in ids])
        rate = Rate(
            mask=mask,
            accepted=share(columns[mask], image_ids, seed=seed),
            annotators=len({one.annotator for one in mine}),
            split=int(np.isnan(list(votes.values())).sum()),
            in_no_run=len({one.id for one in mine} - set(images)),
        )
        rates.append(rate)
    several = len(set(image_ids)) < len(ids)
    return Acceptance(tuple(rates), _pairs(columns, several), several)


def _majorities(decisions: Sequence[Decision]) -> dict[str, float]:
    """Sample -> 1.0 or 0.0, as most decided; NaN if they are divided evenly."""
    votes: dict[str, list[bool]] = {}
    for one in decisions:
        votes.setdefault(one.id, []).append(one.accepted)
    means = {name: float(np.mean(given)) for name, given in votes.items()}
    return {name: np.nan if mean == 0.5 else float(mean > 0.5) for name, mean in means.items()}


def _pairs(columns: dict[str, np.ndarray], several: bool) -> tuple[Pair, ...]:
    second = REFERENCE if REFERENCE in columns else next(iter(columns))
    tests = {
        first: mcnemar(column, columns[second])
        for first, column in columns.items()
        if first != second
    }
    reasons = {
        first: CLUSTERED if several else "" if test.n else "no sample is decided for both"
        for first, test in tests.items()
    }
    adjusted = holm({first: test.p for first, test in tests.items() if not reasons[first]})
    return tuple(
        Pair(first, second, test, adjusted.get(first), reasons[first])
        for first, test in tests.items()
    )
