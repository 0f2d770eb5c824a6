"""POPE and MME: answers to yes-or-no questions, of a file or of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any, Self

import lightning
import pandas

from vlground.cell import Cell
from vlground.data.existence import ExistenceQuestions
from vlground.data.questions import Questions
from vlground.data.sample import DataSet, Sample
from vlground.data.shapes.questions import ShapesQuestions
from vlground.errors import VlgroundError
from vlground.metrics import mme, pope
from vlground.metrics.mme import Mme
from vlground.metrics.pope import Pope
from vlground.metrics.statistics import Estimate
from vlground.tasks.replying import Given


class Questioned:
    """Answers beside the labels of questions.

    Args:
        metric: How answers are read.
        dataset: Of the questions.
        samples: Those that the run is about.
        given: Answers of a file; None: a model answers.
        suffix: What follows each question then.

    Attributes:
        prompts: One a sample.
    """

    def __init__(
        self,
        metric: Pope | Mme,
        dataset: Questions | ExistenceQuestions | ShapesQuestions,
        samples: Sequence[Sample],
        given: Given | None,
        suffix: str,
    ) -> None:
        self.metric, self.samples, self.given = metric, samples, given
        self.relabelled: Mapping[str, str] = {}
        self.odd: Mapping[str, int] = {}
        self.checksums: Mapping[str, str] = {}
        if isinstance(dataset, Questions):
            self.checksums = dataset.checksums
            self.odd = {} if given is None else dataset.answer_counts
            self.relabelled = dataset.relabelled if isinstance(metric, Pope) else {}
        self.prompts = [f"{sample.text}{suffix}" for sample in samples]
        self._rows = pandas.DataFrame()
        self._answers: Mapping[str, str] = {}

    @classmethod
    def of(cls, cell: Cell, metric: Pope | Mme, dataset: DataSet) -> Self:
        """What a cell scores.

        Raises:
            VlgroundError: If metric, data set and model do not go together.
        """
        name = f"metric={cell.choices['metric']}"
        if isinstance(metric, Mme):
            if not isinstance(dataset, Questions | ShapesQuestions):
                raise VlgroundError(f"{name}: expected dataset=questions or dataset=shapes_mme")
        elif not isinstance(dataset, Questions | ExistenceQuestions):
            raise VlgroundError(f"{name}: expected dataset=questions or dataset=existence")
        answers = dataset.answers if isinstance(dataset, Questions) else {}
        given = answers_given(cell, answers)
        return cls(metric, dataset, cell.samples, given, str(cell.node["task"]["suffix"]))

    def score(
        self, given: Given, trainer: lightning.Trainer
    ) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        """Rows with a `flag`, and scores."""
        self._answers = given.texts
        if isinstance(self.metric, Mme):
            rows = mme.rows_of(self.samples, given.texts, self.metric)
            found = mme.estimates(rows)
        else:
            rows = pope.rows_of(self.samples, given.texts, self.metric)
            found = pope.estimates(rows)
        self._rows = rows
        return rows.assign(flag=flags_of(rows["id"].tolist(), given)), found

    def details(self) -> dict[str, Any]:
        """What stands behind the scores; those by corrected labels."""
        tally = mme.tally if isinstance(self.metric, Mme) else pope.tally
        found: dict[str, Any] = {"checksums": dict(self.checksums)}
        found |= {"tally": tally(self._rows), "odd": dict(self.odd)}
        if self.relabelled and isinstance(self.metric, Pope):
            rows = pope.rows_of(self.samples, self._answers, self.metric, self.relabelled)
            scores = pope.estimates(rows)
            shown = {name: asdict(one) for name, one in scores.items() if isfinite(one.value)}
            found["relabelled"] = {"scores": shown, "tally": pope.tally(rows)}
        return found


def answers_given(cell: Cell, answers: Mapping[str, str]) -> Given | None:
    """The answers of files; None if a model is to answer.

    Args:
        cell: Whose `dataset` may name files of answers, and a folder of images.
        answers: What the data set has read.

    Raises:
        VlgroundError: If there are neither answers nor a model, or both, or no images for it.
    """
    node, model = cell.node["dataset"], cell.choices["model"]
    if not cell.node["model"]:
        if not answers:
            told = "answers: a file, or one for each file of questions; or model=captioner answers"
            raise VlgroundError(f"dataset.answers: metric={cell.choices['metric']} needs {told}")
        return Given(answers)
    if node.get("answers") is not None:
        told = f"the answers are there, and model={model} would give others; take one of them away"
        raise VlgroundError(f"dataset.answers={node['answers']}: {told}")
    if "root" in node and node["root"] is None:
        raise VlgroundError(f"dataset.root=null: model={model} has to see the images; where?")
    return None


def flags_of(ids: Sequence[str], given: Given) -> list[str]:
    """Of each sample "" or why it has no answer."""
    return ["" if name in given.texts else given.problems.get(name, "no answer") for name in ids]
