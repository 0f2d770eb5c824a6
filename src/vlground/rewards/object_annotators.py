"""Annotators of photos with known objects: they mark sentences that name an absent one (ours)."""

from collections.abc import Sequence
from typing import ClassVar

from vlground.contracts import SentenceScorer
from vlground.data.captions import read_objects
from vlground.data.sample import Sample
from vlground.data.shapes.scene import generator
from vlground.errors import VlgroundError
from vlground.metrics.chair_vocabulary import vocabulary


class ObjectAnnotators(SentenceScorer):
    """Mark a sentence that names an object which the image does not hold, by CHAIR's words.

    They stand in for people where nobody annotated sentences, and know of one error type alone:
    hallucination. What one says is drawn from (seed, image id, sentence, person).

    Args:
        file: JSON, image id -> names of the objects in the image.
        synonyms: A class a line, its name first; None: CHAIR's words for COCO.
        miss: Of such sentences, the part that a person does not mark, in 0-1.
        false_alarm: Of other sentences, the part that a person marks, in 0-1.
        annotators: How many people; the probability is the share of them who mark it.
        seed: Of what they say.

    Raises:
        VlgroundError: If an option does not fit, or the file is not of this kind.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        file: str,
        synonyms: str | None = None,
        miss: float = 0.0,
        false_alarm: float = 0.0,
        annotators: int = 1,
        seed: int = 0,
    ) -> None:
        for name, rate in (("miss", miss), ("false_alarm", false_alarm)):
            if not 0 <= rate <= 1:
                raise VlgroundError(f"reward.{name}={rate}: expected 0 to 1")
        if annotators < 1:
            raise VlgroundError(f"reward.annotators={annotators}: expected 1 or more")
        self._objects, _ = read_objects(file, "reward.file")
        self._known = vocabulary(synonyms)
        self._miss, self._false_alarm = miss, false_alarm
        self._annotators, self._seed = annotators, seed

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Ask all of them.

        Args:
            samples: n samples, of which the image id is read.
            sentences: Of each, the sentences of one caption.

        Returns:
            n lists, one entry a sentence: `hallucination` -> share of people who mark it; empty of
            an image whose objects are not known.
        """
        return [
            [self._of(sample.image_id, piece.strip()) for piece in pieces]
            for sample, pieces in zip(samples, sentences, strict=True)
        ]

    def _of(self, image_id: str, sentence: str) -> dict[str, float]:
        if image_id not in self._objects:
            return {}
        truth = self._known.known(self._objects[image_id])
        wrong = any(mention.name not in truth for mention in self._known.mentions(sentence))
        marks = 0
        for person in range(self._annotators):
            number = generator("object annotator", self._seed, person, image_id, sentence).random()
            marks += number >= self._miss if wrong else number < self._false_alarm
        return {"hallucination": marks / self._annotators}
