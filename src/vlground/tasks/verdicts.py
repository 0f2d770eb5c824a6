"""Asks a judge about stored maps, and about controls behind which a sound judge scores lower.

A score is kept at once, by image and setting, and never asked for again. Refusals and errors are
not evidence: they are counted by the run that met them, and the next one asks again.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlground.contracts import Judge, JudgeRequest, Mask, Verdict
from vlground.data.images import load_image
from vlground.errors import ImageError, ImpossiblePairError, VlgroundError
from vlground.masks.controls import Black, Complement, Full, RandomPlace
from vlground.masks.soft import Crop, SoftMask
from vlground.metrics.judge_sanity import OWN
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.explaining import Subject, frame_of, grid_of

log = logging.getLogger("vlground")

SHUFFLED = "shuffled_label"
_PROMPTS = {"overlay": "judge.prompt=overlay", "masked": "judge.prompt=full"}
_TELL = 30.0  # seconds between two lines
_KEPT = ("score", "description", "justification", "model", "tokens_in", "tokens_out")


@dataclass(frozen=True, eq=False)
class Question:
    """One thing that a judge is asked.

    Attributes:
        subject: The image.
        evidence: Its map and prediction.
        setting: `own`, or the name of a control.
        asked: The label it is asked about.
    """

    subject: Subject
    evidence: Evidence
    setting: str
    asked: str

    @property
    def key(self) -> str:
        """What its verdict is stored under."""
        return "/".join([self.subject.key, self.setting, self.asked])


@dataclass
class Verdicts:
    """The verdicts of a stage.

    Args:
        store: Evidence of the verdict stage.
        mask: Makes the picture.
    """

    store: EvidenceStore
    mask: Mask
    failed: dict[str, Verdict] = field(default_factory=dict)

    def __contains__(self, question: Question) -> bool:
        return question.key in self.store

    def of(self, question: Question) -> Verdict:
        """What is known; of what was never asked an error."""
        if question.key in self.store:
            stored: dict[str, Any] = dict(self.store[question.key])
            return Verdict("score", cached=True, **stored)
        return self.failed.get(question.key, Verdict("error", reason="not asked"))

    def ask(self, judge: Judge, questions: Sequence[Question]) -> None:
        """Ask what is not known; every score is on disk as soon as it comes.

        Args:
            judge: Whom.
            questions: Of one run.
        """
        open_ones = {q.key: q for q in questions if q not in self}
        while open_ones:
            try:
                self._ask(judge, open_ones)
            finally:
                self.store.release()
            left = open_ones if self.store.wait() else {}
            done = self.failed.keys()
            open_ones = {key: q for key, q in left.items() if q not in self and key not in done}

    def _ask(self, judge: Judge, open_ones: Mapping[str, Question]) -> None:
        """Ask what no other process asks."""
        started = told = time.monotonic()
        for done, (request, verdict) in enumerate(judge.judge(self._requests(open_ones)), 1):
            if verdict.outcome == "score":
                kept: Evidence = {name: getattr(verdict, name) for name in _KEPT}
                self.store.append([(request.key, kept)])
            else:
                self.failed[request.key] = verdict
            now = time.monotonic()
            if now - told >= _TELL:
                told, rate = now, done / (now - started)
                log.info("judged %d of %d, %.1f a second", done, len(open_ones), rate)

    def check(self, questions: Sequence[Question]) -> None:
        """Make sure that somebody answered: else there is nothing to score, and nothing to keep.

        Raises:
            VlgroundError: If all questions ended in errors, not even in a refusal.
        """
        known = [self.of(question) for question in questions]
        if known and all(verdict.outcome == "error" for verdict in known):
            reasons = Counter(verdict.reason for verdict in known)
            told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            raise VlgroundError(f"the judge answered none of {len(known)} questions: {told}")

    def _requests(self, questions: Mapping[str, Question]) -> Iterator[JudgeRequest]:
        masks = controls(self.mask) | {OWN: self.mask, SHUFFLED: self.mask}
        for key in self.store.mine(list(questions)):
            question = questions[key]
            try:
                yield _request(key, question, masks[question.setting])
            except ImageError as error:  # readable when its map was drawn
                self.failed[key] = Verdict("error", reason=f"unreadable image: {error.reason}")


def controls(mask: Mask) -> dict[str, Mask]:
    """Black, full, and random and complement of what a mask shows; none of a mask that is one."""
    of = mask.of if isinstance(mask, Crop) else mask
    if not isinstance(of, SoftMask):
        return {}
    return {
        "black": Black(),
        "full": Full(),
        "random": RandomPlace(of),
        "complement": Complement(of),
    }


def own_question(subject: Subject, evidence: Evidence) -> Question:
    """What a judge is asked of an image: does what the mask shows support the prediction?"""
    return Question(subject, evidence, OWN, str(evidence["predicted"]))


def sanity_questions(
    mask: Mask, explained: Sequence[tuple[Subject, Evidence]], count: int
) -> list[Question]:
    """What a judge is asked to find out whether it looks at the picture.

    Images with a wrong prediction are left out: of a map that misses the object a sound judge likes
    the complement better. Which of the others are taken, the hash of their ids decides.

    Args:
        mask: Of the run.
        explained: Images that are sent to the judge.
        count: So many of them.
    """
    settings = controls(mask)
    if not settings:
        return []
    able = [one for one in explained if one[1]["right"] or not one[1]["known"]]
    ranked = sorted(able, key=lambda one: one[0].key)[:count]
    questions = []
    for place, (subject, evidence) in enumerate(ranked):
        predicted = str(evidence["predicted"])
        questions += [Question(subject, evidence, name, predicted) for name in settings]
        others = (str(one[1]["predicted"]) for one in (*ranked[place:], *ranked[:place]))
        other = next((name for name in others if name != predicted), None)
        if other is not None:
            questions.append(Question(subject, evidence, SHUFFLED, other))
    return questions


def check_judge(mask: Mask, judge: Judge) -> None:
    """Make sure that a judge's prompt speaks of what the mask shows.

    Raises:
        ImpossiblePairError: If it does not.
    """
    if judge.shows is not None and judge.shows != mask.shows:
        told = f"its words are about a picture that is {judge.shows}, the mask's is {mask.shows}"
        raise ImpossiblePairError(f"judge.prompt: {told}; take {_PROMPTS[mask.shows]}")


def _request(key: str, question: Question, mask: Mask) -> JudgeRequest:
    subject, evidence = question.subject, question.evidence
    grid, frame = grid_of(evidence), frame_of(evidence)
    sample = subject.sample
    right: Any = evidence["right"]
    image = np.asarray(load_image(sample.image))
    return JudgeRequest(
        key,
        {"object": question.asked},
        (mask(image, grid, frame, sample),),
        mask.weights(grid, frame, sample).numpy(),
        subject.truth(right, str(evidence["predicted"])),
    )
