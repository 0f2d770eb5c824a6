"""`task=reward_model`: train a network to mark the errors of sentences, and measure it.

    candidates ──▶ sentences ──SentenceScorer──▶ labels ──split by image──▶ training ──▶ model/
                                                                       └──▶ held out ──▶ scores

Candidates and labels are the evidence of `task=sampling` and `task=scoring`; what is missing is
made first. A blind baseline, which sees the mean image, is trained beside the model: language alone
explains much.
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, get_args

import lightning
import numpy as np
import pandas
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.errors import VlgroundError
from vlground.metrics.discrimination import BLIND
from vlground.models.dialogue import Dtype, load_dialogue_model
from vlground.rewards.labelled import class_weights, shares, whole
from vlground.rewards.network import SentenceReward
from vlground.rewards.reading import Reading
from vlground.rewards.reading_images import Read, ReadImages, batches_of
from vlground.tasks.caption_labels import CaptionLabels
from vlground.tasks.epochs import EpochTraining
from vlground.tasks.reward_rows import MODEL, estimates, rows_of
from vlground.tasks.scoring import gathered


class RewardModel(EpochTraining):
    """A reward model and its blind baseline, on candidates of a captioner.

    What a step is about depends on (seed, epoch, step) alone, and nothing is dropped out.

    Args:
        labels: Captions, and what was marked in their sentences.
        reward: The model.
        blind: Its baseline, or None.
        options: The task's node.
        seed: Of the order of images.
        directory: Of the run.

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
    ) -> None:
        super().__init__([], options, directory)
        self.labels, self.reward, self.blind, self.seed = labels, reward, blind, seed
        self._rows: list[dict[str, Any]] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If nobody marks errors, or an option does not fit.
        """
        task, seed = cell.node["task"], int(cell.node["seed"])
        _check(task)
        labels, backbone = CaptionLabels.of(cell), task["backbone"]
        names = ("context", "level", "image", "max_tokens", "prefix")
        reading = Reading(task["prompt"], **{name: task[name] for name in names})
        network, processor = load_dialogue_model(
            "task.backbone.pretrained",
            backbone["pretrained"],
            backbone["revision"],
            getattr(torch, backbone["dtype"]),
        )
        blind = None
        if task["blind"] and task["image"]:
            alike = replace(reading, image=False)
            blind = SentenceReward(deepcopy(network), processor, labels.types, alike)
        reward = SentenceReward(network, processor, labels.types, reading)
        made = cls(labels, reward, blind, task, seed, cell.directory)
        for one in made.networks.values():
            one.unfreeze(task["freeze"])
        return made

    @property
    def networks(self) -> dict[str, SentenceReward]:
        """All that are trained."""
        both = {MODEL: self.reward, BLIND: self.blind}
        return {name: one for name, one in both.items() if one is not None}

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Make what evidence is missing, train, save, measure.

        Raises:
            VlgroundError: If there is nothing to train on or to measure on, or a loss is NaN.
        """
        self.labels.make(trainer)
        targets = [self._targets(errors) for errors in self.labels.errors]
        weights = class_weights(targets, self.options["class_weights"])
        for network in self.networks.values():
            network.offset.copy_(torch.tensor(weights).log())
        super().carry_out(trainer)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning takes many forms
        """AdamW; a warm-up, then half a cosine."""
        options = self.options
        groups: list[dict[str, Any]] = []
        for network in self.networks.values():
            weights = [w for w in network.network.parameters() if w.requires_grad]
            matrices = [w for w in weights if w.ndim > 1]
            others = [w for w in weights if w.ndim <= 1]
            rate, decay = options["learning_rate"], options["weight_decay"]
            groups.append({"params": matrices, "lr": rate, "weight_decay": decay})
            groups.append({"params": others, "lr": rate})
            groups.append(
                {"params": list(network.head.parameters()), "lr": options["head_learning_rate"]}
            )
        groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        steps = int(self.trainer.estimated_stepping_batches)

        def share(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
            return min(1.0, (step + 1) / (1 + options["warmup"])) * cosine

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        plan = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """To a norm of 1, each network by itself, so that neither depends on the other."""
        for network in self.networks.values():
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)

    def train_dataloader(self) -> DataLoader[int]:
        """This rank's batch numbers of an epoch; `training_step` reads the images itself.

        Loaders that read ahead do so before an interrupted training knows its epoch.
        """
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        batches = -(-len(self.labels.training) // int(self.options["images"]))
        # All ranks take as many steps.
        numbers = range(rank, max(batches // ranks, 1) * ranks, ranks)
        return DataLoader(numbers, batch_size=None)  # type: ignore[arg-type]

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
        images, size = self.labels.training, int(self.options["images"])
        batches = batches_of(len(images), size, self.seed, self.current_epoch)
        batch = ReadImages(images, self.reward)[batches[number % len(batches)]]
        able = [read for read in batch if not read.unreadable]
        if not able:
            return None
        total = torch.zeros((), device=self.device)
        for name, network in self.networks.items():
            loss = self.loss(network, able)
            if not torch.isfinite(loss):
                names = ", ".join(read.image.sample.image_id for read in able)
                told = f"the loss of the {name} model is {float(loss)} at step {self.global_step}"
                rate = f"task.learning_rate={self.options['learning_rate']}"
                raise VlgroundError(f"{rate}: {told}; expected a smaller one; images {names}")
            shown = "train/loss" if name == MODEL else f"train/{name}_loss"
            self.log(shown, loss.detach(), on_step=False, on_epoch=True, batch_size=len(able))
            total = total + loss
        return total

    def loss(self, network: SentenceReward, batch: Sequence[Read]) -> Tensor:
        """Mean cross entropy of a sentence (or caption) and type, of those that have a label.

        Args:
            network: One of `networks`.
            batch: Images that could be read.
        """
        found = network([read.inputs for read in batch], [read.captions for read in batch])
        logits = torch.cat([one for of_image in found for one in of_image])
        labels = [self._targets(one.errors) for read in batch for one in read.image.captions]
        targets = torch.tensor(np.concatenate(labels), dtype=logits.dtype, device=logits.device)
        # A row of logits is NaN where nothing was read; NaN of a network that diverged has a graph.
        known = ~targets.isnan() & network.scored(read.captions for read in batch).to(logits.device)
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits.where(known, 0.0),
            targets.where(known, 0.0),
            pos_weight=network.offset.exp(),
            reduction="none",
        )
        return losses.where(known, 0.0).sum() / known.sum().clamp(min=1)

    def on_train_epoch_end(self) -> None:
        """Say how far it is.

        Raises:
            VlgroundError: If no image could be read.
        """
        if "train/loss" not in self.trainer.callback_metrics:
            raise VlgroundError("dataset: no image of the training set can be read")
        super().on_train_epoch_end()

    def trained(self) -> None:
        """See the base class."""
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
        types = self.reward.types
        for read in batch:
            sample, place = read.image.sample, able.index(read) if read in able else None
            for number, caption in enumerate(read.image.captions):
                said = {
                    name: found[place][number].cpu().double().numpy()
                    for name, found in told.items()
                    if place is not None
                }
                self._rows += rows_of(sample, caption, said, types, read.unreadable)

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

    def _targets(self, errors: np.ndarray) -> np.ndarray:
        """What the rows of logits of a caption should say."""
        if self.options["level"] == "caption":
            return whole(errors, self.options["holistic"])
        return errors


def _check(task: Mapping[str, Any]) -> None:
    """Refuse options before anything is computed."""
    for name in ("epochs", "images"):
        if not isinstance(task[name], int) or task[name] < 1:
            raise VlgroundError(f"task.{name}={task[name]}: expected a positive number")
    for name in ("learning_rate", "head_learning_rate"):
        if not task[name] > 0:
            raise VlgroundError(f"task.{name}={task[name]}: expected more than 0")
    if (dtype := task["backbone"]["dtype"]) not in get_args(Dtype):
        raise VlgroundError(f"task.backbone.dtype={dtype}: expected {', '.join(get_args(Dtype))}")
    class_weights([np.zeros((1, 1))], task["class_weights"])
    whole(np.zeros((1, 1)), task["holistic"])
