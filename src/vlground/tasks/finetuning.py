"""`task=finetuning`: supervised fine-tuning of a captioner on dialogues about images.

    rejection sampling ──export/llava.json──▶ dialogues ─┐
    questions with their answers ──share────────────────┴─▶ steps ──▶ model/, as transformers reads

The loss is on answers alone. A round is what lies between two checkpoints.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from vlground.cell import Cell
from vlground.config import build
from vlground.data.sample import Sample
from vlground.tasks.dialogue_training import DialogueTraining
from vlground.training.collation import Collator
from vlground.training.gradients import accumulate, named
from vlground.training.loading import ends_of, network_of
from vlground.training.mixture import Mixture
from vlground.training.options import check_options
from vlground.training.patches import PatchPretraining
from vlground.training.saving import part_of, save_pretrained
from vlground.training.sources import mixture_of
from vlground.training.steps import Step
from vlground.training.strategies import check_strategy
from vlground.training.update import check_finite, see, update
from vlground.training.weights import Adapter, freeze, merged, optimizers_of, rate_at, with_adapter


class Finetuning(DialogueTraining):
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
        collator = Collator(processor, ends_of(network, processor), options["max_tokens"])
        before = 0 if pretraining is None else pretraining.steps
        about = (mixture, samples, options, directory, stage)
        super().__init__(network, collator, *about, before, num_workers, left_out)
        self.automatic_optimization = False
        self.processor, self.pretraining = processor, pretraining
        self.model, self.precision = model or {}, precision
        self.adapter = Adapter(**options["adapter"])
        freeze(network, options["freeze"])
        if options["gradient_checkpointing"]:
            network.activation_checkpointing_enable({"use_reentrant": False})
        self.network = with_adapter(network, self.adapter, options["freeze"])
        self._seeing: bool | None = None
        self._first = 0  # optimizers of pretraining
        # Of billions of weights that stay as they are a checkpoint would be mostly a copy.
        self.strict_loading = self.adapter.kind == "none"
        self._state: dict[str, Tensor] = {}

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
        check_strategy(node["trainer"], node["task"])

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

    def training_step(self, step: Step, batch_idx: int) -> None:
        """One step of pretraining, or of fine-tuning."""
        if step.number >= self.all_steps:
            return  # of the last round, which is as long as the others
        # What is dropped out is drawn anew in each step, so that it does not know what was before.
        torch.manual_seed(self.mixture.seed * 1_000_003 + step.number * 1009 + step.rank)
        seeing = step.number < self.before
        if self.pretraining is not None and seeing != self._seeing:
            self._seeing = seeing
            freeze(self.network, [] if seeing else self.options["freeze"])
        self.losses.add(self._pretrain(step.number) if seeing else self._finetune(step))

    def _pretrain(self, number: int) -> Tensor:
        assert self.pretraining is not None
        optimizers = self._optimizers[: self._first]
        return see(self, self.pretraining, optimizers, self.network, self.processor, number)

    def _finetune(self, step: Step) -> Tensor:
        """The mean over all that is learnt in the step, on whichever process it is."""
        optimizers = self._optimizers[self._first :]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss, lost = accumulate(self, step, self.options["average"])
        number = step.number - self.before
        check_finite("task.learning_rate", loss, number, named(lost))
        rate = rate_at(number, self.steps, self.options)
        norm = update(self, optimizers, self.network, rate, self.options["clip"])
        check_finite("task.learning_rate", norm, number, [name for name, _ in lost])
        self.left_out["answer cut at task.max_tokens"] += sum(part.cut for part in step.parts)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Of an adapted network only what is trained."""
        super().on_save_checkpoint(checkpoint)
        if not self.strict_loading:
            trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {n: w for n, w in state.items() if n in trained}

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

    def details(self) -> dict[str, Any]:
        """How training went, and on what."""
        told = {
            "dialogues": len(self.mixture.dialogues),
            "questions": len(self.mixture.questions),
            "left_out": dict(sorted((+self.left_out).items())),
            "steps": self.steps,
            "rounds": self.losses.rounds,
            "parameters": sum(w.numel() for w in self._state.values()),
        }
        return {"matrix": {}, "training": json.loads(json.dumps(told))}

    @property
    def _optimizers(self) -> list[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]
