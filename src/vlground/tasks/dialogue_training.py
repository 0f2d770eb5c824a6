"""Training on dialogues by numbered steps, which goes on from whichever it was stopped at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.tasks.likelihood import LikelihoodTested
from vlground.training.checkpoints import RoundCheckpoint
from vlground.training.collation import Collator
from vlground.training.mixture import Mixture, Rounds
from vlground.training.rounds import RoundLosses
from vlground.training.steps import Step, StepLoader, Steps


class DialogueTraining(LikelihoodTested):
    """What a step learns from depends on (seed, number of the step) alone; subclasses learn it.

    Args:
        network: Trained in place.
        collator: Of its processor.
        mixture: What is learnt from.
        samples: True captions that it is measured on, at the end.
        options: The task's node.
        directory: Of the run.
        stage: Fingerprint of the training.
        before: Steps that learn from something else, before those that learn from dialogues.
        num_workers: Processes that load images.
        left_out: Reason -> number of records that became no dialogue.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        collator: Collator,
        mixture: Mixture,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
        stage: str,
        before: int = 0,
        num_workers: int = 0,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(network, collator, samples, options, directory)
        self.mixture, self.stage, self.before = mixture, stage, before
        self.num_workers, self.left_out = num_workers, Counter(left_out or {})
        self.losses = RoundLosses()
        self._next = 0

    @property
    def steps(self) -> int:
        """On dialogues: `task.steps`, or as many as `task.epochs` take."""
        asked = self.options["steps"]
        return int(asked) if asked else max(1, round(self.mixture.steps * self.options["epochs"]))

    @property
    def all_steps(self) -> int:
        """Those before too."""
        return self.before + self.steps

    @property
    def round_length(self) -> int:
        """Steps between two checkpoints."""
        return int(self.options["checkpoint_every"] or self.mixture.steps)

    @property
    def all_epochs(self) -> int:
        """How many rounds there are, which Lightning calls epochs."""
        return -(-self.all_steps // self.round_length)

    def configure_callbacks(self) -> list[lightning.Callback]:
        """A checkpoint at the end of every round, and where the training is told to stop."""
        return [RoundCheckpoint(self.directory / "checkpoints", anywhere=True)]

    def on_fit_start(self) -> None:
        """Every process needs something to learn from in every part of a step."""
        share, world = self.options["accumulate"], self.trainer.world_size
        if self.mixture.batch < share * world:
            told = f"expected at least task.accumulate × processes = {share * world}"
            raise VlgroundError(f"task.batch={self.mixture.batch}: {told}")
        self.network.train()

    def train_dataloader(self) -> StepLoader:
        """The steps of a round, this process's share of each."""
        process = self.trainer.global_rank, self.trainer.world_size
        window = self.before, self.all_steps
        steps = Steps(self.mixture, self.collator, window, process, self.options["accumulate"])
        sampler = Rounds(self.round_length, self._next)
        return StepLoader(steps, batch_size=None, sampler=sampler, num_workers=self.num_workers)

    def on_train_batch_start(self, batch: Step, batch_idx: int) -> None:
        """A checkpoint that is written when the step is over goes on behind it."""
        self._next = batch.number + 1

    def on_train_epoch_end(self) -> None:
        """Keep the loss of the round, for the results."""
        self.log("train/loss", self.losses.close(self.current_epoch + 1))
        super().on_train_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how far it is, and what was lost and counted."""
        checkpoint["stage"], checkpoint["next_step"] = self.stage, self._next
        checkpoint["losses"], checkpoint["round"] = self.losses.rounds, self.losses.steps
        checkpoint["left_out"] = dict(self.left_out)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was kept.

        Raises:
            VlgroundError: If another configuration has trained it.
        """
        found = checkpoint.get("stage")
        if found != self.stage:
            told = f"of another configuration ({found}, not {self.stage})"
            where = self.directory / "checkpoints"
            raise VlgroundError(f"{where}: {told}; remove the folder, or give another runs=DIR")
        self._next = checkpoint.get("next_step", 0)
        self.losses = RoundLosses(checkpoint["losses"], checkpoint.get("round", ()))
        self.left_out = Counter(checkpoint["left_out"])
