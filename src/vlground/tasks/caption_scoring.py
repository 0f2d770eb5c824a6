"""`task=scoring`: nouns that a detector does not find, errors of sentences, of every candidate.

    candidates ──▶ sentences ──▶ nouns ──Detector──▶ presence     the automatic branch
                        └────SentenceScorer──▶ errors             the human branch

Candidates that are missing are written first. What is stored is raw, so thresholds, weights and
normalisation can be changed without asking a model again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import lightning
import numpy as np
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards import nouns, sentences
from vlground.rewards.gathering import Gathered, Scored, gather
from vlground.rewards.options import VigorReward
from vlground.rewards.signals import signals
from vlground.rewards.statistics import (
    by_noun,
    candidate_rows,
    columns_of,
    estimates,
    histogram,
)
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.candidate_rows import SCORED, rows_in_parts
from vlground.tasks.caption_scores import NounScores, SentenceScores, scored_of
from vlground.tasks.sampling import Sampling
from vlground.tasks.scoring import gathered

LIMITED = "not scored: the trainer is limited"
_VERSIONS = {"sentences": sentences.VERSION, "nouns": nouns.VERSION}


class CaptionScoring:
    """Candidates with what is held against them.

    Args:
        sampling: The candidates.
        nouns: The automatic branch; None: no detector was chosen.
        sentences: The human branch; None: no sentence scorer was chosen.
        metric: Thresholds of what is shown.

    Attributes:
        table: After `carry_out`: one row a candidate: what became of it.
        pool: After `make`: the scores of all candidates.
        reasons: After `make`: image id -> why its candidates have no scores.
    """

    version = 1

    def __init__(
        self,
        sampling: Sampling,
        nouns: NounScores | None,
        sentences: SentenceScores | None,
        metric: VigorReward,
    ) -> None:
        self.sampling, self.metric = sampling, metric
        self.nouns, self.sentences = nouns, sentences
        self.table = pandas.DataFrame()
        self.pool = gather([])
        self.reasons: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If there is nobody to ask, or the metric is another one.
        """
        node, metric = cell.node, build(cell.node["metric"])
        if not isinstance(metric, VigorReward):
            told = f"metric={cell.choices['metric']}"
            raise VlgroundError(f"{told}: task={cell.choices['task']} takes metric=vigor_reward")
        if not node["detector"] and not node["reward"]:
            raise VlgroundError("detector=null, reward=null: nobody is asked; choose one of them")
        sampling = Sampling.of(cell)
        of_nouns = of_sentences = None
        if node["detector"]:
            finder = build(node["task"]["nouns"])
            stage = cell.later("nouns", ("detector", "task.nouns"), cell.stage, _VERSIONS)
            # Two taggers, or two releases of one, find other nouns.
            stage = replace(stage, reads={**stage.reads, "tagger": finder.tagger})
            store = EvidenceStore(cell.runs, stage)
            of_nouns = NounScores(node["detector"], sampling, store, finder)
        if node["reward"]:
            stage = cell.later("sentences", ("reward",), cell.stage, _VERSIONS)
            of_sentences = SentenceScores(node["reward"], sampling, EvidenceStore(cell.runs, stage))
        return cls(sampling, of_nouns, of_sentences, metric)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Make what is missing, fill the rows."""
        self.make(trainer)
        cell, images, write = self.sampling.cell, self.sampling.images, trainer.is_global_zero
        self.table = rows_in_parts(cell, images, self.rows, SCORED, (), write)

    def rows(self, images: Sequence[Sample]) -> pandas.DataFrame:
        """After `make`: one row a candidate of images that follow each other."""
        columns = columns_of(self.part(images), self.metric)
        return candidate_rows(self.sampling.rows(images), columns, self.reasons)

    def part(self, images: Sequence[Sample]) -> Gathered:
        """After `make`: the scores of images that follow each other."""
        return self.pool.part(self.places(images))

    def places(self, images: Sequence[Sample]) -> slice:
        """Where in the pool the candidates of such images are."""
        known = [n for n in (self.number(sample) for sample in images) if n is not None]
        ends = (known[0], known[-1] + 1) if known else (0, 0)
        return slice(*np.searchsorted(self.pool.candidates.image, ends).tolist())

    def number(self, sample: Sample) -> int | None:
        """Of the image in the pool; None: it has no scores."""
        return self._numbers.get(sample.image_id)

    def make(self, trainer: lightning.Trainer) -> None:
        """Write, detect and score what is missing, and gather all of it."""
        self.sampling.make(trainer)
        for branch in (self.nouns, self.sentences):
            if branch is not None:
                branch.make(trainer)
                for failed in gathered([branch.failed], trainer.world_size):
                    self.reasons |= failed
        self.pool = gather(self._scored())
        self._numbers = {image: number for number, image in enumerate(self.pool.image_ids)}

    def _scored(self) -> Iterator[Scored]:
        """Scores of all candidates of images of which every branch could say something."""
        for sample in self.sampling.images:
            captions = self.sampling.captions(sample)
            if all(one.problem for one in captions):
                continue
            nouns, sentences = self.evidence(sample)
            lacks = self.nouns is not None and nouns is None
            if lacks or (self.sentences is not None and sentences is None):
                self.reasons.setdefault(sample.image_id, LIMITED)
            else:
                yield from scored_of(sample, captions, nouns, sentences)

    def evidence(self, sample: Sample) -> tuple[Evidence | None, Evidence | None]:
        """Of the nouns and of the sentences of an image's candidates."""
        found = [None if one is None else one.of(sample) for one in (self.nouns, self.sentences)]
        return found[0], found[1]

    def scores(self) -> dict[str, dict[str, Any]]:
        """How often each branch objects."""
        found = estimates(self.pool, self.metric)
        return {name: asdict(one) for name, one in found.items() if one.n}

    def details(self) -> dict[str, Any]:
        """Statistics a noun, histograms a stream, who found the nouns."""
        return {"matrix": {}, "reward": self.statistics() | {"counts": self.left_out}}

    def statistics(self) -> dict[str, Any]:
        """What W&B and the report show of the pool."""
        found = signals(self.pool.candidates, self.metric)
        told = {"sentences": found.sentences, "nouns": found.nouns}
        shown = {name: histogram(values) for name, values in told.items() if self.branches[name]}
        return {
            "tagger": None if self.nouns is None else self.nouns.finder.tagger,
            "stages": {name: stage for name, stage in self.branches.items() if stage},
            "histograms": {name: one for name, one in shown.items() if one},
            "nouns": by_noun(self.pool, self.metric),
        }

    @property
    def left_out(self) -> dict[str, int]:
        """What the readers of captions and of annotations could not read."""
        found = {f"captions: {reason}": n for reason, n in self.sampling.left_out.items()}
        if self.sentences is not None:
            told = self.sentences.left_out.items()
            found |= {f"annotations: {reason}": n for reason, n in told}
        return found

    @property
    def branches(self) -> dict[str, str | None]:
        """Stream -> fingerprint of the stage behind it; None: nobody was asked."""
        both = {"sentences": self.sentences, "nouns": self.nouns}
        return {
            name: None if branch is None else branch.store.stage.fingerprint
            for name, branch in both.items()
        }

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: a candidate has no picture of its own."""
        return {}
