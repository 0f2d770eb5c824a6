"""Steps of fine-tuning as a data set, so that other processes may load their images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from vlground.training.collation import Collated, Collator
from vlground.training.mixture import Mixture


class Step:
    """What one process learns from in a step; no dataclass, since Lightning looks into those.

    Attributes:
        number: Of the step, those of pretraining before.
        rank: Of the process.
        parts: That go through the network one after another; none where nothing is learnt from
            dialogues.
    """

    def __init__(self, number: int, rank: int, parts: Sequence[Collated] = ()) -> None:
        self.number, self.rank, self.parts = number, rank, tuple(parts)


class Steps(Dataset[Step]):
    """Steps by their number.

    Args:
        mixture: Says which dialogues are in which step.
        collate: Makes tensors of them.
        window: First step that learns from dialogues, and the one after the last.
        process: Rank, and how many there are.
        accumulate: Parts of a step.
    """

    def __init__(
        self,
        mixture: Mixture,
        collate: Collator,
        window: tuple[int, int],
        process: tuple[int, int],
        accumulate: int,
    ) -> None:
        self.mixture, self.collate, self.window = mixture, collate, window
        self.process, self.accumulate = process, accumulate

    def __getitem__(self, number: int) -> Step:
        (first, end), (rank, world) = self.window, self.process
        if not first <= number < end:
            return Step(number, rank)
        mine = self.mixture.step(number - first)[rank::world]
        mine.sort(key=lambda one: len(one.answer))  # alike in length together: less padding
        places = np.array_split(np.arange(len(mine)), self.accumulate)
        parts = [self.collate([mine[place] for place in part]) for part in places]
        return Step(number, rank, parts)


class StepLoader(DataLoader[Step]):
    """Steps in their order, which Lightning may begin with in the middle of a round."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the sampler is told where to begin."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing."""
