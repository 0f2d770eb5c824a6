"""`task=grounding`: does the activation map for a text lie where the text's box is?

`predict_step` makes maps, each stored once, and asks a model that decides whether the text and its
foil fit; `test_step` scores what is stored.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
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
from vlground.contracts import CAM, Encoded, Scorer, check_pair
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.metrics import matrix
from vlground.metrics.grounding import SCORES, QGroundCAM
from vlground.metrics.statistics import bootstrap_means
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import COLUMNS, Columns, columns_of, score_evidence

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
            with torch.inference_mode(False), torch.no_grad():
                encoded = self._scorer.encode(batch.pixels.clone())
                maps = self._maps(batch, encoded).cpu().numpy()
                read = self._read(batch, encoded)
            for i, sample in enumerate(batch.samples):
                frame = batch.frames[int(batch.owner[i])].to_list()
                evidence = {"map": maps[i], "frame": frame, **self._declared(), **read[i]}
                records.append((sample.key, evidence))
        return records

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
            self._parts.append(score_evidence(group, self.metric))
        if skipped:
            self._parts.append(columns_of(list(skipped), {"skipped": list(skipped.values())}))

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
        """Mean of every score over the rows that have one, with its interval over images.

        Of a model that decides also accuracies and the shares of the matrix' cells.
        """
        rows, images = self.table, self.table["image_id"].tolist()
        columns = {name: rows[name].to_numpy(dtype=np.float64) for name in SCORES}
        estimates = bootstrap_means(columns, images)
        if rows["match"].notna().any():
            estimates |= matrix.estimates(rows, self.metric.match_threshold)
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

    @property
    def _scorer(self) -> Scorer:
        assert self.scorer is not None
        return self.scorer

    def _maps(self, batch: Batch, encoded: Encoded) -> Tensor:
        assert self.cam is not None
        texts = [self.cam.asks(sample) or "" for sample in batch.samples]
        maps: Tensor = self.cam(self._scorer, encoded, texts, batch.owner, batch.samples)
        return maps.float()

    def _read(self, batch: Batch, encoded: Encoded) -> list[Evidence]:
        """What the model makes of each sample's text and foil: does it fit, was it cut?

        A text that it reads whole and does not decide on leaves no entry.
        """
        scorer, samples = self._scorer, batch.samples
        asked = [("", i, sample.text) for i, sample in enumerate(samples)]
        foils = [("foil_", i, sample.foil) for i, sample in enumerate(samples) if sample.foil]
        asked += [foil for foil in foils if scorer.knows(foil[2])]
        texts = [text for _, _, text in asked]
        match = scorer.match(encoded, texts, batch.owner[[i for _, i, _ in asked]])
        chances = [] if match is None else match.float().tolist()
        read: list[Evidence] = [{} for _ in samples]
        for (kind, i, _), chance in zip(asked, chances, strict=False):  # none, if it only ranks
            read[i][f"{kind}match"] = chance
        for kind, i, text in asked:
            if (cut := scorer.truncated(text)) is not None:
                read[i][f"{kind}truncated"] = cut
        return read

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


@cache
def _say_once(line: str) -> None:
    """A sweep of classifiers says it once, not once a cell; `results.json` says it of every run."""
    log.info(line)
