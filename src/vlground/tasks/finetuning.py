"""`task=finetuning`: supervised fine-tuning of a captioner on dialogues about images.

    rejection sampling ──export/llava.json──▶ dialogues ─┐
    questions with their answers ──share────────────────┴─▶ steps ──▶ model/, as transformers reads

The loss is on answers alone. A round is what lies between two checkpoints.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import pandas
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vlground.cell import Cell
from vlground.config import build
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.statistics import bootstrap_mean
from vlground.tasks.epochs import EpochTraining
from vlground.training.checkpoints import RoundCheckpoint
from vlground.training.collation import IGNORED, Collator
from vlground.training.loading import ends_of, network_of
from vlground.training.measuring import caption_rows
from vlground.training.mixture import Mixture, Rounds
from vlground.training.objective import answer_losses, shares
from vlground.training.options import check_options
from vlground.training.patches import PatchPretraining, pixels_of
from vlground.training.saving import part_of, save_pretrained
from vlground.training.sources import mixture_of
from vlground.training.steps import Step, Steps
from vlground.training.update import check_finite, update
from vlground.training.weights import Adapter, freeze, merged, optimizers_of, rate_at, with_adapter

_TESTED = 16  # samples between two lines of progress


class Finetuning(EpochTraining):
    """Trains an image-text-to-text model of transformers to give the answers of dialogues.

    What is learnt from in a step, and what is dropped out in it, depends on (seed, step) alone.

    Args:
        network: Trained in place.
        processor: Of the network.
        mixture: What is learnt from.
        samples: True captions that it is measured on, at the end: how likely it finds them.
        options: The task's node.
        directory: Of the run.
        stage: Fingerprint of the training.
        model: The model's node, for an adapter that is merged with what was loaded.
        precision: Of the trainer.
        num_workers: Processes that load images.
        pretraining: Of the vision tower before anything else; None: none.
        left_out: Reason -> number of records that became no dialogue.
    """

    version = 1

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        processor: Any,  # noqa: ANN401
        mixture: Mixture,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
        stage: str = "",
        model: Mapping[str, Any] | None = None,
        precision: str = "32-true",
        num_workers: int = 0,
        pretraining: PatchPretraining | None = None,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(samples, options, directory)
        self.automatic_optimization = False
        self.processor, self.mixture, self.pretraining = processor, mixture, pretraining
        self.stage, self.model, self.precision = stage, model or {}, precision
        self.num_workers, self.left_out = num_workers, Counter(left_out or {})
        self.adapter = Adapter(**options["adapter"])
        ends = ends_of(network, processor)
        self.collator = Collator(processor, ends, options["max_tokens"])
        freeze(network, options["freeze"])
        if options["gradient_checkpointing"]:
            network.activation_checkpointing_enable({"use_reentrant": False})
        self.network: Any = with_adapter(network, self.adapter)
        self._seeing: bool | None = None
        self._first = 0  # optimizers of pretraining
        # Of billions of weights that stay as they are a checkpoint would be mostly a copy.
        self.strict_loading = self.adapter.kind == "none"
        self._state: dict[str, Tensor] = {}
        self._losses: list[dict[str, float]] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its network loaded or drawn anew.

        Raises:
            VlgroundError: If an option does not fit, or there is nothing to learn from.
        """
        node, options, seed = cell.node, cell.node["task"], int(cell.node["seed"])
        cls.check(node)
        mixture, left_out = mixture_of(options, cell.runs, seed)
        precision = str(node["trainer"]["precision"])
        four_bits = options["adapter"]["kind"] == "qlora"
        network, processor = network_of(node["model"], options["initial"], precision, four_bits)
        pretraining = options["pretraining"]
        return cls(
            network,
            processor,
            mixture,
            cell.samples,
            options,
            cell.directory,
            cell.stage.fingerprint,
            node["model"],
            precision,
            int(node["num_workers"]),
            None if pretraining is None else build(pretraining),
            left_out,
        )

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Refuse options that cannot be.

        Raises:
            VlgroundError: If one cannot.
        """
        check_options(node["task"])

    @property
    def steps(self) -> int:
        """Of fine-tuning: `task.steps`, or as many as `task.epochs` take."""
        asked = self.options["steps"]
        return int(asked) if asked else max(1, round(self.mixture.steps * self.options["epochs"]))

    @property
    def all_steps(self) -> int:
        """Those of pretraining too."""
        return self._pretraining_steps + self.steps

    @property
    def round_length(self) -> int:
        """Steps between two checkpoints."""
        return int(self.options["checkpoint_every"] or self.mixture.steps)

    @property
    def all_epochs(self) -> int:
        """How many rounds there are, which Lightning calls epochs."""
        return -(-self.all_steps // self.round_length)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Those of fine-tuning; those of pretraining before them."""
        kind, decay = self.options["optimizer"], self.options["weight_decay"]
        main = optimizers_of(self.network, kind, decay)
        if self.pretraining is None:
            return main
        freeze(self.network, [])  # before it is known to processes which weights they share
        first = self.pretraining.optimizers(self.network)
        self._first = len(first)
        return [*first, *main]

    def configure_callbacks(self) -> list[lightning.Callback]:
        """A checkpoint at the end of every round."""
        return [RoundCheckpoint(self.directory / "checkpoints")]

    def on_fit_start(self) -> None:
        """Every process needs something to learn from in every part of a step."""
        share, world = self.options["accumulate"], self.trainer.world_size
        if self.mixture.batch < share * world:
            told = f"expected at least task.accumulate × processes = {share * world}"
            raise VlgroundError(f"task.batch={self.mixture.batch}: {told}")
        self.network.train()

    def train_dataloader(self) -> DataLoader[Step]:
        """The steps of a round, this process's share of each."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        steps = Steps(
            self.mixture,
            self.collator,
            (self._pretraining_steps, self.all_steps),
            (rank, world),
            self.options["accumulate"],
        )
        sampler = Rounds(self.round_length)
        return DataLoader(steps, batch_size=None, sampler=sampler, num_workers=self.num_workers)

    def training_step(self, step: Step, batch_idx: int) -> None:
        """One step of pretraining, or of fine-tuning."""
        if step.number >= self.all_steps:
            return  # of the last round, which is as long as the others
        # What is dropped out is drawn anew in each step, so that it does not know what was before.
        torch.manual_seed(self.mixture.seed * 1_000_003 + step.number * 1009 + step.rank)
        seeing = step.number < self._pretraining_steps
        if self.pretraining is not None and seeing != self._seeing:
            self._seeing = seeing
            freeze(self.network, [] if seeing else self.options["freeze"])
        loss = self._pretrain(step.number) if seeing else self._finetune(step)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=1)

    def _pretrain(self, number: int) -> Tensor:
        assert self.pretraining is not None
        scenes = self.pretraining.scenes(number)[self.global_rank :: self.trainer.world_size]
        pixels = pixels_of(scenes, self.processor).to(self.device, self.network.dtype)
        optimizers = self._optimizers[: self._first]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = self.pretraining.loss(self.network, pixels, scenes)
        self.manual_backward(loss)
        check_finite("task.pretraining.learning_rate", loss, number, [s.name for s in scenes])
        seeing = [*self.network.parameters(), *self.pretraining.parameters()]
        nn.utils.clip_grad_norm_(seeing, 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.pretraining.rate_at(number)
            optimizer.step()
        return loss.detach()

    def _finetune(self, step: Step) -> Tensor:
        """The mean over all that is learnt in the step, on whichever process it is."""
        optimizers = self._optimizers[self._first :]
        for optimizer in optimizers:
            optimizer.zero_grad()
        counted = [shares(part, self.options["average"]) for part in step.parts]
        known = [(part.labels != IGNORED).sum(dim=1) for part in step.parts]
        mine = sum(float((one * n).sum()) for one, n in zip(counted, known, strict=True))
        total, world = self._sum(torch.tensor(mine)), self.trainer.world_size
        lost: list[tuple[str, float]] = []
        for part, share in zip(step.parts, counted, strict=True):
            losses, _ = answer_losses(self.network, part.to(self.device, self.network.dtype))
            losses = losses * share.to(losses.device)
            self.manual_backward(losses.sum() * (world / total))
            lost += zip(part.ids, losses.tolist(), strict=True)
        loss = self._sum(torch.tensor(sum(one for _, one in lost))) / total
        number, ids = step.number - self._pretraining_steps, [name for name, _ in lost]
        named = [name for name, one in lost if not np.isfinite(one)] or ids
        check_finite("task.learning_rate", loss, number, named)
        rate = rate_at(number, self.steps, self.options)
        norm = update(self, optimizers, self.network, rate, self.options["clip"])
        check_finite("task.learning_rate", norm, number, ids)
        self.left_out["answer cut at task.max_tokens"] += sum(part.cut for part in step.parts)
        return loss

    def on_train_epoch_end(self) -> None:
        """Keep the loss of the round, for the results."""
        super().on_train_epoch_end()
        loss = float(self.trainer.callback_metrics["train/loss"])
        self._losses.append({"round": float(self.current_epoch + 1), "loss": loss})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was lost and counted; of an adapted network only what is trained."""
        checkpoint["stage"] = self.stage
        checkpoint["losses"], checkpoint["left_out"] = self._losses, dict(self.left_out)
        if not self.strict_loading:
            trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {n: w for n, w in state.items() if n in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was lost and counted.

        Raises:
            VlgroundError: If another configuration has trained it.
        """
        found = checkpoint.get("stage")
        if found != self.stage:
            told = f"of another configuration ({found}, not {self.stage})"
            where = self.directory / "checkpoints"
            raise VlgroundError(f"{where}: {told}; remove the folder, or give another runs=DIR")
        self._losses = list(checkpoint["losses"])
        self.left_out = Counter(checkpoint["left_out"])

    def trained(self) -> None:
        """Merge an adapter, gather weights that lie on several devices."""
        if self.adapter.kind != "none":
            self.network = merged(
                self.network,
                self.adapter,
                str(self.directory / "adapter"),
                lambda: network_of(self.model, None, self.precision, False)[0],
            )
            self._state = self.network.state_dict()
        else:
            state = self.trainer.strategy.lightning_module_state_dict()
            self._state = part_of(state, "network")
        self.network.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write weights and processor as transformers reads them."""
        dtype: torch.dtype = getattr(torch, self.options["saved_as"])
        save_pretrained(self.network, self.processor, self._state, dtype, folder)

    def transfer_batch_to_device(
        self,
        batch: Any,  # noqa: ANN401
        device: torch.device,
        dataloader_idx: int,
    ) -> Any:  # noqa: ANN401
        """Nothing: each part is moved when its turn comes."""
        return batch

    def test_dataloader(self) -> DataLoader[Any]:
        """Places of the samples, in lists: Lightning would look into samples themselves."""
        places = range(len(self.samples))
        chunks = [list(places[start : start + _TESTED]) for start in places[::_TESTED]]
        return DataLoader(chunks, batch_size=None)  # type: ignore[arg-type]

    def on_test_start(self) -> None:
        """Begin with no rows."""
        self._rows: list[dict[str, Any]] = []

    def test_step(self, batch: list[int]) -> None:
        """How likely does the network find the samples' texts?"""
        samples = [self.samples[place] for place in batch]
        prompt = self.options["prompt"]
        self._rows += caption_rows(self.network, self.collator, samples, prompt, self.device)

    def on_test_epoch_end(self) -> None:
        """Collect the rows."""
        self.table = pandas.DataFrame(self._rows)

    def scores(self) -> dict[str, dict[str, Any]]:
        """The mean of the captions' losses, in nats a token, with its interval over images."""
        found = bootstrap_mean(self.table["loss"].to_numpy(float), self.table["image_id"].tolist())
        return {"loss": asdict(found)} if found.n else {}

    def details(self) -> dict[str, Any]:
        """How training went, and on what."""
        told = {
            "dialogues": len(self.mixture.dialogues),
            "questions": len(self.mixture.questions),
            "left_out": dict(sorted((+self.left_out).items())),
            "steps": self.steps,
            "rounds": self._losses,
            "parameters": sum(w.numel() for w in self._state.values()),
        }
        return {"matrix": {}, "training": json.loads(json.dumps(told))}

    @property
    def _pretraining_steps(self) -> int:
        return 0 if self.pretraining is None else self.pretraining.steps

    @property
    def _optimizers(self) -> list[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _sum(self, value: Tensor) -> Tensor:
        """Over all processes."""
        summed: Tensor = self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
        return summed
