"""Candidates with the errors that a sentence scorer marks, split by image."""

import logging
from collections import Counter
from dataclasses import replace
from typing import Self

import lightning
import numpy as np

from vlground.cell import Cell
from vlground.errors import VlgroundError
from vlground.rewards import nouns, sentences
from vlground.rewards.extras import AnnotatedExtras
from vlground.rewards.labelled import UNFIT, LabelledImage, is_held_out, labelled
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split
from vlground.store import EvidenceStore
from vlground.tasks.caption_scores import SentenceScores
from vlground.tasks.sampling import Sampling
from vlground.tasks.scoring import gathered

log = logging.getLogger("vlground")

# As task=scoring names them, whose evidence is read here.
_VERSIONS = {"sentences": sentences.VERSION, "nouns": nouns.VERSION}


class CaptionLabels:
    """Labelled captions of the images of a data set.

    Args:
        sampling: The candidates.
        scores: What was marked in their sentences.
        seed: Of the split.
        held_out: Share of images that are for measuring.
        extras: Where further labels come from; None: there are errors alone.

    Attributes:
        training: After `make`: images to train on.
        held_out: After `make`: images to measure on.
        counts: After `make`: what became of captions and sentences, by side.
    """

    def __init__(
        self,
        sampling: Sampling,
        scores: SentenceScores,
        seed: int,
        held_out: float,
        extras: AnnotatedExtras | None = None,
    ) -> None:
        self._sampling, self._scores = sampling, scores
        self._seed, self._share, self._extras = seed, held_out, extras
        self.counts: Counter[str] = Counter()
        self.training: list[LabelledImage] = []
        self.held_out: list[LabelledImage] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """Those of a cell.

        Raises:
            VlgroundError: If nobody marks errors, or an option does not fit.
        """
        node, share = cell.node, cell.node["task"]["held_out"]
        if not node["reward"]:
            raise VlgroundError("reward=none: nobody marks errors; choose reward=simulated or like")
        if not 0 < share < 1:
            raise VlgroundError(f"task.held_out={share}: expected more than 0, less than 1")
        cell = _sampling(cell)
        sampling = Sampling.of(cell)
        stage = cell.later("sentences", ("reward",), cell.stage, _VERSIONS)
        scores = SentenceScores(node["reward"], sampling, EvidenceStore(cell.runs, stage))
        names = node["task"]["extra"]
        extras = AnnotatedExtras(names, node["reward"]) if names else None
        return cls(sampling, scores, int(node["seed"]), float(share), extras)

    @property
    def types(self) -> tuple[str, ...]:
        """What the columns of labels are about: `ERROR_TYPES`, and what there is beside them."""
        return ERROR_TYPES if self._extras is None else (*ERROR_TYPES, *self._extras.names)

    @property
    def errors(self) -> list[np.ndarray]:
        """Of all captions to train on, `(s, types)` each; see `Labelled`."""
        return [caption.errors for image in self.training for caption in image.captions]

    def make(self, trainer: lightning.Trainer) -> None:
        """Write and mark what is missing, and split it.

        Raises:
            VlgroundError: If there is nothing to train on, or to measure on.
        """
        self._sampling.make(trainer)
        self._scores.make(trainer)
        for failed in gathered([self._scores.failed], trainer.world_size):
            self._scores.failed |= failed
        self.counts.update({f"reward: {why}": n for why, n in self._scores.left_out.items()})
        self._gather()
        if unfit := sum(n for name, n in self.counts.items() if name.endswith(UNFIT)):
            log.warning("reward: %d %s their sentences are left out", unfit, UNFIT)
        told = ", ".join(f"{reason} ({n})" for reason, n in sorted(self.counts.items()) if n)
        for name, found in (("to train on", self.training), ("held out", self.held_out)):
            if not found:
                where = f"reward, task.held_out={self._share}"
                raise VlgroundError(f"{where}: no labelled caption is {name}: {told}")

    def _gather(self) -> None:
        for sample in self._sampling.images:
            captions = {
                index: [sentence.content for sentence in split(caption.text)]
                for index, caption in enumerate(self._sampling.captions(sample))
                if not caption.problem
            }
            missing = self._sampling.candidates.n - len(captions)
            self.counts["captions that were not written"] += missing
            evidence = self._scores.of(sample)
            if evidence is None:
                self.counts["captions that nobody was asked about"] += len(captions)
                continue
            errors = np.asarray(evidence["errors"], dtype=float).reshape(-1, len(ERROR_TYPES))
            held = is_held_out(sample.image_id, self._seed, self._share)
            counts: Counter[str] = Counter()
            found = labelled(sample, captions, errors, counts)
            if found is not None and self._extras is not None:
                found = found.beside(self._extras.of)
            if found is not None:
                counts["images"] = 1
                (self.held_out if held else self.training).append(found)
            side = "held out" if held else "training"
            self.counts.update({f"{side}: {name}": count for name, count in counts.items()})


def _sampling(cell: Cell) -> Cell:
    """The same cell as task=sampling has it, so that candidates are shared."""
    options = {"stage": ["task.prompt", "seed"], "scores": ["task.n"]}
    task = {**cell.node["task"], "stage": "candidates", "reads": ["model"], "options": options}
    return replace(cell, node={**cell.node, "task": task})
