"""`task=rejection_sampling`: the best of n candidates, refined, as training data.

    candidates, their scores ──rank──▶ winner ──refine──▶ caption ──export──▶ files with a data card

Candidates and scores that are missing are made first; everything after them is a pure function of
what is stored, so a sweep over thresholds, weights or normalisation asks no model.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Self

import lightning
import numpy as np
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build, build_dataset
from vlground.data.sample import KnownObjects
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair
from vlground.metrics.statistics import bootstrap_mean
from vlground.rewards.arms import drawn, estimates
from vlground.rewards.best import Best, arms
from vlground.rewards.described import described
from vlground.rewards.selection import Penalties, Selection, measure, rank
from vlground.rewards.signals import Signals, pool_hash
from vlground.rewards.statistics import histogram
from vlground.tasks.caption_scoring import CaptionScoring
from vlground.tasks.reviewing import checked, pictures, review
from vlground.tasks.training_data import check_formats, exported, write_training_data

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
        table: After `carry_out`: one row a candidate.
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
        self.best: dict[str, Best] = {}
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
        dataset, _, _ = build_dataset(node["dataset"])
        chair, objects = build(node["task"]["chair"]), {}
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
        pool = self.scoring.pool
        self.signals, self.penalty, self.chosen = rank(pool.candidates, self.metric)
        self.best = dict(self._taken())
        self.table = self._rows()
        if not self.best:
            reasons = Counter(self.table["flag"])
            told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            raise VlgroundError(f"metric: no candidate can be taken: {told}")
        self._warn()
        if trainer.is_global_zero:
            measured = measure(self.pool, self.signals, self.metric)
            measured.write(self.cell.directory / "pool.json")
            write_training_data(self.cell, self.scoring, self.best, self.counts)
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
        refined = [best.refined for best in self.best.values()]
        return {
            **self.chosen.counts,
            "emptied": sum(one.emptied for one in refined),
            "sentences_removed": sum(len(one.removed) for one in refined),
            "sentences_spared": sum(one.spared for one in refined),
            **{f"candidates: {flag}": n for flag, n in Counter(self.table["flag"]).items() if flag},
            **self.scoring.left_out,
            "winners_without_known_objects": sum(image not in self.objects for image in self.best),
        }

    def scores(self) -> dict[str, dict[str, Any]]:
        """What each arm's captions are like, and how selection went."""
        taken = arms(self.best, self.metric, self.seed)
        found = estimates(taken, self.objects, self.chair)
        shares = {
            "ties": [best.tied > 1 for best in self.best.values()],
            "emptied": [best.refined.emptied for best in self.best.values()],
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

    def _taken(self) -> Iterator[tuple[str, Best]]:
        """Image id and what was taken of it, of images with a winner."""
        scoring, index = self.scoring, self.scoring.pool.candidates.index
        images = {sample.image_id: sample for sample in scoring.sampling.images}
        able: dict[int, list[int]] = {}
        for row in np.flatnonzero(~np.isnan(self.penalty.total)).tolist():
            able.setdefault(int(scoring.pool.candidates.image[row]), []).append(int(index[row]))
        for place, image in enumerate(scoring.pool.image_ids):
            winner, worst = int(self.chosen.winner[place]), int(self.chosen.worst[place])
            if winner < 0:
                continue
            sample = images[image]
            captions = scoring.sampling.captions(sample)
            first, last = int(index[winner]), None if worst < 0 else int(index[worst])
            # All candidates of a large pool, sentence by sentence, would fill the memory.
            written = tuple(i for i, one in enumerate(captions) if not one.problem)
            wanted = {written[0], drawn(self.seed, image, written), first, last}
            texts = {i: one.text for i, one in enumerate(captions) if i in wanted}
            whole = described(texts, *scoring.evidence(sample))
            tied, refined = int(self.chosen.tied[place]), whole[first].refined(self.metric)
            numbers = tuple(sorted(able[place]))
            yield image, Best(first, last, tied, numbers, written, whole, refined)

    def _rows(self) -> pandas.DataFrame:
        """One row a candidate: its penalty, and whether it won."""
        penalties = pandas.DataFrame(
            {
                "penalty_sentences": self.penalty.sentences,
                "penalty_nouns": self.penalty.nouns,
                "penalty": self.penalty.total,
            },
            index=self.scoring.pool.keys,
        )
        rows = self.scoring.rows().join(penalties, on="id")
        untold = (rows["flag"] == "") & rows["penalty"].isna()
        empty = rows["words"] == 0
        rows.loc[untold & empty, "flag"] = "empty caption"
        rows.loc[untold & ~empty, "flag"] = "a sentence or noun without a score"
        won = {f"{image}/{one.winner}": one.refined for image, one in self.best.items()}
        lost = {f"{image}/{one.worst}" for image, one in self.best.items()}
        rows["winner"] = rows["id"].isin(list(won))
        rows["worst"] = rows["id"].isin(list(lost))
        rows["refined"] = rows["id"].map({name: one.text.strip() for name, one in won.items()})
        tied = {f"{image}/{one.winner}": float(one.tied) for image, one in self.best.items()}
        rows["tied"] = rows["id"].map(tied)
        removed = {name: float(len(one.removed)) for name, one in won.items()}
        rows["removed_sentences"] = rows["id"].map(removed)
        return rows
