"""`task=word_reward`: a small reward model of words and objects, fine-grained or holistic.

    candidates, labels of sentences ──▶ images to train on ──▶ weights ──▶ reward=words_and_objects
                                    └─▶ held-out images ──▶ AUC, best of n

Labels come from whoever `reward` names. The held-out images are not seen in training, and the
penalty of the weights is chosen on training images alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Self, get_args

import lightning
import numpy as np
import pandas
from PIL import Image
from scipy import sparse

from vlground.cell import Cell
from vlground.config import build, build_dataset
from vlground.data.sample import KnownObjects
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair
from vlground.metrics.discrimination import BLIND, discrimination
from vlground.metrics.statistics import bootstrap_mean
from vlground.rewards.arms import estimates
from vlground.rewards.best_of_n import best_of_n, taken
from vlground.rewards.gathering import Scored
from vlground.rewards.logistic import best_penalty, fit
from vlground.rewards.sentence_labels import LabelledSentences, Level, held_out
from vlground.rewards.sentences import split
from vlground.rewards.words_and_objects import Evidence, WordWeights, columns_of
from vlground.tasks.caption_scores import scored_of
from vlground.tasks.caption_scoring import CaptionScoring
from vlground.whole import write_json

_TRIED = 0.2  # of the training images, to choose the penalty on


class WordReward:
    """A reward model of words and objects: trained, saved, measured on held-out images.

    Args:
        scoring: Candidates and the labels of their sentences.
        chair: How captions are held against known objects.
        objects: Image id -> what is in it: the evidence, and CHAIR's truth.
        cell: Of the run.

    Attributes:
        table: After `carry_out`: one row a sentence of the held-out images.
    """

    version = 1

    def __init__(
        self,
        scoring: CaptionScoring,
        chair: Chair,
        objects: Mapping[str, frozenset[str]],
        cell: Cell,
    ) -> None:
        self.scoring, self.chair, self.objects, self.cell = scoring, chair, objects, cell
        self.options: Mapping[str, Any] = cell.node["task"]
        self.seed = int(cell.node["seed"])
        self.table = pandas.DataFrame()
        self._scores: dict[str, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If an option does not fit, or the data set does not know its objects.
        """
        node = cell.node
        _check(node["task"])
        if not node["reward"]:
            raise VlgroundError("reward=none: its labels are what task=word_reward learns")
        dataset, _, _ = build_dataset(node["dataset"])
        if not isinstance(dataset, KnownObjects) or not dataset.objects:
            told = "expected to know what is in its images; name dataset.objects"
            raise VlgroundError(f"dataset={cell.choices['dataset']}: {told}")
        chair = build(node["task"]["chair"])
        chair = replace(chair, synonyms=chair.synonyms or dataset.synonyms)
        return cls(CaptionScoring.of(cell), chair, dict(dataset.objects), cell)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Label what is missing, train, measure, and write the weights.

        Raises:
            VlgroundError: If there is nothing to learn, or nothing to measure on.
        """
        self.scoring.make(trainer)
        sentences = LabelledSentences.of(self._labelled())
        test = held_out(sentences.image_ids, float(self.options["held_out"]), self.seed)
        training, own = sentences.part(~test), sentences.part(test)
        targets = training.targets(self.options["level"])
        known = ~np.isnan(targets)
        _check_labels(targets[known], own)
        training, targets = training.part(known), targets[known]
        model = self._train(training, targets, self.options["evidence"])
        told = {"": self._probabilities(model, own)}
        if self.options["blind"] and model.evidence != "none":
            told[BLIND] = self._probabilities(self._train(training, targets, "none"), own)
        arms = best_of_n(
            own, told[""], self.scoring.metric, int(self.options["best_of"]), self.seed
        )
        arms_are = estimates(taken(own, arms), self.objects, self.chair)
        self._scores = _told(own, told) | {name: asdict(one) for name, one in arms_are.items()}
        self.table = _rows(own, told, arms)
        self._facts |= {
            "level": self.options["level"],
            "evidence": self.options["evidence"],
            "images": {"training": len({*training.image_ids}), "held out": len({*own.image_ids})},
            "sentences": {"training": len(training.texts), "held out": len(own.texts)},
            "unlabelled": int(np.isnan(sentences.labels).sum()),
        }
        if trainer.is_global_zero:
            model.save(self.cell.directory / "model" / "words_and_objects.safetensors")
            known_to = {image: sorted(self.objects[image]) for image in sorted({*own.image_ids})}
            write_json(self.cell.directory / "held_out.json", known_to)

    def scores(self) -> dict[str, dict[str, Any]]:
        """How well errors are told on held-out images, and what the best of n are like."""
        return {
            name: one
            for name, one in self._scores.items()
            if one["n"] and one["value"] is not None and isfinite(one["value"])
        }

    def details(self) -> dict[str, Any]:
        """What was trained, the penalties chosen, how many images and sentences there were."""
        return {"matrix": {}, "word_reward": self._facts}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: no picture is looked at."""
        return {}

    def _labelled(self) -> Iterator[tuple[Scored, list[str]]]:
        """Candidates of images with known objects, and their sentences."""
        for sample in self.scoring.sampling.images:
            captions = self.scoring.sampling.captions(sample)
            _, evidence = self.scoring.evidence(sample)
            if evidence is not None and sample.image_id in self.objects:
                for one in scored_of(sample, captions, None, evidence):
                    yield one, [piece.text for piece in split(captions[one.index].text)]

    def _train(
        self, training: LabelledSentences, targets: np.ndarray, evidence: Evidence
    ) -> WordWeights:
        """The model of the training images, with the penalty that does best on a fifth of them."""
        columns = self._columns(training, evidence)
        tried = held_out(training.image_ids, _TRIED, self.seed, "penalty")
        penalty = best_penalty(columns, targets, tried, self.options["penalties"])
        self._facts.setdefault("penalty", {})[evidence] = penalty
        facts = {"level": self.options["level"], "penalty": penalty, "seed": self.seed}
        weights, bias = fit(columns, targets, penalty)
        return WordWeights(weights, bias, evidence, facts)

    def _probabilities(self, model: WordWeights, sentences: LabelledSentences) -> np.ndarray:
        return model.probabilities(self._columns(sentences, model.evidence))

    def _columns(self, sentences: LabelledSentences, evidence: Evidence) -> sparse.csr_array:
        images = sentences.image_ids.tolist()
        nothing = frozenset[str]()
        seen = (self.objects[one] if evidence == "objects" else nothing for one in images)
        return columns_of(sentences.texts, seen)


def _told(own: LabelledSentences, told: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """How well each model tells wrong sentences, and how many there are."""
    known = ~np.isnan(own.labels)
    images, labels = own.image_ids[known].tolist(), own.labels[known]
    chances = {name: one[known] for name, one in told.items()}
    found = discrimination("any", chances, labels, images)
    wrong = bootstrap_mean((labels > 0.5).astype(float), images)
    return {"wrong_sentences": asdict(wrong), **{name: asdict(one) for name, one in found.items()}}


def _rows(
    own: LabelledSentences,
    told: Mapping[str, np.ndarray],
    arms: Mapping[str, list[tuple[str, int]]],
) -> pandas.DataFrame:
    """One row a sentence: its label, what the models say of it, which arms take its caption."""
    pairs = list(zip(own.image_ids.tolist(), own.candidates.tolist(), strict=True))
    places = [place for _, start, end in own.spans for place in range(end - start)]
    names = [f"{i}/{number}/{place}" for (i, number), place in zip(pairs, places, strict=True)]
    nothing = pandas.Series([None] * len(names), dtype=object)
    taken_by = {arm: set(keys) for arm, keys in arms.items()}
    return pandas.DataFrame(
        {
            "id": names,
            "image_id": own.image_ids.astype(object),
            "candidate": own.candidates,
            "text": [text.strip() for text in own.texts],
            "label": own.labels,
            "probability": told[""],
            **({"blind_probability": told[BLIND]} if BLIND in told else {}),
            **{arm: [pair in keys for pair in pairs] for arm, keys in taken_by.items()},
            "flag": np.where(np.isnan(own.labels), "nobody judged it", ""),
            "degenerate": False,
            **dict.fromkeys(("skipped", "truncated", "foil_truncated"), nothing),
        }
    )


def _check_labels(targets: np.ndarray, own: LabelledSentences) -> None:
    """Refuse what nothing can be learnt from, or measured on.

    Raises:
        VlgroundError: In one line.
    """
    wrong = int((targets > 0.5).sum())
    if not 0 < wrong < len(targets):
        told = f"{wrong} of {len(targets)} sentences to train on are wrong"
        raise VlgroundError(f"reward: {told}; expected right ones and wrong ones")
    if not len(own.texts):
        raise VlgroundError("task.held_out: no image is held out; expected a larger share")


def _check(task: Mapping[str, Any]) -> None:
    """Refuse options before anything is computed.

    Raises:
        VlgroundError: In one line.
    """
    for name, kind in (("level", Level), ("evidence", Evidence)):
        if task[name] not in get_args(kind):
            expected = " or ".join(get_args(kind))
            raise VlgroundError(f"task.{name}={task[name]}: expected {expected}")
    share, best_of, penalties = task["held_out"], task["best_of"], task["penalties"]
    if not isinstance(share, int | float) or not 0 < share < 1:
        raise VlgroundError(f"task.held_out={share}: expected a number between 0 and 1")
    if not isinstance(best_of, int) or not 1 <= best_of <= task["n"]:
        raise VlgroundError(f"task.best_of={best_of}: expected 1 to task.n={task['n']}")
    if not isinstance(penalties, list) or not penalties or not all(map(_positive, penalties)):
        raise VlgroundError(f"task.penalties={penalties}: expected a list of numbers above 0")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
