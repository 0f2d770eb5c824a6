"""`task=grounding`: does the activation map for a text lie where the text's box is?

`predict_step` makes maps, each stored once, and asks a model that decides whether the text and its
foil fit; `test_step` scores what is stored, or what a mask shows by it.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import lightning
import pandas
from PIL import Image
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.config import build, build_scorer
from vlground.contracts import Mask, check_pair
from vlground.data.batches import evidence_loader
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics import matrix
from vlground.metrics.faithfulness import Faithfulness
from vlground.metrics.grounding import QGroundCAM
from vlground.store import EvidenceStore
from vlground.tasks.evidence import Drawing
from vlground.tasks.faithful import FaithfulGrounding
from vlground.tasks.scoring import COLUMNS, Columns, estimates_of, gathered, rows_of, table_of

log = logging.getLogger("vlground")


class Grounding(Drawing):
    """One model, one CAM, one metric on one selection of samples.

    Args:
        metric: Options of the Q-GroundCAM suite.
        samples: What the run is about.
        store: Evidence of the prediction stage.
        mask: What it shows is scored, see `vlground.tasks.masked`; None: the map itself.

    Attributes:
        table: After `Trainer.test`, on every rank: one row a sample, in the order of `samples`.
    """

    def __init__(
        self,
        metric: QGroundCAM,
        samples: Sequence[Sample],
        store: EvidenceStore,
        mask: Mask | None = None,
    ) -> None:
        super().__init__(samples, store)
        self.metric = metric
        self.mask = mask
        self.table = pandas.DataFrame(columns=COLUMNS)
        self._parts: list[Columns] = []

    @classmethod
    def of(cls, cell: Cell) -> "Grounding | FaithfulGrounding":
        """The task of a cell, with its model loaded if evidence is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model.
            VlgroundError: If it is to be scored by something else.
        """
        node, choices = cell.node, cell.choices
        metric = build(node["metric"])
        if isinstance(metric, Faithfulness):
            if node["mask"]:
                told = "metric=faithfulness perturbs by the map itself; expected none"
                raise VlgroundError(f"mask={choices['mask']}: {told}")
            return FaithfulGrounding.of(cell, metric)
        if not isinstance(metric, QGroundCAM):
            told = "task=grounding is scored by metric=q_groundcam or metric=faithfulness"
            raise VlgroundError(f"metric={choices['metric']}: {told}")
        mask = build(node["mask"]) if node["mask"] else None
        if not isinstance(mask, Mask | None):
            raise VlgroundError(f"mask={choices['mask']}: expected a vlground.contracts.Mask")
        if mask is not None and metric.resolution != "original":
            raise VlgroundError(
                f"metric.resolution={metric.resolution}: with a mask expected original"
            )
        task = cls(metric, cell.samples, EvidenceStore(cell.runs, cell.stage), mask)
        task.load(node)
        return task

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Make sure that model and CAM of a configuration go together.

        Raises:
            ImpossiblePairError: If they do not.
        """
        check_pair(build_scorer(node["model"]), build(node["cam"]))

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Draw the maps that are missing and score all."""
        self.draw(trainer)
        trainer.test(self, verbose=False)
        missing = matrix.tally(self.table)["missing"]
        if missing and trainer.is_global_zero:
            _say_once(f"no matrix of right or wrong × well or badly grounded: {missing}")

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the samples, all of them with evidence."""
        self._parts = []
        return evidence_loader(self._share())

    def test_step(self, batch: list[Sample]) -> None:
        """Score the stored maps of some samples."""
        found = [(sample, self.stored(sample)) for sample in batch]
        self._parts += rows_of(found, self.metric, self.mask)

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks."""
        self.table = table_of(gathered(self._parts, self.trainer.world_size), self.samples)
        self._parts = []

    def scores(self) -> dict[str, dict[str, Any]]:
        """Means and shares of the table, see `estimates_of`."""
        return estimates_of(self.table, self.metric)

    def details(self) -> dict[str, Any]:
        """Nothing beside the scores."""
        return {}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """Overlays of up to `count` samples that have a map, by sample id."""
        return self.overlays(count, self.mask)


@cache
def _say_once(line: str) -> None:
    """A sweep of classifiers says it once, not once a cell; `results.json` says it of every run."""
    log.info(line)
