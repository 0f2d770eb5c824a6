"""Training on the shapes world; how miniatures are made.

epochs of pretraining   the vision tower learns which colours and shapes there are (no boxes)
epochs of the objective what a subclass makes small
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlground.contracts import Encoded, Scorer
from vlground.data.sample import Sample
from vlground.data.shapes.scene import PAIRS, Pair
from vlground.data.shapes.stream import TextBatch, TextStream
from vlground.tasks.epochs import EpochTraining

log = logging.getLogger("vlground")

Part = Literal["vision", "text"]

# Of the multi-label logits before any training: with 64 pairs, of which a scene holds five, most
# are absent.
_PRIOR = 8.0


class ShapesTraining(EpochTraining):
    """Trains a scorer on scenes and texts; subclasses say what is made small, and measure it.

    Every epoch is a fixed number of steps, a batch depends on (seed, step) alone and nothing is
    dropped out.

    Args:
        scorer: Trained in place.
        stream: Where scenes and texts come from.
        samples: On which it is measured, at the end.
        options: The task's node: `steps` an epoch, `pretraining_epochs`, `epochs` (of the
            objective), `pretraining_rate`, `vision_rate`, `text_rate` (of learning),
            `weight_decay`, `warmup` (steps), `auxiliary` (weight of the pretraining loss beside
            the objective).
        directory: Of the run.
    """

    def __init__(
        self,
        scorer: Scorer,
        stream: TextStream,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__(samples, options, directory)
        self.automatic_optimization = False
        self.scorer = scorer.requires_grad_(True)
        self.preprocess = scorer.preprocess
        self.stream = stream
        self.pairs = nn.Linear(self.cell_width(), len(PAIRS))

    @property
    def all_epochs(self) -> int:
        """Those of pretraining too."""
        return self._pretraining + int(self.options["epochs"])

    def trained(self) -> None:
        """See the base class."""
        self.scorer.eval().requires_grad_(False)

    def cell_width(self) -> int:
        """Channels of `cells`."""
        raise NotImplementedError

    def cells(self, encoded: Encoded) -> Tensor:
        """What the vision tower says of each cell of the image, `(b, n, channels)`."""
        raise NotImplementedError

    def towers(self) -> dict[Part, list[nn.Module]]:
        """All modules that are trained."""
        raise NotImplementedError

    def layers(self) -> Sequence[nn.Module]:
        """Those of the modules whose matrices Muon trains."""
        raise NotImplementedError

    def objective(self, encoded: Encoded, batch: TextBatch) -> Tensor:
        """What is made small after pretraining."""
        raise NotImplementedError

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices of the layers, AdamW for all else; vision and text by themselves.

        With AdamW alone a vision transformer needs about four times the steps to tell shapes apart.
        """
        inner = {id(w) for layer in self.layers() for w in layer.parameters() if w.ndim == 2}
        decay = self.options["weight_decay"]
        optimizers: list[torch.optim.Optimizer] = []
        towers = self.towers()
        towers["vision"] = [*towers["vision"], self.pairs]
        for part, modules in towers.items():
            weights = list({id(w): w for module in modules for w in module.parameters()}.values())
            matrices = [w for w in weights if id(w) in inner]
            others = [w for w in weights if id(w) not in inner]
            if matrices:
                group = [{"params": matrices, "part": part}]
                optimizers.append(
                    torch.optim.Muon(group, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
                )
            group = [{"params": others, "part": part}]
            optimizers.append(torch.optim.AdamW(group, weight_decay=0.0, betas=(0.9, 0.98)))
        return optimizers

    def train_dataloader(self) -> DataLoader[int]:
        """The step numbers of an epoch; `training_step` draws the batch itself."""
        return DataLoader(range(self.options["steps"]), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, number: int, batch_idx: int) -> None:
        """One step of pretraining, or of the objective."""
        step = self.current_epoch * self.options["steps"] + batch_idx
        pretraining = self.current_epoch < self._pretraining
        first = 0 if pretraining else self._pretraining
        epochs = self._pretraining if pretraining else self.options["epochs"]
        done = step - first * self.options["steps"]
        through = done / (self.options["steps"] * epochs)
        stream = replace(self.stream, texts=0) if pretraining else self.stream
        loss = self.loss(stream.batch(step, _objects(through, pretraining)), pretraining)
        self._update(loss, done, through, pretraining)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)

    def loss(self, batch: TextBatch, pretraining: bool) -> Tensor:
        """What is made small."""
        encoded = self.encode(batch)
        if pretraining:
            return self.presence_loss(encoded, batch.pairs)
        loss = self.objective(encoded, batch)
        if self.options["auxiliary"]:
            loss = loss + self.options["auxiliary"] * self.presence_loss(encoded, batch.pairs)
        return loss

    def encode(self, batch: TextBatch) -> Encoded:
        """Resize and normalise the scenes and encode them, with a graph."""
        preprocess = self.preprocess
        pixels = torch.from_numpy(batch.images).to(self.device).permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != preprocess.size:
            size = (preprocess.size, preprocess.size)
            pixels = nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(three, device=self.device).view(3, 1, 1)
            for three in (preprocess.mean, preprocess.std)
        )
        return self.scorer.encode((pixels - mean) / std)

    def presence_loss(self, encoded: Encoded, pairs: Sequence[Sequence[Pair]]) -> Tensor:
        """Cross entropy of which colours and shapes there are, summed over the 64 (ours).

        A pair is there as much as the cell that shows it best: a soft maximum over the image's
        cells. Where it is is not told.
        """
        present = torch.zeros(len(pairs), len(PAIRS), device=self.device)
        for row, names in enumerate(pairs):
            present[row, [PAIRS.index(name) for name in names]] = 1
        logits = self.pairs(self.cells(encoded)).logsumexp(dim=1) - _PRIOR
        losses = nn.functional.binary_cross_entropy_with_logits(logits, present, reduction="none")
        return losses.sum(dim=1).mean()

    @property
    def _pretraining(self) -> int:
        return int(self.options["pretraining_epochs"])

    def _update(self, loss: Tensor, step: int, through: float, pretraining: bool) -> None:
        """One step of the optimizers: a warm-up, then half a cosine; text rests in pretraining."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.scorer.parameters(), 1.0)
        share = min(1.0, step / self.options["warmup"]) * 0.5 * (1 + math.cos(math.pi * through))
        for optimizer in optimizers:
            (group,) = optimizer.param_groups
            if pretraining and group["part"] == "text":
                continue
            name = "pretraining_rate" if pretraining else f"{group['part']}_rate"
            group["lr"] = self.options[name] * share
            optimizer.step()


def _objects(through: float, pretraining: bool) -> tuple[int, int]:
    """Scenes grow: smallest and largest number of objects, by how much of the phase is over."""
    if pretraining:
        return (1, 2) if through < 0.15 else (2, 4) if through < 0.35 else (3, 6)
    return (1, 3) if through < 0.1 else (3, 6)
