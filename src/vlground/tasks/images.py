"""Evidence of images, made batch by batch where it is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from vlground.callbacks import EvidenceWriter
from vlground.data.batches import evidence_loader
from vlground.data.sample import Sample
from vlground.store import EvidenceStore
from vlground.tasks.evidence import predict_all, warn_of_damage
from vlground.tasks.scoring import share_of

_COUNTS = "counts"  # no digest, as the keys of evidence are


class ImageEvidence(lightning.LightningModule):
    """Makes one kind of evidence; a subclass says in `predict_step` which.

    Args:
        images: One sample an image.
        store: Where the evidence is kept.
        batch_size: Images a batch; no result depends on it.
    """

    def __init__(self, images: Sequence[Sample], store: EvidenceStore, batch_size: int) -> None:
        super().__init__()
        self.images, self.store, self.batch_size = images, store, batch_size
        warn_of_damage(store)

    def make(self, trainer: lightning.Trainer) -> None:
        """Make what is missing; all processes know all of it afterwards."""
        if any(self.missing(sample) for sample in self.images):
            predict_all(self, trainer, self.store)
            if trainer.is_global_zero and (counts := self.counted()) and _COUNTS not in self.store:
                numbers = [float(number) for number in counts.values()]
                self.store.append([(_COUNTS, {"reasons": list(counts), "numbers": numbers})])
            trainer.strategy.barrier()
            self.store.refresh()

    def counted(self) -> Mapping[str, int]:
        """What the reader of a file could not read, of who was just asked."""
        return {}

    @property
    def left_out(self) -> dict[str, int]:
        """The same, as it was stored when evidence was made."""
        if _COUNTS not in self.store:
            return {}
        kept: dict[str, Any] = dict(self.store[_COUNTS])
        pairs = zip(kept["reasons"], kept["numbers"], strict=True)
        return {reason: int(number) for reason, number in pairs}

    def missing(self, sample: Sample) -> bool:
        """Whether evidence of an image is missing."""
        raise NotImplementedError

    def keys(self, sample: Sample) -> list[str]:
        """What the evidence of an image is stored under."""
        raise NotImplementedError

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the evidence."""
        return [EvidenceWriter(self.store)]

    def expected(self, verb: str) -> int:
        """How many images this rank will look at."""
        return len(self._share())

    def transfer_batch_to_device(
        self, batch: list[Sample], device: torch.device, dataloader_idx: int
    ) -> list[Sample]:
        """Nothing to move; Lightning itself would look into every sample."""
        return batch

    def predict_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the images of which evidence is missing."""
        return evidence_loader(self._share(), self.batch_size, self._claim)

    def _claim(self, samples: Sequence[Sample]) -> bool:
        return self.store.take([key for sample in samples for key in self.keys(sample)])

    def _share(self) -> list[Sample]:
        missing = [sample for sample in self.images if self.missing(sample)]
        return share_of(missing, self.trainer.global_rank, self.trainer.world_size)


def images_of(samples: Sequence[Sample]) -> list[Sample]:
    """The first sample of every image."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.image_id, sample)
    return list(first.values())
