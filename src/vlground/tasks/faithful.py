"""`task=grounding metric=faithfulness`: does the model's score depend on what its map highlights?

The scores need the model, so they are evidence of a stage of their own, appended batch by batch. A
map is held against the sample's own text, whatever text it was drawn for: with `cam=shuffled_text`
the scores are those of a map that is not about the text.
"""

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

from vlground.callbacks import EvidenceWriter
from vlground.cell import Cell
from vlground.config import build_scorer
from vlground.contracts import Scorer
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.sample import Sample
from vlground.identity import Stage
from vlground.metrics.faithfulness import SCORES, Faithfulness, faithfulness
from vlground.metrics.statistics import bootstrap_means
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.evidence import Drawing, evidence_of, predict_all, warn_of_damage
from vlground.tasks.scoring import CUT, IDENTITY, MATCHES, gathered, share_of

# How many maps have no average drop, because the score of the image itself is not positive.
UNDEFINED = "average_drop_undefined"
_WORDS = (*IDENTITY, "cell", "foil_cell", *CUT, "flag", "skipped")
COLUMNS = [*IDENTITY, *SCORES, UNDEFINED, *MATCHES, "degenerate", *_WORDS[len(IDENTITY) :]]
NO_MATRIX = "faithfulness reads no ground truth"


def faithful_scores(
    scorer: Scorer,
    batch: Batch,
    texts: Sequence[str],
    maps: Sequence[Tensor],
    options: Faithfulness,
    constant: bool = False,
) -> list[Evidence]:
    """Score the maps of a batch by what the model makes of perturbed images.

    Args:
        scorer: In eval mode, with frozen weights.
        batch: On the scorer's device.
        texts: One for each of its `q` samples, that the map is held against, known to the scorer.
        maps: `q` raw maps `(gh, gw)` over the model's input, of one size or of several.
        options: The metric's choices.
        constant: Whether the CAM declares itself constant.

    Returns:
        For each sample `flag`, why its map has no scores or ""; and its scores, of which those that
        are undefined or were not asked for leave no entry. See `faithfulness`.
    """
    found: list[Evidence] = [{} for _ in texts]
    with torch.inference_mode(False), torch.no_grad():
        pixels = batch.pixels.clone()
        for shape in dict.fromkeys(grid.shape for grid in maps):
            same = [i for i, grid in enumerate(maps) if grid.shape == shape]
            grids = torch.stack([maps[i] for i in same])
            asked, owner = [texts[i] for i in same], batch.owner[same]
            columns = faithfulness(scorer, pixels, asked, owner, grids, options, constant)
            for place, i in enumerate(same):
                scores = {name: float(columns[name][place]) for name in SCORES}
                known = {name: value for name, value in scores.items() if not np.isnan(value)}
                found[i] = {"flag": str(columns["flag"][place]), **known}
    return found


def faithfulness_stage(cell: Cell) -> Stage:
    """The stage of the scores; its parent is that of the maps."""
    maps, metric = cell.stage, cell.node["metric"]
    versions = {**maps.versions, metric["_target_"]: Faithfulness.version}
    return Stage("faithfulness", versions, {"metric": metric}, maps.checksums, (maps.fingerprint,))


class FaithfulGrounding(lightning.LightningModule):
    """Faithfulness of the maps of one model and one CAM on one selection of samples.

    Args:
        options: The metric's choices.
        drawing: The samples and their maps; draws those that are missing.
        store: Evidence of the faithfulness stage.

    Attributes:
        scorer: The model; None if all scores are stored.
        batch_size: Samples a batch; no result depends on it.
        num_workers: Processes that load images.
        table: After `Trainer.test`, on every rank: one row a sample, in the order of its samples.
    """

    def __init__(self, options: Faithfulness, drawing: Drawing, store: EvidenceStore) -> None:
        super().__init__()
        self.options = options
        self.drawing = drawing
        self.samples = drawing.samples
        self.store = store
        self.scorer: Scorer | None = None
        self.batch_size = 16
        self.num_workers = 0
        self.table = pandas.DataFrame(columns=COLUMNS)
        self._parts: list[dict[str, Any]] = []

    @classmethod
    def of(cls, cell: Cell, options: Faithfulness) -> Self:
        """The task of a cell, with its model loaded if a map or a score is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model.
        """
        drawing = Drawing(cell.samples, EvidenceStore(cell.runs, cell.stage))
        drawing.load(cell.node)
        task = cls(options, drawing, EvidenceStore(cell.runs, faithfulness_stage(cell)))
        warn_of_damage(task.store)
        if any(sample.key not in task.store for sample in cell.samples):
            task.scorer = build_scorer(cell.node["model"])
            task.batch_size, task.num_workers = cell.node["batch_size"], cell.node["num_workers"]
        return task

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the scores."""
        return [EvidenceWriter(self.store)]

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Draw the maps that are missing, score those that have no score, and sum up."""
        self.drawing.draw(trainer)
        if self.scorer is not None:
            predict_all(self, trainer, self.store)
        trainer.test(self, verbose=False)

    def expected(self, verb: str) -> int:
        """How many samples this rank will have perturbed (`drawn`), or `scored`."""
        return len(self._share() if verb == "scored" else self._missing())

    def transfer_batch_to_device(
        self, batch: Batch | list[Sample], device: torch.device, dataloader_idx: int
    ) -> Batch | list[Sample]:
        """Move what has tensors; Lightning itself would look into every sample."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def predict_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the samples that have a map and no score."""
        assert self.scorer is not None
        missing = self._missing()
        reasons = {sample.key: self.drawing.stored(sample).get("skipped") for sample in missing}
        self.store.append((key, {"skipped": reason}) for key, reason in reasons.items() if reason)
        mapped = [sample for sample in missing if not reasons[sample.key]]
        options = self.scorer.preprocess, self.batch_size, self.num_workers
        return image_loader(mapped, *options, claim=self._claim)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Perturb the images of a batch."""
        assert self.scorer is not None
        drawn = [self.drawing.stored(sample) for sample in batch.samples]
        maps = [torch.from_numpy(evidence["map"].copy()) for evidence in drawn]  # type: ignore[union-attr]
        constant = any(evidence["constant"] for evidence in drawn)  # of all or none: the CAM is
        texts = [sample.text for sample in batch.samples]
        scores = faithful_scores(self.scorer, batch, texts, maps, self.options, constant)
        made = [(sample.key, one) for sample, one in zip(batch.samples, scores, strict=True)]
        for sample, reason in batch.unreadable:
            made.append((sample.key, {"skipped": f"unreadable image: {reason}"}))
        return made

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the samples, all of them with evidence."""
        self._parts = []
        return evidence_loader(self._share())

    def test_step(self, batch: list[Sample]) -> None:
        """Make rows of the stored scores of some samples."""
        for sample in batch:
            drawn = self.drawing.stored(sample)
            cut = {name: drawn.get(name) for name in CUT}
            self._parts.append(row_of(sample, {**evidence_of(self.store, sample), **cut}))

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks."""
        rows = {row["id"]: row for row in gathered(self._parts, self.trainer.world_size)}
        self.table = pandas.DataFrame([rows[s.id] for s in self.samples], columns=COLUMNS)
        self._parts = []

    def scores(self) -> dict[str, dict[str, Any]]:
        """Mean of every score over the rows that have one, with its interval over images.

        `average_drop_undefined` is the share of the scored maps that have no average drop.
        """
        names = (*SCORES, UNDEFINED)
        columns = {name: self.table[name].to_numpy(dtype=np.float64) for name in names}
        estimates = bootstrap_means(columns, self.table["image_id"].tolist())
        return {name: asdict(estimate) for name, estimate in estimates.items() if estimate.n}

    def details(self) -> dict[str, Any]:
        """Where the scores are stored, and that there is no matrix."""
        return {"matrix": {"missing": NO_MATRIX}, "faithfulness": self.store.stage.fingerprint}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """Overlays of up to `count` samples that have a map, by sample id."""
        return self.drawing.overlays(count)

    def _missing(self) -> list[Sample]:
        """This rank's share of the samples without a score, but for those that were not drawn."""
        missing = [sample for sample in self._share() if sample.key not in self.store]
        return [sample for sample in missing if sample.key in self.drawing.store]

    def _share(self) -> list[Sample]:
        return share_of(self.samples, self.trainer.global_rank, self.trainer.world_size)

    def _claim(self, samples: Sequence[Sample]) -> bool:
        return self.store.take([sample.key for sample in samples])


def row_of(sample: Sample, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a sample; what its evidence does not have is undefined.

    Args:
        sample: Of the row.
        evidence: As `faithful_scores` gives it, or why there is none (`skipped`); and what the
            model read of texts that it cut (`truncated`, `foil_truncated`).
    """
    row: dict[str, Any] = dict.fromkeys((*SCORES, UNDEFINED, *MATCHES), np.nan)
    row |= dict.fromkeys(_WORDS) | {name: getattr(sample, name) for name in IDENTITY}
    row |= {name: evidence[name] for name in COLUMNS if name in evidence}
    if "average_increase" in evidence:
        row[UNDEFINED] = float("average_drop" not in evidence)
    return {**row, "degenerate": bool(row["flag"])}
