"""Batches of images with all their texts, for `predict_step`; and batches of stored evidence."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError
from vlground.geometry import Frame
from vlground.preprocess import Preprocess


@dataclass(frozen=True)
class Batch:
    """Images, each once, with the samples that ask about them.

    Attributes:
        samples: `q` samples.
        owner: `(q,)` int64, the index of each sample's image in `pixels`.
        pixels: `(b, 3, size, size)`.
        frames: `b` frames.
        unreadable: Samples whose image could not be read, each with the reason.
    """

    samples: list[Sample]
    owner: Tensor
    pixels: Tensor
    frames: list[Frame]
    unreadable: list[tuple[Sample, str]]

    def __len__(self) -> int:
        """How many samples it is about."""
        return len(self.samples) + len(self.unreadable)

    def to(self, device: torch.device) -> Self:
        """The batch on another device (Lightning calls it)."""
        return replace(self, pixels=self.pixels.to(device), owner=self.owner.to(device))


class ImageBatches(Dataset[Batch]):
    """Batches of whole images, as many as fit into `batch_size` samples.

    One item is one batch, because Lightning replaces batch samplers when it predicts.

    Args:
        samples: In the data set's order, those of one image together.
        preprocess: The scorer's.
        batch_size: Samples; an image with more of them is split.
    """

    def __init__(self, samples: Iterable[Sample], preprocess: Preprocess, batch_size: int) -> None:
        self.preprocess = preprocess
        self.batches: list[list[list[Sample]]] = []
        room = 0
        for _, same in groupby(samples, key=lambda sample: sample.image_id):
            image = list(same)
            for start in range(0, len(image), batch_size):
                group = image[start : start + batch_size]
                if len(group) > room:
                    self.batches.append([])
                    room = batch_size
                self.batches[-1].append(group)
                room -= len(group)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        batch = Batch([], torch.zeros(0, dtype=torch.long), torch.zeros(0), [], [])
        owner: list[int] = []
        pixels: list[Tensor] = []
        for group in self.batches[index]:
            try:
                image, frame = self.preprocess(load_image(group[0].image))
            except ImageError as error:
                batch.unreadable.extend((sample, error.reason) for sample in group)
                continue
            batch.samples.extend(group)
            owner.extend([len(pixels)] * len(group))
            pixels.append(image)
            batch.frames.append(frame)
        stacked = torch.stack(pixels) if pixels else batch.pixels
        return replace(batch, owner=torch.tensor(owner, dtype=torch.long), pixels=stacked)


class ClaimedBatches(Sampler[int]):
    """Numbers of the batches that this process is to make; others are skipped.

    Each is claimed when it is asked for, so that processes with the same batches share them out.

    Args:
        batches: Samples of each.
        claim: Whether this process is to make the evidence of some samples.
    """

    def __init__(
        self, batches: Sequence[Sequence[Sample]], claim: Callable[[Sequence[Sample]], bool]
    ) -> None:
        self.batches = batches
        self.claim = claim

    def __len__(self) -> int:
        """At most so many."""
        return len(self.batches)

    def __iter__(self) -> Iterator[int]:
        return (number for number, batch in enumerate(self.batches) if self.claim(batch))


def image_loader(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    batch_size: int,
    num_workers: int,
    claim: Callable[[Sequence[Sample]], bool] | None = None,
) -> DataLoader[Batch]:
    """Load samples for a model, each image once a batch.

    Args:
        samples: In the data set's order, those of one image together.
        preprocess: The scorer's.
        batch_size: Samples, not images.
        num_workers: Processes that load images.
        claim: See `ClaimedBatches`; None: all batches are wanted.
    """
    batches = ImageBatches(samples, preprocess, batch_size)
    flat = [[sample for group in batch for sample in group] for batch in batches.batches]
    sampler = None if claim is None else ClaimedBatches(flat, claim)
    return DataLoader(batches, batch_size=None, num_workers=num_workers, sampler=sampler)


def evidence_loader(
    samples: Sequence[Sample],
    batch_size: int = 64,
    claim: Callable[[Sequence[Sample]], bool] | None = None,
) -> DataLoader[Sample]:
    """Hand out samples in lists; no image is loaded.

    Args:
        samples: Whose evidence is scored, or made by somebody who loads images.
        batch_size: Samples a list.
        claim: See `ClaimedBatches`; None: all batches are wanted.
    """
    chunks = [list(samples[i : i + batch_size]) for i in range(0, len(samples), batch_size)]
    sampler = None if claim is None else ClaimedBatches(chunks, claim)
    return DataLoader(chunks, batch_size=None, sampler=sampler)  # type: ignore[arg-type]
