"""The losses of a training, round by round, also of one that was interrupted within a round."""

from collections.abc import Sequence

from torch import Tensor


class RoundLosses:
    """What was lost.

    Args:
        rounds: Those that are over.
        steps: Losses of the steps of the one that is not.

    Attributes:
        rounds: `round`, from 1 on, and its mean `loss`.
        steps: See above.

    >>> import torch
    >>> losses = RoundLosses([], [1.0])
    >>> losses.add(torch.tensor(2.0))
    >>> losses.close(1), losses.rounds, losses.steps
    (1.5, [{'round': 1, 'loss': 1.5}], [])
    """

    def __init__(
        self, rounds: Sequence[dict[str, float]] = (), steps: Sequence[float] = ()
    ) -> None:
        self.rounds, self.steps = list(rounds), list(steps)

    def add(self, loss: Tensor) -> None:
        """Of one more step."""
        self.steps.append(float(loss))

    def close(self, number: int) -> float:
        """The mean of the round with that number, which is over."""
        mean = sum(self.steps) / len(self.steps)
        self.rounds.append({"round": number, "loss": mean})
        self.steps = []
        return mean
