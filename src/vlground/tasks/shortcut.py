"""`task=shortcut`: does this classifier rely on an artefact?

A known one: the same pictures with and without it. An unknown one: suspicions from the maps, each
tried by blanking. `predict_step` stores what the classifier makes of every picture; trials are
stored too; `test_step` fills rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning
import numpy as np
import pandas
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlground import plots
from vlground.callbacks import EvidenceWriter
from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import CAM, check_pair
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import boxes_to_mask
from vlground.identity import digest, relevant
from vlground.metrics.bias import Intervention, intervention
from vlground.metrics.proportions import share
from vlground.metrics.statistics import bootstrap_mean
from vlground.models.classifier import ImageClassifier
from vlground.shortcuts.options import Search
from vlground.shortcuts.trials import Suspect, blanked
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.blanking import Blanking, suspects_of
from vlground.tasks.evidence import LIMITED, predict_all, warn_of_damage
from vlground.tasks.explaining import classifier_of
from vlground.tasks.pairs import Pair, examine, pairs_of, row_of
from vlground.tasks.scoring import gathered, overlay_of, share_of, unanswerable

_COVERED = 0.5  # of an artefact, from which on a region hits it


class Shortcut(lightning.LightningModule):
    """One classifier and one CAM on pictures with and without an artefact.

    Args:
        options: The task's node: `target` (the class that the artefact was planted in), `search`.
        pairs: Of the samples that the run is about, by id and in their order.
        store: Evidence of the pictures.
        blanking: Makes the trials of suspicions, a stage that follows.

    Attributes:
        cam: None if all pictures are stored.
        batch_size: Pictures a batch; no result depends on it.
        num_workers: Processes that load images.
        suspects: After `carry_out`, on the first rank: all suspicions, the confirmed ones first.
        table: After `Trainer.test`, on every rank: one row a sample.
    """

    version = 1

    def __init__(
        self,
        options: Mapping[str, Any],
        pairs: Mapping[str, Pair],
        store: EvidenceStore,
        blanking: Blanking,
    ) -> None:
        super().__init__()
        self.target = str(options["target"])
        self.search = Search(**options["search"])
        self.mask = build(options["mask"])
        self.pairs = pairs
        self.samples = [pair.drawn for pair in pairs.values()]
        self.store, self.blanking = store, blanking
        self.scorer: ImageClassifier | None = None
        self.cam: CAM | None = None
        self.batch_size, self.num_workers = 16, 0
        self.suspects: list[Suspect] = []
        self.table = pandas.DataFrame()
        self._masked_by = relevant(options["mask"])
        self._rows: list[dict[str, Any]] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model loaded if a picture is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model, or it is no classifier.
            VlgroundError: If the data set has no artefact, or the target names no single class.
        """
        node, stage = cell.node, cell.stage
        store = EvidenceStore(cell.runs, stage)
        tried = EvidenceStore(cell.runs, cell.later("blanking", (), stage))
        for one in (store, tried):
            warn_of_damage(one)
        pairs = pairs_of(cell.samples, node["dataset"])
        blanking = Blanking(tried, lambda: classifier_of(node))
        task = cls(node["task"], pairs, store, blanking)
        if any(task.key(sample) not in store for sample in cell.samples):
            task.scorer, task.cam = classifier_of(node), build(node["cam"])
            check_pair(task.scorer, task.cam)
            if (count := len(task.scorer.classes.indices(task.target))) != 1:
                told = f"names {count} classes of model={cell.choices['model']}, expected one"
                raise VlgroundError(f"task.target={task.target}: {told}")
            task.batch_size, task.num_workers = node["batch_size"], node["num_workers"]
        return task

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Make sure that model and CAM of a configuration go together.

        Raises:
            ImpossiblePairError: If they do not.
        """
        check_pair(classifier_of(node), build(node["cam"]))

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the pictures' evidence."""
        return [EvidenceWriter(self.store)]

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Examine the pictures that are missing, search and try, fill the rows."""
        if self.scorer is not None:
            predict_all(self, trainer, self.store)
        if trainer.is_global_zero:
            found = {s.id: (s, self._stored(s)) for s in self.samples}
            shown = {n: one for n, one in found.items() if "skipped" not in one[1]}
            self.blanking.device = trainer.strategy.root_device
            self.suspects = suspects_of(shown, self.mask, self.search, self.blanking)
        trainer.strategy.barrier()
        trainer.test(self, verbose=False)

    def expected(self, verb: str) -> int:
        """How many samples this rank will have `drawn`, or `scored`."""
        mine = self._share()
        return len(mine) if verb == "scored" else sum(self.key(s) not in self.store for s in mine)

    def transfer_batch_to_device(
        self, batch: Batch | list[Sample], device: torch.device, dataloader_idx: int
    ) -> Batch | list[Sample]:
        """Move what has tensors; Lightning itself would look into every sample."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def predict_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the samples that are not stored and can be examined."""
        assert self.scorer is not None
        assert self.cam is not None
        missing = [sample for sample in self._share() if self.key(sample) not in self.store]
        reasons = {s.id: unanswerable(self.scorer, self.cam, s) for s in missing}
        self.store.append(
            (self.key(s), {"skipped": reasons[s.id]}) for s in missing if reasons[s.id]
        )
        askable = [sample for sample in missing if not reasons[sample.id]]
        options = self.scorer.preprocess, self.batch_size, self.num_workers
        return image_loader(askable, *options, claim=self._claim)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Examine a batch."""
        assert self.scorer is not None
        assert self.cam is not None
        found = examine(self.scorer, self.cam, self.mask, batch, self.pairs, self.target)
        return [(self.key(sample), evidence) for sample, evidence in found]

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the samples."""
        self._rows = []
        return evidence_loader(self._share())

    def test_step(self, batch: list[Sample]) -> None:
        """Fill the rows of some samples from what is stored."""
        self._rows += [row_of(sample, self._stored(sample)) for sample in batch]

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks."""
        rows = {one["id"]: one for one in gathered(self._rows, self.trainer.world_size)}
        self.table = pandas.DataFrame([rows[s.id] for s in self.samples if s.id in rows])

    def key(self, sample: Sample) -> str:
        """Of a sample's evidence: everything that it depends on beside the stage."""
        pair = self.pairs[sample.id]
        keys = [one.key for one in (pair.drawn, pair.marked, pair.clean)]
        return digest([*keys, self.target, self._masked_by])

    def scores(self) -> dict[str, dict[str, Any]]:
        """What the artefact does, how much of the maps lies in it, how many suspicions hold."""
        rows, images = self.table, self.table["image_id"].tolist()
        planted = np.where(rows["label"] == self.target, 1.0, np.nan)
        effect = self._effect()
        found = {"delta_logit": effect.difference, "flip_rate": effect.flips}
        if effect.into is not None:
            found["flip_into"] = effect.into
        for kind, column in (("with", "lift"), ("without", "lift_without")):
            lift = rows[column].to_numpy(dtype=np.float64)
            found[f"mass_{column}"] = bootstrap_mean(lift * planted, images)
            found[f"accuracy_{kind}"] = share(rows[f"right_{kind}"].to_numpy(np.float64), images)
        known = {name: asdict(one) for name, one in found.items() if one.n}
        held = sum(one.confirmed for one in self.suspects)
        tried = sum(one.p is not None for one in self.suspects)
        return known | {"suspects": {"value": held, "low": None, "high": None, "n": tried}}

    def details(self) -> dict[str, Any]:
        """The permutation test, and every suspicion with its trials."""
        found = []
        for one in self.suspects:
            covered = self._covered(one)
            hit = None if covered is None else covered >= _COVERED
            found.append(one.to_json() | {"covers_artefact": covered, "hit": hit})
        block = {"target": self.target, "p": self._effect().p, "suspects": found}
        return {"shortcut": block}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """The target's map with and without the artefact; of confirmed suspicions one trial each.

        Of a trial: the picture, it with the region blanked, and with as much elsewhere.
        """
        drawn: dict[str, Image.Image] = {}
        for sample in plots.shown(self.samples, count):
            evidence = self._stored(sample)
            if "skipped" not in evidence:
                pair = self.pairs[sample.id]
                one, other = pair.marked, pair.clean
                marked = overlay_of(one, {**evidence, "map": evidence["marked_map"]})
                clean = overlay_of(other, {**evidence, "map": evidence["clean_map"]})
                drawn[sample.id] = _strip([marked, clean])
        for suspect in self.suspects:
            if suspect.confirmed:
                trial = suspect.trials[0]
                sample = self.pairs[trial.id].drawn
                shown = [(sample, trial.region), (sample, trial.control)]
                images = [load_image(sample.image), *map(Image.fromarray, blanked(shown))]
                drawn[sample.id] = _strip(images)
        return drawn

    def _effect(self) -> Intervention:
        """What the artefact does to the target's logit and to the predictions."""
        rows = self.table
        target = rows["target"].dropna()
        return intervention(
            rows["logit_with"].to_numpy(dtype=np.float64),
            rows["logit_without"].to_numpy(dtype=np.float64),
            rows["index_with"].to_numpy(),
            rows["index_without"].to_numpy(),
            rows["image_id"].tolist(),
            int(target.iloc[0]) if len(target) else None,
        )

    def _covered(self, found: Suspect) -> float | None:
        """In which share of its pictures with the artefact a suspicion covers half of it or more.

        The truth, for evaluation alone; None if none of its pictures has the artefact.
        """
        covered = []
        for trial in found.trials:
            pair = self.pairs[trial.id]
            if pair.drawn.key == pair.marked.key:
                dot = boxes_to_mask(pair.box, *trial.region.shape).numpy()
                covered.append(trial.region[dot].mean() >= _COVERED)
        return float(np.mean(covered)) if covered else None

    def _stored(self, sample: Sample) -> Evidence:
        if (key := self.key(sample)) in self.store:
            return self.store[key]
        return {"skipped": LIMITED}

    def _share(self) -> list[Sample]:
        return share_of(self.samples, self.trainer.global_rank, self.trainer.world_size)

    def _claim(self, samples: Sequence[Sample]) -> bool:
        return self.store.take([self.key(sample) for sample in samples])


def _strip(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    whole = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for place, image in enumerate(images):
        whole.paste(image, (place * images[0].width, 0))
    return whole
