"""A judge without a network: it knows where the object is."""

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import numpy as np

from vlground.contracts import Judge, JudgeRequest, Verdict
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import boxes_to_mask
from vlground.judging.answer import HIGHEST, error
from vlground.judging.usage import Usage

Label = Literal["predicted", "truth"]


class ReferenceJudge(Judge):
    """Scores what is shown against the known place of the object (ours).

    With s in 0-1 how much of a pixel is shown, and the object on a share a of the pixels:

        focus       F = Σ s over the object / Σ s            share of what is shown that is object
        coverage    C = Σ s over the object / its pixels     share of the object that is shown
        distraction D = Σ s over the rest / its pixels       share of the rest that is shown
        lift        L = max(0, (F - a) / (1 - a))            focus beyond that of showing all alike
        score         = 5 · 2·L·C / (L + C)

    Nothing shown, everything shown alike and everything but the object score 0; the object and
    nothing else scores 5. The score rises with focus and with coverage, and distraction counts
    through focus: F = C·a / (C·a + D·(1 - a)). Where the object is the whole picture, L = F.

    The object is `sample.mask`, or what its boxes hold. A sample with neither, or a request of
    which it is not known what is shown, is an error.

    Args:
        label: `predicted`: a judge is asked whether the predicted label (the field `object`) is
            there; where it is not the sample's own label (or text, if it has none) the object is
            not there, and the score is 0. `truth`: the sample's own object is scored, whatever was
            predicted.

    Raises:
        VlgroundError: If the option does not fit.
    """

    version = 1

    def __init__(self, label: Label = "predicted") -> None:
        if label not in get_args(Label):
            raise VlgroundError(f"judge.label={label}: expected {', '.join(get_args(Label))}")
        self.label = label
        self.usage = Usage()

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests in order (see the base class)."""
        for request in requests:
            verdict = self._verdict(request)
            self.usage.add(verdict)
            yield request, verdict

    def _verdict(self, request: JudgeRequest) -> Verdict:
        shown, sample = request.shown, request.sample
        if shown is None:
            return error("not known what is shown")
        place = None if sample is None else _place(sample, shown.shape)
        if sample is None or place is None or not place.any():
            return error("not known where the object is")
        if place.shape != shown.shape:
            return error("mask and picture differ in size")
        if not (np.isfinite(shown).all() and shown.min() >= 0 and shown.max() <= 1):
            return error("what is shown is not in 0-1")
        focus, coverage, distraction = shares(shown, place)
        told = f"focus {focus:.3f}, coverage {coverage:.3f}, distraction {distraction:.3f}"
        seen = f"{coverage:.0%} of the object and {distraction:.0%} of the rest are shown."
        asked, own = request.fields.get("object", ""), sample.label or sample.text
        if self.label == "predicted" and _plain(asked) != _plain(own):
            why = f"{told}. The object there is {own!r}, not {asked!r}."
            return Verdict("score", 0.0, seen, why)
        score = harmonic_score(focus, coverage, float(place.mean()))
        area = f"the object's share of the picture is {place.mean():.3f}"
        return Verdict("score", score, seen, f"{told}; {area}.")


def shares(shown: np.ndarray, place: np.ndarray) -> tuple[float, float, float]:
    """Focus, coverage and distraction; see `ReferenceJudge`.

    Args:
        shown: `(height, width)` in 0-1.
        place: `(height, width)` bool, with some of it true.

    Returns:
        Each in 0-1; 0 where nothing is shown, or there is nothing but the object.
    """
    inside = float(shown[place].sum(dtype=np.float64))
    outside = float(shown[~place].sum(dtype=np.float64))
    focus = inside / (inside + outside) if inside + outside > 0 else 0.0
    rest = place.size - np.count_nonzero(place)
    distraction = outside / rest if rest else 0.0
    return focus, inside / np.count_nonzero(place), distraction


def harmonic_score(focus: float, coverage: float, area: float) -> float:
    """0-5; see `ReferenceJudge`.

    >>> harmonic_score(1, 1, 0.2), harmonic_score(0.2, 1, 0.2), harmonic_score(0, 0, 0.2)
    (5.0, 0.0, 0.0)
    """
    lift = focus if area >= 1 else max(0.0, (focus - area) / (1 - area))
    return HIGHEST * 2 * lift * coverage / (lift + coverage) if lift + coverage > 0 else 0.0


def _place(sample: Sample, shape: tuple[int, ...]) -> np.ndarray | None:
    """Where the object is."""
    if sample.mask is not None:
        return sample.mask.astype(bool)
    if not len(sample.boxes):
        return None
    return boxes_to_mask(sample.boxes, shape[0], shape[1]).numpy()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
