"""A captioner answers one prompt a sample, each answer stored once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import lightning

from vlground.cell import Cell
from vlground.contracts import Caption, Captioner
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.candidates import Candidates
from vlground.tasks.images import ImageEvidence
from vlground.tasks.sampling import captioner_of
from vlground.tasks.scoring import gathered


@dataclass(frozen=True)
class Given:
    """What there is to be scored.

    Attributes:
        texts: Sample id -> answer or caption, even an empty one.
        problems: Sample id -> why there is none, of those that a model did not answer.
        cut_off: Answers that reached the longest length.
        models: Ids of the models that a server answered as.
    """

    texts: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)
    cut_off: int = 0
    models: tuple[str, ...] = ()


class Replies(ImageEvidence):
    """A captioner on samples with a prompt each.

    Two samples that ask the same of one image have one answer: POPE's three kinds of question do.

    Args:
        node: Of the model, of which the captioner is made if an answer is missing.
        samples: What the run is about.
        prompts: One a sample.
        candidates: Where answers are kept, one a prompt.
        batch_size: Samples a batch; no result depends on it.
    """

    def __init__(
        self,
        node: Mapping[str, Any],
        samples: Sequence[Sample],
        prompts: Sequence[str],
        candidates: Candidates,
        batch_size: int = 16,
    ) -> None:
        first: dict[str, Sample] = {}
        for sample, prompt in zip(samples, prompts, strict=True):
            first.setdefault(candidates.keys(sample, prompt)[0], sample)
        super().__init__(list(first.values()), candidates.store, batch_size)
        self.node, self.samples, self.candidates = node, samples, candidates
        self.prompts = {s.id: prompt for s, prompt in zip(samples, prompts, strict=True)}
        self.captioner: Captioner | None = None

    @classmethod
    def of(cls, cell: Cell, samples: Sequence[Sample], prompts: Sequence[str]) -> Self:
        """The answers of a cell's model, under the cell's stage."""
        node, seed = cell.node["model"], int(cell.node["seed"])
        store = EvidenceStore(cell.runs, cell.stage)
        candidates = Candidates(store, 1, seed, node.get("requests") == "together")
        return cls(node, samples, prompts, candidates, cell.node["batch_size"])

    def write(self, trainer: lightning.Trainer) -> Given:
        """Have the missing answers written; all processes know all of them afterwards.

        Raises:
            VlgroundError: If there is none at all.
        """
        if any(self.missing(sample) for sample in self.images):
            self.make(trainer)
            for failed in gathered([self.candidates.failed], trainer.world_size):
                self.candidates.failed |= failed
        found = {sample.id: self._of(sample) for sample in self.samples}
        problems = {name: one.problem for name, one in found.items() if one.problem}
        if len(problems) == len(found):
            reasons = ", ".join(sorted(set(problems.values())))
            raise VlgroundError(f"model: it answered none of {len(found)} prompts: {reasons}")
        told = {name: one for name, one in found.items() if not one.problem}
        models = {one.model for one in told.values() if one.model is not None}
        cut_off = sum(one.cut_off for one in told.values())
        texts = {name: one.text for name, one in told.items()}
        return Given(texts, problems, cut_off, tuple(sorted(models)))

    def missing(self, sample: Sample) -> bool:
        """Whether the answer of a sample is missing."""
        return self.candidates.first_missing(sample, self.prompts[sample.id]) is not None

    def keys(self, sample: Sample) -> list[str]:
        """Of the answer of a sample."""
        return self.candidates.keys(sample, self.prompts[sample.id])

    def predict_step(self, batch: list[Sample]) -> list[tuple[str, Evidence]]:
        """Have a batch answered."""
        if self.captioner is None:  # here, where each process knows its device
            self.captioner = captioner_of(self.node)
        prompts = [self.prompts[sample.id] for sample in batch]
        return self.candidates.write(self.captioner, batch, prompts)

    def _of(self, sample: Sample) -> Caption:
        (caption,) = self.candidates.of(sample, self.prompts[sample.id])
        return caption
