"""Maps that are missing are drawn, each stored once, for every task that reads maps."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlground import plots
from vlground.callbacks import EvidenceWriter
from vlground.config import build, build_scorer
from vlground.contracts import CAM, Mask, Scorer, check_pair
from vlground.data.batches import Batch, image_loader
from vlground.data.sample import Sample
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import draw_evidence, overlay_of, share_of, unanswerable

log = logging.getLogger("vlground")

LIMITED = "not drawn: the trainer is limited"


class Drawing(lightning.LightningModule):
    """One model and one CAM on one selection of samples; `predict_step` draws.

    Args:
        samples: What the run is about.
        store: Evidence of the prediction stage.

    Attributes:
        scorer: The model; None if all maps are stored.
        cam: Likewise.
        batch_size: Samples (not images) a batch; no result depends on it.
        num_workers: Processes that load images.
    """

    def __init__(self, samples: Sequence[Sample], store: EvidenceStore) -> None:
        super().__init__()
        self.samples = samples
        self.store = store
        self.scorer: Scorer | None = None
        self.cam: CAM | None = None
        self.batch_size = 16
        self.num_workers = 0

    def load(self, node: Mapping[str, Any]) -> None:
        """Load model and CAM of a configuration if a map is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model.
        """
        warn_of_damage(self.store)
        if any(sample.key not in self.store for sample in self.samples):
            self.scorer, self.cam = build_scorer(node["model"]), build(node["cam"])
            check_pair(self.scorer, self.cam)
            self.batch_size, self.num_workers = node["batch_size"], node["num_workers"]

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the maps."""
        return [EvidenceWriter(self.store)]

    def draw(self, trainer: lightning.Trainer) -> None:
        """Draw the maps that are missing."""
        if self.scorer is not None:
            predict_all(self, trainer, self.store)

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
        options = self.scorer.preprocess, self.batch_size, self.num_workers
        return image_loader(askable, *options, claim=self._claim)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Draw the maps of a batch."""
        assert self.scorer is not None
        assert self.cam is not None
        drawn = draw_evidence(self.scorer, self.cam, batch)
        return [(sample.key, evidence) for sample, evidence in drawn]

    def stored(self, sample: Sample) -> Evidence:
        """The map of a sample, or why it has none (`skipped`)."""
        return evidence_of(self.store, sample)

    def overlays(self, count: int, mask: Mask | None = None) -> dict[str, Image.Image]:
        """Overlays of up to `count` samples that have a map, by sample id; with a mask those of M.

        Args:
            count: How many samples, the same ones in every run.
            mask: Makes M of a map.
        """
        found = ((sample, self.stored(sample)) for sample in plots.shown(self.samples, count))
        return {
            sample.id: overlay_of(sample, evidence, mask)
            for sample, evidence in found
            if "skipped" not in evidence
        }

    def _share(self) -> list[Sample]:
        return share_of(self.samples, self.trainer.global_rank, self.trainer.world_size)

    def _claim(self, samples: Sequence[Sample]) -> bool:
        return self.store.take([sample.key for sample in samples])


def predict_all(
    module: lightning.LightningModule, trainer: lightning.Trainer, store: EvidenceStore
) -> None:
    """Let all processes make the evidence that is missing, and wait for it.

    What a process of another run makes meanwhile is waited for, and made here if that one gives up.

    Args:
        module: Whose `predict_step` makes it; its loader claims what it hands out.
        trainer: Runs it.
        store: Where it goes to; afterwards it shows the evidence of all processes.
    """
    again = True
    try:
        while again:
            trainer.predict(module, return_predictions=False)
            store.release()  # before waiting: nobody who waits may be waited for
            # Here, because Lightning ends no prediction that had nothing to predict: wait for the
            # other ranks, so that all evidence is there to be scored.
            trainer.strategy.barrier()
            again = trainer.strategy.reduce_boolean_decision(store.wait(), all=False)
        store.refresh()
    finally:
        store.release()


def evidence_of(store: EvidenceStore, sample: Sample) -> Evidence:
    """The evidence of a sample, or why it has none (`skipped`)."""
    if sample.key in store:
        return store[sample.key]
    return {"skipped": LIMITED}


def warn_of_damage(store: EvidenceStore) -> None:
    """Say which files of a store a killed process left torn."""
    for path in store.damaged:
        log.warning("%s is torn: what it lost is drawn again", path)
