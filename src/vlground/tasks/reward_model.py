"""`task=reward_model`: train a network to mark the errors of sentences, and measure it.

    candidates ──▶ sentences ──SentenceScorer──▶ labels ──split by image──▶ training ──▶ model/
                                                                       └──▶ held out ──▶ scores

Candidates and labels are the evidence of `task=sampling` and `task=scoring`; what is missing is
made first. A blind baseline, which sees the mean image, is trained beside the model: language alone
explains much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import pandas
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.errors import VlgroundError
from vlground.metrics.discrimination import BLIND
from vlground.rewards.backbone import networks_of
from vlground.rewards.labelled import class_weights, shares, target_of
from vlground.rewards.network import SentenceReward
from vlground.rewards.objective import (
    check_finite,
    clip,
    factor_at,
    freeze_unused,
    losses_of,
    optimizer_of,
)
from vlground.rewards.reading_images import Read, ReadImages, StepImages
from vlground.rewards.training_options import check_options
from vlground.tasks.caption_labels import CaptionLabels
from vlground.tasks.epochs import EpochTraining
from vlground.tasks.reward_rows import MODEL, estimates, rows_of_images
from vlground.tasks.scoring import gathered
from vlground.training.checkpoints import RoundCheckpoint, described
from vlground.training.mixture import Rounds
from vlground.training.steps import StepLoader
from vlground.training.weights import Adapter, merged, with_adapter


class RewardModel(EpochTraining):
    """A reward model and its blind baseline, on candidates of a captioner.

    What a step is about depends on (seed, step) alone, and nothing is dropped out. On several
    processes each brings as many images to a step; its loss is the mean over all of them.

    Args:
        labels: Captions, and what was marked in their sentences.
        reward: The model.
        blind: Its baseline, or None.
        options: The task's node.
        seed: Of the order of images.
        directory: Of the run.
        stage: What a checkpoint depends on; another one's is refused.

    Attributes:
        table: After `carry_out`: one row a sentence that is held out.
    """

    version = 1

    def __init__(
        self,
        labels: CaptionLabels,
        reward: SentenceReward,
        blind: SentenceReward | None,
        options: Mapping[str, Any],
        seed: int,
        directory: Path,
        stage: str = "",
    ) -> None:
        super().__init__([], options, directory)
        self.labels, self.reward, self.blind, self.seed = labels, reward, blind, seed
        self.stage, self.adapter = stage, Adapter(**options["adapter"])
        self.strict_loading = False  # checkpoints hold what is trained, not all weights
        self._next, self._read = 0, 0  # step; images of this epoch that could be read
        self._asked: list[str] = []  # images of the step
        self._rows: list[dict[str, Any]] = []
        self._adapted: dict[str, Any] = {}  # of peft, which change the networks in place
        for name, network in self.networks.items():
            network.unfreeze(frozen := options["freeze"])
            self._adapted[name] = with_adapter(network.network, self.adapter, frozen)

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If nobody marks errors, or an option does not fit.
        """
        task, seed = cell.node["task"], int(cell.node["seed"])
        check_options(task, cell.node["trainer"])
        labels = CaptionLabels.of(cell)
        reward, blind = networks_of(task, labels.types)
        return cls(labels, reward, blind, task, seed, cell.directory, cell.fingerprint)

    @property
    def networks(self) -> dict[str, SentenceReward]:
        """All that are trained."""
        both = {MODEL: self.reward, BLIND: self.blind}
        return {name: one for name, one in both.items() if one is not None}

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Make what evidence is missing, train, save, measure.

        Raises:
            VlgroundError: If there is nothing to train on or to measure on, a loss is NaN, or a
                checkpoint is of another configuration.
        """
        described(self.directory / "checkpoints", self.stage)
        self.labels.make(trainer)
        targets = (target_of(errors, self.options) for errors in self.labels.errors)
        weights = class_weights(targets, self.options["class_weights"])
        for network in self.networks.values():
            network.offset.copy_(torch.tensor(weights).log())
        if trainer.world_size > 1:
            self._freeze_unused()
        super().carry_out(trainer)

    def configure_callbacks(self) -> list[lightning.Callback]:
        """A checkpoint at the end of every epoch, and where the training is told to stop."""
        return [RoundCheckpoint(self.directory / "checkpoints", anywhere=True)]

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes many forms
        """See `optimizer_of` and `factor_at`."""
        optimizer = optimizer_of(self.networks.values(), self.options)
        steps, warmup = self.all_epochs * self._steps.epoch, int(self.options["warmup"])
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: factor_at(step, steps, warmup)
        )
        plan = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """To a norm of 1, each network by itself, so that neither depends on the other."""
        for name, network in self.networks.items():
            self._check_finite(name, clip(network, 1.0))

    def train_dataloader(self) -> DataLoader[Any]:
        """Numbers of steps; `training_step` reads the images itself."""
        numbers: Any = range(self.all_epochs * self._steps.epoch)
        return StepLoader(numbers, batch_size=None, sampler=Rounds(self._steps.epoch, self._next))

    def test_dataloader(self) -> DataLoader[Any]:
        """This rank's share of the images that are held out."""
        images = self.labels.held_out[self.trainer.global_rank :: self.trainer.world_size]
        size = int(self.options["images"])
        parts = [list(range(len(images)))[i : i + size] for i in range(0, len(images), size)]
        return DataLoader(ReadImages(images, self.reward), batch_size=None, sampler=parts)

    def transfer_batch_to_device(  # type: ignore[override]
        self, batch: list[Read] | int, device: torch.device, dataloader_idx: int
    ) -> list[Read] | int:
        """Nothing to move; a network does so with what it reads."""
        return batch

    def training_step(self, number: int) -> Tensor | None:
        """One step of all networks, on some images with all of their captions.

        Raises:
            VlgroundError: If a loss is not finite.
        """
        self._next = number + 1
        batch = ReadImages(self._steps.of(number), self.reward)
        able = [read for read in batch.all if not read.unreadable]
        self._asked = [read.image.sample.image_id for read in able]
        self._read += len(able)
        if not able and self.trainer.world_size == 1:
            return None
        total = torch.zeros((), device=self.device)
        for name, network in self.networks.items():
            loss = self._loss(network, able)
            self._check_finite(name, loss)
            shown = "train/loss" if name == MODEL else f"train/{name}_loss"
            lost = loss.detach()
            self.log(shown, lost, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
            total = total + loss
        return total

    def _loss(self, network: SentenceReward, batch: Sequence[Read]) -> Tensor:
        """This process's part of the mean over all sentences and types with a label.

        What processes share is the mean of their gradients, so that each part is multiplied by
        their number.
        """
        if batch:
            total, count = losses_of(network, batch, self._targets(batch))
        else:  # the others wait for gradients of all weights
            weights = [weight for weight in network.parameters() if weight.requires_grad]
            total, count = torch.stack([weight.sum() * 0.0 for weight in weights]).sum(), 0
        known = self._sum(count)
        return total * self.trainer.world_size / max(known, 1)

    def on_train_epoch_end(self) -> None:
        """Say how far it is.

        Raises:
            VlgroundError: If no image could be read.
        """
        if not self._sum(self._read):
            raise VlgroundError("dataset: no image of the training set can be read")
        self._read = 0
        super().on_train_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained, and what was done."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {n: w for n, w in state.items() if n in trained}
        checkpoint |= {"stage": self.stage, "next_step": self._next, "read": self._read}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was done."""
        self._next, self._read = checkpoint["next_step"], checkpoint["read"]

    def trained(self) -> None:
        """Merge adapters."""
        for name, network in self.networks.items():
            where = str(self.directory / "adapter" / name)
            network.network = merged(self._adapted[name], self.adapter, where, lambda: None)
        self.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """See the base class; reward=trained reads it."""
        self.reward.save(folder)

    def on_test_start(self) -> None:
        """Begin with no rows."""
        self._rows = []

    def test_step(self, batch: list[Read]) -> None:
        """What each network says of the sentences of some images."""
        able = [read for read in batch if not read.unreadable]
        asked = [read.inputs for read in able], [read.captions for read in able]
        told = {name: network.probabilities(*asked) for name, network in self.networks.items()}
        self._rows += rows_of_images(batch, told, self.reward.types)

    def on_test_epoch_end(self) -> None:
        """Collect the rows of all ranks."""
        self.table = pandas.DataFrame(gathered(self._rows, self.trainer.world_size))

    def scores(self) -> dict[str, dict[str, Any]]:
        """How well errors are told, of any type and of each, beside the blind baseline."""
        return estimates(self.table)

    def details(self) -> dict[str, Any]:
        """Counts of captions and sentences, and how common each error is in training."""
        share, weights = shares(self.labels.errors).tolist(), self.reward.offset.exp().tolist()
        types = self.reward.types
        told = {
            "counts": {name: n for name, n in sorted(self.labels.counts.items()) if n},
            "shares": dict(zip(types, share, strict=True)),
            "class_weights": dict(zip(types, weights, strict=True)),
            "reading": asdict(self.reward.reading),
        }
        return {"matrix": {}, "reward_model": told}

    @property
    def _steps(self) -> StepImages:
        """Which images this process reads in a step."""
        process = self.trainer.global_rank, self.trainer.world_size
        return StepImages(self.labels.training, int(self.options["images"]), self.seed, process)

    def _freeze_unused(self) -> None:
        """By the first image that can be read; processes wait for gradients of all weights."""
        for image in self.labels.training:
            (read,) = ReadImages([image], self.reward).all
            if not read.unreadable:
                for network in self.networks.values():
                    freeze_unused(network, [read], self._targets([read]))
                return

    def _check_finite(self, name: str, value: Tensor) -> None:
        option = f"task.learning_rate={self.options['learning_rate']}"
        check_finite(option, name, value, self.global_step, self._asked)

    def _sum(self, value: int) -> int:
        """Over all processes."""
        mine = torch.tensor(float(value), device=self.device)
        return int(self.trainer.strategy.reduce(mine, reduce_op="sum"))

    def _targets(self, batch: Sequence[Read]) -> list[np.ndarray]:
        """What the rows of logits of all captions of some images should say."""
        captions = (one for read in batch for one in read.image.captions)
        return [target_of(one.errors, self.options) for one in captions]
