"""MMHal-Bench and preference ranks: what a judge says of answers, or of captions side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import lightning
import numpy as np
import pandas

from vlground.cell import Cell
from vlground.contracts import Verdict
from vlground.data.mmhal import MMHal
from vlground.data.sample import DataSet, Sample
from vlground.data.shapes.systems import ShapesSystems
from vlground.data.systems import Systems
from vlground.errors import VlgroundError
from vlground.metrics import mmhal, preference
from vlground.metrics.mmhal import Mmhal, outcome_of
from vlground.metrics.preference import Preference, shown_order
from vlground.metrics.statistics import Estimate
from vlground.rewards.sentences import split
from vlground.tasks.judgements import Asked, Judgements
from vlground.tasks.questioned import answers_given
from vlground.tasks.replying import Given

_LEVELS = 9  # best score of judge.prompt=preference
_NOTHING = "(nothing)"  # what a judge reads of an empty text


class Answered:
    """Answers to the questions of MMHal-Bench, and what a judge says of them.

    Args:
        metric: From which score on an answer is free of hallucination.
        dataset: Of the questions.
        samples: Those that the run is about.
        given: Answers of a file; None: a model answers.
        suffix: What follows each question then.
        judgements: Of the judge.

    Attributes:
        prompts: One a sample.
    """

    def __init__(
        self,
        metric: Mmhal,
        dataset: MMHal,
        samples: Sequence[Sample],
        given: Given | None,
        suffix: str,
        judgements: Judgements,
    ) -> None:
        self.metric, self.dataset, self.samples, self.given = metric, dataset, samples, given
        self.prompts = [f"{sample.text}{suffix}" for sample in samples]
        self.judgements = judgements
        self._rows = pandas.DataFrame()

    @classmethod
    def of(cls, cell: Cell, metric: Mmhal, dataset: DataSet) -> Self:
        """What a cell scores.

        Raises:
            VlgroundError: If metric, data set, model and judge do not go together.
        """
        if not isinstance(dataset, MMHal):
            raise VlgroundError(f"metric={cell.choices['metric']}: expected dataset=mmhal")
        judgements = Judgements.of(cell, "nothing", mmhal.HIGHEST)
        given = answers_given(cell, dataset.answers)
        suffix = str(cell.node["task"]["suffix"])
        return cls(metric, dataset, cell.samples, given, suffix, judgements)

    def score(
        self, given: Given, trainer: lightning.Trainer
    ) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        """Rows with a `flag`, and scores."""
        asked = {s.id: self._asked(s, given) for s in self.samples if s.id in given.texts}
        self.judgements.ask(asked, trainer)
        verdicts = self.judgements.verdicts(asked)
        self._rows = rows = mmhal.rows_of(self.samples, given.texts, verdicts, self.metric)
        flags = [
            given.problems.get(name, outcome)
            for name, outcome in zip(rows["id"], rows["outcome"], strict=True)
        ]
        return rows.assign(flag=flags), mmhal.estimates(rows)

    def details(self) -> dict[str, Any]:
        """What stands behind the scores, and what judging cost."""
        odd = {} if self.given is None else dict(self.dataset.answer_counts)
        usage = self.judgements.usage()
        found = {"tally": mmhal.tally(self._rows), "odd": odd, "usage": usage}
        return {"checksums": dict(self.dataset.checksums), **found}

    def _asked(self, sample: Sample, given: Given) -> Asked:
        known = self.dataset.references[sample.id]
        fields = {
            "contents": ", ".join(known.contents) or _NOTHING,
            "question": sample.text,
            "reference": known.answer,
            "answer": given.texts[sample.id].strip() or _NOTHING,
        }
        return Asked(fields)


class Compared:
    """Captions of the same images by several systems, and how a judge ranks them.

    The judge sees the image and all captions, in an order drawn from (seed, image), and scores one
    of them; so there are as many requests an image as systems, and ranks are those of the scores.

    Args:
        metric: What becomes of ties, and the seed of the orders.
        dataset: Of the captions.
        samples: The images that the run is about.
        judgements: Of the judge.

    Attributes:
        given: Nothing: no model writes here.
        prompts: None.
    """

    def __init__(
        self,
        metric: Preference,
        dataset: Systems | ShapesSystems,
        samples: Sequence[Sample],
        judgements: Judgements,
    ) -> None:
        self.metric, self.dataset, self.samples = metric, dataset, samples
        self.judgements = judgements
        self.given: Given | None = Given({})
        self.prompts: list[str] = []
        self._rows = pandas.DataFrame()

    @classmethod
    def of(cls, cell: Cell, metric: Preference, dataset: DataSet) -> Self:
        """What a cell scores.

        Raises:
            VlgroundError: If metric, data set and judge do not go together, or there is a model.
        """
        if not isinstance(dataset, Systems | ShapesSystems):
            told = "expected dataset=systems or dataset=shapes_systems"
            raise VlgroundError(f"metric={cell.choices['metric']}: {told}")
        if cell.node["model"]:
            name = cell.choices["dataset"]
            told = f"dataset={name} holds the captions that are compared; expected model=none"
            raise VlgroundError(f"model={cell.choices['model']}: {told}")
        return cls(metric, dataset, cell.samples, Judgements.of(cell, "photo", _LEVELS))

    def score(
        self, given: Given, trainer: lightning.Trainer
    ) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        """Rows with a `flag`, and scores: mean ranks, and who wins."""
        asked: dict[str, Asked] = {}
        for sample in self.samples:
            asked |= self._asked(sample)
        self.judgements.ask(asked, trainer)
        verdicts = self.judgements.verdicts(asked)
        systems = list(self.dataset.texts)
        scores = {system: self._scores(system, verdicts) for system in systems}
        image_of = {sample.id: sample.image_id for sample in self.samples}
        rows = preference.rows_of(scores, image_of, self.metric)
        for system in systems:
            rows[f"score_{system}"] = [scores[system].get(name, np.nan) for name in rows["id"]]
        self._rows = rows
        found = {f"mean_rank/{name}": one for name, one in preference.mean_ranks(rows).items()}
        for (first, second), one in preference.wins(rows).items():
            found[f"wins/{first}/{second}"] = one
        return rows.assign(flag=[self._flag(s, verdicts) for s in self.samples]), found

    def details(self) -> dict[str, Any]:
        """How many images all systems have a rank on, what the first place is worth, the cost."""
        first = preference.first_place_bias(self._rows)
        found: dict[str, Any] = {"checksums": dict(self.dataset.checksums)}
        found["tally"] = {"complete": int(self._rows["complete"].sum())}
        found["first_place"] = {"value": first.value, "low": first.low, "high": first.high}
        return found | {"usage": self.judgements.usage(), "seed": self.metric.seed}

    def _asked(self, sample: Sample) -> dict[str, Asked]:
        """One question a system; none if one of them said nothing about the image."""
        texts = self.dataset.of(sample.image_id)
        if len(texts) < len(self.dataset.texts):
            return {}
        order = shown_order(self.metric.seed, sample.id, list(texts))
        lines = [f"{place}. {texts[name] or _NOTHING}" for place, name in enumerate(order, 1)]
        captions = "\n\n".join(lines)
        return {
            _name(system, sample): Asked(
                {"captions": captions, "number": str(place)},
                replace(sample, text=_lines(texts[system])),
            )
            for place, system in enumerate(order, 1)
        }

    def _scores(self, system: str, verdicts: Mapping[str, Verdict]) -> dict[str, float]:
        found = {}
        for sample in self.samples:
            verdict = verdicts.get(_name(system, sample))
            if verdict is not None and verdict.score is not None:
                found[sample.id] = verdict.score
        return found

    def _flag(self, sample: Sample, verdicts: Mapping[str, Verdict]) -> str:
        """What is in the way of ranks, if anything."""
        texts = self.dataset.of(sample.image_id)
        for system in self.dataset.texts:
            if system not in texts:
                return f"no caption of {system}"
        told = (outcome_of(verdicts[_name(system, sample)]) for system in texts)
        return next((one for one in told if one), "")


def _lines(caption: str) -> str:
    """A sentence a line, for judges that know the truth; others read all captions together."""
    return "\n".join(" ".join(sentence.text.split()) for sentence in split(caption))


def _name(system: str, sample: Sample) -> str:
    return f"{system}/{sample.id}"
