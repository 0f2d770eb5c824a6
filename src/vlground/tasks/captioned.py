"""CHAIR, and wrong sentences, of captions: of a file, or by a model, of images that are known."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import lightning
import pandas

from vlground.cell import Cell
from vlground.data.captions import Captions
from vlground.data.image_objects import ImageObjects
from vlground.data.sample import DataSet, KnownObjects, Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.errors import VlgroundError
from vlground.metrics import chair, claims
from vlground.metrics.chair import Chair
from vlground.metrics.claims import Claims
from vlground.metrics.statistics import Estimate
from vlground.rewards.sentences import split
from vlground.tasks.images import images_of
from vlground.tasks.replying import Given


class Captioned:
    """Captions beside the truth of their images.

    Args:
        metric: Which words stand for which object; or that every sentence is held against its
            scene, beside CHAIR.
        dataset: Knows the objects of its images.
        samples: One a caption.
        given: Captions of a file; None: a model writes them.
        prompt: What it is asked.

    Attributes:
        prompts: One a sample.
    """

    def __init__(
        self,
        metric: Chair | Claims,
        dataset: DataSet,
        samples: Sequence[Sample],
        given: Given | None,
        prompt: str,
    ) -> None:
        self.claims = isinstance(metric, Claims)
        words = Chair() if isinstance(metric, Claims) else metric
        if isinstance(dataset, KnownObjects):  # named in words of its own, if it has some
            words = replace(words, synonyms=words.synonyms or dataset.synonyms)
        self.metric, self.samples, self.given = words, samples, given
        self.objects, self.checksums = objects_of(dataset)
        self.prompts = [prompt] * len(samples)
        self._written: list[Sample] = []
        self._rows = pandas.DataFrame()

    @classmethod
    def of(cls, cell: Cell, metric: Chair | Claims, dataset: DataSet) -> Self:
        """What a cell scores.

        Raises:
            VlgroundError: If metric, data set and model do not go together.
        """
        prompt = str(cell.node["task"]["prompt"])
        name = f"metric={cell.choices['metric']}"
        if isinstance(metric, Claims) and not isinstance(dataset, ShapesCaptions):
            told = "expected dataset=shapes_captions, of whose scenes all is known"
            raise VlgroundError(f"{name}: {told}")
        if not cell.node["model"]:
            if isinstance(metric, Claims):
                told = "expected a model that writes captions, such as model=captioner_file"
                raise VlgroundError(f"model=none: {name} needs them; {told}")
            if not isinstance(dataset, Captions):
                told = "expected dataset=captions, or a model that writes them: model=captioner"
                raise VlgroundError(f"{name}: {told}")
            if not dataset.objects:
                told = "which objects images hold: JSON, image id -> names"
                raise VlgroundError(f"dataset.objects: {name} has to know {told}")
            given = Given({sample.id: sample.text for sample in cell.samples})
            return cls(metric, dataset, cell.samples, given, prompt)
        if isinstance(dataset, Captions):
            told = "dataset=captions holds captions already; expected dataset=image_objects"
            raise VlgroundError(f"model={cell.choices['model']}: {told} or an annotated one")
        images = [replace(sample, id=sample.image_id) for sample in images_of(cell.samples)]
        return cls(metric, dataset, images, None, prompt)

    def score(
        self, given: Given, trainer: lightning.Trainer
    ) -> tuple[pandas.DataFrame, dict[str, Estimate]]:
        """Rows with a `flag`, and scores; captions that were not written are flagged alone."""
        texts, problems = given.texts, given.problems
        there = [sample for sample in self.samples if sample.id in texts]
        self._written = [replace(sample, text=texts[sample.id]) for sample in there]
        self._rows = chair.rows_of(self._written, self.objects, self.metric)
        found = chair.estimates(self._rows)
        if self.claims:
            said = [[piece.content for piece in split(one.text)] for one in self._written]
            wrong = claims.rows_of(self._written, said)
            self._rows = self._rows.merge(wrong.drop(columns="image_id"), on="id")
            found = claims.estimates(wrong) | found
        lost = [
            {"id": sample.id, "image_id": sample.image_id, "flag": problems[sample.id]}
            for sample in self.samples
            if sample.id in problems
        ]
        rows = self._rows.assign(flag="")
        if lost:
            rows = pandas.concat([rows, pandas.DataFrame(lost)], ignore_index=True)
        return rows, found

    def details(self) -> dict[str, Any]:
        """What stands behind the scores; hallucination by sentence."""
        found: dict[str, Any] = {"checksums": dict(self.checksums)}
        spans = [[(s.start, s.end) for s in split(sample.text)] for sample in self._written]
        places = chair.by_position(self._written, spans, self.objects, self.metric)
        found["tally"] = chair.tally(self._rows)
        if self.claims:
            found["claims"] = claims.tally(self._rows)
        return found | {"sentences": [asdict(place) for place in places]}


def objects_of(dataset: DataSet) -> tuple[Mapping[str, frozenset[str]], Mapping[str, str]]:
    """What images hold.

    Returns:
        Image id -> names of its objects (of an annotated data set, the texts of all its samples),
        and checksums of the files that say so.
    """
    if isinstance(dataset, Captions | ImageObjects | ShapesCaptions):
        return dataset.objects, dataset.checksums
    found: dict[str, set[str]] = {}
    for index in range(len(dataset)):
        sample = dataset[index]
        found.setdefault(sample.image_id, set()).add(sample.text)
    return {image: frozenset(names) for image, names in found.items()}, {}
