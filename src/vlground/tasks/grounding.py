"""`task=grounding`: does the activation map for a text lie where the text's box is?

`predict_step` makes maps, each stored once, and asks a model that decides whether the text and its
foil fit; `test_step` scores what is stored.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Self

import lightning
import pandas
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlground import plots
from vlground.callbacks import EvidenceWriter
from vlground.cell import Cell
from vlground.config import build, build_scorer
from vlground.contracts import CAM, Scorer, check_pair
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics import matrix
from vlground.metrics.grounding import QGroundCAM
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import (
    COLUMNS,
    Columns,
    draw_evidence,
    estimates_of,
    gathered,
    overlay_of,
    rows_of,
    share_of,
    table_of,
    unanswerable,
)

log = logging.getLogger("vlground")


class Grounding(lightning.LightningModule):
    """One model, one CAM, one metric on one selection of samples.

    Args:
        metric: Options of the Q-GroundCAM suite.
        samples: What the run is about.
        store: Evidence of the prediction stage.

    Attributes:
        scorer: The model; None if all maps are stored.
        cam: Likewise.
        batch_size: Samples (not images) a batch; no result depends on it.
        num_workers: Processes that load images.
        table: After `Trainer.test`, on every rank: one row a sample, in the order of `samples`.
    """

    def __init__(
        self,
        metric: QGroundCAM,
        samples: Sequence[Sample],
        store: EvidenceStore,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.samples = samples
        self.store = store
        self.scorer: Scorer | None = None
        self.cam: CAM | None = None
        self.batch_size = 16
        self.num_workers = 0
        self.table = pandas.DataFrame(columns=COLUMNS)
        self._parts: list[Columns] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model loaded if a map is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model.
            VlgroundError: If it is to be scored by something else.
        """
        node = cell.node
        metric = build(node["metric"])
        if not isinstance(metric, QGroundCAM):
            told = f"metric={cell.choices['metric']}"
            raise VlgroundError(f"{told}: task=grounding is scored by metric=q_groundcam")
        if node["mask"]:
            raise VlgroundError(
                f"mask={cell.choices['mask']}: task=grounding has only mask=none yet"
            )
        store = EvidenceStore(cell.runs, cell.stage)
        for path in store.damaged:
            log.warning("%s is torn: what it lost is drawn again", path)
        task = cls(metric, cell.samples, store)
        if any(sample.key not in store for sample in cell.samples):
            task.scorer, task.cam = build_scorer(node["model"]), build(node["cam"])
            check_pair(task.scorer, task.cam)
            task.batch_size, task.num_workers = node["batch_size"], node["num_workers"]
        return task

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Make sure that model and CAM of a configuration go together.

        Raises:
            ImpossiblePairError: If they do not.
        """
        check_pair(build_scorer(node["model"]), build(node["cam"]))

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the maps."""
        return [EvidenceWriter(self.store)]

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Draw the maps that are missing and score all."""
        if self.scorer is not None:
            trainer.predict(self, return_predictions=False)
            # Here, because Lightning ends no prediction that had nothing to predict: wait for the
            # other ranks, so that all evidence is there to be scored.
            trainer.strategy.barrier()
            self.store.refresh()
        trainer.test(self, verbose=False)
        missing = matrix.tally(self.table)["missing"]
        if missing and trainer.is_global_zero:
            _say_once(f"no matrix of right or wrong × well or badly grounded: {missing}")

    def expected(self, verb: str) -> int:
        """How many samples this rank will have `drawn`, or `scored`."""
        share = self._share()
        return len(share) if verb == "scored" else sum(s.key not in self.store for s in share)

    def transfer_batch_to_device(
        self, batch: Batch | list[Sample], device: torch.device, dataloader_idx: int
    ) -> Batch | list[Sample]:
        """Move what has tensors; Lightning itself would look into every sample."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def predict_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the samples whose map is missing and can be drawn."""
        assert self.scorer is not None
        assert self.cam is not None
        mine = [sample for sample in self._share() if sample.key not in self.store]
        reasons = {sample.key: unanswerable(self.scorer, self.cam, sample) for sample in mine}
        self.store.append((key, {"skipped": reason}) for key, reason in reasons.items() if reason)
        askable = [sample for sample in mine if not reasons[sample.key]]
        return image_loader(askable, self.scorer.preprocess, self.batch_size, self.num_workers)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Draw the maps of a batch."""
        assert self.scorer is not None
        assert self.cam is not None
        drawn = draw_evidence(self.scorer, self.cam, batch)
        return [(sample.key, evidence) for sample, evidence in drawn]

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the samples, all of them with evidence."""
        self._parts = []
        return evidence_loader(self._share())

    def test_step(self, batch: list[Sample]) -> None:
        """Score the stored maps of some samples."""
        self._parts += rows_of([(sample, self._stored(sample)) for sample in batch], self.metric)

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
        drawn: dict[str, Image.Image] = {}
        for sample in plots.shown(self.samples, count):
            if sample.key not in self.store or "skipped" in self.store[sample.key]:
                continue
            drawn[sample.id] = overlay_of(sample, self.store[sample.key])
        return drawn

    def _stored(self, sample: Sample) -> Evidence:
        if sample.key in self.store:
            return self.store[sample.key]
        return {"skipped": "not drawn: the trainer is limited"}

    def _share(self) -> list[Sample]:
        return share_of(self.samples, self.trainer.global_rank, self.trainer.world_size)


@cache
def _say_once(line: str) -> None:
    """A sweep of classifiers says it once, not once a cell; `results.json` says it of every run."""
    log.info(line)
