"""Annotators of drawn scenes: they know the truth, and err as often as they are told (ours)."""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from vlground.contracts import SentenceScorer
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import ERROR_TYPES, Errors, parse
from vlground.data.shapes.scene import generator
from vlground.errors import VlgroundError


class SimulatedAnnotators(SentenceScorer):
    """Several people who each say of a sentence which errors it makes.

    What a person says is drawn from (seed, image id, sentence, person) alone, by numbers that are
    compared with the rates: what is missed at a rate is missed at every higher one.

    Args:
        miss: Of the errors that a sentence makes, the part that a person does not notice, in 0-1.
        false_alarm: Of right sentences, the part that a person calls wrong, in 0-1; each type is
            as likely.
        annotators: How many people, from 1 on.
        seed: Of what they say.

    Attributes:
        counts: Reason -> sentences of which nobody knows the truth, as often as they were scored.

    Raises:
        VlgroundError: If an option does not fit.

    >>> from pathlib import Path
    >>> image = "shapes_captions/test/in/96/0.5/0/0"
    >>> sample, people = Sample(image, image, Path(), ""), SimulatedAnnotators()
    >>> people.score([sample], [["It was probably drawn by a child. "]])[0][0]["conjecture"]
    1.0
    >>> people.score([sample], [["A cat sleeps."]]), dict(people.counts)
    ([[{}]], {'sentence of no kind that is known': 1})
    """

    version: ClassVar[int] = 1

    def __init__(
        self, miss: float = 0.0, false_alarm: float = 0.0, annotators: int = 1, seed: int = 0
    ) -> None:
        for name, rate in (("miss", miss), ("false_alarm", false_alarm)):
            if not 0 <= rate <= 1:
                raise VlgroundError(f"reward.{name}={rate}: expected 0 to 1")
        if annotators < 1:
            raise VlgroundError(f"reward.annotators={annotators}: expected 1 or more")
        self._miss, self._false_alarm = miss, false_alarm
        self._annotators, self._seed = annotators, seed
        self.counts: Counter[str] = Counter()

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Ask all of them.

        Args:
            samples: n samples, of which the image id is read.
            sentences: Of each, the sentences of one caption, white space around them aside.

        Returns:
            n lists, one entry a sentence: each error type -> share of people who mark it, in 0-1;
            empty of a sentence that `parse` does not know, which is counted.

        Raises:
            VlgroundError: An image is of another world.
        """
        rows = []
        for sample, pieces in zip(samples, sentences, strict=True):
            scene = scene_of(sample.image_id)
            row: list[dict[str, float]] = []
            for claim in map(parse, pieces):
                if claim is None:
                    self.counts["sentence of no kind that is known"] += 1
                    row.append({})
                else:
                    row.append(self._share(sample.image_id, claim.text, claim.errors(scene)))
            rows.append(row)
        return rows

    def _share(self, image_id: str, sentence: str, errors: Errors) -> dict[str, float]:
        marked = Counter(
            error
            for person in range(self._annotators)
            for error in self._say(image_id, sentence, person, errors)
        )
        return {error: marked[error] / self._annotators for error in ERROR_TYPES}

    def _say(self, image_id: str, sentence: str, person: int, errors: Errors) -> Errors:
        """What one person marks."""
        random = generator("annotator", self._seed, person, image_id, sentence)
        alarm, imagined = random.random(), random.choice(ERROR_TYPES)
        noticed = [error for error in ERROR_TYPES if random.random() >= self._miss]
        if errors:
            return errors.intersection(noticed)
        return frozenset({imagined}) if alarm < self._false_alarm else frozenset()
