"""How likely a captioner in training finds true captions: what a training is measured by."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas
import torch
from torch.utils.data import DataLoader

from vlground.data.sample import Sample
from vlground.metrics.statistics import bootstrap_mean
from vlground.tasks.epochs import EpochTraining
from vlground.training.collation import Collator
from vlground.training.measuring import caption_rows

_TESTED = 16  # samples between two lines of progress


class LikelihoodTested(EpochTraining):
    """A training whose network is measured by the loss of the samples' texts.

    Args:
        network: An image-text-to-text model of transformers.
        collator: Of its processor.
        samples: Their texts are true captions, answers to `task.prompt`.
        options: The task's node.
        directory: Of the run.
    """

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        collator: Collator,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__(samples, options, directory)
        self.network: Any = network
        self.collator = collator

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
