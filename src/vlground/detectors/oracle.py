"""A detector that knows the truth, and errs as often as it is told."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from vlground.contracts import Detection, Detector
from vlground.data.files import format_of, read_json
from vlground.data.records import image_id_of
from vlground.data.sample import Sample
from vlground.detectors.phrases import folded
from vlground.detectors.set_errors import SetErrors
from vlground.errors import VlgroundError
from vlground.metrics.chair_vocabulary import vocabulary


class OracleDetector(Detector):
    """Says of known things whether they are there, with set rates of error (ours).

    Whether it errs is drawn from (seed, image id, name); see `SetErrors`.

    Args:
        file: JSON, image id -> names of the objects there, such as `dataset.objects` of captions.
            None: a sample's own text is where its boxes are, its label is there, its foil is not,
            and nothing else is known.
        synonyms: A file of lines `name, synonym, synonym …`; each stands for the first, and `#`
            begins a comment. None: with a file CHAIR's words for COCO, all of which are known, also
            those of objects that no image of the file holds; without one a phrase must be the name.
        miss: Of what is there, the part that is not found, in 0-1.
        false_alarm: Of what is not there, the part that is found, in 0-1.
        seed: Of the errors.

    Raises:
        VlgroundError: If an option does not fit, or a file is not of this kind.
    """

    version: ClassVar[int] = 3

    def __init__(
        self,
        file: str | None = None,
        synonyms: str | None = None,
        miss: float = 0.0,
        false_alarm: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._errors = SetErrors(miss, false_alarm, seed)
        self._names: Mapping[str, str] = {}
        if synonyms is not None:
            self._names = _read_synonyms(Path(synonyms).expanduser())
        elif file is not None:
            self._names = vocabulary().classes
        self._objects: dict[str, frozenset[str]] | None = None
        if file is not None:
            self._objects = self._read_objects(Path(file).expanduser())
        self._known = frozenset(self._names.values()).union(*(self._objects or {}).values())

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
            [self._detect(sample, self._name(phrase)) for phrase in asked]
            for sample, asked in zip(samples, phrases, strict=True)
        ]

    def _detect(self, sample: Sample, name: str) -> Detection:
        own = len(sample.boxes) > 0 and name == self._name(sample.text)
        there = self._is_there(sample, name, own)
        if there is None:
            return Detection(math.nan)
        return self._errors.answer(there, sample.image_id, name, sample.boxes if own else None)

    def _is_there(self, sample: Sample, name: str, own: bool) -> bool | None:
        if self._objects is not None:
            objects = self._objects.get(sample.image_id)
            return None if objects is None or name not in self._known else name in objects
        labelled = sample.label is not None and name == self._name(sample.label)
        foiled = sample.foil is not None and name == self._name(sample.foil)
        return True if own or labelled else False if foiled else None

    def _name(self, phrase: str) -> str:
        plain = folded(phrase)
        return self._names.get(plain, plain)

    def _read_objects(self, path: Path) -> dict[str, frozenset[str]]:
        if not path.is_file():
            raise VlgroundError(f"detector.file={path}: no such file")
        with format_of(path, "objects (image id -> names)"):
            content: Mapping[str, Any] = read_json(path)
            if not all(isinstance(names, list) for names in content.values()):
                raise ValueError("expected lists of names")
            found = {
                image: frozenset(self._name(name) for name in names)
                for image, names in content.items()
            }
            # Data sets call COCO_val2014_000000310196 and 000000310196 by their number.
            for image in content:
                number = image_id_of({"image": image})
                if number is not None and "/" not in image:
                    found.setdefault(number, found[image])
            return found


def _read_synonyms(path: Path) -> dict[str, str]:
    """Synonym -> name."""
    if not path.is_file():
        raise VlgroundError(f"detector.synonyms={path}: no such file")
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.startswith("#"):
            continue
        words = [word for one in line.split(",") if (word := folded(one))]
        found.update({word: found.get(word, words[0]) for word in words})
    return found
