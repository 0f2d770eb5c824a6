"""What a judge says of answers and captions, each stored once.

A score is kept at once and never asked for again. Refusals and errors are not evidence: they are
counted by the run that met them, and the next one asks again.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch

from vlground.cell import Cell
from vlground.config import build, contents, versions
from vlground.contracts import Judge, JudgeRequest, Shows, Verdict
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError, ImpossiblePairError, VlgroundError
from vlground.identity import Stage, digest
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.evidence import warn_of_damage
from vlground.tasks.scoring import gathered

log = logging.getLogger("vlground")

_TELL = 30.0  # seconds between two lines
_ABOUT = {"nothing": "words alone", "photo": "a whole photo"}
_SPENT = ("scores", "cached", "calls", "tokens_in", "tokens_out", "cost")
_KEPT = ("score", "description", "justification", "model", "tokens_in", "tokens_out")


@dataclass(frozen=True, eq=False)
class Asked:
    """One thing that a judge is asked.

    Attributes:
        fields: What the prompt's placeholders stand for.
        sample: Whose image it is shown; None: none.
    """

    fields: Mapping[str, str]
    sample: Sample | None = None

    @property
    def key(self) -> str:
        """Words and image: what a verdict is stored under."""
        return digest([dict(self.fields), self.sample.image_key if self.sample else None])


@dataclass
class Judgements:
    """The verdicts of a judge, whoever's answers they are about.

    Args:
        judge: Who is asked.
        store: Evidence of the stage.

    Attributes:
        failed: Key -> what came instead of a score, of this run.
    """

    judge: Judge
    store: EvidenceStore
    failed: dict[str, Verdict] = field(default_factory=dict)

    @classmethod
    def of(cls, cell: Cell, shows: Shows, highest: int) -> "Judgements":
        """Of a cell's judge.

        Args:
            cell: Of a metric that asks a judge.
            shows: What the prompt has to speak of.
            highest: Best score that the metric reads.

        Raises:
            ImpossiblePairError: If there is no judge, or its prompt is about something else.
        """
        node, metric = cell.node["judge"], cell.choices["metric"]
        if not node:
            told = f"metric={metric} asks one: judge=openai_compatible, local or logprobs"
            raise ImpossiblePairError(f"judge=none: {told}, with judge.prompt={metric}")
        judge = build(node)
        if (judge.shows, judge.highest) != (shows, highest):
            about = f"metric={metric} asks about {_ABOUT[shows]}, with scores of 0-{highest}"
            told = f"{about}; take judge=openai_compatible, local or logprobs"
            raise ImpossiblePairError(
                f"judge={cell.choices['judge']}: {told} with judge.prompt={metric}"
            )
        return cls(judge, EvidenceStore(cell.runs, judgement_stage(node)))

    def ask(self, questions: Mapping[str, Asked], trainer: lightning.Trainer) -> None:
        """Ask what is not known; every score is on disk as soon as it comes.

        Args:
            questions: Of the run, by any name; each process asks some of them.
            trainer: Of the run.

        Raises:
            VlgroundError: If nothing at all was answered, not even by a refusal.
        """
        warn_of_damage(self.store)
        # Where no model ran before, nobody has started the other processes.
        count = trainer.world_size if torch.distributed.is_initialized() else 1
        by_key = {asked.key: asked for asked in questions.values()}
        keys = list(by_key)
        mine = keys[trainer.global_rank :: count]
        open_ones = {key: by_key[key] for key in mine if key not in self.store}
        while open_ones:
            try:
                self._ask(open_ones)
            finally:
                self.store.release()
            left = open_ones if self.store.wait() else {}
            left = {key: asked for key, asked in left.items() if key not in self.store}
            open_ones = {key: asked for key, asked in left.items() if key not in self.failed}
        trainer.strategy.barrier()
        self.store.refresh()
        for failed in gathered([self.failed], count):
            self.failed |= failed
        self._check([self.of_key(key) for key in keys])

    def verdicts(self, questions: Mapping[str, Asked]) -> dict[str, Verdict]:
        """What is known of questions, by their names; of what was never asked an error."""
        return {name: self.of_key(asked.key) for name, asked in questions.items()}

    def of_key(self, key: str) -> Verdict:
        """What is known of a question."""
        if key in self.store:
            stored: dict[str, Any] = dict(self.store[key])
            return Verdict("score", cached=True, **stored)
        return self.failed.get(key, Verdict("error", reason="not asked"))

    def usage(self) -> dict[str, Any]:
        """What asking has cost, and who answered."""
        used = self.judge.usage
        found: dict[str, Any] = {name: getattr(used, name) for name in _SPENT}
        return found | {"models": dict(used.models)}

    def _ask(self, questions: Mapping[str, Asked]) -> None:
        """Ask what no other process asks."""
        started = told = time.monotonic()
        for done, (request, verdict) in enumerate(self.judge.judge(self._requests(questions)), 1):
            if verdict.outcome == "score":
                kept: Evidence = {name: getattr(verdict, name) for name in _KEPT}
                self.store.append([(request.key, kept)])
            else:
                self.failed[request.key] = verdict
            now = time.monotonic()
            if now - told >= _TELL:
                told, rate = now, done / (now - started)
                log.info("judged %d of %d, %.1f a second", done, len(questions), rate)

    def _requests(self, questions: Mapping[str, Asked]) -> Iterator[JudgeRequest]:
        for key in self.store.mine(list(questions)):
            asked = questions[key]
            images: tuple[np.ndarray, ...] = ()
            try:
                if asked.sample is not None:
                    images = (np.asarray(load_image(asked.sample)),)
            except ImageError as error:
                self.failed[key] = Verdict("error", reason=f"unreadable image: {error.reason}")
                continue
            yield JudgeRequest(key, asked.fields, images, sample=asked.sample)

    def _check(self, known: list[Verdict]) -> None:
        if known and all(verdict.outcome == "error" for verdict in known):
            reasons = Counter(verdict.reason for verdict in known)
            told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            raise VlgroundError(f"the judge answered none of {len(known)} questions: {told}")


def judgement_stage(node: Mapping[str, Any]) -> Stage:
    """The stage of a judge's verdicts on words: it reads the judge, and nothing else.

    What was judged is in the key, so equal answers of two models are judged once.

    Args:
        node: Of the judge.
    """
    named = {"judge": node}
    return Stage("judgement", versions([node]), named, contents(named))
