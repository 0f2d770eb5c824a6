"""`task=grounding`: does the activation map for a text lie where the text's box is?

`predict_step` makes maps, each stored once; `test_step` scores what is stored.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning
import numpy as np
import pandas
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from vlground import plots
from vlground.callbacks import EvidenceWriter
from vlground.cell import Cell
from vlground.config import build, build_scorer
from vlground.contracts import CAM, Scorer, check_pair
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.metrics.grounding import SCORES, QGroundCAM
from vlground.metrics.statistics import bootstrap_means
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import score_maps

log = logging.getLogger("vlground")

# Of `rows.parquet`: what the sample is, its scores, and what stood in their way.
Columns = dict[str, np.ndarray]
IDENTITY = ("id", "image_id", "text", "foil")
COLUMNS = [*IDENTITY, *SCORES, "degenerate", "flag", "skipped"]


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
        """
        node = cell.node
        store = EvidenceStore(cell.runs, cell.stage)
        for path in store.damaged:
            log.warning("%s is torn: what it lost is drawn again", path)
        task = cls(build(node["metric"]), cell.samples, store)
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
        trainer.test(self, verbose=False)

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
        reasons = {sample.key: self._unanswerable(sample) for sample in mine}
        self.store.append((key, {"skipped": reason}) for key, reason in reasons.items() if reason)
        askable = [sample for sample in mine if not reasons[sample.key]]
        return image_loader(askable, self.scorer.preprocess, self.batch_size, self.num_workers)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Draw the maps of a batch."""
        records: list[tuple[str, Evidence]] = [
            (sample.key, {"skipped": f"unreadable image: {reason}"})
            for sample, reason in batch.unreadable
        ]
        if batch.samples:
            maps = self._maps(batch).cpu().numpy()
            for sample, owner, grid in zip(batch.samples, batch.owner.tolist(), maps, strict=True):
                frame = batch.frames[owner].to_list()
                records.append((sample.key, {"map": grid, "frame": frame, **self._declared()}))
        return records

    def on_predict_end(self) -> None:
        """Wait for the other ranks, so that all evidence is there to be scored."""
        self.trainer.strategy.barrier()
        self.store.refresh()

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the samples, all of them with evidence."""
        self._parts = []
        return evidence_loader(self._share())

    def test_step(self, batch: list[Sample]) -> None:
        """Score the stored maps of some samples."""
        by_shape: dict[Any, list[tuple[Sample, Evidence]]] = defaultdict(list)
        skipped: dict[Sample, str] = {}
        for sample in batch:
            if sample.key not in self.store:
                skipped[sample] = "not drawn: the trainer is limited"
                continue
            evidence = self.store[sample.key]
            if "skipped" in evidence:
                skipped[sample] = str(evidence["skipped"])
                continue
            shape = (*evidence["frame"], *evidence["map"].shape, evidence["constant"])  # type: ignore
            by_shape[shape].append((sample, evidence))
        for group in by_shape.values():
            self._parts.append(_score(group, self.metric))
        if skipped:
            self._parts.append(_columns(list(skipped), {"skipped": list(skipped.values())}))

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks."""
        parts = self._parts
        if self.trainer.world_size > 1:
            shares: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, parts)
            parts = [part for share in shares for part in share]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
        rows = pandas.DataFrame(columns).drop_duplicates("id").set_index("id", drop=False)
        self.table = rows.loc[[sample.id for sample in self.samples]].reset_index(drop=True)
        self._parts = []

    def scores(self) -> dict[str, dict[str, Any]]:
        """Mean of every score over the rows that have one, with its interval over images."""
        columns = {name: self.table[name].to_numpy(dtype=np.float64) for name in SCORES}
        estimates = bootstrap_means(columns, self.table["image_id"].tolist())
        return {name: asdict(estimate) for name, estimate in estimates.items() if estimate.n}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """Overlays of up to `count` samples that have a map, by sample id."""
        drawn: dict[str, Image.Image] = {}
        for sample in plots.shown(self.samples, count):
            if sample.key not in self.store or "skipped" in self.store[sample.key]:
                continue
            evidence = self.store[sample.key]
            frame = Frame.from_list(evidence["frame"])  # type: ignore[arg-type]
            grid = torch.from_numpy(evidence["map"].copy())[None]  # type: ignore[union-attr]
            image = load_image(sample.image)
            drawn[sample.id] = plots.overlay(
                image, frame.grid_to_pixels(grid)[0].numpy(), sample.boxes
            )
        return drawn

    def _maps(self, batch: Batch) -> Tensor:
        assert self.scorer is not None
        assert self.cam is not None
        texts = [self.cam.asks(sample) or "" for sample in batch.samples]
        with torch.inference_mode(False), torch.no_grad():
            encoded = self.scorer.encode(batch.pixels.clone())
            maps: Tensor = self.cam(self.scorer, encoded, texts, batch.owner, batch.samples)
        return maps.float()

    def _share(self) -> list[Sample]:
        rank, count = self.trainer.global_rank, self.trainer.world_size
        if count == 1:
            return list(self.samples)
        images: dict[str, int] = {}
        for sample in self.samples:
            images.setdefault(sample.image_id, len(images))
        return [sample for sample in self.samples if images[sample.image_id] % count == rank]

    def _unanswerable(self, sample: Sample) -> str | None:
        assert self.scorer is not None
        assert self.cam is not None
        obstacle = self.cam.obstacle(sample)
        if obstacle is not None:
            return obstacle
        # A baseline that asks something else covers the same samples as what it stands beside.
        for needed in (sample.text, self.cam.asks(sample) or ""):
            if not self.scorer.knows(needed):
                return f"unknown to the model: {needed}"
        return None

    def _declared(self) -> Evidence:
        assert self.cam is not None
        return {"constant": self.cam.constant, "normalised": self.cam.normalised}


def _columns(samples: Sequence[Sample], given: Mapping[str, Any]) -> Columns:
    """`COLUMNS` of some samples; arrays, because a thousand small tables take much memory."""
    n = len(samples)
    columns: dict[str, Any] = dict.fromkeys(SCORES, np.full(n, np.nan))
    columns |= {"degenerate": np.zeros(n, dtype=bool), "flag": [None] * n, "skipped": [None] * n}
    columns |= {name: [getattr(s, name) for s in samples] for name in IDENTITY}
    columns |= given
    texts = (*IDENTITY, "flag", "skipped")
    return columns | {name: np.array(columns[name], dtype=object) for name in texts}


def _score(group: Sequence[tuple[Sample, Evidence]], metric: QGroundCAM) -> Columns:
    """Rows of samples whose maps and images have the same size."""
    first: Mapping[str, Any] = group[0][1]
    maps = torch.stack([torch.from_numpy(evidence["map"].copy()) for _, evidence in group])  # type: ignore
    boxes = [sample.boxes for sample, _ in group]
    columns = score_maps(maps, Frame.from_list(first["frame"]), boxes, metric, first["constant"])
    return _columns([sample for sample, _ in group], columns)
