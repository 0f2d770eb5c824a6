"""`task=explanation`: is the classifier right for the right reason, in the eyes of a judge?

`predict_step` classifies and draws the map of the predicted class, each stored once; the judge is
asked of what the mask leaves of the image; `test_step` fills rows from both.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import lightning
import pandas
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vlground import plots
from vlground.callbacks import EvidenceWriter
from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import CAM, Judge, check_pair
from vlground.data.batches import Batch, evidence_loader, image_loader
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics import judge_matrix
from vlground.metrics.judge_matrix import JUDGE_MATRIX, JudgeMatrix
from vlground.models.classifier import ImageClassifier
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.evidence import LIMITED, predict_all, warn_of_damage
from vlground.tasks.explaining import (
    Subject,
    classifier_of,
    degenerate,
    explain,
    side_by_side,
    subjects_of,
)
from vlground.tasks.explanation_rows import Row, gallery, row_of, sanity_of, usage_of
from vlground.tasks.scoring import gathered, share_of
from vlground.tasks.verdicts import (
    Question,
    Verdicts,
    check_judge,
    own_question,
    sanity_questions,
)

log = logging.getLogger("vlground")


class Explanation(lightning.LightningModule):
    """One classifier, one CAM, one mask and one judge on one selection of samples.

    Args:
        metric: Where high begins.
        samples: What the run is about; those of one image make one row.
        store: Evidence of the explanation stage.
        verdicts: Of the verdict stage, which follows it.
        judge: Who is asked.
        sanity: So many images are shown again behind controls.

    Attributes:
        scorer: The model; None if all maps are stored.
        cam: Likewise.
        batch_size: Images a batch; no result depends on it.
        num_workers: Processes that load images.
        gallery: So many of the worst images of each kind get a picture.
        table: After `Trainer.test`, on every rank: one row an image.
    """

    version = 1

    def __init__(
        self,
        metric: JudgeMatrix,
        samples: Sequence[Sample],
        store: EvidenceStore,
        verdicts: Verdicts,
        judge: Judge,
        sanity: int,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.subjects = {subject.sample.id: subject for subject in subjects_of(samples)}
        self.store = store
        self.verdicts = verdicts
        self.judge = judge
        self.sanity = sanity
        self.scorer: ImageClassifier | None = None
        self.cam: CAM | None = None
        self.batch_size, self.num_workers, self.gallery = 16, 0, 8
        self.table = pandas.DataFrame()
        self._rows: list[Row] = []
        self._asked: list[Question] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its model loaded if a map is missing.

        Raises:
            ImpossiblePairError: If the CAM cannot read this model, it is no classifier, or the
                judge's prompt speaks of another picture than the mask makes.
            VlgroundError: If the metric is another one, or there is no mask.
        """
        node, metric = cell.node, build(cell.node["metric"])
        if not isinstance(metric, JudgeMatrix):
            told = f"metric={cell.choices['metric']}"
            raise VlgroundError(f"{told}: task=explanation is scored by metric=judge_matrix")
        if not node["mask"]:
            raise VlgroundError("mask=none: a judge needs a picture; sigmoid is the paper's mask")
        if not node["judge"]:
            raise VlgroundError("judge=none: task=explanation needs one; reference needs no model")
        mask, judge = build(node["mask"]), build(node["judge"])
        check_judge(mask, judge)
        stage = cell.stage
        store = EvidenceStore(cell.runs, stage)
        verdicts = EvidenceStore(cell.runs, cell.later("verdict", ("mask", "judge"), stage))
        for one in (store, verdicts):
            warn_of_damage(one)
        sanity = int(node["task"]["sanity"])
        task = cls(metric, cell.samples, store, Verdicts(verdicts, mask), judge, sanity)
        task.gallery = int(node["task"]["gallery"])
        if any(subject.key not in store for subject in task.subjects.values()):
            task.scorer, task.cam = classifier_of(node), build(node["cam"])
            check_pair(task.scorer, task.cam)
            task.batch_size, task.num_workers = node["batch_size"], node["num_workers"]
        return task

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Make sure that the parts of a configuration go together; no judge is asked.

        Raises:
            ImpossiblePairError: If they do not.
        """
        check_pair(classifier_of(node), build(node["cam"]))
        if node["mask"]:
            check_judge(build(node["mask"]), build(node["judge"]))

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What stores the maps."""
        return [EvidenceWriter(self.store)]

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Draw the maps that are missing, ask what was not asked, fill the rows."""
        if self.scorer is not None:
            predict_all(self, trainer, self.store)
        share = self._share(trainer.global_rank, trainer.world_size)
        questions = [self._own(subject) for subject in share if self._sent(subject)]
        self.verdicts.ask(self.judge, questions)
        self.verdicts.check(questions)
        if trainer.is_global_zero:
            shown = [(s, self.store[s.key]) for s in self.subjects.values() if self._sent(s)]
            self._asked = sanity_questions(self.verdicts.mask, shown, self.sanity)
            self.verdicts.ask(self.judge, self._asked)
        trainer.strategy.barrier()
        self.verdicts.store.refresh()
        trainer.test(self, verbose=False)

    def expected(self, verb: str) -> int:
        """How many images this rank will have `drawn`, or `scored`."""
        share = self._share(self.trainer.global_rank, self.trainer.world_size)
        return len(share) if verb == "scored" else sum(s.key not in self.store for s in share)

    def transfer_batch_to_device(
        self, batch: Batch | list[Sample], device: torch.device, dataloader_idx: int
    ) -> Batch | list[Sample]:
        """Move what has tensors; Lightning itself would look into every sample."""
        return batch.to(device) if isinstance(batch, Batch) else batch

    def predict_dataloader(self) -> DataLoader[Batch]:
        """This rank's share of the images whose map is missing and can be drawn."""
        assert self.scorer is not None
        assert self.cam is not None
        share = self._share(self.trainer.global_rank, self.trainer.world_size)
        missing = [subject for subject in share if subject.key not in self.store]
        reasons = {subject.key: self._obstacle(subject.sample) for subject in missing}
        self.store.append((key, {"skipped": reason}) for key, reason in reasons.items() if reason)
        askable = [subject.sample for subject in missing if not reasons[subject.key]]
        options = self.scorer.preprocess, self.batch_size, self.num_workers
        return image_loader(askable, *options, claim=self._claim)

    def predict_step(self, batch: Batch) -> list[tuple[str, Evidence]]:
        """Classify a batch and draw its maps."""
        assert self.scorer is not None
        assert self.cam is not None
        labels = {name: subject.labels for name, subject in self.subjects.items()}
        found = explain(self.scorer, self.cam, batch, labels)
        return [(self.subjects[sample.id].key, evidence) for sample, evidence in found]

    def test_dataloader(self) -> DataLoader[Sample]:
        """This rank's share of the images."""
        self._rows = []
        share = self._share(self.trainer.global_rank, self.trainer.world_size)
        return evidence_loader([subject.sample for subject in share])

    def test_step(self, batch: list[Sample]) -> None:
        """Fill the rows of some images from what is stored."""
        for sample in batch:
            subject = self.subjects[sample.id]
            evidence = self._stored(subject)
            sent = self._sent(subject)
            verdict = self.verdicts.of(self._own(subject)) if sent else None
            self._rows.append(row_of(subject, evidence, verdict))

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks, and place them in the matrix."""
        rows = {row["id"]: row for row in gathered(self._rows, self.trainer.world_size)}
        self.table = pandas.DataFrame([rows[name] for name in self.subjects if name in rows])
        self.table["cell"] = judge_matrix.place(self.table, self.metric)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Accuracy, shares of the matrix and the mean score, as far as there are any."""
        found = judge_matrix.estimates(self.table, self.metric)
        return {name: asdict(found[name]) for name in JUDGE_MATRIX if found[name].n}

    def details(self) -> dict[str, Any]:
        """The matrix' counts; by class; is the judge sound; what it cost; the worst images."""
        classes = judge_matrix.per_class(self.table, self.metric)
        sanity = sanity_of(self.verdicts, self._asked)
        if sanity["verdict"] == "unsound":
            log.warning("the judge is %s", sanity["sentence"])
        if self.table["correct"].isna().all():
            log.warning("no label is a class of this model: no prediction is right or wrong")
        explanation = {
            "per_class": {
                label: {name: asdict(one) for name, one in found.items() if one.n}
                for label, found in classes.items()
            },
            "sanity": sanity,
            "usage": usage_of(self.judge, self.table),
            "gallery": gallery(self.table, self.gallery),
        }
        matrix = {"judge": judge_matrix.tally(self.table, self.metric)}
        return {"matrix": matrix, "explanation": explanation}

    def pictures(self, count: int) -> dict[str, Image.Image]:
        """Photo, map and what the judge saw: of `count` images and of the gallery, by id."""
        firsts = [subject.sample for subject in self.subjects.values()]
        wanted = [sample.id for sample in plots.shown(firsts, count)]
        for names in gallery(self.table, self.gallery).values():
            wanted += names
        drawn: dict[str, Image.Image] = {}
        for name in dict.fromkeys(wanted):
            evidence = self._stored(self.subjects[name])
            if "skipped" not in evidence:
                sample = self.subjects[name].sample
                drawn[name] = side_by_side(self.verdicts.mask, evidence, sample)
        return drawn

    def _own(self, subject: Subject) -> Question:
        return own_question(subject, self.store[subject.key])

    def _sent(self, subject: Subject) -> bool:
        """Whether a judge is asked of it: it has a map that shows something."""
        evidence = self._stored(subject)
        return "skipped" not in evidence and not degenerate(evidence)

    def _stored(self, subject: Subject) -> Evidence:
        if subject.key in self.store:
            return self.store[subject.key]
        return {"skipped": LIMITED}

    def _obstacle(self, sample: Sample) -> str | None:
        """Why no map of this image can be drawn, in words that are counted."""
        assert self.scorer is not None
        assert self.cam is not None
        if (obstacle := self.cam.obstacle(sample)) is not None:
            return obstacle
        asked = self.cam.asks(sample) or ""
        unknown = asked != sample.text and not self.scorer.knows(asked)
        return f"unknown to the model: {asked}" if unknown else None

    def _claim(self, samples: Sequence[Sample]) -> bool:
        return self.store.take([self.subjects[sample.id].key for sample in samples])

    def _share(self, rank: int, count: int) -> list[Subject]:
        firsts = [subject.sample for subject in self.subjects.values()]
        return [self.subjects[sample.id] for sample in share_of(firsts, rank, count)]
