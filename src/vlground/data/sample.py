"""`Sample`, the unit that every contract works on, and the identity of a list of samples."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with one text and the truth about where that text is in the image.

    Attributes:
        id: Unique within the data set; evidence and rows are keyed by it.
        image_id: Samples of one image share it; intervals resample images, not samples.
        image: Path of the file, or the pixels themselves `(height, width, 3)` uint8.
        text: Phrase, expression or class name to be grounded.
        foil: A text that does not fit the image, drawn by the data set from (seed, id).
        boxes: `(k, 4)` float array of `x0, y0, x1, y1` in pixels of the original image, half-open
            continuous coordinates: pixel `j` covers `[j, j + 1)`.
        mask: Optional exact mask `(height, width)` bool.
        label: Optional class label (classification).
    """

    id: str
    image_id: str
    image: Path | np.ndarray
    text: str
    foil: str | None = None
    boxes: np.ndarray = field(default_factory=_no_boxes)
    mask: np.ndarray | None = None
    label: str | None = None

    @property
    def key(self) -> str:
        """Digest of what a map depends on: id, image, text and foil (16 hex digits).

        Evidence is stored under it, so an edited text or a replaced image is made anew. A file
        counts by its name and size in bytes: reading every photo at every start would be too slow.
        """
        return _digest([self.id, self.image_id, _image_identity(self.image), self.text, self.foil])

    @property
    def image_key(self) -> str:
        """Digest of the image alone: what a caption depends on."""
        return _digest([self.image_id, _image_identity(self.image)])

    @property
    def truth_key(self) -> str:
        """Digest of `key` and the ground truth (boxes, mask, label): what rows depend on."""
        mask = (
            None
            if self.mask is None
            else hashlib.sha256(np.packbits(self.mask).tobytes()).hexdigest()
        )
        return _digest([self.key, self.boxes.tolist(), mask, self.label])


class DataSet(Protocol):
    """A sequence of samples that also says what it left out and why."""

    skipped: Mapping[str, int]  # reason -> number of annotations that became no sample

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class KnownObjects(Protocol):
    """A data set that knows which objects its images hold, and names all of them."""

    objects: Mapping[str, frozenset[str]]  # image id -> names
    synonyms: str | None  # file of words for them, see `Chair`; None: CHAIR's for COCO


def manifest(samples: Iterable[Sample]) -> str:
    """Checksum of a list of samples in order: images, texts, foils and ground truth.

    >>> a = Sample("1", "1", Path("cat.jpg"), "cat")
    >>> manifest([a]) == manifest([a]), manifest([a]) == manifest([])
    (True, False)
    """
    return _digest([sample.truth_key for sample in samples])


def draw_foil(seed: int, sample_id: str, text: str, others: Sequence[str]) -> str | None:
    """Draw a text that does not fit, from (seed, sample id) alone.

    Args:
        seed: The data set's seed.
        sample_id: Id of the sample the foil is for.
        text: Its true text, never returned.
        others: Texts to draw from, without those that are true of the same image; their order
            does not matter.

    Returns:
        The foil, or None if there is nothing to draw from.

    >>> draw_foil(0, "a", "cat", ["dog", "car"]) == draw_foil(0, "a", "cat", ["car", "dog"])
    True
    """
    pool = sorted(set(others) - {text})
    if not pool:
        return None
    return pool[int(_digest(["foil", seed, sample_id]), 16) % len(pool)]


def _image_identity(image: Path | np.ndarray) -> list[str | int]:
    if isinstance(image, np.ndarray):
        return [hashlib.sha256(image.tobytes()).hexdigest(), *image.shape]
    size = image.stat().st_size if image.exists() else -1
    return [image.name, size]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
