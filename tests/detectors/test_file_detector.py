"""Boxes from a file: what it says, and what it does not say."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.detectors.grounded import photo

from vlground.detectors.file import FileDetector
from vlground.errors import VlgroundError

ENTRY = {"image": "image-a", "phrase": "Red  dog", "boxes": [[0, 0, 5, 5]], "scores": [0.9]}


def write(folder: Path, *entries: dict[str, Any]) -> str:
    path = folder / "boxes.json"
    path.write_text(json.dumps(entries))
    return str(path)


def test_boxes_are_read_by_image_and_phrase(tmp_path: Path) -> None:
    boxes = [[0, 0, 5, 5], [1, 1, 9, 9], [2, 2, 3, 3]]
    several = {"image": "image-a", "phrase": "cat", "boxes": boxes, "scores": [0.3, 0.8, 0.1]}
    given = {"image": "image-a", "phrase": "car", "boxes": [], "probability": 0.4}
    none = {"image": "image-b", "phrase": "cat", "boxes": []}
    detector = FileDetector(write(tmp_path, ENTRY, several, given, none))
    asked = ["CAT", "red dog", "car", "tree"]
    ((cat, dog, car, tree), (other,)) = detector.detect([photo(), photo("b")], [asked, ["cat"]])
    assert cat.probability == pytest.approx(0.8)
    np.testing.assert_array_equal(cat.boxes, [boxes[1], boxes[0]])
    np.testing.assert_allclose(cat.scores, [0.8, 0.3])
    assert dog.probability == pytest.approx(0.9)
    assert (car.probability, len(car.boxes)) == (0.4, 0)
    assert math.isnan(tree.probability)
    assert other.probability == 0
    ((strict,),) = FileDetector(write(tmp_path, ENTRY), 0.95).detect([photo()], [["red dog"]])
    assert (strict.probability, len(strict.boxes)) == (pytest.approx(0.9), 0)


@pytest.mark.parametrize(
    "entries",
    [
        [{**ENTRY, "scores": [1.5]}],
        [{**ENTRY, "scores": [0.5, 0.5]}],
        [{**ENTRY, "scores": [float("nan")]}],
        [{**ENTRY, "probability": -1}],
        [{**ENTRY, "boxes": [[0, 0, 5]]}],
        [{**ENTRY, "boxes": [[0, 0, float("inf"), 5]]}],
        [{"phrase": "dog", "boxes": []}],
        [ENTRY, {**ENTRY, "phrase": "red dog"}],
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(VlgroundError, match="not in the format of boxes of a detector"):
        FileDetector(write(tmp_path, *entries))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^detector\.file=.*: no such file$"):
        FileDetector(str(tmp_path / "none.json"))
