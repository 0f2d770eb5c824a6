"""Which dialogues are learnt from in which step: a function of (seed, step) alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import numpy as np
from torch.utils.data import Sampler

from vlground.training.dialogues import Dialogue

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Mixture:
    """Dialogues to learn from, with a share of questions among them, so they are not forgotten.

    Of both, all are gone through in an order drawn from (seed, epoch) before one comes again.

    Attributes:
        dialogues: At least one.
        questions: Empty with a share of 0.
        share: Of questions, 0 to less than 1, of all that is learnt from.
        batch: Dialogues and questions a step.
        seed: Of the order.
    """

    dialogues: Sequence[Dialogue]
    questions: Sequence[Dialogue]
    share: float
    batch: int
    seed: int

    @property
    def steps(self) -> int:
        """Of an epoch: until every dialogue was learnt from once."""
        return ceil(len(self.dialogues) / (self.batch * (1 - self.share)) - _ROUNDING)

    def step(self, number: int) -> list[Dialogue]:
        """What is learnt from in a step, dialogues before questions."""
        asked, further = (self._questions_before(n) for n in (number, number + 1))
        said, next_said = number * self.batch - asked, (number + 1) * self.batch - further
        return [
            *_taken(self.dialogues, said, next_said, self.seed),
            *_taken(self.questions, asked, further, self.seed + 1),
        ]

    def _questions_before(self, number: int) -> int:
        return floor(number * self.batch * self.share + _ROUNDING)


class Rounds(Sampler[int]):
    """Numbers of the steps between two checkpoints; Lightning says in which round it is.

    Args:
        length: Steps of a round.
        first: Those before it were made already.
    """

    def __init__(self, length: int, first: int = 0) -> None:
        self.length, self.first, self._round = length, first, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning's name for it."""
        self._round = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        start = self._round * self.length
        yield from range(max(start, self.first), start + self.length)


def _taken(source: Sequence[Dialogue], start: int, stop: int, seed: int) -> list[Dialogue]:
    """The places `start` … `stop - 1` of an endless walk through a source."""
    found = []
    for place in range(start, stop):
        epoch, index = divmod(place, len(source))
        found.append(source[int(_order(len(source), seed, epoch)[index])])
    return found


@lru_cache(maxsize=4)
def _order(length: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)
