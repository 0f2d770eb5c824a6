"""`task=benchmark`: how much do captions, or answers to yes-or-no questions, hallucinate?

The captions and answers come from files; no model runs. What they score is a pure function of the
files, so nothing is stored beside the run.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any, Self

import lightning
import numpy as np
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build, build_dataset
from vlground.data.captions import Captions
from vlground.data.questions import Questions
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics import chair, mme, pope
from vlground.metrics.chair import Chair
from vlground.metrics.mme import Mme
from vlground.metrics.pope import Pope
from vlground.metrics.statistics import Estimate
from vlground.rewards.sentences import split

log = logging.getLogger("vlground")


class Benchmark:
    """Captions beside the objects of their images, or answers beside the labels of questions.

    Args:
        metric: Which benchmark, and its options.
        dataset: Captions or questions, as read from their files.
        samples: Those of them that the run is about.

    Attributes:
        table: After `carry_out`: one row a caption, or a question.
    """

    version = 1

    def __init__(
        self, metric: Chair | Pope | Mme, dataset: Captions | Questions, samples: Sequence[Sample]
    ) -> None:
        self.metric, self.dataset, self.samples = metric, dataset, samples
        self.table = pandas.DataFrame()
        self._found: dict[str, Estimate] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If metric and data set do not go together, or a file is not named.
        """
        metric, name = build(cell.node["metric"]), cell.choices["metric"]
        dataset, _, _ = build_dataset(cell.node["dataset"])
        if isinstance(metric, Chair):
            if not isinstance(dataset, Captions):
                raise VlgroundError(f"metric={name}: expected dataset=captions")
            if not dataset.objects:
                told = "which objects images hold: JSON, image id -> names"
                raise VlgroundError(f"dataset.objects: metric={name} has to know {told}")
        elif isinstance(metric, Pope | Mme):
            if not isinstance(dataset, Questions):
                raise VlgroundError(f"metric={name}: expected dataset=questions")
            if not dataset.answers:
                told = "answers: a file, or one for each file of questions"
                raise VlgroundError(f"dataset.answers: metric={name} has to have {told}")
        else:
            told = f"metric={name}: task=benchmark is scored by chair, pope or mme"
            raise VlgroundError(told)
        return cls(metric, dataset, cell.samples)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Score everything; one process does it all."""
        if isinstance(self.metric, Chair):
            assert isinstance(self.dataset, Captions)
            rows = chair.rows_of(self.samples, self.dataset.objects, self.metric)
            self._found = chair.estimates(rows)
            answered = np.ones(len(rows), dtype=bool)
        else:
            assert isinstance(self.dataset, Questions)
            rows, self._found = self._answered(self.dataset)
            answered = rows["answer"].notna().to_numpy()
        flags = pandas.Series(np.where(answered, "", "no answer"), index=rows.index, dtype=object)
        nothing = pandas.Series([None] * len(rows), index=rows.index, dtype=object)
        empty = dict.fromkeys(("skipped", "truncated", "foil_truncated"), nothing)
        self.table = rows.assign(degenerate=False, flag=flags, **empty)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Those that are defined, with their intervals over images."""
        return {
            name: asdict(one) for name, one in self._found.items() if one.n and isfinite(one.value)
        }

    def details(self) -> dict[str, Any]:
        """What stands behind the scores; hallucination by sentence; other labels' scores."""
        found: dict[str, Any] = {"checksums": dict(self.dataset.checksums)}
        if isinstance(self.dataset, Captions):
            assert isinstance(self.metric, Chair)
            spans = [[(s.start, s.end) for s in split(sample.text)] for sample in self.samples]
            places = chair.by_position(self.samples, spans, self.dataset.objects, self.metric)
            found |= {"tally": chair.tally(self.table), "sentences": [asdict(p) for p in places]}
        else:
            metric = mme if isinstance(self.metric, Mme) else pope
            found |= {"tally": metric.tally(self.table), "odd": dict(self.dataset.answer_counts)}
            if isinstance(self.metric, Pope) and self.dataset.relabelled:
                found["relabelled"] = self._relabelled(self.dataset, self.metric)
        return {"matrix": {}, "benchmark": found}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: no image is looked at."""
        return {}

    def _answered(self, dataset: Questions) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        if isinstance(self.metric, Mme):
            rows = mme.rows_of(self.samples, dataset.answers, self.metric)
            return rows, mme.estimates(rows)
        assert isinstance(self.metric, Pope)
        rows = pope.rows_of(self.samples, dataset.answers, self.metric)
        return rows, pope.estimates(rows)

    def _relabelled(self, dataset: Questions, metric: Pope) -> dict[str, Any]:
        """The same answers by corrected labels."""
        rows = pope.rows_of(self.samples, dataset.answers, metric, dataset.relabelled)
        scores = pope.estimates(rows)
        shown = {name: asdict(one) for name, one in scores.items() if isfinite(one.value)}
        return {"scores": shown, "tally": pope.tally(rows)}
