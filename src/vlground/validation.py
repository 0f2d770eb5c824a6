"""A Lightning callback that measures grounding while somebody trains a model of their own (ours).

    current weights ──scorer(module)──▶ Scorer ──CAM──▶ maps ──▶ the numbers of `task=grounding`

Training with the callback ends with the bits of training without it: what drawing maps needs to
change is put back, see `vlground.training_state`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pandas
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image

from vlground import plots
from vlground.contracts import CAM, Scorer, check_pair
from vlground.counts import count
from vlground.data.batches import image_loader
from vlground.data.sample import DataSet, Sample
from vlground.errors import VlgroundError
from vlground.metrics.grounding import SCORES, QGroundCAM
from vlground.metrics.matrix import tally
from vlground.metrics.statistics import MIN_IMAGES
from vlground.store import Evidence
from vlground.tasks.scoring import (
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
from vlground.tracking import flat_scores, one_line
from vlground.training_state import frozen, untouched
from vlground.whole import replacing

log = logging.getLogger("vlground")

_TRIAL = 2  # samples before training begins


class GroundingValidation(Callback):
    """Draws maps of the current weights, and logs their scores and counts.

    It runs at the end of a validation, or of a training epoch if the trainer validates nothing.
    The numbers have the names of a run in W&B (`grounding/io_ratio`, `grounding/io_ratio_low`,
    `grounding/count/degenerate`, `matrix/accuracy`) and stand in `trainer.callback_metrics`, so
    that `ModelCheckpoint` and `EarlyStopping` can monitor them. A score that is undefined (all maps
    are degenerate) is NaN there.

    Lightning's sanity check draws nothing. Instead, before training begins, the maps of the first
    two samples are drawn and scored, logged nowhere: what cannot work ends there, not after the
    first epoch.

    Args:
        scorer: From the module, at every evaluation, to a scorer with its current weights: around
            the module itself, or a copy that lies beside it. It must not replace modules.
        cam: Draws the maps.
        samples: What to measure on; samples of one image follow each other.
        metric: Options of the Q-GroundCAM suite; None: the defaults.
        every_n_epochs: Evaluate in every n-th epoch only.
        every_n_steps: Evaluate after every n optimizer steps instead, whatever is validated when.
        batch_size: Samples (not images) a batch; no result depends on it.
        num_workers: Processes that load images.
        name: Put before all names (`NAME/grounding/io_ratio`), to tell several callbacks apart.
        directory: Where `scores.csv`, one line an evaluation, and `step-*/rows.parquet`, one row a
            sample, are written; None: nowhere.
        overlays: How many samples, the same ones every time, a W&B logger gets pictures of.

    Attributes:
        history: One line an evaluation of this training: `step`, `epoch`, `seconds` and the
            numbers. It is stored in checkpoints.

    Raises:
        VlgroundError: If an option is impossible, or there are no samples.
    """

    def __init__(
        self,
        scorer: Callable[[LightningModule], Scorer],
        cam: CAM,
        samples: Sequence[Sample] | DataSet,
        metric: QGroundCAM | None = None,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        name: str | None = None,
        directory: Path | str | None = None,
        overlays: int = 0,
    ) -> None:
        super().__init__()
        every = {"every_n_epochs": every_n_epochs, "every_n_steps": every_n_steps}
        for option, n in {**every, "batch_size": batch_size}.items():
            if n is not None and n < 1:
                raise VlgroundError(f"{option}={n}: expected a positive number")
        self.scorer = scorer
        self.cam = cam
        self.samples = [samples[index] for index in range(len(samples))]
        if len({sample.id for sample in self.samples}) < max(1, len(self.samples)):
            told = "an id occurs twice" if self.samples else "there are none"
            raise VlgroundError(f"samples={len(self.samples)}: {told}")
        self.metric = QGroundCAM() if metric is None else metric
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.name = name
        self.directory = None if directory is None else Path(directory)
        self.overlays = overlays
        self.history: list[dict[str, float]] = []
        self._last_step = 0

    @property
    def state_key(self) -> str:
        """Callbacks of different names have a state each."""
        return f"{type(self).__qualname__}{self.name or ''}"

    def state_dict(self) -> dict[str, Any]:
        """The history, for checkpoints."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.history = list(state_dict["history"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make sure that every process has the whole network.

        Raises:
            VlgroundError: If the strategy shards it.
        """
        strategy = trainer.strategy
        sharded = isinstance(strategy, FSDPStrategy | ModelParallelStrategy)
        if sharded or (isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3):
            told = "shards the weights, of which maps need all; use ddp"
            raise VlgroundError(f"trainer.strategy={type(strategy).__name__}: {told}")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and score two samples.

        Raises:
            ImpossiblePairError: If the CAM cannot read the scorer.
            VlgroundError: If `scorer` returns no scorer, or one whose making changed the module, or
                the directory cannot be written.
        """
        parts, _ = self._draw(trainer, pl_module, self.samples[:_TRIAL], pictured=set())
        self._results(parts, self.samples[:_TRIAL])
        if self.directory is not None and trainer.is_global_zero:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = error.strerror or str(error)
                raise VlgroundError(f"directory={self.directory}: {reason}") from error

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count steps from where the training begins or goes on."""
        self._last_step = trainer.global_step

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate beside a validation."""
        fitting = trainer.state.fn == TrainerFn.FITTING
        if not trainer.sanity_checking and (not fitting or self._due(trainer)):
            self._log_epoch(pl_module, self._evaluate(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate in the place of a validation."""
        if not trainer.enable_validation and self._due(trainer):
            self._log_epoch(pl_module, self._evaluate(trainer, pl_module))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - whatever the module's training step returns
        batch: Any,  # noqa: ANN401 - the module's own batch
        batch_idx: int,
    ) -> None:
        """Evaluate after so many optimizer steps."""
        n, step = self.every_n_steps, trainer.global_step
        if n is None or step // n == self._last_step // n:
            return
        self._last_step = step
        numbers = self._evaluate(trainer, pl_module)
        # Lightning hands only every `log_every_n_steps`-th step to its loggers; these are for all.
        pl_module.log_dict(numbers, on_step=True, on_epoch=False, logger=False)
        for logger in trainer.loggers:
            logger.log_metrics({**numbers, "epoch": trainer.current_epoch}, step=step)

    @property
    def _space(self) -> str:
        return "" if self.name is None else f"{self.name}/"

    def _due(self, trainer: Trainer) -> bool:
        return self.every_n_steps is None and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _log_epoch(self, module: LightningModule, numbers: Mapping[str, float]) -> None:
        # All ranks have the same numbers; the largest of them is exactly that number, unlike their
        # mean, and Lightning warns of what is not reduced.
        module.log_dict(numbers, on_step=False, on_epoch=True, sync_dist=True, reduce_fx="max")

    def _evaluate(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        """Names and numbers, on every rank those of all samples."""
        started = time.perf_counter()
        rank, ranks = trainer.global_rank, trainer.world_size
        mine = share_of(self.samples, rank, ranks)
        pictured = {sample.id for sample in plots.shown(self.samples, self.overlays)}
        own, pictures = self._draw(trainer, module, mine, pictured)
        numbers, rows = self._results(gathered(own, ranks), self.samples)
        if pictured:
            self._show(trainer, dict(gathered(list(pictures.items()), ranks)))
        if trainer.state.fn == TrainerFn.FITTING:
            step, seconds = trainer.global_step, round(time.perf_counter() - started, 3)
            # A training that goes on from an earlier checkpoint measures later steps once more.
            self.history = [line for line in self.history if line["step"] < step]
            self.history.append(
                {"step": step, "epoch": trainer.current_epoch, "seconds": seconds, **numbers}
            )
            if self.directory is not None and trainer.is_global_zero:
                self._write(self.directory, step, rows)
        return numbers

    def _draw(
        self,
        trainer: Trainer,
        module: LightningModule,
        samples: Sequence[Sample],
        pictured: set[str],
    ) -> tuple[list[Columns], dict[str, Image.Image]]:
        """Rows of some samples, and overlays of those of them that are pictured, by id."""
        device, cam = trainer.strategy.root_device, self.cam
        pictures: dict[str, Image.Image] = {}
        with untouched(module, device, trainer.world_size):
            scorer = self._scorer_of(module).to(device)
            cam.to(device)
            dtype = next((w.dtype for w in scorer.parameters() if w.is_floating_point()), None)
            reasons = [unanswerable(scorer, cam, sample) for sample in samples]
            skipped: list[tuple[Sample, Evidence]] = [
                (s, {"skipped": r}) for s, r in zip(samples, reasons, strict=True) if r
            ]
            parts = rows_of(skipped, self.metric)
            askable = [s for s, r in zip(samples, reasons, strict=True) if not r]
            loader = image_loader(askable, scorer.preprocess, self.batch_size, self.num_workers)
            with frozen(scorer):
                for batch in loader:
                    pixels = batch.pixels.to(device=device, dtype=dtype)
                    placed = replace(batch, pixels=pixels, owner=batch.owner.to(device))
                    with trainer.precision_plugin.val_step_context():
                        drawn = draw_evidence(scorer, cam, placed)
                    parts += rows_of(drawn, self.metric)
                    for sample, evidence in drawn:
                        if sample.id in pictured and "skipped" not in evidence:
                            pictures[sample.id] = overlay_of(sample, evidence)
        return parts, pictures

    def _scorer_of(self, module: LightningModule) -> Scorer:
        before = list(module.named_modules())
        scorer = self.scorer(module)
        if not isinstance(scorer, Scorer):
            name = type(scorer).__name__
            raise VlgroundError(f"scorer: returned {name}, expected vlground.contracts.Scorer")
        if list(module.named_modules()) != before:
            told = "changes the modules of the network in training; let it fill a copy built before"
            raise VlgroundError(f"scorer: {type(scorer).__name__} {told}")
        check_pair(scorer, self.cam)
        return scorer

    def _results(
        self, parts: Sequence[Columns], samples: Sequence[Sample]
    ) -> tuple[dict[str, float], pandas.DataFrame]:
        rows = table_of(parts, samples)
        counts = count(rows, left_out={})
        del counts["annotations_left_out"]  # only the data set knows
        scores = estimates_of(rows, self.metric)
        results = {"task": "grounding", "scores": scores, "counts": counts, "matrix": tally(rows)}
        # What is monitored must be there in every evaluation, or Lightning ends the training.
        bounds = ("_low", "_high") if len({s.image_id for s in samples}) >= MIN_IMAGES else ()
        names = [f"grounding/{score}{ending}" for score in SCORES for ending in ("", *bounds)]
        numbers = dict.fromkeys(names, nan) | flat_scores(results)
        return {f"{self._space}{name}": float(number) for name, number in numbers.items()}, rows

    def _show(self, trainer: Trainer, pictures: Mapping[str, Image.Image]) -> None:
        """Send overlays to W&B; if it refuses, training goes on."""
        space, step = self._space, trainer.global_step
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                chosen = [sample for sample in self.samples if sample.id in pictures]
                captions = [f"{sample.id}: {sample.text}" for sample in chosen]
                images = [pictures[sample.id] for sample in chosen]
                try:
                    logger.log_image(f"{space}grounding/overlays", images, step, caption=captions)
                except Exception as error:  # what its server, its process and pydantic raise
                    log.warning("W&B: %s", one_line(error))

    def _write(self, directory: Path, step: int, rows: pandas.DataFrame) -> None:
        """Write the rows, then the line; a full disk ends no training."""
        folder = directory / f"step-{step:08d}"
        try:
            folder.mkdir(exist_ok=True)
            with replacing(folder / "rows.parquet") as path:
                rows.to_parquet(path, index=False)
            with replacing(directory / "scores.csv") as path:
                pandas.DataFrame(self.history).to_csv(path, index=False)
        except (OSError, VlgroundError) as error:
            log.warning("directory=%s: not written: %s", directory, error.__cause__ or error)
