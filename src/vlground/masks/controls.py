"""Controls: pictures that a sound judge must rank below, or above, those of the mask."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import Mask
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame, box_to_slices
from vlground.masks.soft import SoftMask


class Black(Mask):
    """Nothing is shown, whatever the map."""

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """0 everywhere (see the base class)."""
        return torch.zeros(frame.height, frame.width)

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """Black (see the base class)."""
        return np.zeros_like(image)


class Full(Mask):
    """Everything is shown, whatever the map."""

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """1 everywhere (see the base class)."""
        return torch.ones(frame.height, frame.width)

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """The image (see the base class)."""
        return image.copy()


class Complement(Mask):
    """What another mask hides is shown, and the other way round: 1 - M.

    Args:
        of: The other mask, which also draws the picture.

    Raises:
        VlgroundError: `of` does not draw from weights alone.
    """

    def __init__(self, of: SoftMask) -> None:
        self.of = _soft(of)

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """1 - M (see the base class)."""
        return 1 - self.of.weights(grid, frame, sample)

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """See the base class."""
        return self.of.render(image, self.weights(grid, frame, sample))


class RandomPlace(Mask):
    """Another mask moved to a random place, drawn from (seed, sample id) and nothing else (ours).

    M is shifted within what the model saw, by any number of pixels with equal chance, and what
    leaves on one side enters on the other. So its weights are the very same numbers: the area is
    equal however one counts it, and so are size, shape and sharpness of what is shown. Only the
    place differs, and over all shifts every pixel is shown equally often: an object is covered by
    its share of the area. (Random blobs with as many pixels would also differ in shape.)

    Args:
        of: The other mask, which also draws the picture.
        seed: Of the place.

    Raises:
        VlgroundError: `of` does not draw from weights alone.
    """

    def __init__(self, of: SoftMask, seed: int = 0) -> None:
        self.of = _soft(of)
        self.seed = seed

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """M, shifted (see the base class)."""
        weights = self.of.weights(grid, frame, sample)
        seen = weights[box_to_slices(frame.visible(), frame.height, frame.width)]
        name = hashlib.sha256(f"{self.seed}/{sample.id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(name[:8], "little"))
        down, across = (int(rng.integers(length)) for length in seen.shape)
        seen.copy_(seen.roll((down, across), (0, 1)))
        return weights

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """See the base class."""
        return self.of.render(image, self.weights(grid, frame, sample))


def _soft(mask: Mask) -> SoftMask:
    if not isinstance(mask, SoftMask):
        name = type(mask).__name__.lower()
        raise VlgroundError(f"mask.of={name}: expected a mask that draws from weights: sigmoid")
    return mask
