"""A detector that knows the truth, and errs as often as it is told."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vlground.contracts import Detection, Detector
from vlground.data.files import format_of, read_json
from vlground.data.sample import Sample
from vlground.errors import VlgroundError


class OracleDetector(Detector):
    """Says of known things whether they are there, with set rates of error (ours).

    Whether it errs is drawn from (seed, sample id, phrase) alone, by one number that is compared
    with the rates: what is missed at a rate is missed at every higher one.

    Args:
        file: JSON, image id -> names of the objects there. None: a sample's own text is where its
            boxes are, its label is there, and nothing else is known.
        synonyms: A file of lines `name, synonym, synonym …`; each stands for the first. None: a
            phrase must be the name.
        miss: Of what is there, the part that is not found, in 0-1.
        false_alarm: Of what is not there, the part that is found, in 0-1.
        seed: Of the errors.

    Raises:
        VlgroundError: If an option does not fit, or a file is not of this kind.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        file: str | None = None,
        synonyms: str | None = None,
        miss: float = 0.0,
        false_alarm: float = 0.0,
        seed: int = 0,
    ) -> None:
        for name, rate in (("miss", miss), ("false_alarm", false_alarm)):
            if not 0 <= rate <= 1:
                raise VlgroundError(f"detector.{name}={rate}: expected 0 to 1")
        self._names = {} if synonyms is None else _read_synonyms(Path(synonyms).expanduser())
        self._objects: dict[str, frozenset[str]] | None = None
        if file is not None:
            self._objects = self._read_objects(Path(file).expanduser())
        self._known = frozenset(self._names.values()).union(*(self._objects or {}).values())
        self._miss, self._false_alarm, self._seed = miss, false_alarm, seed

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look phrases up.

        Args:
            samples: A batch; of an image that the file does not name, nothing is known.
            phrases: Of each sample, in any case.

        Returns:
            Of each sample one detection a phrase: probability 1 or 0, or NaN where neither the file
            nor the sample knows the thing. Boxes are the sample's, for its own text.
        """
        return [
            [self._detect(sample, phrase) for phrase in asked]
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    def _detect(self, sample: Sample, phrase: str) -> Detection:
        own = self._name(phrase) == self._name(sample.text) and len(sample.boxes) > 0
        there = self._is_there(sample, phrase, own)
        if there is None:
            return Detection(math.nan)
        drawn = _uniform(self._seed, sample.id, self._name(phrase))
        if drawn >= self._miss if there else drawn < self._false_alarm:
            if own:
                boxes = np.asarray(sample.boxes, np.float32)
                return Detection(1.0, boxes, np.ones(len(boxes), np.float32))
            return Detection(1.0)
        return Detection(0.0)

    def _is_there(self, sample: Sample, phrase: str, own: bool) -> bool | None:
        name = self._name(phrase)
        if self._objects is not None:
            objects = self._objects.get(sample.image_id)
            return None if objects is None or name not in self._known else name in objects
        labelled = sample.label is not None and name == self._name(sample.label)
        foiled = sample.foil is not None and name == self._name(sample.foil)
        return True if own or labelled else False if foiled else None

    def _name(self, phrase: str) -> str:
        plain = _plain(phrase)
        return self._names.get(plain, plain)

    def _read_objects(self, path: Path) -> dict[str, frozenset[str]]:
        if not path.is_file():
            raise VlgroundError(f"detector.file={path}: no such file")
        with format_of(path, "objects"):
            content: Mapping[str, Any] = read_json(path)
            if not all(isinstance(names, list) for names in content.values()):
                raise ValueError("expected lists of names")
            return {
                image: frozenset(self._name(name) for name in names)
                for image, names in content.items()
            }


def _read_synonyms(path: Path) -> dict[str, str]:
    """Synonym -> name."""
    if not path.is_file():
        raise VlgroundError(f"detector.synonyms={path}: no such file")
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = [word for one in line.split(",") if (word := _plain(one))]
        found.update({word: found.get(word, words[0]) for word in words})
    return found


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


def _uniform(seed: int, sample_id: str, phrase: str) -> float:
    """In [0, 1), of 53 bits."""
    text = json.dumps(["detector", seed, sample_id, phrase])
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) * 2.0**-53
