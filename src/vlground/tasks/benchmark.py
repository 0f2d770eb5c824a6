"""`task=benchmark`: how much do captions, or answers to questions, hallucinate?

They come from files, or a model writes them: then each is evidence, stored once. What a judge says
of them is evidence too; every other score is a pure function of texts and truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any, Protocol, Self

import lightning
import pandas
from PIL import Image

from vlground.cell import Cell
from vlground.config import build, build_dataset
from vlground.data.sample import DataSet, Sample
from vlground.errors import VlgroundError
from vlground.metrics.chair import Chair
from vlground.metrics.claims import Claims
from vlground.metrics.mme import Mme
from vlground.metrics.mmhal import Mmhal
from vlground.metrics.pope import Pope
from vlground.metrics.preference import Preference
from vlground.metrics.statistics import Estimate
from vlground.tasks.captioned import Captioned
from vlground.tasks.questioned import Questioned
from vlground.tasks.rated import Answered, Compared
from vlground.tasks.replying import Given, Replies


class Scored(Protocol):
    """One kind of benchmark.

    Attributes:
        samples: What is scored.
        given: Texts of files; None: a model writes them.
        prompts: What it is asked, one a sample.
    """

    samples: Sequence[Sample]
    given: Given | None
    prompts: list[str]

    def score(
        self, given: Given, trainer: lightning.Trainer
    ) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        """Rows with a `flag`, and scores."""
        ...

    def details(self) -> dict[str, Any]:
        """What stands behind the scores."""
        ...


class Benchmark:
    """A benchmark, and who answers.

    Args:
        scored: Which one.
        replies: The model that answers; None: answers come from files.

    Attributes:
        table: After `carry_out`: one row a caption, a question or an image.
    """

    version = 1

    def __init__(self, scored: Scored, replies: Replies | None) -> None:
        self.scored, self.replies = scored, replies
        self.table = pandas.DataFrame()
        self._given = Given({})
        self._found: dict[str, Estimate] = {}

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If metric, data set, model and judge do not go together, or a file is not
                named.
        """
        dataset, _, _ = build_dataset(cell.node["dataset"])
        scored = scored_of(cell, dataset)
        replies = None
        if scored.given is None:
            replies = Replies.of(cell, scored.samples, scored.prompts)
        return cls(scored, replies)

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Nothing can be impossible about it that `of` does not say."""

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Have written and judged what is missing, and score everything."""
        if self.replies is not None:
            self._given = self.replies.write(trainer)
        elif self.scored.given is not None:
            self._given = self.scored.given
        rows, self._found = self.scored.score(self._given, trainer)
        nothing = pandas.Series([None] * len(rows), index=rows.index, dtype=object)
        empty = dict.fromkeys(("skipped", "truncated", "foil_truncated"), nothing)
        self.table = rows.assign(degenerate=False, **empty)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Those that are defined, with their intervals over images."""
        return {
            name: asdict(one) for name, one in self._found.items() if one.n and isfinite(one.value)
        }

    def details(self) -> dict[str, Any]:
        """What stands behind the scores, and what the model was asked."""
        found = self.scored.details()
        if self.replies is not None:
            example = next(iter(self.scored.prompts), "")
            given = {"cut_off": self._given.cut_off, "models": list(self._given.models)}
            found["answered"] = {"first_prompt": example, **given}
        return {"matrix": {}, "benchmark": found}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """None: what is scored is words."""
        return {}


def scored_of(cell: Cell, dataset: DataSet) -> Scored:
    """The benchmark of a cell's metric.

    Raises:
        VlgroundError: If the metric is none of a benchmark, or does not go with data set and model.
    """
    metric = build(cell.node["metric"])
    if isinstance(metric, Chair | Claims):
        return Captioned.of(cell, metric, dataset)
    if isinstance(metric, Pope | Mme):
        return Questioned.of(cell, metric, dataset)
    if isinstance(metric, Mmhal):
        return Answered.of(cell, metric, dataset)
    if isinstance(metric, Preference):
        return Compared.of(cell, metric, dataset)
    told = "task=benchmark is scored by chair, claims, pope, mme, mmhal or preference"
    raise VlgroundError(f"metric={cell.choices['metric']}: {told}")
