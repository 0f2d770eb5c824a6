"""Boxes that a detector found elsewhere, from a file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vlground.contracts import Detection, Detector
from vlground.data.files import format_of, read_json
from vlground.data.sample import Sample
from vlground.detectors.detection import check_threshold
from vlground.detectors.phrases import folded
from vlground.errors import VlgroundError


class FileDetector(Detector):
    """Boxes and their scores by image id and phrase.

    The file is JSON: a list of `{"image": id, "phrase": …, "boxes": [[x0, y0, x1, y1], …],
    "scores": […]}`, in pixels of the original image; no boxes where the phrase was looked for and
    not found. `"probability"` may be given; else it is the largest score, and 0 without boxes.

    Args:
        file: The file.
        threshold: Boxes with a larger score are kept; the probability stays.

    Raises:
        VlgroundError: If it is not there, not in this format, or has a phrase of an image twice.
    """

    version: ClassVar[int] = 1

    def __init__(self, file: str, threshold: float = 0.25) -> None:
        check_threshold(threshold)
        path = Path(file).expanduser()
        if not path.is_file():
            raise VlgroundError(f"detector.file={file}: no such file")
        self._found: dict[tuple[str, str], Detection] = {}
        with format_of(path, "boxes of a detector"):
            for key, detection in _entries(read_json(path), threshold):
                if key in self._found:
                    raise ValueError(f"image {key[0]} has {key[1]} twice")
                self._found[key] = detection

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look phrases up.

        Args:
            samples: A batch.
            phrases: Of each sample, in any case.

        Returns:
            Of each sample one detection a phrase; NaN where the file does not say.
        """
        return [
            [self._found.get((s.image_id, folded(p)), Detection(math.nan)) for p in asked]
            for s, asked in zip(samples, phrases, strict=True)
        ]


def _entries(
    content: Sequence[Mapping[str, Any]], threshold: float
) -> Iterator[tuple[tuple[str, str], Detection]]:
    for number, entry in enumerate(content, start=1):
        boxes = np.asarray(entry["boxes"], np.float32).reshape(-1, 4)
        scores = np.asarray(entry.get("scores", [1.0] * len(boxes)), np.float32)
        probability = float(entry.get("probability", scores.max(initial=0.0)))
        wrong = scores.shape != (len(boxes),) or not np.isfinite(boxes).all()
        for value in (*scores.tolist(), probability):
            wrong = wrong or not 0 <= value <= 1
        if wrong:
            raise ValueError(f"entry {number}: expected a score in 0 to 1 for every box")
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > threshold]
        key = (str(entry["image"]), folded(str(entry["phrase"])))
        yield key, Detection(probability, boxes[order], scores[order])
