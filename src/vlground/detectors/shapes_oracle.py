"""A detector that knows the scenes of the shapes world, and errs as often as it is told."""

import math
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from vlground.contracts import Detection, Detector
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import COLOURS, SHAPES, SIZES, Scene
from vlground.detectors.phrases import folded
from vlground.detectors.set_errors import SetErrors

_PHRASE = re.compile(
    rf"(?:(?:an?|the) )?(?:({'|'.join(SIZES)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)})"
)


class ShapesOracle(Detector):
    """Says whether objects of a scene are there, with set rates of error (ours).

    It knows a shape by its name, with its colour, its size or both before it: `star`, `red star`,
    `a small red star`. Whether it errs is drawn from (seed, image id, those words); see
    `SetErrors`.

    Args:
        miss: Of what is there, the part that is not found, in 0-1.
        false_alarm: Of what is not there, the part that is found, in 0-1; without boxes.
        seed: Of the errors.

    Raises:
        VlgroundError: If a rate is not in 0-1.
    """

    version: ClassVar[int] = 1

    def __init__(self, miss: float = 0.0, false_alarm: float = 0.0, seed: int = 0) -> None:
        self._errors = SetErrors(miss, false_alarm, seed)

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look phrases up in scenes.

        Args:
            samples: A batch.
            phrases: Of each sample, in any case.

        Returns:
            Of each sample one detection a phrase: probability 1 with the boxes of all objects that
            fit, or 0, or NaN for other words than it knows.

        Raises:
            VlgroundError: If an image is of another world.
        """
        rows = []
        for sample, asked in zip(samples, phrases, strict=True):
            scene = scene_of(sample.image_id)
            rows.append([self._detect(scene, sample.image_id, folded(phrase)) for phrase in asked])
        return rows

    def _detect(self, scene: Scene, image_id: str, phrase: str) -> Detection:
        words = _PHRASE.fullmatch(phrase)
        if words is None:
            return Detection(math.nan)
        size, colour, shape = words.groups()
        fitting = Description(shape, colour, size).referents(scene)
        boxes = np.array([scene.things[place].box for place in fitting], np.float32).reshape(-1, 4)
        name = " ".join(word for word in words.groups() if word)
        return self._errors.answer(bool(fitting), image_id, name, boxes)
