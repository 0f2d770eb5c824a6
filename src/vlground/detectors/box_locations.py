"""Locations from the box of an object: a detector that can say where in the image it lies (ours).

    a red star in the upper left corner ──▶ a red star ──Detector──▶ boxes ── one of them there?

By thirds of the image, and the centre of the box.
"""

import math
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from vlground.contracts import Detection, Detector
from vlground.data.images import load_image
from vlground.data.sample import Sample

# Name -> column and row, of three each; None: any.
_PLACES: dict[str, tuple[int | None, int | None]] = {
    "in the upper left corner": (0, 0),
    "in the upper right corner": (2, 0),
    "in the lower left corner": (0, 2),
    "in the lower right corner": (2, 2),
    "in the middle": (1, 1),
    "on the left side": (0, None),
    "on the right side": (2, None),
    "at the top": (None, 0),
    "at the bottom": (None, 2),
}
_LOCATED = re.compile(rf"(.+?) ({'|'.join(_PLACES)})")


class BoxLocations(Detector):
    """Looks for objects, and for where the boxes of objects lie.

    A located phrase (`a red star at the top`) is as sure as the surest box that lies there; 0 if
    none does. Where the object has no box, it is as sure as the object. Every other phrase goes to
    the detector as it is.

    Args:
        detector: Of objects, with boxes.
    """

    version: ClassVar[int] = 1

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for phrases in images.

        Args:
            samples: A batch.
            phrases: Of each sample.

        Returns:
            Of each sample one detection a phrase; of a located one with the boxes that lie there,
            and NaN where the detector cannot tell the object.

        Raises:
            ImageError: If an image cannot be read.
        """
        parts = [[_parts(phrase) for phrase in asked] for asked in phrases]
        wanted = [list(dict.fromkeys(name for name, _ in asked)) for asked in parts]
        found = self._detector.detect(samples, wanted)
        rows = []
        for sample, asked, names, told in zip(samples, parts, wanted, found, strict=True):
            known = dict(zip(names, told, strict=True))
            size = load_image(sample.image).size if any(place for _, place in asked) else (1, 1)
            rows.append([_there(known[name], place, size) for name, place in asked])
        return rows


def _parts(phrase: str) -> tuple[str, str]:
    """An object, with its link, and its location; another phrase and ""."""
    located = _LOCATED.fullmatch(" ".join(phrase.casefold().split()))
    return (phrase, "") if located is None else (located.group(1), located.group(2))


def _there(found: Detection, place: str, size: tuple[int, int]) -> Detection:
    if not place or not len(found.boxes) or math.isnan(found.probability):
        return found
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    thirds = np.clip(np.floor(3 * centres / np.array(size)), 0, 2)
    holds = np.ones(len(thirds), dtype=bool)
    for axis, third in enumerate(_PLACES[place]):
        if third is not None:
            holds &= thirds[:, axis] == third
    scores = found.scores[holds]
    return Detection(float(scores.max(initial=0.0)), found.boxes[holds], scores)
