"""`task=rejection_sampling`: the best of n candidates, refined, as training data.

    candidates, their scores ──rank──▶ winner ──refine──▶ caption ──export──▶ files with a data card

Candidates and scores that are missing are made first; everything after them is a pure function of
what is stored, so a sweep over thresholds, weights or normalisation asks no model.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import isfinite
from typing import Any, Self

import lightning
import numpy as np
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build
from vlground.data.sample import KnownObjects, Sample
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair
from vlground.metrics.statistics import bootstrap_mean
from vlground.rewards.arms import ArmCounts, drawn
from vlground.rewards.best import Best, Outcome, arms, outcome
from vlground.rewards.described import described
from vlground.rewards.selection import Penalties, Selection, measure, rank
from vlground.rewards.signals import Signals, pool_hash
from vlground.rewards.statistics import histogram
from vlground.tasks.candidate_rows import SELECTED, rows_in_parts
from vlground.tasks.caption_scoring import CaptionScoring
from vlground.tasks.reviewing import checked, pictures, review
from vlground.tasks.training_data import TrainingData, check_formats, exported

log = logging.getLogger("vlground")

_MANY = 0.05  # of the candidates that cannot be taken, from which on it is said aloud
_BEHIND = {"sentences": "reward", "nouns": "detector"}


class RejectionSampling:
    """The lowest penalty of n, refined.

    Args:
        scoring: The candidates with their scores; its metric selects.
        chair: How captions are held against known objects.
        objects: Image id -> what is in it; empty: not known.
        cell: Of the run, for what is written beside its results.

    Attributes:
        table: After `carry_out`: one row a candidate: what became of it.
        best: After `carry_out`: image id -> what was taken, of images with a winner.
    """

    version = 1

    def __init__(
        self,
        scoring: CaptionScoring,
        chair: Chair,
        objects: Mapping[str, frozenset[str]],
        cell: Cell,
    ) -> None:
        self.scoring, self.metric = scoring, scoring.metric
        self.chair, self.objects, self.cell = chair, objects, cell
        self.seed = int(cell.node["seed"])
        self.table = pandas.DataFrame()
        self.best: dict[str, Outcome] = {}
        self.arms = ArmCounts(objects, chair)
        self.signals: Signals
        self.penalty: Penalties
        self.chosen: Selection

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If a stream has nobody behind it, or a part of a pool would be normalised
                as if it were the whole.
        """
        check_formats(cell.node["task"]["export"])
        scoring, node = CaptionScoring.of(cell), cell.node
        branches, metric = scoring.branches, scoring.metric
        for stream in metric.streams:
            if branches[stream] is None:
                others = ",".join(name for name, known in branches.items() if known)
                told = f"choose one, or metric.streams=[{others}]"
                raise VlgroundError(f"{_BEHIND[stream]}=none: metric.streams has {stream}; {told}")
        if metric.pool == "global" and node["shard"] is not None:
            told = "its statistics are over all candidates; take metric.pool=image or frozen"
            raise VlgroundError(f"shard={node['shard']}: not with metric.pool=global: {told}")
        checked(node["task"]["review"])
        dataset = cell.dataset
        chair = build(node["task"]["chair"])
        objects: dict[str, frozenset[str]] = {}
        if isinstance(dataset, KnownObjects):
            objects = dict(dataset.objects)
            chair = replace(chair, synonyms=chair.synonyms or dataset.synonyms)
        return cls(scoring, chair, objects, cell)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Make what is missing, select, refine, and write the training data.

        Raises:
            VlgroundError: If no image has a candidate that can be taken.
        """
        self.scoring.make(trainer)
        pool, write = self.scoring.pool, trainer.is_global_zero
        self.signals, self.penalty, self.chosen = rank(pool.candidates, self.metric)
        with TrainingData(self.cell, self.scoring, write) as data:
            images = self.scoring.sampling.images
            told = partial(self._rows, data)
            kept = ("words", "winner", "penalty")
            self.table = rows_in_parts(self.cell, images, told, SELECTED, kept, write)
            if not self.best:
                reasons = Counter(self.table["flag"])
                said = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
                raise VlgroundError(f"metric: no candidate can be taken: {said}")
        self._warn()
        if write:
            data.describe(self.counts)
            measured = measure(self.pool, self.signals, self.metric)
            measured.write(self.cell.directory / "pool.json")
            review(self)

    def _warn(self) -> None:
        """Say so if much of the pool could not be taken, or CHAIR lacks words of the truth."""
        reasons = Counter(flag for flag in self.table["flag"] if flag)
        if reasons.total() > _MANY * len(self.table):
            told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            log.warning("%d of %d candidates: %s", reasons.total(), len(self.table), told)
        classes = self.chair.vocabulary.classes
        named = {name for image in self.best for name in self.objects.get(image, ())}
        if unknown := sorted(named - classes.keys()):
            told = "no words of task.chair.synonyms, so CHAIR takes them for absent"
            log.warning("objects that are %s: %s", told, ", ".join(unknown[:10]))

    @property
    def pool(self) -> str:
        """Identity of the pool."""
        return pool_hash(self.scoring.pool.keys, self.signals)

    @property
    def counts(self) -> dict[str, int]:
        """What became of images, winners and their sentences."""
        taken = self.best.values()
        return {
            **self.chosen.counts,
            "emptied": sum(one.emptied for one in taken),
            "sentences_removed": sum(one.removed for one in taken),
            "sentences_spared": sum(one.spared for one in taken),
            **{f"candidates: {flag}": n for flag, n in Counter(self.table["flag"]).items() if flag},
            **self.scoring.left_out,
            "winners_without_known_objects": sum(image not in self.objects for image in self.best),
        }

    def scores(self) -> dict[str, dict[str, Any]]:
        """What each arm's captions are like, and how selection went."""
        found = self.arms.estimates()
        shares = {
            "ties": [best.tied > 1 for best in self.best.values()],
            "emptied": [best.emptied for best in self.best.values()],
        }
        for name, values in shares.items():
            found[name] = bootstrap_mean(np.array(values, dtype=float), list(self.best))
        able = self.table[self.table["flag"] == ""]
        penalties = able["penalty"].to_numpy(dtype=float)
        found["penalty"] = bootstrap_mean(penalties, able["image_id"].tolist())
        return {name: asdict(one) for name, one in found.items() if one.n and isfinite(one.value)}

    def details(self) -> dict[str, Any]:
        """Counts of selection and refinement, statistics of the pool, histograms of penalties."""
        told = self.scoring.statistics()
        shown = {name: getattr(self.penalty, name) for name in self.metric.streams}
        shown |= {"total": self.penalty.total, "winners": self.penalty.total[self._winners()]}
        penalties = {f"penalty_{name}": histogram(values) for name, values in shown.items()}
        told["histograms"] |= {name: found for name, found in penalties.items() if found}
        told |= {"counts": self.counts, "pool": self.pool, "exported": exported(self.cell)}
        return {"matrix": {}, "reward": told}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """The images of winners, by the id of the winner's row."""
        return pictures(self, count)

    def _winners(self) -> np.ndarray:
        """Rows of the winners in the pool."""
        return self.chosen.winner[self.chosen.winner >= 0]

    def taken(self, sample: Sample) -> Best | None:
        """What was taken of an image, with its texts; None: nothing could be."""
        scoring, place = self.scoring, self.scoring.number(sample)
        winner = -1 if place is None else int(self.chosen.winner[place])
        if place is None or winner < 0:
            return None
        part, index = scoring.places([sample]), scoring.pool.candidates.index
        able = ~np.isnan(self.penalty.total[part])
        worst, captions = int(self.chosen.worst[place]), scoring.sampling.captions(sample)
        first, last = int(index[winner]), None if worst < 0 else int(index[worst])
        # Only those that somebody takes.
        written = tuple(i for i, one in enumerate(captions) if not one.problem)
        wanted = {written[0], drawn(self.seed, sample.image_id, written), first, last}
        texts = {i: one.text for i, one in enumerate(captions) if i in wanted}
        whole = described(texts, *scoring.evidence(sample))
        tied, refined = int(self.chosen.tied[place]), whole[first].refined(self.metric)
        numbers = tuple(sorted(index[part][able].tolist()))
        return Best(first, last, tied, numbers, written, whole, refined)

    def _rows(self, data: TrainingData, images: Sequence[Sample]) -> pandas.DataFrame:
        """Take the winners of some images: one row a candidate, its penalty, whether it won."""
        part = self.scoring.places(images)
        penalties = pandas.DataFrame(
            {
                "penalty_sentences": self.penalty.sentences[part],
                "penalty_nouns": self.penalty.nouns[part],
                "penalty": self.penalty.total[part],
            },
            index=self.scoring.part(images).keys,
        )
        rows = self.scoring.rows(images).join(penalties, on="id")
        untold = (rows["flag"] == "") & rows["penalty"].isna()
        empty = rows["words"] == 0
        rows.loc[untold & empty, "flag"] = "empty caption"
        rows.loc[untold & ~empty, "flag"] = "a sentence or noun without a score"
        won: dict[str, Best] = {}
        lost = set()
        for sample in images:
            best, image = self.taken(sample), sample.image_id
            if best is None:
                continue
            won[f"{image}/{best.winner}"] = best
            lost.add(f"{image}/{best.worst}")
            self.best[image] = outcome(best)
            for arm, one in arms(image, best, self.metric, self.seed):
                self.arms.add(arm, one)
            data.add(sample, best)
        rows["winner"] = rows["id"].isin(list(won))
        rows["worst"] = rows["id"].isin(list(lost))
        facts = {
            "refined": {name: one.refined.text.strip() for name, one in won.items()},
            "tied": {name: float(one.tied) for name, one in won.items()},
            "removed_sentences": {n: float(len(one.refined.removed)) for n, one in won.items()},
        }
        return rows.assign(**{column: rows["id"].map(told) for column, told in facts.items()})
