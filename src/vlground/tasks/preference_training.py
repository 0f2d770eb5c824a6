"""Reinforcement learning of a captioner through TRL's trainers (open question 1 of ViGoR).

rejection sampling ──export/trl_dpo.jsonl──▶ pairs ──task=dpo──▶ model/
images ──captions of the model as it is──▶ rewards ──task=grpo──▶ model/
"""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.tasks.likelihood import LikelihoodTested
from vlground.training.collation import Collator
from vlground.training.loading import ends_of, network_of
from vlground.training.options import check_preference_options
from vlground.training.saving import save_pretrained
from vlground.training.weights import Adapter, freeze, merged


class PreferenceTraining(LikelihoodTested):
    """What DPO and GRPO share: the network, one process, and what is saved and measured.

    Args:
        network: Trained in place.
        processor: Of the network.
        samples: True captions that it is measured on, at the end.
        options: The task's node.
        seed: Of all that is drawn.
        directory: Of the run.
    """

    version = 1

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        processor: Any,  # noqa: ANN401
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        seed: int,
        directory: Path,
    ) -> None:
        collator = Collator(processor, ends_of(network, processor), options["max_tokens"])
        super().__init__(network, collator, samples, options, directory)
        self.processor, self.seed = processor, seed
        self.lines: list[dict[str, float]] = []

    @staticmethod
    def check(node: Mapping[str, Any]) -> None:
        """Refuse options that cannot be.

        Raises:
            VlgroundError: If one cannot, or TRL is not installed.
        """
        check_preference_options(node["task"])
        if node["trainer"].get("strategy", "auto") != "auto":
            told = "TRL's trainers share out work by accelerate; expected one process, auto"
            raise VlgroundError(f"trainer.strategy={node['trainer']['strategy']}: {told}")
        if find_spec("trl") is None:
            raise VlgroundError("task: needs trl: pip install 'vlground[rl]'")

    @staticmethod
    def loaded(node: Mapping[str, Any]) -> tuple[Any, Any]:
        """The network of a cell, with what is frozen, and its processor."""
        precision = str(node["trainer"]["precision"])
        network, processor = network_of(node["model"], None, precision, False)
        freeze(network, node["task"]["freeze"])
        return network, processor

    def optimise(self, trainer: lightning.Trainer) -> tuple[Any, list[dict[str, float]]]:
        """Train; the network, and numbers of its steps."""
        raise NotImplementedError

    def carry_out(self, trainer: lightning.Trainer) -> None:
        """Train, save, measure.

        Raises:
            VlgroundError: If a loss is not finite, or something cannot be written.
        """
        device = trainer.strategy.root_device
        network, self.lines = self.optimise(trainer)
        adapter, folder = Adapter(**self.options["adapter"]), str(self.directory / "adapter")
        self.network = merged(network, adapter, folder, lambda: network).to(device)
        self.network.eval().requires_grad_(False)
        dtype: torch.dtype = getattr(torch, self.options["saved_as"])
        for place in (self.directory / "model", self.options["export"]):
            if place is not None:
                state = self.network.state_dict()
                save_pretrained(self.network, self.processor, state, dtype, Path(place))
        trainer.test(self, verbose=False)

    def details(self) -> dict[str, Any]:
        """How training went, and on what."""
        told = {**self.learnt_from(), "log": self.lines}
        return {"matrix": {}, "training": json.loads(json.dumps(told))}

    def learnt_from(self) -> dict[str, Any]:
        """Counts of what it was."""
        raise NotImplementedError
