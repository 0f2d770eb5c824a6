"""Images with their captions, as a reward model is shown them, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vlground.data.images import load_image
from vlground.errors import ImageError
from vlground.rewards.labelled import LabelledImage
from vlground.rewards.network import SentenceReward


@dataclass(frozen=True, eq=False)
class Read:
    """An image that was read.

    Attributes:
        image: With its captions.
        inputs: See `SentenceReward.read`.
        unreadable: Why there are none; "" if there are.
    """

    image: LabelledImage
    inputs: dict[str, Tensor]
    unreadable: str = ""

    @property
    def captions(self) -> list[tuple[str, ...]]:
        """The sentences of each."""
        return [caption.sentences for caption in self.image.captions]


class ReadImages(Dataset[list[Read]]):
    """Reads batches of images.

    Args:
        images: With their captions.
        network: That reads them.
    """

    def __init__(self, images: Sequence[LabelledImage], network: SentenceReward) -> None:
        self._images, self._read = images, network.read

    @property
    def all(self) -> list[Read]:
        """Every image, in order."""
        return self[list(range(len(self._images)))]

    def __getitem__(self, places: list[int]) -> list[Read]:  # type: ignore[override]
        return [self._one(self._images[place]) for place in places]

    def _one(self, image: LabelledImage) -> Read:
        try:
            return Read(image, self._read(load_image(image.sample)))
        except ImageError as error:
            return Read(image, {}, f"unreadable image: {error.reason}")


def batches_of(images: int, size: int, seed: int, epoch: int) -> list[list[int]]:
    """Places of images, batch by batch, in an order that depends on (seed, epoch) alone.

    Args:
        images: How many there are.
        size: Images a batch; the last one may be smaller.
        seed: Of the order.
        epoch: Its number.
    """
    order = np.random.default_rng([seed, epoch]).permutation(images).tolist()
    return [order[start : start + size] for start in range(0, images, size)]


@dataclass(frozen=True)
class StepImages:
    """Which images a process reads in a step.

    Attributes:
        images: Of the training set.
        size: Images of a step, of each process.
        seed: Of the order.
        process: Rank, and how many there are.
    """

    images: Sequence[LabelledImage]
    size: int
    seed: int
    process: tuple[int, int] = (0, 1)

    @property
    def epoch(self) -> int:
        """Steps of an epoch; all processes take as many."""
        return max(-(-len(self.images) // self.size) // self.process[1], 1)

    def of(self, number: int) -> list[LabelledImage]:
        """The images of a step, by its number in the whole training."""
        epoch, step = divmod(number, self.epoch)
        batches = batches_of(len(self.images), self.size, self.seed, epoch)
        rank, ranks = self.process
        return [self.images[place] for place in batches[(step * ranks + rank) % len(batches)]]
