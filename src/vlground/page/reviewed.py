"""One image on the review page: all its candidates, what is held against them, what was taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlground.data.sample import Sample
from vlground.rewards.best import Best
from vlground.rewards.described import Described
from vlground.rewards.options import VigorReward


@dataclass(frozen=True)
class Thing:
    """A noun that the detector was asked for.

    Attributes:
        name: Its lemma.
        presence: Probability; NaN: the detector cannot tell.
        boxes: `(k, 4)` x0, y0, x1, y1 in pixels of the image.
        scores: `(k,)`, of the boxes.
    """

    name: str
    presence: float
    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Held:
    """What is held against a candidate: raw signals, and its penalties.

    Attributes:
        raw: H, sentences called wrong, and D, nouns not detected; NaN: not known.
        penalties: Both normalised, 0 of a stream that does not count.
        total: NaN: it cannot be taken.
    """

    raw: tuple[float, float]
    penalties: tuple[float, float]
    total: float


@dataclass(frozen=True, eq=False)
class Reviewed:
    """One image on the page.

    Attributes:
        sample: Of the image.
        groups: Why it is shown: names among those of `Facts.groups`.
        objects: What is in it; None: not known.
        candidates: Those with a caption, by number.
        held: The same numbers, as far as they have scores.
        reasons: Number -> why the candidate could not be taken.
        things: Nouns of its candidates.
        best: What was taken; None: nothing could be.
        random: Number that the control takes.
        why: Why the winner won, or why there is none.
    """

    sample: Sample
    groups: Sequence[str]
    objects: frozenset[str] | None
    candidates: Mapping[int, Described]
    held: Mapping[int, Held]
    reasons: Mapping[int, str]
    things: Sequence[Thing]
    best: Best | None
    random: int | None
    why: str


def entry(one: Reviewed, metric: VigorReward) -> dict[str, Any]:
    """What the page holds of an image, without its picture.

    Args:
        one: The image.
        metric: What calls a sentence wrong, and a noun detected.
    """
    best = one.best
    places = {thing.name: place for place, thing in enumerate(one.things)}
    removed = () if best is None else best.refined.removed
    numbers = sorted({*one.candidates, *one.reasons})
    total = None if best is None else one.held[best.winner].total
    worst = None if best is None or best.worst is None else one.held[best.worst].total
    return {
        "id": one.sample.image_id,
        "groups": list(one.groups),
        "objects": None if one.objects is None else sorted(one.objects),
        "things": [_thing(thing) for thing in one.things],
        "winner": None if best is None else best.winner,
        "worst": None if best is None else best.worst,
        "random": one.random,
        "tied": 0 if best is None else best.tied,
        "able": 0 if best is None else len(best.able),
        "emptied": best is not None and best.refined.emptied,
        "spared": 0 if best is None else best.refined.spared,
        "removed": list(removed),
        "penalty": total,
        "gap": None if worst is None or total is None else worst - total,
        "why": one.why,
        "candidates": [
            {
                "number": number,
                "reason": one.reasons.get(number, ""),
                **_held(one.held.get(number)),
                "sentences": _sentences(one.candidates.get(number), places, metric),
            }
            for number in numbers
        ],
    }


def _held(held: Held | None) -> dict[str, Any]:
    if held is None:
        return {"raw": [None, None], "penalties": [None, None], "total": None}
    return {"raw": held.raw, "penalties": held.penalties, "total": held.total}


def _thing(thing: Thing) -> list[Any]:
    """Name, probability, boxes with their scores; a score that is not known is null."""
    boxes = np.concatenate([thing.boxes, thing.scores[:, None]], axis=1)
    return [thing.name, thing.presence, boxes.round(4).tolist()]


def _sentences(
    candidate: Described | None, places: Mapping[str, int], metric: VigorReward
) -> list[dict[str, Any]] | None:
    """Sentences with their errors, cut into pieces: JavaScript counts characters otherwise."""
    if candidate is None:
        return None
    found = []
    for number, sentence in enumerate(candidate.sentences):
        errors = candidate.errors[number]
        pieces: list[list[Any]] = []
        at, end = sentence.start, sentence.start + len(sentence.text)
        for mention in candidate.mentions:
            if mention.sentence != number or mention.start < at:
                continue
            pieces.append([candidate.text[at : mention.start], -1, 0])
            noun = candidate.text[mention.start : mention.end]
            pieces.append([noun, places[mention.lemma], _state(mention.presence, metric)])
            at = mention.end
        pieces.append([candidate.text[at:end], -1, 0])
        told = None if np.isnan(errors).any() else errors.round(4).tolist()
        wrong = [] if told is None else np.flatnonzero(errors > metric.sentence_threshold).tolist()
        found.append({"errors": told, "wrong": wrong, "pieces": [p for p in pieces if p[0]]})
    return found


def _state(presence: float, metric: VigorReward) -> int:
    """0: detected; 1: not detected; 2: the detector cannot tell."""
    return 2 if np.isnan(presence) else int(presence <= metric.noun_threshold)
